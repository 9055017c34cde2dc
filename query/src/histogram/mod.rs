//! Arithmetic on native histograms, and what is read out of native and classic ones.
//!
//! Where it sits: below functions and operators, above the data model. All counts are floats; layouts are
//! handled as sorted lists of (bucket index, count), spans only at the borders.
//! Source: Prometheus' native histogram specification.

pub(crate) mod algebra;
mod bounds;
pub(crate) mod buckets;
pub(crate) mod classic;
mod hints;
pub(crate) mod quantile;
mod reset;
mod sum;
mod text;
mod trim;

pub(crate) use algebra::{divide, equal, multiply, size_in_samples};
pub(crate) use buckets::compact;
pub use buckets::{Bucket, all_buckets};
pub(crate) use hints::tell_hints;
pub(crate) use reset::detect_reset;
pub(crate) use sum::{HistogramSum, Merge, MixedSchemas};
pub(crate) use text::to_text;
pub(crate) use trim::trim;
