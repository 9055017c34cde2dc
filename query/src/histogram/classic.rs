//! Quantiles and fractions of classic histograms: cumulative counts at upper bounds (`le`).

/// A cumulative bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ClassicBucket {
    /// `le`
    pub(crate) upper: f64,
    /// Observations up to `upper`.
    pub(crate) count: f64,
}

/// That counts had to be raised because they fell with growing `le`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ForcedMonotonic {
    /// Upper bound of the lowest bucket concerned.
    pub(crate) from: f64,
    /// Upper bound of the highest bucket concerned.
    pub(crate) to: f64,
    /// Largest correction.
    pub(crate) by: f64,
}

/// Relative differences up to this are float noise and are levelled silently.
const NOISE: f64 = 1e-12;

/// Sorts, joins equal bounds; `false` when the bucket up to +Inf is missing.
fn tidy(buckets: &mut Vec<ClassicBucket>) -> bool {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    true
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < NOISE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < NOISE
}

fn make_monotonic(buckets: &mut [ClassicBucket]) -> Option<ForcedMonotonic> {
    let mut forced: Option<ForcedMonotonic> = None;
    let mut previous = buckets.first()?.count;
    for b in &mut buckets[1..] {
        if almost_equal(previous, b.count) {
            b.count = previous;
        } else if b.count < previous {
            let by = previous - b.count;
            b.count = previous;
            let all = forced.get_or_insert(ForcedMonotonic { from: b.upper, to: b.upper, by });
            all.to = b.upper;
            all.by = all.by.max(by);
        } else {
            previous = b.count;
        }
    }
    forced
}

/// The histogram's quantile `q`; tidies `buckets` in place.
pub(crate) fn quantile(q: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, Option<ForcedMonotonic>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if !tidy(buckets) {
        return (f64::NAN, None);
    }
    let forced = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, None);
    }
    let mut rank = q * observations;
    // A search, not a scan, for what it finds among NaN counts is part of the result.
    let at = search(last, |i| buckets[i].count >= rank);
    if at == last {
        return (buckets[last - 1].upper, forced);
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return (buckets[0].upper, forced);
    }
    let (mut lower, mut count) = (0.0, buckets[at].count);
    if at > 0 {
        lower = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (lower + (buckets[at].upper - lower) * (rank / count), forced)
}

/// The first of `0..n` for which `holds`, by bisection; `n` if there is none.
pub(crate) fn search(n: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = usize::midpoint(low, high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The fraction of the observations between two values; tidies `buckets` in place.
pub(crate) fn fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    if !tidy(buckets) {
        return f64::NAN;
    }
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank_of = |value: f64| {
        let (mut below, mut from) = (0.0, f64::NEG_INFINITY);
        for b in buckets.iter() {
            if from >= value {
                return below;
            }
            if b.upper > value {
                return within(below, from, b, value);
            }
            below = b.count;
            from = b.upper;
        }
        count
    };
    let clamp = |rank: f64| if rank > count { count } else { rank };
    (clamp(rank_of(upper)) - clamp(rank_of(lower))) / count
}

/// Observations below `value`, which lies in the bucket `from..b.upper`.
fn within(below: f64, from: f64, b: &ClassicBucket, value: f64) -> f64 {
    let from = if from == f64::NEG_INFINITY {
        if b.upper <= 0.0 {
            return b.count;
        }
        if value <= 0.0 {
            return 0.0;
        }
        0.0
    } else {
        from
    };
    if b.upper == f64::INFINITY {
        return below;
    }
    below + (b.count - below) * (value - from) / (b.upper - from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<ClassicBucket> {
        pairs.iter().map(|(upper, count)| ClassicBucket { upper: *upper, count: *count }).collect()
    }

    #[test]
    fn quantiles_interpolate_linearly() {
        let mut b = buckets(&[(f64::INFINITY, 10.0), (1.0, 4.0), (2.0, 8.0)]);
        assert_eq!(quantile(0.2, &mut b), (0.5, None));
        assert_eq!(quantile(0.6, &mut b), (1.5, None));
        assert_eq!(quantile(0.99, &mut b), (2.0, None));
        assert_eq!(fraction(0.0, 1.5, &mut b), 0.6);
        assert!(quantile(0.5, &mut buckets(&[(1.0, 4.0)])).0.is_nan());
    }

    #[test]
    fn falling_counts_are_raised() {
        let mut b = buckets(&[(1.0, 4.0), (2.0, 3.0), (f64::INFINITY, 8.0)]);
        let (_, forced) = quantile(0.5, &mut b);
        assert_eq!(forced, Some(ForcedMonotonic { from: 2.0, to: 2.0, by: 1.0 }));
    }
}
