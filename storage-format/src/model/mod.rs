//! The nouns of the field: labels, samples, histograms, times. What the stored bytes mean.

pub mod exemplar;
pub mod histogram;
pub mod labels;
pub mod sample;
pub mod time;

pub use exemplar::Exemplar;
pub use histogram::{CounterResetHint, Histogram, Span};
pub use labels::{Labels, LabelsBuilder, METRIC_NAME};
pub use sample::{STALE_NAN_BITS, Samples, is_stale, stale_nan};
pub use time::{TimeRange, Timestamp};
