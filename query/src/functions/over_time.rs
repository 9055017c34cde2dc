//! The `*_over_time` functions, regressions and smoothing.

use crate::Point;
use crate::annotations::Notes;
use crate::execute::range_input::Window;
use crate::histogram::{HistogramSum, Merge, MixedSchemas};
use crate::kahan::{Kahan, Mean};
use std::sync::Arc;
use storage_format::model::{CounterResetHint, Histogram, Timestamp};

/// `true` (and a note) when the window holds both kinds.
fn mixed(w: &Window<'_>, notes: &mut Notes) -> bool {
    let mixed = !w.values.is_empty() && !w.histograms.is_empty();
    if mixed {
        notes.raise(Notes::MIXED_KINDS);
    }
    mixed
}

/// The floats of a window for functions that ignore histograms; `None` when there are none.
fn floats<'a>(w: &Window<'a>, notes: &mut Notes) -> Option<&'a [f64]> {
    if w.values.is_empty() {
        return None;
    }
    if !w.histograms.is_empty() {
        notes.raise(Notes::HISTOGRAMS_IGNORED);
    }
    Some(w.values)
}

/// Which reset hints were seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HintsSeen {
    reset: bool,
    not_reset: bool,
}

impl HintsSeen {
    pub(crate) fn see(&mut self, hint: CounterResetHint) {
        self.reset |= hint == CounterResetHint::CounterReset;
        self.not_reset |= hint == CounterResetHint::NotCounterReset;
    }
    pub(crate) fn collide(self) -> bool {
        self.reset && self.not_reset
    }
    pub(crate) fn merge(&mut self, other: Self) {
        self.reset |= other.reset;
        self.not_reset |= other.not_reset;
    }
}

/// The running sum or mean of histograms.
#[derive(Debug, Clone)]
pub(crate) struct HistogramMean {
    sum: HistogramSum,
    count: f64,
    incremental: bool,
}

impl HistogramMean {
    pub(crate) fn new(h: &Histogram) -> Self {
        Self { sum: HistogramSum::new(h), count: 1.0, incremental: false }
    }
    /// Adds a histogram. The sum is turned into a mean when it would overflow.
    pub(crate) fn add(&mut self, h: &Histogram) -> Result<Merge, MixedSchemas> {
        self.count += 1.0;
        if !self.incremental {
            let mut next = self.sum.clone();
            let merge = next.add(h, 1.0)?;
            if !next.overflows() {
                self.sum = next;
                return Ok(merge);
            }
            self.incremental = true;
            self.sum.divide(self.count - 1.0);
        }
        self.sum.scale((self.count - 1.0) / self.count);
        let mut part = h.clone();
        crate::histogram::divide(&mut part, self.count);
        self.sum.add(&part, 1.0)
    }
    pub(crate) fn finish(mut self) -> Histogram {
        if !self.incremental {
            self.sum.divide(self.count);
        }
        self.sum.finish()
    }
}

/// `sum_over_time`.
pub(crate) fn sum(w: &Window<'_>, notes: &mut Notes) -> Option<Point> {
    if mixed(w, notes) {
        return None;
    }
    if let [(_, _, first), rest @ ..] = w.histograms {
        let mut total = HistogramSum::new(first);
        combine(w, notes, rest, |h| total.add(h, 1.0))?;
        return Some(Point::Histogram(Arc::new(total.finish())));
    }
    let mut total = Kahan::default();
    w.values.iter().for_each(|v| total.add(*v));
    Some(Point::Float(total.value()))
}

/// `avg_over_time`.
pub(crate) fn avg(w: &Window<'_>, notes: &mut Notes) -> Option<Point> {
    if mixed(w, notes) {
        return None;
    }
    if let [(_, _, first), rest @ ..] = w.histograms {
        let mut mean = HistogramMean::new(first);
        combine(w, notes, rest, |h| mean.add(h))?;
        return Some(Point::Histogram(Arc::new(mean.finish())));
    }
    let mut mean = Mean::default();
    w.values.iter().for_each(|v| mean.add(*v));
    Some(Point::Float(mean.value()))
}

