//! Protocol buffers by hand: the few messages of remote read need no generated code.
//!
//! Source: the protocol buffers encoding guide. Input is hostile: lengths are checked before use, and
//! nothing is copied or allocated while reading.

/// A field's value as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Integers, booleans, enumerations.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Strings, bytes, messages.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32(u32),
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Walks the fields of a message; ends after the first error.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    #[must_use]
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Malformed)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }
    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.take()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.take()?)),
            _ => return Err(Malformed),
        };
        Ok((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Appends a bare varint.
pub fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends an integer field.
pub fn push_integer(out: &mut Vec<u8>, number: u64, value: u64) {
    push_varint(out, number << 3);
    push_varint(out, value);
}

/// Appends a floating-point field.
pub fn push_double(out: &mut Vec<u8>, number: u64, value: f64) {
    push_varint(out, number << 3 | 1);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Appends a string, or a message that is complete.
pub fn push_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    push_varint(out, number << 3 | 2);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Maps signed integers to small unsigned ones, as `sint32` and `sint64` do.
#[must_use]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Vec::new();
        push_integer(&mut message, 1, u64::MAX);
        push_double(&mut message, 2, -1.5);
        push_bytes(&mut message, 1000, b"abc");
        let fields: Result<Vec<_>, _> = Fields::new(&message).collect();
        let expected = [
            (1, Value::Varint(u64::MAX)),
            (2, Value::Fixed64((-1.5f64).to_bits())),
            (1000, Value::Bytes(&b"abc"[..])),
        ];
        assert_eq!(fields.unwrap(), expected);
        for end in 1..message.len() {
            let cut: Result<Vec<_>, _> = Fields::new(&message[..end]).collect();
            assert!(cut.is_err() || cut.is_ok_and(|fields| fields.len() < 3), "cut at {end}");
        }
    }

    #[test]
    fn broken_messages_end_the_walk() {
        for broken in
            [&b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..], b"\x0b", b"\xff", b"\x09abc", b"\x0d"]
        {
            let fields: Vec<_> = Fields::new(broken).collect();
            assert_eq!(fields, [Err(Malformed)], "{broken:?}");
        }
        assert_eq!([zigzag(0), zigzag(-1), zigzag(1), zigzag(i64::MIN)], [0, 1, 2, u64::MAX]);
    }
}
