//! Bit runs, least significant bit first: bit `i` of the stream is bit `i % 8` of byte `i / 8`.
//!
//! The writer pads its last byte with zero bits. The reader yields zeros past the end and remembers
//! that it did (`overrun`), so that inner loops need one check at their end only.

/// The most bits that [`BitReader::get_short`] reads.
pub const SHORT_BITS: u32 = 56;

/// Bits needed for `value`; 0 for 0.
#[must_use]
pub fn width_of(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Bytes that `bits` bits take.
#[must_use]
pub fn bits_len(bits: usize) -> usize {
    bits.div_ceil(8)
}

/// Appends bit runs to a byte vector.
#[derive(Debug)]
pub struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    pending: u64,
    filled: u32,
}

impl<'a> BitWriter<'a> {
    /// Writes behind what `out` holds already.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, pending: 0, filled: 0 }
    }
    /// Appends the low `width` bits of `value`, `width` in 0..=64.
    pub fn put(&mut self, value: u64, width: u32) {
        if width > 32 {
            self.put_short(value & 0xffff_ffff, 32);
            self.put_short(value >> 32, width - 32);
        } else {
            self.put_short(value, width);
        }
    }
    fn put_short(&mut self, value: u64, width: u32) {
        let value = value & ((1u64 << width) - 1);
        self.pending |= value << self.filled;
        self.filled += width;
        if self.filled >= 32 {
            self.out.extend_from_slice(&(self.pending as u32).to_le_bytes());
            self.pending >>= 32;
            self.filled -= 32;
        }
    }
    /// Writes the bits still pending, padded with zeros to a whole byte.
    pub fn finish(self) {
        let bytes = self.pending.to_le_bytes();
        self.out.extend_from_slice(&bytes[..bits_len(self.filled as usize)]);
    }
}

/// Reads bit runs.
#[derive(Debug, Clone)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// At the first bit of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
    /// The next 57 bits or more, zeros past the end.
    #[inline]
    fn window(&self) -> u64 {
        let byte = self.at >> 3;
        let word = if let Some(eight) = self.bytes.get(byte..byte + 8) {
            let mut word = [0; 8];
            word.copy_from_slice(eight);
            u64::from_le_bytes(word)
        } else {
            let rest = self.bytes.get(byte..).unwrap_or(&[]);
            rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
        };
        word >> (self.at & 7)
    }
    /// The next `width` bits, `width` in 0..=64; zeros past the end.
    #[inline]
    pub fn get(&mut self, width: u32) -> u64 {
        if width > SHORT_BITS {
            let low = self.get_short(32);
            return low | self.get_short(width - 32) << 32;
        }
        self.get_short(width)
    }
    /// The next `width` bits, `width` in `0..=SHORT_BITS`; zeros past the end.
    #[inline]
    pub fn get_short(&mut self, width: u32) -> u64 {
        let value = self.window() & ((1u64 << (width & 63)) - 1);
        self.at += width as usize;
        value
    }
    /// Bits read so far, counting those past the end.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }
    /// Whether more bits were read than there are.
    #[must_use]
    pub fn overrun(&self) -> bool {
        self.at > self.bytes.len() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_run_survives(runs in prop::collection::vec((any::<u64>(), 0u32..=64), 0..200)) {
            let runs: Vec<_> = runs.into_iter().map(|(v, w)| (if w == 0 { 0 } else { v >> (64 - w) }, w)).collect();
            let mut out = vec![7];
            let mut writer = BitWriter::new(&mut out);
            for (value, width) in &runs {
                writer.put(*value, *width);
            }
            writer.finish();
            let bits: usize = runs.iter().map(|(_, w)| *w as usize).sum();
            prop_assert_eq!(out.len(), 1 + bits_len(bits));
            let mut reader = BitReader::new(&out[1..]);
            for (value, width) in &runs {
                prop_assert_eq!(reader.get(*width), *value);
            }
            prop_assert!(!reader.overrun());
            let _ = reader.get(8);
            prop_assert!(reader.overrun());
        }
    }
}
