//! Native histograms: exponential schemas -4..=8 and custom buckets (schema -53).
//!
//! Source: Prometheus' native histogram specification. Counts are kept as `f64` for both flavours
//! (integers are exact to 2^53); `integer` remembers which flavour was sent, so that it can be sent on.

use super::sample::{STALE_NAN_BITS, is_stale};
use std::fmt;

/// The schema of histograms with custom bucket bounds.
pub const CUSTOM_BUCKETS_SCHEMA: i8 = -53;
/// The coarsest exponential schema.
pub const SCHEMA_MIN: i8 = -4;
/// The finest exponential schema.
pub const SCHEMA_MAX: i8 = 8;

/// A run of consecutive buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Gap to the previous span in buckets; the index of the first bucket for the first span.
    pub offset: i32,
    /// Number of consecutive buckets.
    pub length: u32,
}

/// What is known about a counter reset between the previous sample and this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum CounterResetHint {
    /// Nothing is known.
    #[default]
    Unknown = 0,
    /// This histogram is the first after a reset.
    CounterReset = 1,
    /// No reset happened.
    NotCounterReset = 2,
    /// A gauge histogram: resets have no meaning.
    Gauge = 3,
}

impl CounterResetHint {
    /// From its wire number; anything unknown is `Unknown`.
    #[must_use]
    pub fn from_wire(n: u64) -> Self {
        match n {
            1 => Self::CounterReset,
            2 => Self::NotCounterReset,
            3 => Self::Gauge,
            _ => Self::Unknown,
        }
    }
}

/// A native histogram with absolute bucket counts.
///
/// Invariants of a valid one (see [`Histogram::validate`]): span lengths add up to the number of counts
/// on each side; custom bounds only with schema -53, strictly increasing and finite.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// Counter reset hint.
    pub reset_hint: CounterResetHint,
    /// -4..=8 exponential, -53 custom buckets.
    pub schema: i8,
    /// Whether the counts came as integers.
    pub integer: bool,
    /// Width of the zero bucket, `[-threshold, threshold]`.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of the observations; the staleness marker makes the whole histogram stale.
    pub sum: f64,
    /// Runs of positive buckets.
    pub positive_spans: Vec<Span>,
    /// Runs of negative buckets.
    pub negative_spans: Vec<Span>,
    /// Absolute counts of the positive buckets, in span order.
    pub positive_counts: Vec<f64>,
    /// Absolute counts of the negative buckets, in span order.
    pub negative_counts: Vec<f64>,
    /// Upper bounds of the custom buckets (schema -53 only); the last bucket is up to +Inf.
    pub custom_bounds: Vec<f64>,
}

/// Why a histogram is not valid; `Display` gives Prometheus' text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidHistogram(pub String);

impl fmt::Display for InvalidHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidHistogram {}

impl Histogram {
    /// A histogram that is only a staleness marker.
    #[must_use]
    pub fn stale() -> Self {
        Self { sum: f64::from_bits(STALE_NAN_BITS), ..Self::default() }
    }
    /// Whether it is a staleness marker.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }
    /// Whether its buckets have custom bounds.
    #[must_use]
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }
}
