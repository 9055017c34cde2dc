//! Sums of native histograms: buckets added at the resolution both have.
//!
//! Where it sits: used where delta histograms are added up. Invariants: adding is commutative, keeps the
//! total of the counts, and never raises the resolution; histograms with different custom bounds do not
//! add.

use crate::histogram::{Buckets, reduce};
use storage_format::model::{Histogram, Span};

/// The sum of two histograms; `None` when their buckets have nothing in common.
///
/// # Errors
/// When bucket indexes overflow.
pub(crate) fn add(a: &Histogram, b: &Histogram) -> Result<Option<Histogram>, String> {
    if a.uses_custom_buckets() != b.uses_custom_buckets() || a.custom_bounds != b.custom_bounds {
        return Ok(None);
    }
    let (mut a, mut b) = (a.clone(), b.clone());
    let schema = a.schema.min(b.schema);
    for h in [&mut a, &mut b] {
        reduce(h, (h.schema - schema).unsigned_abs().into())?;
    }
    let threshold = common_threshold(&a, &b);
    for h in [&mut a, &mut b] {
        widen_zero(h, threshold)?;
    }
    let positive =
        add_side((&a.positive_spans, &a.positive_counts), (&b.positive_spans, &b.positive_counts))?;
    let negative =
        add_side((&a.negative_spans, &a.negative_counts), (&b.negative_spans, &b.negative_counts))?;
    Ok(Some(Histogram {
        reset_hint: a.reset_hint,
        schema,
        integer: a.integer && b.integer,
        zero_threshold: threshold,
        zero_count: a.zero_count + b.zero_count,
        count: a.count + b.count,
        sum: a.sum + b.sum,
        positive_spans: positive.spans,
        positive_counts: positive.counts,
        negative_spans: negative.spans,
        negative_counts: negative.counts,
        custom_bounds: a.custom_bounds,
    }))
}

/// Calls `each` with index and count of the buckets, in ascending order.
fn buckets(spans: &[Span], counts: &[f64]) -> impl Iterator<Item = (i64, f64)> {
    let mut index = 0i64;
    let indexes = spans.iter().flat_map(move |span| {
        index += i64::from(span.offset);
        let first = index;
        index += i64::from(span.length);
        first..index
    });
    indexes.zip(counts.iter().copied())
}

fn add_side(a: (&[Span], &[f64]), b: (&[Span], &[f64])) -> Result<Buckets, String> {
    let (mut a, mut b) = (buckets(a.0, a.1).peekable(), buckets(b.0, b.1).peekable());
    let mut sum = Buckets::default();
    loop {
        let (index, count) = match (a.peek(), b.peek()) {
            (None, None) => return Ok(sum),
            (Some(x), Some(y)) if x.0 == y.0 => {
                let both = (x.0, x.1 + y.1);
                a.next();
                b.next();
                both
            }
            (Some(x), y) if y.is_none_or(|y| x.0 < y.0) => {
                let one = *x;
                a.next();
                one
            }
            (_, Some(y)) => {
                let one = *y;
                b.next();
                one
            }
            (Some(_), None) => return Ok(sum),
        };
        if count != 0.0 {
            sum.push(index, count)?;
        }
    }
}

fn upper_bound(index: i64, schema: i8) -> f64 {
    (index as f64 * (-f64::from(schema)).exp2()).exp2()
}

/// The smallest width of a zero bucket that holds both and cuts through no bucket that counts something.
fn common_threshold(a: &Histogram, b: &Histogram) -> f64 {
    let mut threshold = a.zero_threshold.max(b.zero_threshold);
    if a.uses_custom_buckets() || a.zero_threshold == b.zero_threshold {
        return threshold;
    }
    loop {
        let before = threshold;
        for h in [a, b] {
            for (spans, counts) in
                [(&h.positive_spans, &h.positive_counts), (&h.negative_spans, &h.negative_counts)]
            {
                for (index, count) in buckets(spans, counts) {
                    let upper = upper_bound(index, h.schema);
                    if count > 0.0 && upper_bound(index - 1, h.schema) < threshold && threshold < upper {
                        threshold = upper;
                    }
                }
            }
        }
        if threshold == before || !threshold.is_finite() {
            return threshold;
        }
    }
}

