//! A protobuf reader that borrows: fields are visited where they stand, nothing is built.
//!
//! Where it sits: below every protobuf decoder of this crate. Invariants: positions are absolute in the
//! body, so that errors say where; no length is believed before it is compared with what is there; groups
//! and field number 0 are malformed.

use crate::Error;

/// Wire type of varints.
pub(crate) const VARINT: u8 = 0;
/// Wire type of 64-bit fields.
pub(crate) const FIXED64: u8 = 1;
/// Wire type of length-delimited fields.
pub(crate) const BYTES: u8 = 2;
/// Wire type of 32-bit fields.
pub(crate) const FIXED32: u8 = 5;

/// A cursor over one message inside a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// The whole body.
    body: &'a [u8],
    at: usize,
    /// Where the message ends; never behind the body.
    end: usize,
}

/// A field's number and value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    /// Where its tag stands.
    pub(crate) start: usize,
    pub(crate) value: Value<'a>,
}

/// A field's value, not yet interpreted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(Reader<'a>),
}

#[cold]
fn bad(what: &'static str, offset: usize) -> Error {
    Error::BadPayload { what, offset }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { body: bytes, at: 0, end: bytes.len() }
    }
    /// Position in the body.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }
    /// Position of the message's end in the body.
    #[inline]
    pub(crate) fn end(&self) -> usize {
        self.end
    }
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.end
    }
    /// What is left of the message.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..self.end).unwrap_or_default()
    }
    /// What is left of the body, beyond the message's end, for reads wider than what they look for.
    #[inline]
    pub(crate) fn ahead(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }
    /// Bytes `start..end` of the body, empty when they are not all inside.
    #[inline]
    pub(crate) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        self.body.get(start..end).unwrap_or_default()
    }
    /// Takes `n` bytes of which the caller knows that they are there.
    #[inline]
    pub(crate) fn advance(&mut self, n: usize) {
        self.at = (self.at + n).min(self.end);
    }

    /// Steps over the length-delimited fields at the cursor that begin with `tag`, as far as they are
    /// plain (a tag of one byte, a length of up to two) and whole.
    #[inline]
    pub(crate) fn skip_run(&mut self, tag: u8) {
        let rest = self.rest();
        let mut at = 0;
        while let Some([t, len]) = rest.get(at..at + 2) {
            if *t != tag {
                break;
            }
            let next = if *len < 0x80 {
                at + 2 + usize::from(*len)
            } else if let Some(high @ 0..0x80) = rest.get(at + 2) {
                at + 3 + usize::from(*len & 0x7f) + (usize::from(*high) << 7)
            } else {
                break;
            };
            if next > rest.len() {
                break;
            }
            at = next;
        }
        self.advance(at);
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Error> {
        match *self.rest() {
            [b, ..] if b < 0x80 => {
                self.at += 1;
                Ok(u64::from(b))
            }
            // The lengths of series and data points.
            [low, high, ..] if high < 0x80 => {
                self.at += 2;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Error> {
        let rest = self.rest();
        if let Some((value, len)) = rest.first_chunk().and_then(|w| varint_in_word(u64::from_le_bytes(*w))) {
            self.at += len;
            return Ok(value);
        }
        let mut value = 0u64;
        for (i, &b) in rest.iter().take(10).enumerate() {
            if i == 9 && b > 1 {
                return Err(bad("number longer than 64 bits", self.at));
            }
            value |= u64::from(b & 0x7f) << (7 * i);
            if b < 0x80 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(bad("truncated number", self.at))
    }

    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<u64, Error> {
        let word = self.rest().first_chunk().ok_or_else(|| bad("truncated 64-bit field", self.at))?;
        self.at += 8;
        Ok(u64::from_le_bytes(*word))
    }

    fn fixed32(&mut self) -> Result<(), Error> {
        self.rest().first_chunk::<4>().ok_or_else(|| bad("truncated 32-bit field", self.at))?;
        self.at += 4;
        Ok(())
    }

    /// A length and that many bytes, as a message of their own.
    #[inline]
    pub(crate) fn message(&mut self) -> Result<Self, Error> {
        let start = self.at;
        let len = self.varint()?;
        let left = self.end - self.at;
        if len > left as u64 {
            return Err(bad("truncated field", start));
        }
        let end = self.at + len as usize;
        let inner = Self { end, ..*self };
        self.at = end;
        Ok(inner)
    }

    /// The next field, `None` at the end of the message.
    #[inline]
    pub(crate) fn field(&mut self) -> Result<Option<Field<'a>>, Error> {
        if self.is_empty() {
            return Ok(None);
        }
        let start = self.at;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).unwrap_or(0);
        if number == 0 || number > 0x1fff_ffff {
            return Err(bad("invalid field number", start));
        }
        let value = match (tag & 7) as u8 {
            VARINT => Value::Varint(self.varint()?),
            FIXED64 => Value::Fixed64(self.fixed64()?),
            BYTES => Value::Bytes(self.message()?),
            FIXED32 => {
                self.fixed32()?;
                Value::Fixed32
            }
            _ => return Err(bad("invalid wire type", start)),
        };
        Ok(Some(Field { number, start, value }))
    }
}

impl<'a> Field<'a> {
    #[cold]
    fn wrong_type<T>(&self) -> Result<T, Error> {
        Err(bad("field of the wrong wire type", self.start))
    }
    pub(crate) fn varint(&self) -> Result<u64, Error> {
        if let Value::Varint(v) = self.value { Ok(v) } else { self.wrong_type() }
    }
    pub(crate) fn int64(&self) -> Result<i64, Error> {
        self.varint().map(u64::cast_signed)
    }
    pub(crate) fn sint32(&self) -> Result<i32, Error> {
        self.varint().map(|v| zigzag(v & 0xffff_ffff) as i32)
    }
    pub(crate) fn fixed64(&self) -> Result<u64, Error> {
        if let Value::Fixed64(v) = self.value { Ok(v) } else { self.wrong_type() }
    }
    pub(crate) fn double(&self) -> Result<f64, Error> {
        self.fixed64().map(f64::from_bits)
    }
    pub(crate) fn message(&self) -> Result<Reader<'a>, Error> {
        if let Value::Bytes(v) = self.value { Ok(v) } else { self.wrong_type() }
    }
    pub(crate) fn bytes(&self) -> Result<&'a [u8], Error> {
        self.message().map(|m| m.rest())
    }
    pub(crate) fn str(&self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| bad("text that is not UTF-8", self.start))
    }
    /// A repeated 64-bit number, packed or single.
    pub(crate) fn each_fixed64(&self, mut each: impl FnMut(u64)) -> Result<(), Error> {
        match self.value {
            Value::Fixed64(v) => each(v),
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(packed.fixed64()?);
                }
            }
            _ => return self.wrong_type(),
        }
        Ok(())
    }
    /// A repeated varint, packed or single.
    pub(crate) fn each_varint(&self, mut each: impl FnMut(u64)) -> Result<(), Error> {
        match self.value {
            Value::Varint(v) => each(v),
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(packed.varint()?);
                }
            }
            _ => return self.wrong_type(),
        }
        Ok(())
    }
    /// An upper bound of the elements of a repeated number of at least `width` bytes each.
    pub(crate) fn element_bound(&self, width: usize) -> usize {
        match self.value {
            Value::Bytes(packed) => (packed.end() - packed.at()).div_ceil(width),
            _ => 1,
        }
    }
}

