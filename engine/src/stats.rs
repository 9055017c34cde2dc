//! Numbers about the engine, for `/metrics` and the status pages.

use crate::{LeftOut, Rejection};
use std::path::PathBuf;
use storage_format::catalog::BlockEntry;
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
    /// Exemplars in the head.
    pub exemplars: u64,
    /// Series of the head that have any.
    pub exemplar_series: u64,
    /// Exemplars stored.
    pub exemplars_appended: u64,
    /// Exemplars not stored, by reason in the order of [`LeftOut::ALL`].
    pub exemplars_left_out: [u64; LeftOut::ALL.len()],
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
    /// Blocks rewritten without what was deleted from them.
    pub rewrites: u64,
    /// Deletes.
    pub deletes: u64,
    /// Selectors of deletes that blocks still need.
    pub tombstone_selectors: u64,
    /// How many of them there may be.
    pub tombstone_selectors_max: u64,
    /// Checkpoints of the head.
    pub checkpoints: u64,
    /// Failures of background work.
    pub failures: u64,
    /// Live blocks in which damage was met.
    pub damaged_blocks: u64,
    /// Damaged places of the log that opening met; each cost a record, or the bytes up to the next one.
    pub wal_corruptions: u64,
    /// Damaged places of the checkpoint that opening met; each cost the series there.
    pub checkpoint_corruptions: u64,
    /// Damage found and failures of background work, a sentence each, the newest last.
    pub reports: Vec<String>,
}

/// A block that is not, or not wholly, what it should be.
#[derive(Debug, Clone)]
pub struct DamagedBlock {
    /// What the catalog says about it; answers lack its time range, or parts of it.
    pub entry: BlockEntry,
    /// Its file.
    pub path: PathBuf,
    /// The first damage that was met, in words that name the file.
    pub reason: String,
}
