//! Timestamps and ranges of them.
//!
//! House rule: `TimeRange` is half-open everywhere inside. Prometheus' closed API ranges and PromQL's
//! left-open windows are converted at the edges (the server's parameters, the query's selectors).

/// Milliseconds since the epoch, signed.
pub type Timestamp = i64;

/// The instants `start <= t < end`, milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
}

impl TimeRange {
    /// Everything but the very last representable millisecond.
    pub const ALL: Self = Self { start: i64::MIN, end: i64::MAX };

    /// `start <= t < end`.
    #[must_use]
    pub fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end }
    }
    /// `start <= t <= end`, saturating at the last representable instant.
    #[must_use]
    pub fn closed(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end: end.saturating_add(1) }
    }
    /// `start < t <= end`: PromQL's windows.
    #[must_use]
    pub fn left_open(start: Timestamp, end: Timestamp) -> Self {
        Self { start: start.saturating_add(1), end: end.saturating_add(1) }
    }
    /// Whether `t` lies inside.
    #[must_use]
    pub fn contains(&self, t: Timestamp) -> bool {
        self.start <= t && t < self.end
    }
    /// Whether the two share an instant.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
    /// Whether no instant lies inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}
