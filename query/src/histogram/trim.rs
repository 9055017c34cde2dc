//! The trim operators: a histogram without the observations above (`</`) or below (`>/`) a value.
//!
//! The bucket that holds the value is split by interpolation, the sum is corrected by the removed
//! observations at the middle of where they lay.

use super::buckets::{Bucket, Side, compact, side_buckets, zero_bucket};
use storage_format::model::Histogram;

/// Removes the observations above `at` (`keep_below`) or below it.
pub(crate) fn trim(h: &mut Histogram, at: f64, keep_below: bool) {
    let custom = h.uses_custom_buckets();
    let mut total = Trimmed::default();
    for side in [Side::Positive, Side::Negative] {
        let kept: Vec<f64> = side_buckets(h, side)
            .map(|b| {
                if b.count == 0.0 {
                    return 0.0;
                }
                total.see_sign(b, side, custom);
                let positive = side == Side::Positive;
                let (keep, middle) = split(b, at, keep_below, positive, custom);
                total.kept += keep;
                if keep != b.count {
                    total.removed_sum += (b.count - keep) * middle;
                }
                keep
            })
            .collect();
        match side {
            Side::Positive => h.positive_counts = kept,
            Side::Negative => h.negative_counts = kept,
        }
    }
    if h.zero_count > 0.0 {
        let below = below(zero_bucket(h), at, true, true);
        h.zero_count = if keep_below { below } else { h.zero_count - below };
        total.kept += h.zero_count;
    }
    h.sum = total.new_sum(h.sum);
    h.count = total.kept;
    h.integer = false;
    compact(h);
}

#[derive(Default)]
struct Trimmed {
    kept: f64,
    removed_sum: f64,
    saw_positive: bool,
    saw_negative: bool,
}

impl Trimmed {
    fn see_sign(&mut self, b: Bucket, side: Side, custom: bool) {
        if side == Side::Negative {
            self.saw_negative = true;
        } else if custom {
            self.saw_negative |= b.upper <= 0.0 || b.lower < 0.0;
            self.saw_positive |= b.upper > 0.0;
        } else {
            self.saw_positive = true;
        }
    }
    /// The sum cannot have a sign that no observation had; without observations it is 0.
    fn new_sum(&self, sum: f64) -> f64 {
        if self.kept == 0.0 {
            return 0.0;
        }
        let sum = sum - self.removed_sum;
        if !self.saw_negative && sum < 0.0 || !self.saw_positive && sum > 0.0 { 0.0 } else { sum }
    }
}

/// How many observations of the bucket stay, and the middle of those that go.
fn split(b: Bucket, at: f64, keep_below: bool, positive: bool, custom: bool) -> (f64, f64) {
    let (all_kept, all_gone) =
        if keep_below { (b.upper <= at, b.lower >= at) } else { (b.lower >= at, b.upper <= at) };
    if b.lower.is_infinite() || b.upper.is_infinite() {
        return if all_kept { (b.count, 0.0) } else { split_infinite(b, at, keep_below) };
    }
    if all_kept {
        return (b.count, 0.0);
    }
    let middle = |from: f64, to: f64| {
        if custom {
            return (b.lower + b.upper) / 2.0;
        }
        let product = (from.abs() * to.abs()).sqrt();
        if positive { product } else { -product }
    };
    if all_gone {
        // Prometheus takes the middle of removed negative buckets without its sign.
        let middle = if custom { (b.lower + b.upper) / 2.0 } else { (b.lower * b.upper).sqrt() };
        return (0.0, middle);
    }
    let below = below(b, at, positive, custom);
    if keep_below { (below, middle(b.lower, at)) } else { (b.count - below, middle(at, b.upper)) }
}

/// A bucket that reaches to infinity is only split where its lower end can be taken as 0.
fn split_infinite(b: Bucket, at: f64, keep_below: bool) -> (f64, f64) {
    if b.lower == f64::NEG_INFINITY {
        if at >= 0.0 && b.upper > at && b.upper != f64::INFINITY {
            return if keep_below {
                (b.count * at / b.upper, (at + b.upper) / 2.0)
            } else {
                (b.count * (1.0 - at / b.upper), at / 2.0)
            };
        }
        return (0.0, b.upper);
    }
    (0.0, b.lower)
}

/// How many observations of the bucket lie below `at`.
fn below(b: Bucket, at: f64, positive: bool, linear: bool) -> f64 {
    if at <= b.lower {
        return 0.0;
    }
    if at >= b.upper {
        return b.count;
    }
    let fraction = if linear {
        (at - b.lower) / (b.upper - b.lower)
    } else {
        let (lower, upper, at) = (b.lower.abs().log2(), b.upper.abs().log2(), at.abs().log2());
        if positive { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
    };
    b.count * fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_format::model::Span;

    #[test]
    fn trimming_splits_the_bucket() {
        let mut h = Histogram {
            count: 6.0,
            sum: 12.0,
            positive_spans: vec![Span { offset: 1, length: 2 }],
            positive_counts: vec![2.0, 4.0],
            ..Histogram::default()
        };
        trim(&mut h, 2.0, true);
        assert_eq!((h.count, h.positive_counts.as_slice()), (2.0, [2.0].as_slice()));
        assert!((h.sum - (12.0 - 4.0 * 8.0_f64.sqrt())).abs() < 1e-12);
    }
}
