//! Variable-length integers: little-endian base 128 (LEB128) of a `u64`, and the zigzag map.
//!
//! A varint takes 1–10 bytes; the reader (`Cursor::varint`) refuses one that does not fit 64 bits.

/// The longest varint in bytes.
pub const MAX_VARINT_LEN: usize = 10;

/// Appends `value`, seven bits a byte, least significant first.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed value as the varint of its zigzag image.
pub fn put_varint_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Bytes `put_varint` writes for `value`.
#[must_use]
pub fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// 0, -1, 1, -2, … to 0, 1, 2, 3, …
#[must_use]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[must_use]
pub fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::Cursor;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_value_survives(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            let mut cursor = Cursor::new("test", &out);
            prop_assert_eq!(cursor.varint(), Ok(value));
            prop_assert_eq!(cursor.remaining(), 0);
            prop_assert_eq!(unzigzag(zigzag(value as i64)), value as i64);
        }
    }

    #[test]
    fn more_than_64_bits_are_refused() {
        let eleven = [0xff; 11];
        assert!(Cursor::new("test", &eleven).varint().is_err());
        let overflow = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(Cursor::new("test", &overflow).varint().is_err());
        let cut = [0x80];
        assert!(Cursor::new("test", &cut).varint().is_err());
    }
}