/// Undoes zigzag encoding.
#[inline]
pub(crate) fn zigzag(v: u64) -> i64 {
    (v >> 1).cast_signed() ^ -(v & 1).cast_signed()
}

/// The varint at the low end of `word` and its length, if it ends inside; eight bytes at once, since
/// timestamps have six.
#[inline]
pub(crate) fn varint_in_word(word: u64) -> Option<(u64, usize)> {
    let stops = !word & 0x8080_8080_8080_8080;
    if stops == 0 {
        return None;
    }
    let bits = stops.trailing_zeros() + 1;
    let w = word & (u64::MAX >> (64 - bits)) & 0x7f7f_7f7f_7f7f_7f7f;
    let w = (w & 0x007f_007f_007f_007f) | ((w & 0x7f00_7f00_7f00_7f00) >> 1);
    let w = (w & 0x0000_3fff_0000_3fff) | ((w & 0x3fff_0000_3fff_0000) >> 2);
    let w = (w & 0x0000_0000_0fff_ffff) | ((w & 0x0fff_ffff_0000_0000) >> 4);
    Some((w, bits as usize / 8))
}

/// Appends a varint.
pub(crate) fn push_varint(into: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        into.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    into.push(n as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn overlong_and_unfinished_varints_are_refused() {
        assert!(Reader::new(&[0xff; 11]).varint().is_err());
        assert!(Reader::new(&[0x80, 0x80]).varint().is_err());
        assert!(Reader::new(&[]).varint().is_err());
        let mut max = [0xff; 10];
        max[9] = 1;
        assert_eq!(Reader::new(&max).varint().unwrap(), u64::MAX);
        max[9] = 2;
        assert!(Reader::new(&max).varint().is_err());
    }

    #[test]
    fn groups_and_field_zero_are_refused() {
        assert!(Reader::new(&[0x0b, 0x0c]).field().is_err());
        assert!(Reader::new(&[0x00, 0x01]).field().is_err());
    }

    #[test]
    fn a_length_beyond_the_message_is_refused() {
        let mut reader = Reader::new(&[0x0a, 0x05, 1, 2]);
        assert!(matches!(reader.field(), Err(Error::BadPayload { offset: 1, .. })));
        let mut huge = vec![0x0a];
        push_varint(&mut huge, u64::MAX);
        assert!(Reader::new(&huge).field().is_err());
    }

    proptest! {
        #[test]
        fn varints_round_trip(n in any::<u64>(), shift in 0u32..64, tail in proptest::collection::vec(any::<u8>(), 0..9)) {
            let n = n >> shift;
            let mut bytes = Vec::new();
            push_varint(&mut bytes, n);
            let len = bytes.len();
            bytes.extend(tail);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint().unwrap(), n);
            prop_assert_eq!(reader.at(), len);
        }
    }
}
