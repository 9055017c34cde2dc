//! Counter resets between two native histograms.

use super::buckets::{Side, coarser, list, upper_bound, zero_count_at};
use super::sum::{common_bounds, common_index};
use storage_format::model::{CounterResetHint, Histogram};

/// Whether `current`, the sample after `previous`, comes after a counter reset: by its hint, else because
/// a count went down or the layout changed in a way that only a restart explains.
pub(crate) fn detect_reset(current: &Histogram, previous: &Histogram) -> bool {
    match current.reset_hint {
        CounterResetHint::CounterReset => return true,
        CounterResetHint::NotCounterReset => return false,
        CounterResetHint::Unknown | CounterResetHint::Gauge => {}
    }
    if current.count < previous.count || current.uses_custom_buckets() != previous.uses_custom_buckets() {
        return true;
    }
    if current.uses_custom_buckets() {
        return custom_reset(current, previous);
    }
    if current.schema > previous.schema || current.zero_threshold < previous.zero_threshold {
        return true;
    }
    let (positive, negative) = (list(previous, Side::Positive), list(previous, Side::Negative));
    let zero = (previous.zero_count, previous.zero_threshold);
    let (zero_count, threshold) =
        zero_count_at(previous.schema, zero, &positive, &negative, current.zero_threshold);
    if threshold != current.zero_threshold || current.zero_count < zero_count {
        return true;
    }
    let outside = |mut buckets: Vec<(i32, f64)>, schema: i8| {
        for b in &mut buckets {
            b.0 = coarser(b.0, schema, current.schema);
        }
        let threshold = current.zero_threshold;
        buckets.retain(|b| threshold <= 0.0 || upper_bound(b.0, current.schema) > threshold);
        joined(&buckets)
    };
    let fell = |now: Vec<(i32, f64)>, before: Vec<(i32, f64)>| {
        any_fell(&outside(now, current.schema), &outside(before, previous.schema))
    };
    fell(list(current, Side::Positive), positive) || fell(list(current, Side::Negative), negative)
}

fn custom_reset(current: &Histogram, previous: &Histogram) -> bool {
    let (now, before) = (list(current, Side::Positive), list(previous, Side::Positive));
    if current.custom_bounds == previous.custom_bounds {
        return any_fell(&now, &before);
    }
    let common = common_bounds(&current.custom_bounds, &previous.custom_bounds);
    let reduce = |list: Vec<(i32, f64)>, bounds: &[f64]| {
        let mapped: Vec<_> = list.into_iter().map(|(i, c)| (common_index(bounds, &common, i), c)).collect();
        joined(&mapped)
    };
    any_fell(&reduce(now, &current.custom_bounds), &reduce(before, &previous.custom_bounds))
}

/// Adds up neighbours of the same index.
fn joined(list: &[(i32, f64)]) -> Vec<(i32, f64)> {
    let mut out: Vec<(i32, f64)> = Vec::with_capacity(list.len());
    for (index, count) in list {
        match out.last_mut() {
            Some(last) if last.0 == *index => last.1 += count,
            _ => out.push((*index, *count)),
        }
    }
    out
}

/// Whether a populated bucket of `before` is lower or missing in `now`.
fn any_fell(now: &[(i32, f64)], before: &[(i32, f64)]) -> bool {
    let mut now = now.iter().peekable();
    before.iter().any(|(index, count)| {
        while now.next_if(|b| b.0 < *index).is_some() {}
        let current = now.peek().filter(|b| b.0 == *index).map_or(0.0, |b| b.1);
        current < *count
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::buckets::spans;

    fn histogram(schema: i8, counts: &[(i32, f64)]) -> Histogram {
        let (positive_spans, positive_counts) = spans(counts.iter().copied());
        Histogram {
            schema,
            count: positive_counts.iter().sum(),
            positive_spans,
            positive_counts,
            ..Histogram::default()
        }
    }

    #[test]
    fn resets_show_in_counts_and_layout() {
        let before = histogram(1, &[(1, 1.0), (2, 2.0)]);
        assert!(!detect_reset(&histogram(1, &[(1, 1.0), (2, 2.0), (5, 1.0)]), &before));
        assert!(!detect_reset(&histogram(0, &[(1, 4.0)]), &before));
        assert!(detect_reset(&histogram(1, &[(1, 0.0), (2, 5.0)]), &before));
        assert!(detect_reset(&histogram(2, &[(1, 9.0), (2, 9.0), (3, 9.0), (4, 9.0)]), &before));
        let mut hinted = histogram(1, &[]);
        hinted.reset_hint = CounterResetHint::NotCounterReset;
        assert!(!detect_reset(&hinted, &before));
    }
}
