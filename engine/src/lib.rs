//! Marigram's storage engine: head, write-ahead log, blocks, selection, recovery.
//!
//! Where it sits: above `storage-format` (what bytes mean), below `ingest` and `query`. Knows files,
//! durability, memory and background work; never PromQL, HTTP, protobuf or async.

mod engine;
mod error;
mod options;
pub mod select;
mod snapshot;

pub use engine::{AppendOutcome, Engine, Metadata, MetricType, Rejected, Rejection, Stats};
pub use error::Error;
pub use options::{Options, WalSync};
pub use select::{MatchOp, Matcher, MatcherError};
pub use snapshot::{Series, Snapshot};
