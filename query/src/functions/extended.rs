//! `anchored` and `smoothed` range selectors: differences between the values at the range's borders.
//!
//! Anchored takes the last sample at or before the begin of the range for its begin; smoothed interpolates
//! at both borders. Nothing is extrapolated. Windows given here reach beyond the range by the lookback.

use super::rate::{Event, add_noted, count_events, scaled};
use crate::Point;
use crate::annotations::Notes;
use crate::execute::range_input::{HistogramSample, Window};
use crate::histogram::{HistogramSum, compact, detect_reset, multiply};
use std::sync::Arc;
use storage_format::model::{CounterResetHint, Histogram, Timestamp};

/// How a range selector finds the values at its borders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extension {
    Anchored,
    Smoothed,
}

/// The value at `at` on the line between two samples; a counter that was reset starts from 0.
pub(crate) fn interpolate(
    before: (Timestamp, f64),
    after: (Timestamp, f64),
    at: Timestamp,
    counter: bool,
) -> f64 {
    let from = if counter && after.1 < before.1 { 0.0 } else { before.1 };
    from + (after.1 - from) * (at - before.0) as f64 / (after.0 - before.0) as f64
}

/// The histogram at `at` between two samples. `counter`: whether resets count, by default unless the later
/// one is a gauge. `None` when exponential and custom buckets meet.
pub(crate) fn interpolate_histogram(
    before: &HistogramSample,
    after: &HistogramSample,
    at: Timestamp,
    counter: Option<bool>,
    notes: &mut Notes,
) -> Option<Histogram> {
    if before.2.uses_custom_buckets() != after.2.uses_custom_buckets() {
        return None;
    }
    let fraction = (at - before.0) as f64 / (after.0 - before.0) as f64;
    let counter = counter.unwrap_or(after.2.reset_hint != CounterResetHint::Gauge);
    if counter && detect_reset(&after.2, &before.2) {
        let mut h = after.2.clone();
        multiply(&mut h, fraction);
        return Some(h);
    }
    let mut sum = HistogramSum::new(&after.2);
    if sum.add(&before.2, -1.0).ok()?.bounds_reconciled {
        notes.raise(Notes::RECONCILED_SUB);
    }
    sum.scale(fraction);
    if sum.add(&before.2, 1.0).ok()?.bounds_reconciled {
        notes.raise(Notes::RECONCILED_ADD);
    }
    let mut h = sum.finish();
    h.reset_hint = before.2.reset_hint;
    compact(&mut h);
    Some(h)
}

/// Indexes of the samples that decide the borders: the last one at or before `from` (else the first), and
/// the last one, for smoothed the first at or after `to`. `None` when the range has no samples.
fn borders(
    w: &Window<'_>,
    len: usize,
    time: impl Fn(usize) -> Timestamp,
    smoothed: bool,
) -> Option<(usize, usize)> {
    let mut last = len.checked_sub(1)?;
    let first = crate::histogram::classic::search(last, |i| time(i) > w.from).saturating_sub(1);
    if smoothed {
        last = crate::histogram::classic::search(last, |i| time(i) >= w.to);
    }
    (time(last) > w.from && time(first) <= w.to).then_some((first, last))
}

/// The floats of an extended range: the values at its borders, and which samples lie between.
struct Bordered {
    left: f64,
    right: f64,
    begin: usize,
    end: usize,
}

/// `counter`: whether interpolation takes a smaller value for a reset. `None` when the range has no samples.
fn bordered_floats(w: &Window<'_>, extension: Extension, counter: bool) -> Option<Bordered> {
    let smoothed = extension == Extension::Smoothed;
    let (first, last) = borders(w, w.values.len(), |i| w.times[i], smoothed)?;
    let sample = |i: usize| (w.times[i], w.values[i]);
    let left = if smoothed && w.times[first] < w.from {
        interpolate(sample(first), sample(first + 1), w.from, counter)
    } else {
        w.values[first]
    };
    let right = if smoothed && last > 0 && w.times[last] > w.to {
        interpolate(sample(last - 1), sample(last), w.to, counter)
    } else {
        w.values[last]
    };
    let begin = first + usize::from(w.times[first] <= w.from);
    let end = last + usize::from(w.times[last] < w.to);
    Some(Bordered { left, right, begin, end })
}

/// `rate`, `increase` and `delta` over an extended range.
pub(crate) fn difference(
    w: &Window<'_>,
    extension: Extension,
    counter: bool,
    per_second: bool,
    notes: &mut Notes,
) -> Option<Point> {
    if !w.values.is_empty() && !w.histograms.is_empty() {
        notes.raise(Notes::MIXED_KINDS);
        return None;
    }
    let smoothed = extension == Extension::Smoothed;
    if !w.histograms.is_empty() {
        let borders = borders(w, w.histograms.len(), |i| w.histograms[i].0, smoothed)?;
        let h = histogram_difference(w, borders, smoothed, counter, notes)?;
        let point = Point::Histogram(Arc::new(h));
        return Some(if per_second { scaled(point, 1.0 / w.seconds) } else { point });
    }
    let Bordered { left, right, begin, end } = bordered_floats(w, extension, counter)?;
    let mut result = right - left;
    if counter {
        let mut previous = left;
        let inner = w.values.get(begin..end).unwrap_or_default();
        for value in inner.iter().chain([&right]) {
            if *value < previous {
                result += previous;
            }
            previous = *value;
        }
    }
    Some(Point::Float(if per_second { result / w.seconds } else { result }))
}

