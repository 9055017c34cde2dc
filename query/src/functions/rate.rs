//! `rate`, `increase`, `delta`, `irate`, `idelta`, `resets`, `changes`: differences between samples.
//!
//! The order of float operations is Prometheus'. With start timestamps, a start inside the range before
//! the first sample stands for a sample of value 0, and a changed start for a counter reset.

use crate::Point;
use crate::annotations::Notes;
use crate::execute::range_input::{HistogramSample, Window};
use crate::histogram::{HistogramSum, compact, detect_reset, divide, equal, multiply};
use std::sync::Arc;
use storage_format::model::{CounterResetHint, Histogram, Timestamp};

/// A start timestamp that says something: set, and before its sample.
fn known(start: Timestamp, time: Timestamp) -> bool {
    start != 0 && start < time
}

/// Whether start timestamps tell of a reset between two samples (each: start, time). A start at the time of
/// the sample before means a delta, unless that one's own start is unknown.
pub(crate) fn start_reset(before: (Timestamp, Timestamp), now: (Timestamp, Timestamp)) -> bool {
    known(now.0, now.1) && (now.0 > before.1 || now.0 == before.1 && known(before.0, before.1))
}

/// Whether a start timestamp contradicts the sample before.
fn overlaps(before: (Timestamp, Timestamp), now: (Timestamp, Timestamp)) -> bool {
    now.0 != 0 && now.0 < before.1 && now.0 != before.0
}

/// Positions of floats before which the counter was reset.
pub(crate) fn reset_marks(times: &[Timestamp], values: &[f64], starts: &[Timestamp], marks: &mut Vec<u32>) {
    marks.clear();
    for i in 1..values.len() {
        let by_start =
            starts.len() == times.len() && start_reset((starts[i - 1], times[i - 1]), (starts[i], times[i]));
        if values[i] < values[i - 1] || by_start {
            marks.push(i as u32);
        }
    }
}

