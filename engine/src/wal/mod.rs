//! The write-ahead log: what is durable before it is acknowledged.
//!
//! Where it sits: the engine logs through `Wal`, recovery reads through `replay`; neither knows the head.
//! Segments are named by the log position of their first record, in hexadecimal.

pub(crate) mod replay;
mod writer;

pub(crate) use writer::Wal;

use std::path::{Path, PathBuf};

const EXTENSION: &str = "wal";

/// The file of the segment that begins at log position `base`.
fn segment_path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:016x}.{EXTENSION}"))
}

/// The base position in a segment's file name; `None` for other files.
fn segment_base(path: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_str()?;
    (path.extension()? == EXTENSION && stem.len() == 16).then(|| u64::from_str_radix(stem, 16).ok())?
}
