//! Marigram's storage engine: head, write-ahead log, blocks, selection, recovery.
//!
//! Where it sits: above `storage-format` (what bytes mean), below `ingest` and `query`. Knows files,
//! durability, memory and background work; never PromQL, HTTP, protobuf or async.

pub mod batch;
mod block;
mod compaction;
mod damage;
mod defects;
mod engine;
mod error;
mod exemplars;
mod head;
#[cfg(all(test, shuttle))]
mod interleavings;
pub mod io;
mod metadata;
mod options;
mod outcome;
mod recovery;
pub mod select;
mod snapshot;
mod stats;
mod store;
mod sync;
mod ticket;
mod tombstones;
pub mod verify;
mod wal;

pub use batch::{SeriesEntry, WriteBatch, series_key};
pub use engine::Engine;
pub use error::Error;
pub use exemplars::{ExemplarPolicy, LeftOut};
pub use metadata::{Metadata, MetricType};
pub use options::{Options, WalSync};
pub use outcome::{AppendOutcome, Rejected, Rejection};
pub use select::{MatchOp, Matcher, MatcherError};
pub use snapshot::{EXEMPLARS_MAX, ReadFrom, Series, Snapshot};
pub use stats::{DamagedBlock, Stats};
pub use storage_format::catalog::BlockEntry;
pub use storage_format::model::Exemplar;
pub use ticket::Ticket;
