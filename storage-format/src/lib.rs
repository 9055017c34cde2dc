//! What Marigram's bytes mean: the data model, chunk codecs, WAL records, index and block layout.
//!
//! Where it sits: at the bottom. Knows values and bytes; never files, clocks, threads, logging or
//! protocols. `FORMAT.md` beside this crate is the specification of everything written to disk.

pub mod block;
pub mod bytes;
pub mod catalog;
pub mod checkpoint;
pub mod chunk;
pub mod error;
pub mod exemplars;
pub mod head_chunk;
pub mod label_table;
pub mod model;
pub mod tombstone;
pub mod wal;

pub use error::{FormatError, FormatErrorKind};
