//! Scaling, comparing and measuring native histograms.

use super::buckets::indexed;
use storage_format::model::histogram::Span;
use storage_format::model::{CounterResetHint, Histogram};

fn each(h: &mut Histogram, mut f: impl FnMut(&mut f64)) {
    for number in [&mut h.zero_count, &mut h.count, &mut h.sum] {
        f(number);
    }
    h.positive_counts.iter_mut().for_each(&mut f);
    h.negative_counts.iter_mut().for_each(&mut f);
    h.integer = false;
}

/// Multiplies everything; a negative factor makes a gauge.
pub(crate) fn multiply(h: &mut Histogram, factor: f64) {
    each(h, |n| *n *= factor);
    if factor < 0.0 {
        h.reset_hint = CounterResetHint::Gauge;
    }
}

/// Divides everything; a negative divisor makes a gauge, zero removes the regular buckets.
pub(crate) fn divide(h: &mut Histogram, divisor: f64) {
    each(h, |n| *n /= divisor);
    if divisor == 0.0 {
        h.positive_spans.clear();
        h.positive_counts.clear();
        h.negative_spans.clear();
        h.negative_counts.clear();
    }
    if divisor < 0.0 {
        h.reset_hint = CounterResetHint::Gauge;
    }
}

/// Whether both have the same layout and the same numbers, bit for bit; hints are ignored.
pub(crate) fn equal(a: &Histogram, b: &Histogram) -> bool {
    let bits = |x: f64, y: f64| x.to_bits() == y.to_bits();
    let side = |sa: &[Span], ca: &[f64], sb: &[Span], cb: &[f64]| {
        ca.len() == cb.len()
            && indexed(sa, ca).zip(indexed(sb, cb)).all(|(x, y)| x.0 == y.0 && bits(x.1, y.1))
    };
    a.schema == b.schema
        && bits(a.count, b.count)
        && bits(a.sum, b.sum)
        && (!a.uses_custom_buckets()
            || a.custom_bounds.len() == b.custom_bounds.len()
                && a.custom_bounds.iter().zip(&b.custom_bounds).all(|(x, y)| bits(*x, *y)))
        && a.zero_threshold == b.zero_threshold
        && bits(a.zero_count, b.zero_count)
        && side(&a.positive_spans, &a.positive_counts, &b.positive_spans, &b.positive_counts)
        && side(&a.negative_spans, &a.negative_counts, &b.negative_spans, &b.negative_counts)
}

/// Bytes a histogram occupies.
pub(crate) fn size_in_bytes(h: &Histogram) -> usize {
    const FIXED: usize = 168;
    let numbers = h.positive_spans.len()
        + h.negative_spans.len()
        + h.positive_counts.len()
        + h.negative_counts.len()
        + h.custom_bounds.len();
    FIXED + 8 * numbers
}

/// For how many float samples a histogram sample counts against the sample limit.
pub(crate) fn size_in_samples(h: &Histogram) -> u64 {
    (size_in_bytes(h) as u64 + 8) / 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_sets_hints() {
        let h = Histogram {
            count: 4.0,
            sum: 8.0,
            positive_spans: vec![Span { offset: 0, length: 1 }],
            positive_counts: vec![4.0],
            ..Histogram::default()
        };
        let mut negated = h.clone();
        multiply(&mut negated, -1.0);
        assert_eq!((negated.count, negated.reset_hint), (-4.0, CounterResetHint::Gauge));
        let mut infinite = h.clone();
        divide(&mut infinite, 0.0);
        assert!(infinite.positive_counts.is_empty() && infinite.count.is_infinite());
        assert!(equal(&h, &h.clone()) && !equal(&h, &negated));
        assert_eq!(size_in_samples(&h), (168 + 16 + 8) / 16);
    }
}