/// Moves the buckets inside of a wider zero bucket into it.
fn widen_zero(h: &mut Histogram, threshold: f64) -> Result<(), String> {
    if h.uses_custom_buckets() || h.zero_threshold == threshold {
        return Ok(());
    }
    let schema = h.schema;
    let mut zero = h.zero_count;
    for (spans, counts) in
        [(&mut h.positive_spans, &mut h.positive_counts), (&mut h.negative_spans, &mut h.negative_counts)]
    {
        let mut kept = Buckets::default();
        for (index, count) in buckets(spans, counts) {
            if upper_bound(index, schema) <= threshold {
                zero += count;
            } else if count != 0.0 {
                kept.push(index, count)?;
            }
        }
        (*spans, *counts) = (kept.spans, kept.counts);
    }
    (h.zero_count, h.zero_threshold) = (zero, threshold);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn side() -> impl Strategy<Value = Buckets> {
        proptest::collection::btree_map(-40i64..40, 1u32..100, 0..12).prop_map(|map| {
            let mut buckets = Buckets::default();
            for (index, count) in map {
                buckets.push(index, f64::from(count)).unwrap();
            }
            buckets
        })
    }

    fn histogram() -> impl Strategy<Value = Histogram> {
        (-4i8..=8, side(), side(), 0u32..50, 0usize..3).prop_map(|(schema, positive, negative, zero, t)| {
            let zero_count = f64::from(zero);
            let count = zero_count + positive.counts.iter().chain(&negative.counts).sum::<f64>();
            Histogram {
                schema,
                integer: true,
                zero_threshold: [1e-128, 0.01, 0.7][t],
                zero_count,
                count,
                sum: count * 2.0,
                positive_spans: positive.spans,
                positive_counts: positive.counts,
                negative_spans: negative.spans,
                negative_counts: negative.counts,
                ..Histogram::default()
            }
        })
    }

    fn total(h: &Histogram) -> f64 {
        h.zero_count + h.positive_counts.iter().chain(&h.negative_counts).sum::<f64>()
    }

    fn sum(a: &Histogram, b: &Histogram) -> Histogram {
        add(a, b).unwrap().unwrap()
    }

    proptest! {
        #[test]
        fn adding_keeps_counts_and_commutes(a in histogram(), b in histogram()) {
            let ab = sum(&a, &b);
            prop_assert_eq!(total(&ab), total(&a) + total(&b));
            prop_assert_eq!(ab.count, total(&ab));
            prop_assert_eq!(ab.schema, a.schema.min(b.schema));
            prop_assert_eq!(ab, sum(&b, &a));
        }

        #[test]
        fn adding_is_associative(a in histogram(), b in histogram(), c in histogram()) {
            // With one width of the zero bucket; where widths differ the order decides what can be told.
            let [a, b, c] = [a, b, c].map(|h| Histogram { zero_threshold: 1e-128, ..h });
            prop_assert_eq!(sum(&sum(&a, &b), &c), sum(&a, &sum(&b, &c)));
        }

        #[test]
        fn lowering_the_resolution_commutes_with_adding(a in histogram(), b in histogram()) {
            let [a, b] = [a, b].map(|h| Histogram { zero_threshold: 1e-128, schema: 3, ..h });
            let lower = |h: &Histogram| {
                let mut h = h.clone();
                reduce(&mut h, 2).unwrap();
                h
            };
            let (one, two) = (sum(&lower(&a), &lower(&b)), lower(&sum(&a, &b)));
            let flat = |h: &Histogram| buckets(&h.positive_spans, &h.positive_counts).filter(|b| b.1 != 0.0).collect::<Vec<_>>();
            prop_assert_eq!(flat(&one), flat(&two));
            prop_assert_eq!(one.count, two.count);
        }
    }

    #[test]
    fn custom_bounds_must_agree() {
        let h = |bounds: &[f64]| Histogram {
            schema: -53,
            custom_bounds: bounds.to_vec(),
            ..Histogram::default()
        };
        assert!(add(&h(&[1.0]), &h(&[1.0])).unwrap().is_some());
        assert!(add(&h(&[1.0]), &h(&[2.0])).unwrap().is_none());
        assert!(add(&h(&[1.0]), &Histogram::default()).unwrap().is_none());
    }
}
