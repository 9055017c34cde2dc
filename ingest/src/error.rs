//! Why a request was refused as a whole. What happens to single samples is an outcome, not an error.

use std::fmt;

/// A request of which nothing was stored.
#[derive(Debug)]
pub enum Error {
    /// The content type is none of those this receiver reads (415).
    UnsupportedMediaType(String),
    /// The content encoding is none of those this receiver reads (415).
    UnsupportedEncoding(String),
    /// The body is not what its content type says (400).
    BadPayload {
        /// What was being read, a noun phrase, or what is wrong with it.
        what: &'static str,
        /// Byte at which it went wrong, in the decompressed body once decompression has succeeded.
        offset: usize,
    },
    /// The body is not the JSON it should be: why and where (400).
    BadJson(String),
    /// The body is larger than it may be, or holds more elements than it may (413 or 400).
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// The engine refused or failed (503).
    Engine(engine::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedMediaType(got) => write!(f, "unsupported content type {got:?}"),
            Self::UnsupportedEncoding(got) => write!(f, "unsupported content encoding {got:?}"),
            Self::BadPayload { what, offset } => write!(f, "malformed body: {what} at byte {offset}"),
            Self::BadJson(why) => write!(f, "malformed JSON body: {why}"),
            Self::TooLarge { what, limit } => write!(f, "too many {what} in one request, limit {limit}"),
            Self::Engine(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<engine::Error> for Error {
    fn from(e: engine::Error) -> Self {
        Self::Engine(e)
    }
}