/// Positions of floats that differ from the one before.
pub(crate) fn change_marks(values: &[f64], marks: &mut Vec<u32>) {
    marks.clear();
    for i in 1..values.len() {
        let (a, b) = (values[i - 1], values[i]);
        if a != b && !(a.is_nan() && b.is_nan()) {
            marks.push(i as u32);
        }
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// `rate` (counter, per second), `increase` (counter) and `delta`.
pub(crate) fn extrapolated(
    w: &Window<'_>,
    counter: bool,
    per_second: bool,
    notes: &mut Notes,
) -> Option<Point> {
    if !w.values.is_empty() && !w.histograms.is_empty() {
        notes.raise(Notes::MIXED_KINDS);
        return None;
    }
    let use_starts = counter && w.use_starts;
    let (first, last, count) = match (w.times, w.histograms) {
        ([first, .., last], _) => (*first, *last, w.times.len()),
        ([only], _) => (*only, *only, 1),
        (_, [first, .., last]) => (first.0, last.0, w.histograms.len()),
        (_, [only]) => (only.0, only.0, 1),
        _ => return None,
    };
    let first_start = w.starts.first().copied().or(w.histograms.first().map(|h| h.1)).unwrap_or(0);
    let zero_at = (use_starts && first_start > w.from && known(first_start, first)).then_some(first_start);
    if count < 2 && zero_at.is_none() {
        return None;
    }
    let (result, initial) = if w.values.is_empty() {
        let h = histogram_difference(w, counter, zero_at.is_some(), notes)?;
        let grown = h.count;
        (Point::Histogram(Arc::new(h)), (w.histograms[0].2.count, grown))
    } else {
        let value = float_difference(w, counter, zero_at.is_some(), notes);
        (Point::Float(value), (w.values[0], value))
    };

    let sampled = seconds(last - zero_at.unwrap_or(first));
    let average = if count > 1 { seconds(last - first) / (count - 1) as f64 } else { 0.0 };
    let threshold = average * 1.1;
    let mut to_start = 0.0;
    if zero_at.is_none() {
        to_start = seconds(first - w.from);
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        // A counter is not extrapolated below zero.
        if counter && initial.1 > 0.0 && initial.0 >= 0.0 {
            let to_zero = sampled * (initial.0 / initial.1);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
    }
    let mut to_end = seconds(w.to - last);
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if per_second {
        factor /= w.seconds;
    }
    Some(scaled(result, factor))
}

/// Multiplies a point.
pub(crate) fn scaled(point: Point, factor: f64) -> Point {
    match point {
        Point::Float(value) => Point::Float(value * factor),
        Point::Histogram(h) => {
            let mut h = Arc::unwrap_or_clone(h);
            multiply(&mut h, factor);
            Point::Histogram(Arc::new(h))
        }
    }
}

fn float_difference(w: &Window<'_>, counter: bool, from_zero: bool, notes: &mut Notes) -> f64 {
    let last = w.values[w.values.len() - 1];
    let mut result = if from_zero { last } else { last - w.values[0] };
    if counter {
        for mark in w.marks {
            result += w.values[*mark as usize - w.base - 1];
        }
        if w.starts.len() == w.times.len() {
            let sample = |i: usize| (w.starts[i], w.times[i]);
            if (1..w.times.len()).any(|i| overlaps(sample(i - 1), sample(i))) {
                notes.raise(Notes::START_OVERLAPS);
            }
        }
    }
    result
}

/// Whether the counter was reset between two neighbouring histograms.
fn reset_between(before: &HistogramSample, now: &HistogramSample, use_starts: bool) -> bool {
    use_starts && start_reset((before.1, before.0), (now.1, now.0)) || detect_reset(&now.2, &before.2)
}

/// Adds `h` times `factor` to a sum. False, and a note, when exponential and custom buckets meet.
#[must_use]
pub(super) fn add_noted(sum: &mut HistogramSum, h: &Histogram, factor: f64, notes: &mut Notes) -> bool {
    match sum.add(h, factor) {
        Ok(merge) => {
            if merge.bounds_reconciled {
                notes.raise(if factor < 0.0 { Notes::RECONCILED_SUB } else { Notes::RECONCILED_ADD });
            }
            true
        }
        Err(_) => {
            notes.raise(Notes::MIXED_SCHEMAS);
            false
        }
    }
}

fn is_gauge(h: &Histogram) -> bool {
    h.reset_hint == CounterResetHint::Gauge
}

fn histogram_difference(
    w: &Window<'_>,
    counter: bool,
    from_zero: bool,
    notes: &mut Notes,
) -> Option<Histogram> {
    let samples = w.histograms;
    let (first, last) = (&samples[0].2, &samples[samples.len() - 1].2);
    let mixed = |notes: &mut Notes| {
        notes.raise(Notes::MIXED_SCHEMAS);
        None
    };
    if counter && samples.iter().any(|s| is_gauge(&s.2)) {
        notes.raise(Notes::NOT_COUNTER);
    }
    if !(counter || is_gauge(first) && is_gauge(last)) {
        notes.raise(Notes::NOT_GAUGE);
    }
    // What is subtracted: nothing when the first sample is followed by a reset, whatever its layout.
    let mut subtracted = (!from_zero).then_some(first);
    let mut layout = first;
    if counter && !from_zero && samples.len() > 1 && reset_between(&samples[0], &samples[1], w.use_starts) {
        subtracted = None;
        layout = &samples[1].2;
    }
    let custom = layout.uses_custom_buckets();
    if last.uses_custom_buckets() != custom {
        return mixed(notes);
    }
    let mut schema = last.schema.min(layout.schema);
    if counter && samples.len() > 2 {
        for (_, _, h) in &samples[1..samples.len() - 1] {
            if h.uses_custom_buckets() != custom {
                return mixed(notes);
            }
            schema = schema.min(h.schema);
        }
    }
    let mut sum = HistogramSum::new(last);
    sum.coarsen(schema);
    if let Some(subtracted) = subtracted
        && !add_noted(&mut sum, subtracted, -1.0, notes)
    {
        return None;
    }
    if counter {
        // A first sample that was left out must not come back as the one before a reset.
        let skip = usize::from(subtracted.is_none() && !from_zero);
        for pair in samples[skip..].windows(2) {
            if w.use_starts && overlaps((pair[0].1, pair[0].0), (pair[1].1, pair[1].0)) {
                notes.raise(Notes::START_OVERLAPS);
            }
            if !reset_between(&pair[0], &pair[1], w.use_starts) {
                continue;
            }
            if !add_noted(&mut sum, &pair[0].2, 1.0, notes) {
                return None;
            }
        }
    }
    let mut result = sum.finish();
    result.reset_hint = CounterResetHint::Gauge;
    compact(&mut result);
    Some(result)
}

enum Either<'a> {
    Float(f64),
    Histogram(&'a Histogram),
}

/// The two newest samples (time, start, value) of either kind, the newest last.
fn newest_two<'a>(w: &Window<'a>) -> Option<[(Timestamp, Timestamp, Either<'a>); 2]> {
    let mut newest = Vec::with_capacity(4);
    for i in w.values.len().saturating_sub(2)..w.values.len() {
        let start = w.starts.get(i).copied().unwrap_or(0);
        newest.push((w.times[i], start, Either::Float(w.values[i])));
    }
    for s in &w.histograms[w.histograms.len().saturating_sub(2)..] {
        newest.push((s.0, s.1, Either::Histogram(&s.2)));
    }
    newest.sort_by_key(|s| s.0);
    let second = newest.pop()?;
    let first = newest.pop()?;
    Some([first, second])
}

/// `irate` (counter, per second) and `idelta`.
pub(crate) fn instant(w: &Window<'_>, counter: bool, notes: &mut Notes) -> Option<Point> {
    let [before, now] = newest_two(w)?;
    let interval = now.0 - before.0;
    if interval == 0 {
        return None;
    }
    let use_starts = counter && w.use_starts;
    let by_start = use_starts && start_reset((before.1, before.0), (now.1, now.0));
    let result = match (&before.2, &now.2) {
        (Either::Float(a), Either::Float(b)) => {
            Point::Float(if counter && (b < a || by_start) { *b } else { b - a })
        }
        (Either::Histogram(a), Either::Histogram(b)) => {
            if counter && (is_gauge(a) || is_gauge(b)) {
                notes.raise(Notes::NOT_COUNTER);
            }
            if !(counter || is_gauge(a) && is_gauge(b)) {
                notes.raise(Notes::NOT_GAUGE);
            }
            let mut sum = HistogramSum::new(b);
            let follows = !counter || !by_start && !detect_reset(b, a);
            if follows && !add_noted(&mut sum, a, -1.0, notes) {
                return None;
            }
            let mut h = sum.finish();
            h.reset_hint = CounterResetHint::Gauge;
            compact(&mut h);
            Point::Histogram(Arc::new(h))
        }
        _ => {
            notes.raise(Notes::MIXED_KINDS);
            return None;
        }
    };
    if !counter {
        return Some(result);
    }
    Some(match result {
        Point::Float(value) => Point::Float(value / seconds(interval)),
        Point::Histogram(h) => {
            let mut h = Arc::unwrap_or_clone(h);
            divide(&mut h, seconds(interval));
            Point::Histogram(Arc::new(h))
        }
    })
}

/// What `resets` and `changes` count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Reset,
    Change,
}

/// How often an event happens between neighbouring samples of a window. A change of kind is one of either.
pub(crate) fn count_events(w: &Window<'_>, event: Event) -> Option<Point> {
    if w.histograms.is_empty() {
        return Some(Point::Float(w.marks.len() as f64));
    }
    let mut count = 0_u32;
    let (mut f, mut h) = (0, 0);
    let mut previous: Option<(Timestamp, Timestamp, Either<'_>)> = None;
    while f < w.values.len() || h < w.histograms.len() {
        let float_next = h >= w.histograms.len() || f < w.values.len() && w.times[f] < w.histograms[h].0;
        let current = if float_next {
            f += 1;
            (w.times[f - 1], w.starts.get(f - 1).copied().unwrap_or(0), Either::Float(w.values[f - 1]))
        } else {
            h += 1;
            let s = &w.histograms[h - 1];
            (s.0, s.1, Either::Histogram(&s.2))
        };
        if let Some(before) = &previous {
            let by_start = w.use_starts && start_reset((before.1, before.0), (current.1, current.0));
            let happened = match (&before.2, &current.2, event) {
                (Either::Float(a), Either::Float(b), Event::Reset) => b < a || by_start,
                (Either::Float(a), Either::Float(b), Event::Change) => a != b && !(a.is_nan() && b.is_nan()),
                (Either::Histogram(a), Either::Histogram(b), Event::Reset) => by_start || detect_reset(b, a),
                (Either::Histogram(a), Either::Histogram(b), Event::Change) => !equal(a, b),
                _ => true,
            };
            count += u32::from(happened);
        }
        previous = Some(current);
    }
    Some(Point::Float(f64::from(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window<'a>(times: &'a [i64], values: &'a [f64], marks: &'a [u32]) -> Window<'a> {
        Window {
            times,
            values,
            starts: &[],
            histograms: &[],
            from: 0,
            to: 60_000,
            at: 60_000,
            seconds: 60.0,
            marks,
            base: 0,
            use_starts: false,
        }
    }

    #[test]
    fn counters_are_extrapolated_and_corrected() {
        let times = [15_000, 30_000, 45_000, 60_000];
        let values = [10.0, 20.0, 5.0, 15.0];
        let mut marks = Vec::new();
        reset_marks(&times, &values, &[], &mut marks);
        assert_eq!(marks, [2]);
        let w = window(&times, &values, &marks);
        let mut notes = Notes::default();
        // 25 seen in 45 s; the counter's zero lies 18 s before the first sample.
        let expected = 25.0 * (45.0 + 15.0) / 45.0;
        match extrapolated(&w, true, false, &mut notes) {
            Some(Point::Float(v)) => assert!((v - expected).abs() < 1e-9),
            other => panic!("{other:?}"),
        }
        assert_eq!(instant(&w, true, &mut notes), Some(Point::Float(10.0 / 15.0)));
        assert_eq!(count_events(&w, Event::Reset), Some(Point::Float(1.0)));
    }

    #[test]
    fn starts_tell_deltas_from_unknown_starts() {
        assert!(start_reset((1, 10), (10, 20)));
        assert!(!start_reset((0, 10), (10, 20)));
        assert!(!start_reset((10, 10), (10, 20)));
        assert!(!start_reset((11, 10), (10, 20)));
        assert!(start_reset((0, 10), (11, 20)));
        assert!(!start_reset((0, 10), (20, 20)));
    }
}