fn combine(
    w: &Window<'_>,
    notes: &mut Notes,
    rest: &[(Timestamp, Timestamp, Histogram)],
    mut add: impl FnMut(&Histogram) -> Result<Merge, MixedSchemas>,
) -> Option<()> {
    let mut hints = HintsSeen::default();
    hints.see(w.histograms[0].2.reset_hint);
    for (_, _, h) in rest {
        hints.see(h.reset_hint);
        match add(h) {
            Ok(merge) if merge.bounds_reconciled => notes.raise(Notes::RECONCILED_AGG),
            Ok(_) => {}
            Err(MixedSchemas) => {
                notes.raise(Notes::MIXED_SCHEMAS);
                return None;
            }
        }
    }
    if hints.collide() {
        notes.raise(Notes::HINTS_COLLIDED);
    }
    Some(())
}

/// Which end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    First,
    Last,
}

/// `first_over_time` and `last_over_time`.
pub(crate) fn end(w: &Window<'_>, which: End) -> Option<Point> {
    let (f, h) = match which {
        End::First => (w.times.first().zip(w.values.first()), w.histograms.first()),
        End::Last => (w.times.last().zip(w.values.last()), w.histograms.last()),
    };
    match (f, h) {
        (Some((t, v)), Some(h)) if (which == End::First) == (*t < h.0) && *t != h.0 => Some(Point::Float(*v)),
        (Some((_, v)), None) => Some(Point::Float(*v)),
        (_, Some(h)) => Some(Point::Histogram(Arc::new(h.2.clone()))),
        (None, None) => None,
    }
}

/// `ts_of_first_over_time` and `ts_of_last_over_time`, in seconds.
pub(crate) fn end_time(w: &Window<'_>, which: End) -> Option<Point> {
    let (f, h) = match which {
        End::First => (w.times.first(), w.histograms.first()),
        End::Last => (w.times.last(), w.histograms.last()),
    };
    let times = f.copied().into_iter().chain(h.map(|h| h.0));
    let time = if which == End::First { times.min() } else { times.max() };
    time.map(|t| Point::Float(t as f64 / 1000.0))
}

/// The extreme among the floats: index of the first one (or, with `latest`, the last one) that no other
/// one beats. NaN loses against everything.
fn extreme(values: &[f64], latest: bool, beats: impl Fn(f64, f64) -> bool) -> usize {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        let current = values[best];
        if beats(*v, current) || current.is_nan() || latest && *v == current {
            best = i;
        }
    }
    best
}

/// `max_over_time` (`largest`) and `min_over_time`; with `time`, when it was, in seconds.
pub(crate) fn extreme_over_time(
    w: &Window<'_>,
    largest: bool,
    time: bool,
    notes: &mut Notes,
) -> Option<Point> {
    let values = floats(w, notes)?;
    let at = if largest { extreme(values, time, |a, b| a > b) } else { extreme(values, time, |a, b| a < b) };
    Some(Point::Float(if time { w.times[at] as f64 / 1000.0 } else { values[at] }))
}

/// The quantile of numbers, linearly interpolated between ranks; NaN sorts lowest. Sorts in place.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal),
        (a, b) => b.cmp(&a),
    });
    let n = values.len() as f64;
    let rank = q * (n - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(n - 1.0);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// `quantile_over_time`.
pub(crate) fn quantile_over_time(w: &Window<'_>, q: f64, notes: &mut Notes) -> Option<Point> {
    let mut values = floats(w, notes)?.to_vec();
    Some(Point::Float(quantile(q, &mut values)))
}

/// `mad_over_time`: the median of the distances from the median.
pub(crate) fn mad(w: &Window<'_>, notes: &mut Notes) -> Option<Point> {
    let mut values = floats(w, notes)?.to_vec();
    if values.iter().any(|v| v.is_nan()) {
        return Some(Point::Float(f64::NAN));
    }
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|v| *v = (*v - median).abs());
    Some(Point::Float(quantile(0.5, &mut values)))
}

