//! What became of an append.

use crate::LeftOut;
use std::fmt;
use storage_format::model::{Labels, Timestamp};

/// Why a sample was not stored. `Display` gives Prometheus' text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// Older than the series' newest sample, and the out-of-order window is off.
    OutOfOrder = 0,
    /// Older than the out-of-order window.
    TooOld = 1,
    /// Too far in the future, or too far behind the head with the out-of-order window off.
    OutOfBounds = 2,
    /// Another value was stored for this timestamp.
    DuplicateTimestamp = 3,
    /// The head holds as many series as it may.
    SeriesLimit = 4,
    /// The metric has as many series as it may.
    MetricSeriesLimit = 5,
    /// A label has as many values as it may, and the series would add one.
    LabelValuesLimit = 6,
    /// Too many new series in a short time; the only reason that passes by itself.
    NewSeriesRate = 7,
}

impl Rejection {
    /// All reasons, in the order of [`AppendOutcome::by_reason`].
    pub const ALL: [Self; 8] = [
        Self::OutOfOrder,
        Self::TooOld,
        Self::OutOfBounds,
        Self::DuplicateTimestamp,
        Self::SeriesLimit,
        Self::MetricSeriesLimit,
        Self::LabelValuesLimit,
        Self::NewSeriesRate,
    ];
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfOrder => "out of order sample",
            Self::TooOld => "too old sample",
            Self::OutOfBounds => "out of bounds",
            Self::DuplicateTimestamp => "duplicate sample for timestamp",
            Self::SeriesLimit => "limit of active series reached",
            Self::MetricSeriesLimit => "limit of active series of a metric reached",
            Self::LabelValuesLimit => "limit of values of a label reached",
            Self::NewSeriesRate => "limit of new series a second reached",
        })
    }
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

/// What became of a batch. The accepted samples are visible; they are durable when the ticket says so.
#[derive(Debug, Clone, Default)]
pub struct AppendOutcome {
    /// Samples stored, duplicates with the same value included.
    pub accepted: u64,
    /// Samples not stored.
    pub rejected_count: u64,
    /// How many of those are histograms; remote write 2.0 answers with the two kinds apart.
    pub rejected_histograms: u64,
    /// How many of those for each reason, in the order of [`Rejection::ALL`]; samples of invalid series
    /// have none.
    pub by_reason: [u64; Rejection::ALL.len()],
    /// Entries of the batch of which a sample was not stored, each once, in no particular order; for
    /// protocols that count in other units than samples.
    pub rejected_entries: Vec<u32>,
    /// The first few of them.
    pub rejected: Vec<Rejected>,
    /// Why series were refused as a whole (their labels are invalid, or a limit is reached); the first few. All their samples are
    /// in `rejected_count`.
    pub invalid_series: Vec<String>,
    /// Exemplars stored, those that were there already included.
    pub exemplars_stored: u64,
    /// Exemplars not stored, by reason in the order of [`LeftOut::ALL`].
    pub exemplars_left_out: [u64; LeftOut::ALL.len()],
}

impl AppendOutcome {
    /// Whether the same request may fare better a second later: something was refused only because too
    /// much came at once.
    #[must_use]
    pub fn passes_by_itself(&self) -> bool {
        self.by_reason[Rejection::NewSeriesRate as usize] > 0
    }
    pub(crate) fn count_rejection(&mut self, reason: Rejection, floats: u64, histograms: u64) {
        self.rejected_count += floats + histograms;
        self.rejected_histograms += histograms;
        self.by_reason[reason as usize] += floats + histograms;
    }
}
