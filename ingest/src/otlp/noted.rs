//! What was noticed while a request was translated, counted by what it is.
//!
//! Where it sits: filled by every part of `otlp`, handed out with the receipt. None of it refuses a data
//! point by itself; the deltas that are refused are counted here by their reason and in the receipt as
//! refused.

/// What was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// A metric without data points.
    EmptyDataPoints,
    /// Attributes whose names become one label; their values are joined. Counted once a new series.
    LabelNameCollision,
    /// A histogram that counted nothing and has a sum.
    HistogramZeroCountNonZeroSum,
    /// An integer beyond ±2^53 that no float is equal to.
    InexactInteger,
    /// A delta that was added before: a repetition, which is a success.
    DeltaRepeated,
    /// A delta older than the newest one of its stream, refused.
    DeltaLate,
    /// A delta that begins before the newest one of its stream ended, refused.
    DeltaOverlapping,
    /// A delta that is negative, not a number, or ends before it starts, refused.
    DeltaInvalid,
}

impl Note {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::EmptyDataPoints,
        Self::LabelNameCollision,
        Self::HistogramZeroCountNonZeroSum,
        Self::InexactInteger,
        Self::DeltaRepeated,
        Self::DeltaLate,
        Self::DeltaOverlapping,
        Self::DeltaInvalid,
    ];
    /// Its name as a label's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EmptyDataPoints => "empty_data_points",
            Self::LabelNameCollision => "label_name_collision",
            Self::HistogramZeroCountNonZeroSum => "histogram_zero_count_non_zero_sum",
            Self::InexactInteger => "inexact_integer",
            Self::DeltaRepeated => "delta_repeated",
            Self::DeltaLate => "delta_late",
            Self::DeltaOverlapping => "delta_overlapping",
            Self::DeltaInvalid => "delta_invalid",
        }
    }
}

/// How often each was noticed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Noted([u64; Note::ALL.len()]);

impl Noted {
    /// How often it was noticed.
    #[must_use]
    pub fn count(&self, note: Note) -> u64 {
        self.0[note as usize]
    }
    pub(super) fn add(&mut self, note: Note) {
        self.add_many(note, 1);
    }
    pub(super) fn add_many(&mut self, note: Note, times: u64) {
        self.0[note as usize] += times;
    }
    pub(super) fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a += b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_note_has_its_own_place() {
        for (i, note) in Note::ALL.into_iter().enumerate() {
            assert_eq!(note as usize, i);
            let mut noted = Noted::default();
            noted.add(note);
            assert_eq!(Note::ALL.map(|n| noted.count(n)).iter().sum::<u64>(), noted.count(note));
        }
    }
}
