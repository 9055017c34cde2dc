//! What a decoder hands over: columns of samples and, per series, a key by which the head knows it.
//!
//! Labels are not built here. A decoder hashes the bytes by which its sender names a series
//! ([`series_key`]); the head looks the hash up and asks for the labels only when it has never seen it.
//! Invariant: for remote write 1.0 the bytes are the run of `labels` fields as they stand in the request.
//! When these are sorted and minimal they equal the canonical key of the label set
//! (`storage_format::model::labels::put_key`), and no second entry is needed.

use std::sync::OnceLock;
use storage_format::model::{Exemplar, Histogram, Timestamp};
use xxhash_rust::xxh3::xxh3_128_with_secret;

/// One request's samples, decoded. Reuse it: `clear` keeps the allocations.
#[derive(Debug, Default)]
pub struct WriteBatch {
    /// The series, in the order of the request.
    pub series: Vec<SeriesEntry>,
    /// Milliseconds since the epoch of all float samples, series after series.
    pub timestamps: Vec<Timestamp>,
    /// Their values; same length.
    pub values: Vec<f64>,
    /// Their start timestamps, 0 where unknown; empty when all are unknown, else of the same length.
    pub starts: Vec<Timestamp>,
    /// All histogram samples (timestamp, start timestamp or 0, histogram), series after series.
    pub histograms: Vec<(Timestamp, Timestamp, Histogram)>,
    /// Exemplars, each with the number of its entry in `series`, ascending by that. An entry without samples
    /// may have some: it makes no series, but finds one that is there.
    pub exemplars: Vec<(u32, Exemplar)>,
}

/// One series of a batch: its key, and where its samples end in the columns (they begin where those of
/// the entry before end).
#[derive(Debug, Clone, Copy)]
pub struct SeriesEntry {
    /// Hash of the bytes that name the series, see [`series_key`].
    pub key: u128,
    /// For the decoder: where those bytes stand, so that it can build the labels when asked.
    pub key_offset: u32,
    /// For the decoder: their length.
    pub key_len: u32,
    /// End of its float samples in `timestamps` and `values`.
    pub floats_end: u32,
    /// End of its histograms in `histograms`.
    pub histograms_end: u32,
}

impl WriteBatch {
    /// Empties the batch and keeps its allocations.
    pub fn clear(&mut self) {
        self.series.clear();
        self.timestamps.clear();
        self.values.clear();
        self.starts.clear();
        self.histograms.clear();
        self.exemplars.clear();
    }
    /// Ends the current series: everything pushed to the columns since the last call belongs to it.
    pub fn end_series(&mut self, key: u128, key_offset: u32, key_len: u32) {
        self.series.push(SeriesEntry {
            key,
            key_offset,
            key_len,
            floats_end: u32::try_from(self.timestamps.len()).unwrap_or(u32::MAX),
            histograms_end: u32::try_from(self.histograms.len()).unwrap_or(u32::MAX),
        });
    }
}

/// The keyed 128-bit hash of the bytes that name a series. The key is chosen at random when the process
/// starts, so that nobody can craft collisions; never store it.
#[must_use]
pub fn series_key(bytes: &[u8]) -> u128 {
    xxh3_128_with_secret(bytes, secret())
}

fn secret() -> &'static [u8; 192] {
    static SECRET: OnceLock<[u8; 192]> = OnceLock::new();
    SECRET.get_or_init(|| {
        use std::hash::{BuildHasher, RandomState};
        let mut secret = [0; 192];
        for (i, piece) in secret.chunks_exact_mut(8).enumerate() {
            piece.copy_from_slice(&RandomState::new().hash_one(i).to_le_bytes());
        }
        secret
    })
}