fn histogram_difference(
    w: &Window<'_>,
    (first, last): (usize, usize),
    smoothed: bool,
    counter: bool,
    notes: &mut Notes,
) -> Option<Histogram> {
    let samples = w.histograms;
    let used = &samples[first..=last];
    let gauge = |s: &HistogramSample| s.2.reset_hint == CounterResetHint::Gauge;
    if counter && used.iter().any(gauge) {
        notes.raise(Notes::NOT_COUNTER);
    }
    if !(counter || gauge(&samples[first]) && gauge(&samples[last])) {
        notes.raise(Notes::NOT_GAUGE);
    }
    if used.iter().any(|s| s.2.uses_custom_buckets() != used[0].2.uses_custom_buckets()) {
        notes.raise(Notes::MIXED_SCHEMAS);
        return None;
    }
    let left_between = smoothed && samples[first].0 < w.from;
    let right_between = smoothed && last > 0 && samples[last].0 > w.to;
    let left = if left_between {
        interpolate_histogram(&samples[first], &samples[first + 1], w.from, Some(counter), notes)?
    } else {
        samples[first].2.clone()
    };
    let right = if right_between {
        interpolate_histogram(&samples[last - 1], &samples[last], w.to, Some(counter), notes)?
    } else {
        samples[last].2.clone()
    };
    let mut sum = HistogramSum::new(&right);
    if !add_noted(&mut sum, &left, -1.0, notes) {
        return None;
    }
    if counter {
        // The gap that holds an interpolated left border has its reset accounted for already.
        let begin = first + usize::from(left_between);
        for pair in samples.get(begin..=last).unwrap_or_default().windows(2) {
            if !detect_reset(&pair[1].2, &pair[0].2) {
                continue;
            }
            if !add_noted(&mut sum, &pair[0].2, 1.0, notes) {
                return None;
            }
        }
    }
    let mut h = sum.finish();
    h.reset_hint = CounterResetHint::Gauge;
    compact(&mut h);
    Some(h)
}

/// `resets` and `changes` over an anchored range: the last sample at or before its begin counts as seen.
pub(crate) fn anchored_events(w: &Window<'_>, event: Event) -> Option<Point> {
    let floats = w.times.partition_point(|t| *t <= w.from);
    let histograms = w.histograms.partition_point(|h| h.0 <= w.from);
    if floats == w.times.len() && histograms == w.histograms.len() {
        return None;
    }
    let float_anchor = floats.checked_sub(1).map(|i| w.times[i]);
    let histogram_anchor = histograms.checked_sub(1).map(|i| w.histograms[i].0);
    let (float_first, histogram_first) = if float_anchor > histogram_anchor {
        (floats - 1, histograms)
    } else {
        (floats, histograms.saturating_sub(1))
    };
    let base = w.base + float_first;
    let begin = w.marks.partition_point(|m| *m as usize <= base);
    let narrowed = Window {
        times: &w.times[float_first..],
        values: &w.values[float_first..],
        starts: w.starts.get(float_first..).unwrap_or_default(),
        histograms: &w.histograms[histogram_first..],
        marks: &w.marks[begin..],
        base,
        ..*w
    };
    count_events(&narrowed, event)
}

/// The samples of an extended range selector that is asked for as such: the values at the borders, and
/// the samples between.
pub(crate) fn bordered(w: &Window<'_>, extension: Extension) -> Vec<(Timestamp, f64)> {
    let Some(Bordered { left, right, begin, end }) = bordered_floats(w, extension, false) else {
        return Vec::new();
    };
    let mut out = vec![(w.from, left)];
    out.extend((begin..end).map(|i| (w.times[i], w.values[i])));
    out.push((w.to, right));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_interpolated() {
        let (times, values) = ([0, 60_000, 120_000, 180_000], [9.0, 8.0, 5.0, 4.0]);
        let w = Window {
            times: &times,
            values: &values,
            starts: &[],
            histograms: &[],
            from: 15_000,
            to: 135_000,
            at: 135_000,
            seconds: 120.0,
            marks: &[],
            base: 0,
            use_starts: false,
        };
        let mut notes = Notes::default();
        let increase = difference(&w, Extension::Smoothed, true, false, &mut notes);
        assert_eq!(increase, Some(Point::Float(12.0)));
    }
}
