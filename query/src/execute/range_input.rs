//! The input of range functions: samples of one series, and the windows that steps see of them.

use super::column::{Column, Grid, SeriesMeta};
use super::select::Anchor;
use super::source::{Materialized, Scratch};
use super::stored::read;
use crate::QueryError;
use crate::budget::Budget;
use std::sync::Arc;
use storage_format::model::{CounterResetHint, Histogram, Samples, TimeRange, Timestamp, is_stale};

/// Samples that windows hold between two looks at the budget.
const CHECK_EVERY: usize = 1 << 20;

/// A histogram sample: timestamp, start timestamp or 0, histogram.
pub(crate) type HistogramSample = (Timestamp, Timestamp, Histogram);

/// What a range function sees at one step. All samples lie in `(from, to]`, but for anchored and smoothed
/// selectors, whose samples reach beyond.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    pub(crate) times: &'a [Timestamp],
    pub(crate) values: &'a [f64],
    /// Start timestamps of the floats; empty when none is known.
    pub(crate) starts: &'a [Timestamp],
    pub(crate) histograms: &'a [HistogramSample],
    /// Exclusive begin of the range.
    pub(crate) from: Timestamp,
    /// Inclusive end of the range.
    pub(crate) to: Timestamp,
    /// The instant of evaluation.
    pub(crate) at: Timestamp,
    /// The nominal length of the range in seconds.
    pub(crate) seconds: f64,
    /// Indexes into `values`, offset by `base`, where an event happened since the sample before.
    pub(crate) marks: &'a [u32],
    pub(crate) base: usize,
    /// Whether start timestamps count.
    pub(crate) use_starts: bool,
}

/// Where samples come from.
pub(crate) enum RangeSeries {
    /// Storage.
    Stored(Vec<engine::Series>),
    /// A subquery's result.
    Computed(Vec<Samples>),
}

/// Series with samples, and where windows lie.
pub(crate) struct RangeInput {
    pub(crate) series: RangeSeries,
    pub(crate) metas: Vec<SeriesMeta>,
    pub(crate) grid: Grid,
    pub(crate) anchor: Anchor,
    /// Length of the windows, milliseconds.
    pub(crate) range: i64,
    /// How much further than the window samples are wanted, before and after, milliseconds.
    pub(crate) margin: (i64, i64),
    /// Whether start timestamps count.
    pub(crate) use_starts: bool,
    /// Whether of histograms only counts and sums are asked for.
    pub(crate) stats: bool,
    pub(crate) budget: Arc<Budget>,
    /// Whom a profile charges with reading.
    pub(crate) operator: u32,
    /// Keeps a subquery's samples charged.
    #[expect(dead_code, reason = "held for its drop")]
    pub(crate) held: Vec<crate::budget::Held>,
}

/// Removes staleness markers.
pub(crate) fn drop_stale(samples: &mut Samples) {
    samples.histograms.retain(|h| !h.2.is_stale());
    if !samples.values.iter().any(|v| is_stale(*v)) {
        return;
    }
    let mut kept = 0;
    for i in 0..samples.values.len() {
        if is_stale(samples.values[i]) {
            continue;
        }
        samples.values[kept] = samples.values[i];
        samples.timestamps[kept] = samples.timestamps[i];
        if !samples.starts.is_empty() {
            samples.starts[kept] = samples.starts[i];
        }
        kept += 1;
    }
    samples.values.truncate(kept);
    samples.timestamps.truncate(kept);
    if !samples.starts.is_empty() {
        samples.starts.truncate(kept);
    }
}

