//! Quantiles, fractions and spread of native histograms.
//!
//! Interpolation is exponential inside regular buckets, linear inside the zero bucket and custom buckets.

use super::buckets::{Bucket, all_buckets};
use crate::kahan::Kahan;
use storage_format::model::Histogram;

/// What NaN observations did to a quantile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NanEffect {
    /// There are none, as far as the sum tells.
    None,
    /// They made the result NaN.
    ResultNan,
    /// They moved the result up.
    SkewedHigher,
}

/// The histogram's quantile `q`.
pub(crate) fn quantile(q: f64, h: &Histogram) -> (f64, NanEffect) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, NanEffect::None);
    }
    if q > 1.0 {
        return (f64::INFINITY, NanEffect::None);
    }
    if h.count == 0.0 || q.is_nan() {
        return (f64::NAN, NanEffect::None);
    }
    // NaN observations are counted but lie in no bucket, so ranks only hold from below then.
    let forward = h.sum.is_nan() || q < 0.5;
    let rank = if forward { q * h.count } else { (1.0 - q) * h.count };
    let buckets = all_buckets(h);
    let (mut bucket, mut count) = (EMPTY, 0.0);
    let mut walk = |b: &Bucket| {
        bucket = *b;
        if b.count == 0.0 {
            return false;
        }
        count += b.count;
        count >= rank
    };
    let _ = if forward { buckets.iter().any(&mut walk) } else { buckets.iter().rev().any(&mut walk) };

    if h.uses_custom_buckets() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, NanEffect::None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, NanEffect::None);
        }
    } else {
        clip_zero_bucket(&mut bucket, h);
    }
    count = count.min(h.count);
    if count < rank {
        return if h.sum.is_nan() {
            (f64::NAN, NanEffect::ResultNan)
        } else {
            (bucket.upper, NanEffect::None)
        };
    }
    let within = if forward { rank - (count - bucket.count) } else { count - rank };
    let effect = if h.sum.is_nan() { NanEffect::SkewedHigher } else { NanEffect::None };
    (at_fraction(&bucket, within / bucket.count, h.uses_custom_buckets()), effect)
}

const EMPTY: Bucket =
    Bucket { lower: 0.0, upper: 0.0, count: 0.0, lower_inclusive: false, upper_inclusive: false };

/// A zero bucket of a histogram without observations on one side ends at 0 on that side.
fn clip_zero_bucket(bucket: &mut Bucket, h: &Histogram) {
    if bucket.lower < 0.0 && bucket.upper > 0.0 {
        if h.negative_counts.is_empty() && !h.positive_counts.is_empty() {
            bucket.lower = 0.0;
        } else if h.positive_counts.is_empty() && !h.negative_counts.is_empty() {
            bucket.upper = 0.0;
        }
    }
}

fn at_fraction(b: &Bucket, fraction: f64, custom: bool) -> f64 {
    if custom || b.lower <= 0.0 && b.upper >= 0.0 {
        return b.lower + (b.upper - b.lower) * fraction;
    }
    let (lower, upper) = (b.lower.abs().log2(), b.upper.abs().log2());
    if b.lower > 0.0 {
        (lower + (upper - lower) * fraction).exp2()
    } else {
        -(upper + (lower - upper) * (1.0 - fraction)).exp2()
    }
}

/// The fraction of the observations between two values, and whether NaN observations were left out.
pub(crate) fn fraction(lower: f64, upper: f64, h: &Histogram) -> (f64, bool) {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, false);
    }
    if lower >= upper {
        return (0.0, false);
    }
    let buckets = all_buckets(h);
    let in_buckets: f64 = buckets.iter().map(|b| b.count).sum();
    let nans = h.sum.is_nan();
    let count = if nans { in_buckets } else { h.count };
    let rank_of = |value: f64| {
        let mut rank = 0.0;
        for b in &buckets {
            let mut b = *b;
            let zero = !h.uses_custom_buckets() && b.lower <= 0.0 && b.upper >= 0.0;
            if zero {
                clip_zero_bucket(&mut b, h);
            }
            if b.lower >= value {
                return rank;
            }
            if b.upper > value {
                return rank + b.count * share_below(&b, value, zero || h.uses_custom_buckets());
            }
            rank += b.count;
        }
        count
    };
    let (from, to) = (rank_of(lower).min(count), rank_of(upper).min(count));
    ((to - from) / h.count, nans)
}

/// Which share of the bucket lies below `value`, which lies inside.
fn share_below(b: &Bucket, value: f64, linear: bool) -> f64 {
    if linear {
        // The lowest custom bucket begins at 0 if it ends above, else nothing is known of it.
        let lower = if b.lower == f64::NEG_INFINITY { 0.0 } else { b.lower };
        if b.lower == f64::NEG_INFINITY && (b.upper <= 0.0 || value < 0.0) {
            return if b.upper <= 0.0 { 1.0 } else { 0.0 };
        }
        if b.upper == f64::INFINITY {
            return 0.0;
        }
        return (value - lower) / (b.upper - lower);
    }
    let (lower, upper, at) = (b.lower.abs().log2(), b.upper.abs().log2(), value.abs().log2());
    if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
}

/// Variance of the observations, each taken to lie in the middle of its bucket: arithmetic for custom
/// buckets, geometric for exponential ones, 0 for the zero bucket.
pub(crate) fn variance(h: &Histogram) -> f64 {
    let mean = h.sum / h.count;
    let mut total = Kahan::default();
    for b in all_buckets(h) {
        if b.count == 0.0 {
            continue;
        }
        let middle = if h.uses_custom_buckets() {
            (b.upper + b.lower) / 2.0
        } else if b.lower <= 0.0 && b.upper >= 0.0 {
            0.0
        } else {
            let middle = (b.upper * b.lower).sqrt();
            if b.upper < 0.0 { -middle } else { middle }
        };
        let delta = middle - mean;
        total.add(b.count * delta * delta);
    }
    (total.sum + total.rest) / h.count
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_format::model::Span;

    fn two_buckets() -> Histogram {
        Histogram {
            count: 4.0,
            sum: 10.0,
            positive_spans: vec![Span { offset: 1, length: 2 }],
            positive_counts: vec![2.0, 2.0],
            ..Histogram::default()
        }
    }

    #[test]
    fn quantiles_and_fractions_are_inverse() {
        let h = two_buckets();
        for q in [0.1, 0.25, 0.5, 0.6, 0.9] {
            let (value, effect) = quantile(q, &h);
            assert_eq!(effect, NanEffect::None);
            assert!((fraction(f64::NEG_INFINITY, value, &h).0 - q).abs() < 1e-12);
        }
        assert_eq!(quantile(0.25, &h).0, 2.0_f64.sqrt());
        assert_eq!(quantile(-1.0, &h).0, f64::NEG_INFINITY);
        assert_eq!(quantile(1.5, &h).0, f64::INFINITY);
    }

    #[test]
    fn nan_observations_show() {
        let mut h = two_buckets();
        h.count = 8.0;
        h.sum = f64::NAN;
        assert_eq!(quantile(0.25, &h).1, NanEffect::SkewedHigher);
        assert_eq!(quantile(0.75, &h).1, NanEffect::ResultNan);
        assert_eq!(fraction(f64::NEG_INFINITY, f64::INFINITY, &h), (0.5, true));
    }
}
