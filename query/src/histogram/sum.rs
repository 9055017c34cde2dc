//! Compensated sums of native histograms with differing layouts.
//!
//! Layouts are reconciled towards the coarser: the lower schema, the wider zero bucket, the bounds that
//! custom layouts share. Adding one histogram to one other gives exactly the rounded sums, for the
//! compensation of a single addition lies below half a unit in the last place.

use super::buckets::{Side, coarser, list, spans, upper_bound, zero_count_at};
use crate::kahan::Kahan;
use storage_format::model::{CounterResetHint, Histogram};

/// Exponential and custom buckets do not mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MixedSchemas;

/// What an addition had to reconcile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Merge {
    /// One was marked as "after a reset", the other as "not after a reset".
    pub(crate) hints_collided: bool,
    /// Custom bounds differed and were reduced to those in common.
    pub(crate) bounds_reconciled: bool,
}

type Counts = Vec<(i32, Kahan)>;

/// A running sum.
#[derive(Debug, Clone)]
pub(crate) struct HistogramSum {
    hint: CounterResetHint,
    schema: i8,
    zero_threshold: f64,
    zero: Kahan,
    count: Kahan,
    sum: Kahan,
    positive: Counts,
    negative: Counts,
    custom_bounds: Vec<f64>,
}

fn compensated(list: Vec<(i32, f64)>) -> Counts {
    list.into_iter().map(|(i, c)| (i, Kahan::new(c))).collect()
}

fn rounded(counts: &Counts) -> Vec<(i32, f64)> {
    counts.iter().map(|(i, c)| (*i, c.value())).collect()
}

/// Joins neighbours that `to` maps to the same index.
fn remap<T: Copy>(counts: &mut Vec<(i32, T)>, to: impl Fn(i32) -> i32, join: impl Fn(&mut T, T)) {
    let mut out: Vec<(i32, T)> = Vec::with_capacity(counts.len());
    for (index, count) in counts.iter() {
        let index = to(*index);
        match out.last_mut() {
            Some(last) if last.0 == index => join(&mut last.1, *count),
            _ => out.push((index, *count)),
        }
    }
    *counts = out;
}

fn add_list(into: &mut Counts, other: &[(i32, f64)]) {
    if into.len() == other.len() && into.iter().zip(other).all(|(a, b)| a.0 == b.0) {
        into.iter_mut().zip(other).for_each(|(a, b)| a.1.add(b.1));
        return;
    }
    let mut out = Vec::with_capacity(into.len() + other.len());
    let (mut a, mut b) = (into.iter().copied().peekable(), other.iter().copied().peekable());
    loop {
        match (a.peek().copied(), b.peek().copied()) {
            (Some(mut x), Some(y)) if x.0 == y.0 => {
                x.1.add(y.1);
                out.push(x);
                a.next();
                b.next();
            }
            (Some(x), Some(y)) if x.0 < y.0 => {
                out.push(x);
                a.next();
            }
            (Some(x), None) => {
                out.push(x);
                a.next();
            }
            (_, Some(y)) => {
                out.push((y.0, Kahan::new(y.1)));
                b.next();
            }
            (None, None) => break,
        }
    }
    *into = out;
}

/// The bounds that both lists have, by exact value.
pub(super) fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut b = b.iter().peekable();
    let mut common = Vec::new();
    for bound in a {
        while b.next_if(|other| **other < *bound).is_some() {}
        if b.next_if(|other| **other == *bound).is_some() {
            common.push(*bound);
        }
    }
    common
}

/// Where bucket `index` of a layout with `bounds` goes in one with the fewer bounds `common`.
pub(super) fn common_index(bounds: &[f64], common: &[f64], index: i32) -> i32 {
    let upper = usize::try_from(index).ok().and_then(|i| bounds.get(i));
    upper.map_or(common.len(), |upper| common.partition_point(|c| c < upper)) as i32
}

