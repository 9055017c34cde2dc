//! The one error of this crate: bytes that are not what the format says.
//!
//! Input is hostile: decoders return this, never panic, and never allocate from an unchecked length.

use std::fmt;

/// What was being decoded, where it went wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    /// The structure being read, a noun phrase ("postings section").
    pub what: &'static str,
    /// Byte offset inside that structure.
    pub offset: usize,
    /// How it failed.
    pub kind: FormatErrorKind,
}

/// How bytes can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatErrorKind {
    /// The bytes end before the structure does.
    Truncated,
    /// The magic number is another.
    BadMagic,
    /// Written by a newer version than this reader knows.
    UnknownVersion,
    /// The checksum does not cover these bytes.
    BadChecksum,
    /// A value is outside of its valid range.
    Malformed,
    /// It is whole, but another one than the file that names it says.
    Foreign,
}

impl FormatError {
    /// An error about `what` at byte `offset`.
    #[must_use]
    pub fn new(what: &'static str, offset: usize, kind: FormatErrorKind) -> Self {
        Self { what, offset, kind }
    }
    /// The bytes end before the structure does.
    #[must_use]
    pub fn truncated(what: &'static str, offset: usize) -> Self {
        Self::new(what, offset, FormatErrorKind::Truncated)
    }
    /// A value is outside of its valid range.
    #[must_use]
    pub fn malformed(what: &'static str, offset: usize) -> Self {
        Self::new(what, offset, FormatErrorKind::Malformed)
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.kind {
            FormatErrorKind::Truncated => "ends too early",
            FormatErrorKind::BadMagic => "has a wrong magic number",
            FormatErrorKind::UnknownVersion => "has an unknown version",
            FormatErrorKind::BadChecksum => "fails its checksum",
            FormatErrorKind::Malformed => "is malformed",
            FormatErrorKind::Foreign => "is another one than the catalog says,",
        };
        write!(f, "{} {how} at byte {}", self.what, self.offset)
    }
}

impl std::error::Error for FormatError {}
