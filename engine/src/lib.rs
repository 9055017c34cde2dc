//! Marigram's storage engine: head, write-ahead log, blocks, selection, recovery.
//!
//! Where it sits: above `storage-format` (what bytes mean), below `ingest` and `query`. Knows files,
//! durability, memory and background work; never PromQL, HTTP, protobuf or async.

pub mod batch;
mod engine;
mod error;
mod options;
pub mod select;
mod snapshot;
mod ticket;

pub use batch::{SeriesEntry, WriteBatch, canonical_key_bytes, series_key};
pub use engine::{AppendOutcome, Engine, Metadata, MetricType, Rejected, Rejection, Stats};
pub use error::Error;
pub use options::{Options, WalSync};
pub use select::{MatchOp, Matcher, MatcherError};
pub use snapshot::{Series, Snapshot};
pub use ticket::Ticket;