impl HistogramSum {
    /// A sum of one.
    pub(crate) fn new(h: &Histogram) -> Self {
        Self {
            hint: h.reset_hint,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            zero: Kahan::new(h.zero_count),
            count: Kahan::new(h.count),
            sum: Kahan::new(h.sum),
            positive: compensated(list(h, Side::Positive)),
            negative: compensated(list(h, Side::Negative)),
            custom_bounds: h.custom_bounds.clone(),
        }
    }
    /// Adds `factor` times `other`.
    ///
    /// # Errors
    /// When one has custom buckets and the other has not; the sum is then as it was.
    pub(crate) fn add(&mut self, other: &Histogram, factor: f64) -> Result<Merge, MixedSchemas> {
        if self.is_custom() != other.uses_custom_buckets() {
            return Err(MixedSchemas);
        }
        let hints_collided = self.merge_hint(other.reset_hint);
        let mut positive = list(other, Side::Positive);
        let mut negative = list(other, Side::Negative);
        let mut bounds_reconciled = false;
        let mut zero = other.zero_count;
        if self.is_custom() {
            if self.custom_bounds != other.custom_bounds {
                bounds_reconciled = true;
                self.reconcile_bounds(&other.custom_bounds, &mut positive);
            }
        } else {
            zero = self.reconcile_zero(other, &positive, &negative);
            self.reconcile_schema(other.schema, &mut positive, &mut negative);
            let threshold = self.zero_threshold;
            if threshold > 0.0 && threshold != other.zero_threshold {
                let schema = self.schema;
                positive.retain(|b| upper_bound(b.0, schema) > threshold);
                negative.retain(|b| upper_bound(b.0, schema) > threshold);
            }
        }
        if factor != 1.0 {
            positive.iter_mut().chain(&mut negative).for_each(|b| b.1 *= factor);
        }
        self.zero.add(zero * factor);
        self.count.add(other.count * factor);
        self.sum.add(other.sum * factor);
        add_list(&mut self.positive, &positive);
        add_list(&mut self.negative, &negative);
        Ok(Merge { hints_collided, bounds_reconciled })
    }
    /// Multiplies by `factor`.
    pub(crate) fn scale(&mut self, factor: f64) {
        self.each(|k| k.scale(factor));
    }
    /// Divides by `divisor`.
    pub(crate) fn divide(&mut self, divisor: f64) {
        self.each(|k| k.divide(divisor));
    }
    /// Whether any number has become infinite.
    pub(crate) fn overflows(&self) -> bool {
        let infinite = |k: &Kahan| k.sum.is_infinite();
        infinite(&self.zero)
            || infinite(&self.count)
            || infinite(&self.sum)
            || self.positive.iter().chain(&self.negative).any(|b| infinite(&b.1))
    }
    /// Lowers the resolution to `schema` if it is finer.
    pub(crate) fn coarsen(&mut self, schema: i8) {
        if !self.is_custom() {
            self.reconcile_schema(schema, &mut Vec::new(), &mut Vec::new());
        }
    }
    /// The sum, rounded. Buckets that became empty stay.
    pub(crate) fn finish(&self) -> Histogram {
        let (positive_spans, positive_counts) = spans(rounded(&self.positive));
        let (negative_spans, negative_counts) = spans(rounded(&self.negative));
        Histogram {
            reset_hint: self.hint,
            schema: self.schema,
            integer: false,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero.value(),
            count: self.count.value(),
            sum: self.sum.value(),
            positive_spans,
            negative_spans,
            positive_counts,
            negative_counts,
            custom_bounds: self.custom_bounds.clone(),
        }
    }
    fn is_custom(&self) -> bool {
        self.schema == storage_format::model::histogram::CUSTOM_BUCKETS_SCHEMA
    }
    fn each(&mut self, mut f: impl FnMut(&mut Kahan)) {
        f(&mut self.zero);
        f(&mut self.count);
        f(&mut self.sum);
        self.positive.iter_mut().chain(&mut self.negative).for_each(|b| f(&mut b.1));
    }
    /// Gauge wins, then unknown; opposite hints give unknown and a collision.
    fn merge_hint(&mut self, other: CounterResetHint) -> bool {
        use CounterResetHint::{Gauge, Unknown};
        let (mine, collided) = match (self.hint, other) {
            (a, b) if a == b => (a, false),
            (Gauge, _) | (_, Gauge) => (Gauge, false),
            (Unknown, _) | (_, Unknown) => (Unknown, false),
            _ => (Unknown, true),
        };
        self.hint = mine;
        collided
    }
    fn reconcile_bounds(&mut self, other_bounds: &[f64], other: &mut Vec<(i32, f64)>) {
        let common = common_bounds(&self.custom_bounds, other_bounds);
        let mine = std::mem::take(&mut self.custom_bounds);
        remap(&mut self.positive, |i| common_index(&mine, &common, i), Kahan::absorb);
        remap(other, |i| common_index(other_bounds, &common, i), |a, b| *a += b);
        // Prometheus drops empty buckets when it reconciles bounds.
        self.positive.retain(|b| b.1.value() != 0.0);
        other.retain(|b| b.1 != 0.0);
        self.custom_bounds = common;
    }
    fn reconcile_schema(
        &mut self,
        other_schema: i8,
        positive: &mut Vec<(i32, f64)>,
        negative: &mut Vec<(i32, f64)>,
    ) {
        let (mine, common) = (self.schema, self.schema.min(other_schema));
        if mine > common {
            for counts in [&mut self.positive, &mut self.negative] {
                remap(counts, |i| coarser(i, mine, common), Kahan::absorb);
            }
            self.schema = common;
        }
        if other_schema > common {
            for counts in [positive, negative] {
                remap(counts, |i| coarser(i, other_schema, common), |a, b| *a += b);
            }
        }
    }
    /// Widens the narrower zero bucket until both agree; the other's count in the common one.
    fn reconcile_zero(&mut self, other: &Histogram, positive: &[(i32, f64)], negative: &[(i32, f64)]) -> f64 {
        let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
        // Each round moves one threshold up to a bucket border of the other; NaN thresholds end it.
        while threshold != self.zero_threshold {
            if self.zero_threshold > threshold {
                (count, threshold) = zero_count_at(
                    other.schema,
                    (other.zero_count, other.zero_threshold),
                    positive,
                    negative,
                    self.zero_threshold,
                );
            } else if threshold > self.zero_threshold {
                self.widen_zero(threshold);
            } else {
                break;
            }
        }
        count
    }
    fn widen_zero(&mut self, threshold: f64) {
        let zero = (self.zero.value(), self.zero_threshold);
        let (_, threshold) =
            zero_count_at(self.schema, zero, &rounded(&self.positive), &rounded(&self.negative), threshold);
        self.zero_threshold = threshold;
        let (schema, zero) = (self.schema, &mut self.zero);
        for counts in [&mut self.positive, &mut self.negative] {
            counts.retain(|(index, count)| {
                let inside = upper_bound(index.wrapping_sub(1), schema) < threshold;
                if inside {
                    zero.absorb(*count);
                }
                !inside
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage_format::model::histogram::CUSTOM_BUCKETS_SCHEMA;

    fn exponential(schema: i8, counts: &[(i32, f64)]) -> Histogram {
        let (positive_spans, positive_counts) = spans(counts.iter().copied());
        let count = positive_counts.iter().sum();
        Histogram { schema, count, sum: count, positive_spans, positive_counts, ..Histogram::default() }
    }

    #[test]
    fn differing_schemas_meet_at_the_coarser() {
        let mut sum = HistogramSum::new(&exponential(1, &[(1, 1.0), (2, 2.0), (3, 4.0)]));
        sum.add(&exponential(0, &[(1, 10.0), (5, 7.0)]), 1.0).unwrap();
        let result = sum.finish();
        assert_eq!((result.schema, result.count), (0, 24.0));
        assert_eq!(list(&result, Side::Positive), [(1, 13.0), (2, 4.0), (5, 7.0)]);
    }

    #[test]
    fn custom_bounds_shrink_to_the_common_ones() {
        let custom = |bounds: &[f64], counts: &[(i32, f64)]| Histogram {
            custom_bounds: bounds.to_vec(),
            ..exponential(CUSTOM_BUCKETS_SCHEMA, counts)
        };
        let mut sum = HistogramSum::new(&custom(&[1.0, 2.0, 5.0], &[(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]));
        let merge = sum.add(&custom(&[2.0, 3.0], &[(0, 1.0), (1, 1.0), (2, 1.0)]), 1.0).unwrap();
        assert!(merge.bounds_reconciled);
        let result = sum.finish();
        assert_eq!(result.custom_bounds, [2.0]);
        assert_eq!(list(&result, Side::Positive), [(0, 4.0), (1, 9.0)]);
        assert_eq!(sum.add(&exponential(0, &[]), 1.0), Err(MixedSchemas));
    }

    #[test]
    fn zero_buckets_widen() {
        let narrow =
            Histogram { zero_threshold: 0.5, zero_count: 1.0, ..exponential(0, &[(0, 2.0), (3, 1.0)]) };
        let wide = Histogram { zero_threshold: 0.75, zero_count: 4.0, ..exponential(0, &[(3, 5.0)]) };
        let mut sum = HistogramSum::new(&narrow);
        sum.add(&wide, 1.0).unwrap();
        let result = sum.finish();
        assert_eq!((result.zero_threshold, result.zero_count), (1.0, 7.0));
        assert_eq!(list(&result, Side::Positive), [(3, 6.0)]);
    }
}
