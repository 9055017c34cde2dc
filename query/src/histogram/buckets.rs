//! The two views of a histogram's buckets: sorted (index, count) lists and intervals of values.

use super::bounds::exponential;
use storage_format::model::{Histogram, Span};

/// One bucket as an interval of observed values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Observations.
    pub count: f64,
    /// Whether the lower bound belongs to it.
    pub lower_inclusive: bool,
    /// Whether the upper bound belongs to it.
    pub upper_inclusive: bool,
}

/// Which half of the number line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Positive,
    Negative,
}

/// Walks (index, count) in ascending order of indexes.
pub(crate) fn indexed<'a>(spans: &'a [Span], counts: &'a [f64]) -> impl Iterator<Item = (i32, f64)> + 'a {
    let mut next = 0_i32;
    let indexes = spans.iter().flat_map(move |span| {
        let first = next.wrapping_add(span.offset);
        next = first.wrapping_add(span.length as i32);
        (0..span.length as i32).map(move |i| first.wrapping_add(i))
    });
    indexes.zip(counts.iter().copied())
}

/// The (index, count) list of one side.
pub(crate) fn list(h: &Histogram, side: Side) -> Vec<(i32, f64)> {
    match side {
        Side::Positive => indexed(&h.positive_spans, &h.positive_counts).collect(),
        Side::Negative => indexed(&h.negative_spans, &h.negative_counts).collect(),
    }
}

/// Spans and counts of an ascending list.
pub(crate) fn spans(list: impl IntoIterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts) = (Vec::<Span>::new(), Vec::new());
    let mut next = 0_i32;
    for (index, count) in list {
        match spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            _ => spans.push(Span { offset: index.wrapping_sub(next), length: 1 }),
        }
        next = index.wrapping_add(1);
        counts.push(count);
    }
    (spans, counts)
}

/// Drops empty buckets.
pub(crate) fn compact(h: &mut Histogram) {
    let tidy = |spans: &[Span], counts: &[f64]| {
        counts.iter().all(|c| *c != 0.0)
            && spans.iter().all(|s| s.length > 0)
            && spans.iter().skip(1).all(|s| s.offset > 0)
    };
    if !tidy(&h.positive_spans, &h.positive_counts) {
        let kept = list(h, Side::Positive).into_iter().filter(|b| b.1 != 0.0);
        (h.positive_spans, h.positive_counts) = spans(kept);
    }
    if !tidy(&h.negative_spans, &h.negative_counts) {
        let kept = list(h, Side::Negative).into_iter().filter(|b| b.1 != 0.0);
        (h.negative_spans, h.negative_counts) = spans(kept);
    }
}

/// The index that bucket `index` falls into when the resolution shrinks from schema `from` to `to`.
pub(crate) fn coarser(index: i32, from: i8, to: i8) -> i32 {
    let shift = (i32::from(from) - i32::from(to)).clamp(0, 31);
    (index.wrapping_sub(1) >> shift).wrapping_add(1)
}

/// The values that positive bucket `index` covers (negative ones are mirrored by the caller).
pub(crate) fn interval(h: &Histogram, index: i32) -> (f64, f64) {
    if h.uses_custom_buckets() {
        return custom_interval(&h.custom_bounds, index);
    }
    (exponential(index.wrapping_sub(1), h.schema), exponential(index, h.schema))
}

fn custom_interval(bounds: &[f64], index: i32) -> (f64, f64) {
    let at = |i: i32| usize::try_from(i).ok().and_then(|i| bounds.get(i)).copied();
    let lower = if index <= 0 { f64::NEG_INFINITY } else { at(index - 1).unwrap_or(f64::INFINITY) };
    (lower, at(index).unwrap_or(f64::INFINITY))
}

/// Upper bound of positive bucket `index` in an exponential schema.
pub(crate) fn upper_bound(index: i32, schema: i8) -> f64 {
    exponential(index, schema)
}

/// The buckets of one side as intervals, in the order of indexes (away from zero).
pub(crate) fn side_buckets(h: &Histogram, side: Side) -> impl Iterator<Item = Bucket> + '_ {
    let (spans, counts) = match side {
        Side::Positive => (&h.positive_spans, &h.positive_counts),
        Side::Negative => (&h.negative_spans, &h.negative_counts),
    };
    indexed(spans, counts).map(move |(index, count)| {
        let (lower, upper) = interval(h, index);
        if side == Side::Negative {
            return Bucket {
                lower: -upper,
                upper: -lower,
                count,
                lower_inclusive: true,
                upper_inclusive: false,
            };
        }
        // All custom buckets are open to the left but the lowest, which begins at -Inf.
        let lower_inclusive = h.uses_custom_buckets() && index == 0;
        Bucket { lower, upper, count, lower_inclusive, upper_inclusive: true }
    })
}

