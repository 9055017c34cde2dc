//! The engine's door: open, append, snapshot, flush, close.

use crate::{Error, Options, SeriesEntry, Snapshot, Ticket, WriteBatch, snapshot::Series};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use storage_format::model::{Labels, Samples, Timestamp};

/// What a metric is, as its sender says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metadata {
    /// Kind of metric.
    pub metric_type: MetricType,
    /// Unit, possibly empty.
    pub unit: String,
    /// Help text, possibly empty.
    pub help: String,
}

/// Kind of metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum MetricType {
    /// Not told.
    Unknown = 0,
    /// Counter.
    Counter = 1,
    /// Gauge.
    Gauge = 2,
    /// Histogram, classic or native.
    Histogram = 3,
    /// Gauge histogram.
    GaugeHistogram = 4,
    /// Summary.
    Summary = 5,
    /// Info.
    Info = 6,
    /// State set.
    StateSet = 7,
}

/// Why a sample was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// Older than the series' newest sample, and the out-of-order window is off.
    OutOfOrder,
    /// Older than the out-of-order window.
    TooOld,
    /// Too far in the future.
    OutOfBounds,
    /// Another value was stored for this timestamp.
    DuplicateTimestamp,
    /// The head holds as many series as it may.
    SeriesLimit,
}

/// One sample that was not stored.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Its series.
    pub labels: Labels,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Why.
    pub reason: Rejection,
}

/// What became of a batch. The accepted samples are durable (as the WAL mode says) and visible.
#[derive(Debug, Clone, Default)]
pub struct AppendOutcome {
    /// Samples stored, duplicates with the same value included.
    pub accepted: u64,
    /// Samples not stored.
    pub rejected_count: u64,
    /// How many of those are histograms; remote write 2.0 answers with the two kinds apart.
    pub rejected_histograms: u64,
    /// The first few of them.
    pub rejected: Vec<Rejected>,
    /// Why series were refused as a whole (their labels are invalid); the first few. All their samples are
    /// in `rejected_count`.
    pub invalid_series: Vec<String>,
}

/// Numbers about the engine, for `/metrics` and the status pages.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Series in the head.
    pub head_series: u64,
    /// Samples appended since start.
    pub samples_appended: u64,
    /// Blocks on disk.
    pub blocks: u64,
    /// Oldest and newest sample in the head, if there is any.
    pub head_range: Option<(Timestamp, Timestamp)>,
}

/// A storage engine on one data directory. Share it as `Arc<Engine>`.
#[derive(Debug)]
pub struct Engine {
    series: Mutex<BTreeMap<Labels, Samples>>,
    metadata: Mutex<BTreeMap<String, Vec<Metadata>>>,
}

impl Engine {
    /// Opens or creates the data directory and recovers what it holds.
    ///
    /// # Errors
    /// When it is in use, cannot be written, or its catalog is damaged.
    pub fn open(_options: Options) -> Result<Self, Error> {
        Ok(Self { series: Mutex::default(), metadata: Mutex::default() })
    }
    /// Stores samples (each series' sorted by time) and returns when they are durable.
    ///
    /// # Errors
    /// When the log cannot be written; nothing is acknowledged then, and a retry is harmless.
    pub fn append(&self, batch: &[(Labels, Samples)]) -> Result<AppendOutcome, Error> {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outcome = AppendOutcome::default();
        for (labels, samples) in batch {
            let mine = all.entry(labels.clone()).or_default();
            for (i, (t, v)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
                mine.push_float(*t, samples.starts.get(i).copied().unwrap_or(0), *v);
            }
            mine.histograms.extend(samples.histograms.iter().cloned());
            outcome.accepted += samples.len() as u64;
        }
        Ok(outcome)
    }
    /// Stores a decoded batch: the samples are visible when this returns and durable when the ticket says
    /// so; acknowledge only then. `resolve` is asked for the labels of a series whose key is new; its error
    /// (a sentence for the sender) rejects that series alone.
    ///
    /// # Errors
    /// When writes are refused as a whole (`ReadOnly`, `Closed`).
    pub fn append_batch(
        &self,
        batch: &WriteBatch,
        resolve: &mut dyn FnMut(&SeriesEntry) -> Result<Labels, String>,
    ) -> Result<(AppendOutcome, Ticket), Error> {
        let (mut rows, mut floats, mut histograms) = (Vec::new(), 0, 0);
        let mut refused = AppendOutcome::default();
        for entry in &batch.series {
            let (f, h) = (entry.floats_end as usize, entry.histograms_end as usize);
            match resolve(entry) {
                Ok(labels) => {
                    let samples = Samples {
                        timestamps: batch.timestamps[floats..f].to_vec(),
                        values: batch.values[floats..f].to_vec(),
                        starts: batch.starts.get(floats..f).unwrap_or_default().to_vec(),
                        histograms: batch.histograms[histograms..h].to_vec(),
                    };
                    rows.push((labels, samples));
                }
                Err(why) => {
                    refused.invalid_series.push(why);
                    refused.rejected_count += (f - floats + h - histograms) as u64;
                    refused.rejected_histograms += (h - histograms) as u64;
                }
            }
            (floats, histograms) = (f, h);
        }
        let outcome = AppendOutcome { accepted: self.append(&rows)?.accepted, ..refused };
        let (ticket, promise) = Ticket::new();
        promise.complete(Ok(()));
        Ok((outcome, ticket))
    }
    /// A consistent, immutable view of everything acknowledged so far.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        Snapshot::from_series(all.iter().map(|(l, s)| Series::from_samples(l.clone(), Arc::new(s.clone()))))
    }
    /// Keeps what senders say about metrics.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub fn set_metadata(&self, entries: &[(String, Metadata)]) -> Result<(), Error> {
        let mut all = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, metadata) in entries {
            let known = all.entry(name.clone()).or_default();
            if !known.contains(metadata) {
                known.push(metadata.clone());
            }
        }
        Ok(())
    }
    /// Metadata by metric name.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, Vec<Metadata>> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Writes the whole head to blocks and returns when they are durable and published.
    ///
    /// # Errors
    /// When a block cannot be written; the head then still holds the data.
    pub fn flush(&self) -> Result<(), Error> {
        Ok(())
    }
    /// Numbers about the engine.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
    /// Stops background work and makes the log durable. Later appends fail with `Closed`.
    ///
    /// # Errors
    /// When the log cannot be synced.
    pub fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}
