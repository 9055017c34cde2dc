//! Native histograms in scripts: comparison, and conversion of classic ones (`load_with_nhcb`).

use std::collections::BTreeMap;
use storage_format::model::Histogram;
use storage_format::model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};

/// Whether two numbers agree within a relative 1e-6; NaN agrees with NaN.
pub(crate) fn almost_equal(a: f64, b: f64) -> bool {
    const EPSILON: f64 = 1e-6;
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let difference = (a - b).abs();
    let sum = a.abs() + b.abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}

/// Populated buckets by index.
fn populated(spans: &[Span], counts: &[f64]) -> BTreeMap<i64, f64> {
    let (mut next, mut counts, mut buckets) = (0_i64, counts.iter(), BTreeMap::new());
    for span in spans {
        next += i64::from(span.offset);
        for _ in 0..span.length {
            buckets.extend(counts.next().filter(|c| **c != 0.0).map(|c| (next, *c)));
            next += 1;
        }
    }
    buckets
}

fn sides_equal(a: &BTreeMap<i64, f64>, b: &BTreeMap<i64, f64>) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && almost_equal(*a.1, *b.1))
}

/// Whether two histograms agree, empty buckets and (unless it was given) the reset hint aside.
pub(crate) fn equal(expected: &Histogram, actual: &Histogram, hint_given: bool) -> bool {
    (!hint_given || expected.reset_hint == actual.reset_hint)
        && expected.schema == actual.schema
        && expected.custom_bounds == actual.custom_bounds
        && expected.zero_threshold == actual.zero_threshold
        && almost_equal(expected.count, actual.count)
        && almost_equal(expected.sum, actual.sum)
        && almost_equal(expected.zero_count, actual.zero_count)
        && sides_equal(
            &populated(&expected.positive_spans, &expected.positive_counts),
            &populated(&actual.positive_spans, &actual.positive_counts),
        )
        && sides_equal(
            &populated(&expected.negative_spans, &expected.negative_counts),
            &populated(&actual.negative_spans, &actual.negative_counts),
        )
}

/// What is known of a classic histogram at one time.
#[derive(Default)]
pub(crate) struct Classic {
    /// (upper bound, cumulative count).
    pub(crate) buckets: Vec<(f64, f64)>,
    pub(crate) count: Option<f64>,
    pub(crate) sum: f64,
}

impl Classic {
    /// The native histogram with the same bounds.
    pub(crate) fn convert(mut self) -> Result<Histogram, String> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|later, kept| later.0 == kept.0);
        if self.buckets.windows(2).any(|w| w[0].1 > w[1].1) {
            return Err("count is not cumulative".to_owned());
        }
        let highest = self.buckets.last().map(|b| b.1);
        let count = self.count.or(highest).unwrap_or_default();
        if self.buckets.last().is_none_or(|b| b.0 != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        if self.buckets.last().is_some_and(|b| b.1 != count) {
            return Err("count mismatch".to_owned());
        }
        let mut before = 0.0;
        let counts = self.buckets.iter().map(|(_, cumulative)| {
            let own = cumulative - before;
            before = *cumulative;
            own
        });
        let positive_counts: Vec<f64> = counts.collect();
        Ok(Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: positive_counts.len() as u32 }],
            positive_counts,
            custom_bounds: self.buckets.iter().map(|b| b.0).filter(|b| b.is_finite()).collect(),
            ..Histogram::default()
        })
    }
}
