//! The trim operators: a histogram without the observations above (`</`) or below (`>/`) a value.
//!
//! The bucket that holds the value is split by interpolation. When anything goes, the sum is estimated anew
//! from the observations that stay, each taken to lie in the middle of its part of the bucket. Buckets that
//! reach to infinity are either kept or dropped as a whole, for nothing is known of their inside; the
//! lowest custom bucket begins at 0 if it ends above.

use super::buckets::{Bucket, Side, compact, side_buckets, zero_bucket};
use storage_format::model::Histogram;

/// What is left of a bucket: observations, and the value they are taken to have.
type Kept = (f64, f64);

/// Removes the observations above `at` (`keep_below`) or below it.
pub(crate) fn trim(h: &mut Histogram, at: f64, keep_below: bool) {
    let custom = h.uses_custom_buckets();
    let cut = Cut { at, keep_below, custom };
    let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
    let mut total = |original: f64, (kept, value): Kept| {
        changed |= kept != original;
        count += kept;
        if kept != 0.0 {
            sum += kept * value;
        }
        kept
    };
    let mut populated = [false; 2];
    for (side, populated) in [Side::Positive, Side::Negative].into_iter().zip(&mut populated) {
        let kept: Vec<f64> = side_buckets(h, side)
            .map(|b| {
                *populated |= b.count != 0.0;
                total(b.count, cut.regular(b, side))
            })
            .collect();
        match side {
            Side::Positive => h.positive_counts = kept,
            Side::Negative => h.negative_counts = kept,
        }
    }
    if h.zero_count > 0.0 {
        let mut zero = zero_bucket(h);
        // With observations on one side only, those near zero are taken to lie on that side too.
        match populated {
            [true, false] => zero.lower = 0.0,
            [false, true] => zero.upper = 0.0,
            _ => {}
        }
        h.zero_count = total(zero.count, cut.linear(zero));
    }
    if changed {
        h.sum = sum;
        h.count = count;
    }
    h.integer = false;
    compact(h);
}

#[derive(Clone, Copy)]
struct Cut {
    at: f64,
    keep_below: bool,
    custom: bool,
}

impl Cut {
    fn regular(self, b: Bucket, side: Side) -> Kept {
        if b.lower == f64::NEG_INFINITY && b.upper == f64::INFINITY {
            let kept = if self.keep_below { self.at == f64::INFINITY } else { self.at == f64::NEG_INFINITY };
            return (if kept { b.count } else { 0.0 }, 0.0);
        }
        if b.lower == f64::NEG_INFINITY {
            return self.lowest(b);
        }
        if b.upper == f64::INFINITY {
            return self.highest(b);
        }
        if self.custom { self.linear(b) } else { self.exponential(b, side) }
    }
    /// `(-Inf, upper]`
    fn lowest(self, b: Bucket) -> Kept {
        if self.keep_below {
            if b.upper > 0.0 {
                return self.linear(Bucket { lower: 0.0, ..b });
            }
            let kept = if self.at == f64::NEG_INFINITY { 0.0 } else { b.count };
            return (kept, self.at.min(b.upper));
        }
        if self.at == f64::NEG_INFINITY {
            return (b.count, b.upper);
        }
        if b.upper > 0.0 && self.at >= 0.0 { self.linear(Bucket { lower: 0.0, ..b }) } else { (0.0, 0.0) }
    }
    /// `(lower, +Inf]`
    fn highest(self, b: Bucket) -> Kept {
        if self.keep_below {
            return (if self.at == f64::INFINITY { b.count } else { 0.0 }, b.lower);
        }
        (if self.at == f64::INFINITY { 0.0 } else { b.count }, self.at.max(b.lower))
    }
    fn linear(self, b: Bucket) -> Kept {
        let (from, to) = self.part(b);
        if from >= to {
            // A bucket without width lies on one side of the cut as a whole.
            let kept = if self.keep_below { b.upper <= self.at } else { b.lower >= self.at };
            return (if kept { b.count } else { 0.0 }, f64::midpoint(b.lower, b.upper));
        }
        let below = |v: f64| b.count * ((v - b.lower) / (b.upper - b.lower));
        (self.share(b, (from, to), below), (from + to) / 2.0)
    }
    fn exponential(self, b: Bucket, side: Side) -> Kept {
        let (from, to) = self.part(b);
        if from >= to {
            return (0.0, 0.0);
        }
        let middle = (from.abs() * to.abs()).sqrt();
        let (lower, upper) = (b.lower.abs().log2(), b.upper.abs().log2());
        match side {
            Side::Positive => {
                let below = |v: f64| b.count * ((v.abs().log2() - lower) / (upper - lower));
                (self.share(b, (from, to), below), middle)
            }
            Side::Negative => {
                let below = |v: f64| b.count * (1.0 - (v.abs().log2() - upper) / (lower - upper));
                (self.share(b, (from, to), below), -middle)
            }
        }
    }
    /// The part of the bucket that stays.
    fn part(self, b: Bucket) -> (f64, f64) {
        if self.keep_below { (b.lower, b.upper.min(self.at)) } else { (b.lower.max(self.at), b.upper) }
    }
    /// How many observations lie in a part, given how many lie below a value.
    fn share(self, b: Bucket, (from, to): (f64, f64), below: impl Fn(f64) -> f64) -> f64 {
        if from <= b.lower && to >= b.upper {
            b.count
        } else if self.keep_below {
            below(to)
        } else {
            b.count - below(from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_format::model::Span;

    fn histogram() -> Histogram {
        Histogram {
            count: 6.0,
            sum: 12.0,
            positive_spans: vec![Span { offset: 1, length: 2 }],
            positive_counts: vec![2.0, 4.0],
            ..Histogram::default()
        }
    }

    #[test]
    fn trimming_splits_the_bucket_and_estimates_the_sum() {
        let mut h = histogram();
        trim(&mut h, 8.0_f64.sqrt(), true);
        assert!((h.count - 4.0).abs() < 1e-12);
        let expected = 2.0 * 2.0_f64.sqrt() + 2.0 * (2.0 * 8.0_f64.sqrt()).sqrt();
        assert!((h.sum - expected).abs() < 1e-12);
    }

    #[test]
    fn trimming_nothing_changes_nothing() {
        let mut h = histogram();
        trim(&mut h, 4.0, true);
        assert_eq!((h.count, h.sum), (6.0, 12.0));
    }
}