impl RangeInput {
    /// All instants that windows may need.
    pub(crate) fn needed(grid: Grid, anchor: Anchor, range: i64, margin: (i64, i64)) -> TimeRange {
        let (first, last) = (anchor.reference(grid.start), anchor.reference(grid.last()));
        TimeRange::left_open(
            first.saturating_sub(range).saturating_sub(margin.0),
            last.saturating_add(margin.1),
        )
    }
    /// Calls `each` with the samples of series `i`, staleness markers removed.
    pub(crate) fn with_samples<T>(
        &self,
        i: usize,
        scratch: &mut Scratch,
        each: impl FnOnce(&Samples, &mut Scratch) -> T,
    ) -> Result<T, QueryError> {
        match &self.series {
            RangeSeries::Computed(all) => Ok(each(&all[i], scratch)),
            RangeSeries::Stored(stored) => {
                let mut samples = std::mem::take(&mut scratch.samples);
                let needed = Self::needed(self.grid, self.anchor, self.range, self.margin);
                let charged = self.budget.profile().map(|profile| profile.enter(self.operator));
                let _held = read(&stored[i], needed, self.stats, &self.budget, scratch, &mut samples)?;
                drop_stale(&mut samples);
                if !self.use_starts {
                    samples.starts.clear();
                }
                drop(charged);
                let result = each(&samples, scratch);
                scratch.samples = samples;
                Ok(result)
            }
        }
    }
    /// Calls `each` with every step and its window, steps ascending. Empty windows are left out.
    ///
    /// # Errors
    /// When the query was cancelled or its time is over, looked at now and then.
    pub(crate) fn windows<'a>(
        &self,
        samples: &'a Samples,
        marks: &'a [u32],
        mut each: impl FnMut(usize, &Window<'a>),
    ) -> Result<(), QueryError> {
        if self.range == 0 {
            return Ok(());
        }
        let mut looked_at = 0;
        let (times, histograms) = (&samples.timestamps, &samples.histograms);
        let (mut begin, mut end, mut hist_begin, mut hist_end) = (0, 0, 0, 0);
        let (mut mark_begin, mut mark_end) = (0, 0);
        for step in 0..self.grid.len {
            let at = self.grid.at(step);
            let to = self.anchor.reference(at);
            let from = to.saturating_sub(self.range);
            let (oldest, newest) = (from.saturating_sub(self.margin.0), to.saturating_add(self.margin.1));
            advance(&mut end, times.len(), |i| times[i] <= newest);
            advance(&mut begin, end, |i| times[i] <= oldest);
            advance(&mut hist_end, histograms.len(), |i| histograms[i].0 <= newest);
            advance(&mut hist_begin, hist_end, |i| histograms[i].0 <= oldest);
            if begin == end && hist_begin == hist_end {
                continue;
            }
            looked_at += end - begin + hist_end - hist_begin;
            if looked_at > CHECK_EVERY {
                looked_at = 0;
                self.budget.check()?;
            }
            advance(&mut mark_end, marks.len(), |i| (marks[i] as usize) < end);
            advance(&mut mark_begin, mark_end, |i| marks[i] as usize <= begin);
            let window = Window {
                times: &times[begin..end],
                values: &samples.values[begin..end],
                starts: samples.starts.get(begin..end).unwrap_or_default(),
                histograms: &histograms[hist_begin..hist_end],
                from,
                to,
                at,
                seconds: self.range as f64 / 1000.0,
                marks: &marks[mark_begin..mark_end],
                base: begin,
                use_starts: self.use_starts,
            };
            each(step, &window);
        }
        Ok(())
    }
}

#[inline]
fn advance(cursor: &mut usize, limit: usize, passed: impl Fn(usize) -> bool) {
    while *cursor < limit && passed(*cursor) {
        *cursor += 1;
    }
}

/// The samples of a subquery's column. Reset hints no longer tell about the sample before, so they go.
fn to_samples(column: &Column, grid: Grid) -> Samples {
    let mut samples = Samples::default();
    for step in column.present.iter() {
        samples.push_float(grid.at(step), 0, column.values[step]);
    }
    samples.histograms.extend(column.histograms.iter().map(|(step, h)| {
        let mut h = Histogram::clone(h);
        if matches!(h.reset_hint, CounterResetHint::CounterReset | CounterResetHint::NotCounterReset) {
            h.reset_hint = CounterResetHint::Unknown;
        }
        (grid.at(*step as usize), 0, h)
    }));
    samples
}

/// A subquery's series as samples at the instants of its grid.
pub(crate) fn computed(
    rows: Materialized,
    grid: Grid,
) -> (RangeSeries, Vec<SeriesMeta>, Vec<crate::budget::Held>) {
    let (samples, metas) = rows.series.into_iter().map(|s| (to_samples(&s.column, grid), s.meta)).unzip();
    (RangeSeries::Computed(samples), metas, rows.held)
}
