//! What can go wrong with the engine as a whole. Rejected samples are outcomes, not errors.

use std::fmt;
use std::path::PathBuf;

/// An error of the engine.
#[derive(Debug)]
pub enum Error {
    /// A file's bytes are damaged; the data that touches it cannot be read.
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong with it.
        source: storage_format::FormatError,
    },
    /// The operating system refused.
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What was tried ("open", "fsync").
        operation: &'static str,
        /// Its answer.
        source: std::io::Error,
    },
    /// The data directory is in use by another process.
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// The log could not be written; writes are refused (retry later), reads go on.
    ReadOnly {
        /// Why.
        reason: String,
    },
    /// The engine is closing.
    Closed,
    /// A limit was reached; says which and how high it is.
    Limit(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Io { path, operation, source } => write!(f, "{operation} {}: {source}", path.display()),
            Self::Locked { path } => {
                write!(f, "data directory {} is in use by another process", path.display())
            }
            Self::ReadOnly { reason } => write!(f, "storage is read-only: {reason}"),
            Self::Closed => f.write_str("storage is closing"),
            Self::Limit(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {}
