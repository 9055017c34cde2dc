//! Every setting of the engine with unit, default and reason; nothing is unlimited.

use crate::ExemplarPolicy;
use std::path::PathBuf;
use std::time::Duration;

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalSync {
    /// After `fdatasync`; one serves all waiting requests.
    Ack,
    /// After `write`; `fdatasync` this often.
    Interval(Duration),
    /// After `write`; the operating system decides when it reaches the disk.
    None,
}

/// Settings of an engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory; created when missing.
    pub path: PathBuf,
    /// When a write is acknowledged. Default: `Ack`.
    pub wal_sync: WalSync,
    /// A segment of the log is closed when it has this many bytes. Default: 64 MiB.
    pub wal_segment_bytes: u64,
    /// How far behind the head's newest sample a sample may be, milliseconds. Default: 30 minutes.
    pub out_of_order_window_ms: i64,
    /// How far ahead of the clock a sample may be, milliseconds. Default: 10 minutes.
    pub future_window_ms: i64,
    /// Age from which blocks are dropped, milliseconds. Default: 15 days; `i64::MAX` keeps everything.
    pub retention_ms: i64,
    /// Longest range of a merged block, milliseconds; a tenth of the retention when that is less. Default:
    /// 31 days.
    pub block_range_ms_max: i64,
    /// Shards of the head; fixed when the directory is created. Default: the number of cores.
    pub shards: u32,
    /// Most series in the head. Default: 10 million.
    pub series_max: usize,
    /// Most series of one metric in the head. Default: half of `series_max`.
    pub series_per_metric_max: usize,
    /// Most values of one label in the head; above 1,024 they are counted by sampling, within some five
    /// percent. Default: half of `series_max`.
    pub values_per_label_max: usize,
    /// New series a second in the long run, ten times as many at once; 0 is no limit. Default: 250,000, which
    /// is more than one machine's senders can cause by starting.
    pub new_series_per_second: u32,
    /// Most selectors of deletes that may wait to be applied to blocks. Default: 4,096.
    pub tombstones_max: usize,
    /// Most exemplars in the head, over all series; 0 keeps none. When it is half full they are written to a
    /// block early. One takes some 200 bytes. Default: 100,000.
    pub exemplars_max: usize,
    /// Most exemplars of one series in one window of two hours. Default: 128.
    pub exemplars_per_series_max: u32,
    /// Which exemplars are chosen, before these limits. Default: all.
    pub exemplar_policy: ExemplarPolicy,
}

impl Options {
    /// Defaults for a data directory.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            wal_sync: WalSync::Ack,
            wal_segment_bytes: 64 << 20,
            out_of_order_window_ms: 30 * 60 * 1000,
            future_window_ms: 10 * 60 * 1000,
            retention_ms: 15 * 24 * 3600 * 1000,
            block_range_ms_max: 31 * 24 * 3600 * 1000,
            shards: std::thread::available_parallelism().map_or(2, |n| n.get() as u32),
            series_max: 10_000_000,
            series_per_metric_max: 5_000_000,
            values_per_label_max: 5_000_000,
            new_series_per_second: 250_000,
            tombstones_max: 4096,
            exemplars_max: 100_000,
            exemplars_per_series_max: 128,
            exemplar_policy: ExemplarPolicy::Always,
        }
    }
}