/// The zero bucket.
pub(crate) fn zero_bucket(h: &Histogram) -> Bucket {
    Bucket {
        lower: -h.zero_threshold,
        upper: h.zero_threshold,
        count: h.zero_count,
        lower_inclusive: true,
        upper_inclusive: true,
    }
}

/// All buckets from the lowest values to the highest, the zero bucket among them if it is populated.
/// Regular buckets that reach into the zero bucket are cut at its border.
#[must_use]
pub fn all_buckets(h: &Histogram) -> Vec<Bucket> {
    let threshold = h.zero_threshold;
    let cut = move |mut b: Bucket| {
        if b.upper < 0.0 && b.upper > -threshold {
            b.upper = -threshold;
        } else if b.lower > 0.0 && b.lower < threshold {
            b.lower = threshold;
        }
        b
    };
    let mut all: Vec<_> = side_buckets(h, Side::Negative).map(cut).collect();
    all.reverse();
    if h.zero_count > 0.0 {
        all.push(zero_bucket(h));
    }
    all.extend(side_buckets(h, Side::Positive).map(cut));
    all
}

/// The zero bucket's count if its threshold were at least `threshold`, and the threshold it then gets:
/// larger than asked for when that one falls into a populated bucket.
pub(crate) fn zero_count_at(
    schema: i8,
    zero: (f64, f64),
    positive: &[(i32, f64)],
    negative: &[(i32, f64)],
    threshold: f64,
) -> (f64, f64) {
    let (zero_count, zero_threshold) = zero;
    let mut threshold = threshold;
    if threshold == zero_threshold {
        return (zero_count, threshold);
    }
    loop {
        let mut count = zero_count;
        let mut grown = false;
        for (side, buckets) in [(Side::Positive, positive), (Side::Negative, negative)] {
            for (index, c) in buckets {
                if exponential(index.wrapping_sub(1), schema) >= threshold {
                    break;
                }
                count += c;
                let upper = exponential(*index, schema);
                if upper > threshold {
                    if *c != 0.0 {
                        threshold = upper;
                        // What was counted on the positive side does not hold for the larger one.
                        grown = side == Side::Negative;
                    }
                    break;
                }
            }
        }
        if !grown {
            return (count, threshold);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_lists_convert() {
        let list = vec![(-3, 1.0), (-2, 0.0), (4, 2.0), (5, 3.0)];
        let (spans, counts) = spans(list.clone());
        assert_eq!(spans, [Span { offset: -3, length: 2 }, Span { offset: 5, length: 2 }]);
        assert_eq!(indexed(&spans, &counts).collect::<Vec<_>>(), list);
        let mut h = Histogram { positive_spans: spans, positive_counts: counts, ..Histogram::default() };
        compact(&mut h);
        assert_eq!(list_of(&h), [(-3, 1.0), (4, 2.0), (5, 3.0)]);
    }

    fn list_of(h: &Histogram) -> Vec<(i32, f64)> {
        list(h, Side::Positive)
    }

    #[test]
    fn resolution_shrinks_towards_the_upper_bound() {
        assert_eq!(coarser(1, 1, 0), 1);
        assert_eq!(coarser(2, 1, 0), 1);
        assert_eq!(coarser(3, 1, 0), 2);
        assert_eq!(coarser(0, 1, 0), 0);
        assert_eq!(coarser(-1, 1, 0), 0);
        assert_eq!(coarser(-2, 1, 0), -1);
    }

    #[test]
    fn zero_threshold_grows_to_a_bucket_border() {
        let positive = [(1, 2.0), (2, 3.0)];
        assert_eq!(zero_count_at(0, (1.0, 0.5), &positive, &[], 1.0), (1.0, 1.0));
        assert_eq!(zero_count_at(0, (1.0, 0.5), &positive, &[], 1.5), (3.0, 2.0));
        assert_eq!(zero_count_at(0, (1.0, 0.5), &positive, &[(1, 1.0), (2, 5.0)], 3.0), (12.0, 4.0));
    }
}