/// `stdvar_over_time`: Welford's algorithm, compensated.
pub(crate) fn stdvar(w: &Window<'_>, notes: &mut Notes) -> Option<f64> {
    let values = floats(w, notes)?;
    let (mut mean, mut squares) = (Kahan::default(), Kahan::default());
    let mut count = 0.0;
    for v in values {
        count += 1.0;
        let delta = v - (mean.sum + mean.rest);
        mean.add(delta / count);
        squares.add(delta * (v - (mean.sum + mean.rest)));
    }
    Some((squares.sum + squares.rest) / count)
}

/// Slope (per second) and value at `origin` of the least-squares line.
fn regression(times: &[Timestamp], values: &[f64], origin: Timestamp) -> (f64, f64) {
    let first = values[0];
    if values.iter().skip(1).all(|v| *v == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
        (Kahan::default(), Kahan::default(), Kahan::default(), Kahan::default());
    let mut n = 0.0;
    for (t, y) in times.iter().zip(values) {
        n += 1.0;
        let x = (t - origin) as f64 / 1e3;
        x_sum.add(x);
        y_sum.add(*y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let total = |k: Kahan| k.sum + k.rest;
    let (x, y, xy, xx) = (total(x_sum), total(y_sum), total(xy_sum), total(xx_sum));
    let covariance = xy - x * y / n;
    let variance = xx - x * x / n;
    let slope = covariance / variance;
    (slope, y / n - slope * x / n)
}

fn two_floats<'a>(w: &Window<'a>, notes: &mut Notes) -> Option<&'a [f64]> {
    floats(w, notes).filter(|v| v.len() > 1)
}

/// `deriv`.
pub(crate) fn deriv(w: &Window<'_>, notes: &mut Notes) -> Option<Point> {
    let values = two_floats(w, notes)?;
    Some(Point::Float(regression(w.times, values, w.times[0]).0))
}

/// `predict_linear`.
pub(crate) fn predict_linear(w: &Window<'_>, ahead: f64, notes: &mut Notes) -> Option<Point> {
    let values = two_floats(w, notes)?;
    let (slope, value) = regression(w.times, values, w.at);
    Some(Point::Float(slope * ahead + value))
}

/// `double_exponential_smoothing` with factors in `(0, 1)`.
pub(crate) fn smoothing(w: &Window<'_>, level: f64, trend: f64, notes: &mut Notes) -> Option<Point> {
    let values = two_floats(w, notes)?;
    let (mut before, mut smoothed) = (0.0, values[0]);
    let mut slope = values[1] - values[0];
    for (i, v) in values.iter().enumerate().skip(1) {
        if i > 1 {
            slope = trend * (smoothed - before) + (1.0 - trend) * slope;
        }
        let next = level * v + (1.0 - level) * (smoothed + slope);
        before = smoothed;
        smoothed = next;
    }
    Some(Point::Float(smoothed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_and_put_nan_lowest() {
        assert_eq!(quantile(0.5, &mut [3.0, 1.0, 2.0, 4.0]), 2.5);
        assert!(quantile(0.0, &mut [3.0, f64::NAN]).is_nan());
        assert_eq!(quantile(1.0, &mut [3.0, f64::NAN]), 3.0);
        assert_eq!(quantile(1.1, &mut [3.0]), f64::INFINITY);
    }

    #[test]
    fn extremes_ignore_nan() {
        assert_eq!(extreme(&[f64::NAN, 2.0, 1.0, 2.0], false, |a, b| a > b), 1);
        assert_eq!(extreme(&[f64::NAN, 2.0, 1.0, 2.0], true, |a, b| a > b), 3);
    }

    #[test]
    fn regression_of_a_line() {
        let (slope, at) = regression(&[0, 1000, 2000], &[1.0, 3.0, 5.0], 1000);
        assert!((slope - 2.0).abs() < 1e-12 && (at - 3.0).abs() < 1e-12);
    }
}
