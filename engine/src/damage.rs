//! Damage met while reading: an error that names the file, or, for who asked for it, a note beside what is left.
//!
//! Where it sits: snapshots hand a [`Missing`] to blocks when their reader takes partial answers. Invariant:
//! an answer from which something is missing says so; nothing damaged is ever answered as data.

use crate::Error;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use storage_format::FormatError;

/// Most places that a partial answer names; more are counted.
const NAMED_MAX: usize = 10;

/// What a partial answer lacks: a sentence for each damaged place, each once.
#[derive(Debug, Default)]
pub(crate) struct Missing(Mutex<BTreeSet<String>>);

impl Missing {
    fn add(&self, why: &Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(why.to_string());
    }

    /// The sentences, at most [`NAMED_MAX`] and one that counts the rest.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out: Vec<String> =
            found.iter().take(NAMED_MAX).map(|why| format!("partial answer: {why}")).collect();
        if found.len() > NAMED_MAX {
            out.push(format!("partial answer: {} more damaged places", found.len() - NAMED_MAX));
        }
        out
    }
}

/// `result`; or nothing and a note when files are damaged or cannot be read and the reader takes that.
pub(crate) fn tolerate<T: Default>(missing: Option<&Missing>, result: Result<T, Error>) -> Result<T, Error> {
    match (result, missing) {
        (Err(e @ (Error::Corrupt { .. } | Error::Io { .. })), Some(missing)) => {
            missing.add(&e);
            Ok(T::default())
        }
        (result, _) => result,
    }
}

/// Why a file cannot be used, kept so that everybody who asks for it is told.
#[derive(Debug, Clone)]
pub(crate) enum Broken {
    /// Its bytes are not what the format says.
    Damaged(FormatError),
    /// The system does not give it.
    Unreadable(std::io::ErrorKind, String),
}

impl Broken {
    /// From the error that was met first.
    pub(crate) fn of(why: &Error) -> Self {
        match why {
            Error::Corrupt { source, .. } => Self::Damaged(source.clone()),
            Error::Io { source, .. } => Self::Unreadable(source.kind(), source.to_string()),
            other => Self::Unreadable(std::io::ErrorKind::Other, other.to_string()),
        }
    }

    /// The error, once more.
    pub(crate) fn error(&self, path: &Path) -> Error {
        let path: PathBuf = path.to_owned();
        match self {
            Self::Damaged(source) => Error::Corrupt { path, source: source.clone() },
            Self::Unreadable(kind, text) => {
                Error::Io { path, operation: "read", source: std::io::Error::new(*kind, text.clone()) }
            }
        }
    }
}
