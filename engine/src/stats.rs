//! Numbers about the engine, for `/metrics` and the status pages.

use crate::Rejection;
use storage_format::model::Timestamp;

/// Numbers about an engine. Counters count from the start of the process.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Series in the head.
    pub head_series: u64,
    /// Samples in the head.
    pub head_samples: u64,
    /// Distinct label pairs in the head (added up over its shards).
    pub head_label_pairs: u64,
    /// Oldest and newest sample in the head, milliseconds since the epoch, if there is any.
    pub head_range: Option<(Timestamp, Timestamp)>,
    /// Exemplars in memory.
    pub exemplars: u64,
    /// Samples appended.
    pub samples_appended: u64,
    /// Samples rejected, by reason in the order of [`Rejection::ALL`].
    pub samples_rejected: [u64; Rejection::ALL.len()],
    /// Live blocks.
    pub blocks: u64,
    /// Bytes of the live blocks.
    pub block_bytes: u64,
    /// Number of fsyncs of the log.
    pub wal_fsyncs: u64,
    /// Time spent in them, seconds.
    pub wal_fsync_seconds: f64,
    /// Bytes written to the log.
    pub wal_bytes: u64,
    /// Failed writes and fsyncs of the log.
    pub wal_failures: u64,
    /// Flushes of the head, failed ones included.
    pub flushes: u64,
    /// Merges of blocks.
    pub merges: u64,
    /// Checkpoints of the head.
    pub checkpoints: u64,
    /// Failures of background work, and damage found later than at opening.
    pub failures: u64,
    /// Damage found and failures of background work, a sentence each, the newest last.
    pub reports: Vec<String>,
}
