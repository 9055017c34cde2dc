//! Samples as columns, and the staleness marker.

use super::{Histogram, Timestamp};

/// The bit pattern of Prometheus' staleness marker. Any other NaN is data.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The staleness marker as a value.
#[must_use]
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether `value` is the staleness marker, by exact bits.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// The samples of one series over a range, as columns.
///
/// Invariants: `timestamps` ascending and unique, same length as `values`; `histograms` ascending and
/// unique by timestamp; no timestamp stands in both. Staleness markers are kept (a stale histogram has
/// the marker as its `sum`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Milliseconds since the epoch of the float samples.
    pub timestamps: Vec<Timestamp>,
    /// Float values, bit for bit as they were sent.
    pub values: Vec<f64>,
    /// Start timestamps (created timestamps) of the float samples, 0 where unknown. Empty when all are
    /// unknown, else of the same length as `timestamps`.
    pub starts: Vec<Timestamp>,
    /// Native histogram samples: (timestamp, start timestamp or 0, histogram).
    pub histograms: Vec<(Timestamp, Timestamp, Histogram)>,
}

impl Samples {
    /// Empties all columns, keeping their allocations.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
        self.starts.clear();
        self.histograms.clear();
    }
    /// Whether there is no sample of either kind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty() && self.histograms.is_empty()
    }
    /// Number of samples of both kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timestamps.len() + self.histograms.len()
    }
    /// Keeps the first so many floats and histograms, whatever state a failed decoder left the columns in.
    pub fn cut(&mut self, floats: usize, histograms: usize) {
        self.timestamps.truncate(floats);
        self.values.truncate(floats);
        if !self.starts.is_empty() {
            self.starts.resize(floats, 0);
        }
        self.histograms.truncate(histograms);
    }
    /// Appends a float sample; `start` is 0 when unknown.
    pub fn push_float(&mut self, timestamp: Timestamp, start: Timestamp, value: f64) {
        if start != 0 && self.starts.is_empty() {
            self.starts.resize(self.timestamps.len(), 0);
        }
        if start != 0 || !self.starts.is_empty() {
            self.starts.push(start);
        }
        self.timestamps.push(timestamp);
        self.values.push(value);
    }
}
