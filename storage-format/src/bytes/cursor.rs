//! A checked read position in a byte slice.
//!
//! Every read either yields a value and moves on, or returns a [`FormatError`] that names the structure
//! and the offset; nothing is allocated here.

use crate::error::FormatError;

/// A read position; `what` names the structure in errors.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`.
    #[must_use]
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, at: 0 }
    }
    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }
    /// Bytes left to read.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }
    /// Whether everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }
    /// The error "malformed" at this position.
    #[must_use]
    pub fn malformed(&self) -> FormatError {
        FormatError::malformed(self.what, self.at)
    }
    /// The error "truncated" at this position.
    #[must_use]
    pub fn truncated(&self) -> FormatError {
        FormatError::truncated(self.what, self.at)
    }
    /// The next `n` bytes.
    ///
    /// # Errors
    /// Truncated when fewer are left; so for all reads below.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], FormatError> {
        if n > self.remaining() {
            return Err(self.truncated());
        }
        let taken = &self.bytes[self.at..self.at + n];
        self.at += n;
        Ok(taken)
    }
    /// All bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }
    /// One byte.
    ///
    /// # Errors
    /// Truncated.
    pub fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(self.array::<1>()?[0])
    }
    /// Two bytes.
    ///
    /// # Errors
    /// Truncated.
    pub fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_le_bytes)
    }
    /// Four bytes.
    ///
    /// # Errors
    /// Truncated.
    pub fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }
    /// Eight bytes.
    ///
    /// # Errors
    /// Truncated.
    pub fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }
    /// Eight bytes, two's complement.
    ///
    /// # Errors
    /// Truncated.
    pub fn i64(&mut self) -> Result<i64, FormatError> {
        self.array().map(i64::from_le_bytes)
    }
    /// Eight bytes, the bits of a float.
    ///
    /// # Errors
    /// Truncated.
    pub fn f64(&mut self) -> Result<f64, FormatError> {
        self.array().map(f64::from_le_bytes)
    }
    /// A varint.
    ///
    /// # Errors
    /// Truncated, or malformed when it exceeds 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, FormatError> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }
    fn long_varint(&mut self) -> Result<u64, FormatError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return Err(self.malformed());
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed())
    }
    /// A zigzag varint.
    ///
    /// # Errors
    /// As [`Cursor::varint`].
    pub fn varint_signed(&mut self) -> Result<i64, FormatError> {
        self.varint().map(super::unzigzag)
    }
    /// A varint that must not exceed `max` (a count or a length about to be used).
    ///
    /// # Errors
    /// As [`Cursor::varint`]; malformed when larger than `max`.
    pub fn varint_up_to(&mut self, max: usize) -> Result<usize, FormatError> {
        let value = self.varint()?;
        usize::try_from(value).ok().filter(|n| *n <= max).ok_or_else(|| self.malformed())
    }
}
