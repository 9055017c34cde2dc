//! Exemplars: single observations with the labels (a trace's id) that tell where they come from.

use super::{Labels, Timestamp};
use std::cmp::Ordering;

/// One exemplar.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// Its labels; may be empty.
    pub labels: Labels,
    /// The observed value.
    pub value: f64,
    /// When, milliseconds since the epoch.
    pub timestamp: Timestamp,
}

impl Exemplar {
    /// The one order in which exemplars of a series are kept and answered: timestamp, then value (NaN last,
    /// by its bits), then labels. Equal are those that are the same, bit for bit.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        let times = self.timestamp.cmp(&other.timestamp);
        times.then_with(|| self.value.total_cmp(&other.value)).then_with(|| self.labels.cmp(&other.labels))
    }
    /// Sorts the exemplars of one series and removes repetitions.
    pub fn settle(all: &mut Vec<Self>) {
        all.sort_by(Self::order);
        all.dedup_by(|a, b| a.order(b) == Ordering::Equal);
    }
}
