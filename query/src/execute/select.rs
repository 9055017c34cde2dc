//! Instant selectors: for every step the newest sample within the lookback.
//!
//! Windows are left-open: a sample exactly as old as the lookback is not seen. A staleness marker ends a
//! series; nothing older is looked at behind it.

use super::column::{Column, Grid, SeriesMeta};
use super::source::{Scratch, Source};
use super::stored::read;
use crate::QueryError;
use crate::annotations::Notes;
use crate::budget::Budget;
use crate::functions::extended::{interpolate, interpolate_histogram};
use crate::parse::Span;
use std::sync::Arc;
use storage_format::model::{Histogram, Samples, TimeRange, Timestamp, is_stale};

/// What of the selected sample becomes the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Its value.
    Value,
    /// Its timestamp in seconds.
    Timestamp,
    /// Its start timestamp in seconds, 0 where unknown.
    StartTimestamp,
}

/// Where a selector looks, relative to the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// Fixed instant (`@`), if any.
    pub(crate) at: Option<Timestamp>,
    /// Milliseconds back from there.
    pub(crate) offset: i64,
}

impl Anchor {
    /// The instant looked at from `step_time`.
    #[inline]
    pub(crate) fn reference(self, step_time: Timestamp) -> Timestamp {
        self.at.unwrap_or(step_time).saturating_sub(self.offset)
    }
}

/// An instant selector over chosen series.
pub(crate) struct InstantSelect {
    pub(crate) stored: Vec<engine::Series>,
    pub(crate) metas: Vec<SeriesMeta>,
    pub(crate) grid: Grid,
    pub(crate) anchor: Anchor,
    /// Milliseconds.
    pub(crate) lookback: i64,
    pub(crate) take: Take,
    pub(crate) smoothed: bool,
    /// Whether of histograms only counts and sums are asked for.
    pub(crate) stats: bool,
    pub(crate) span: Span,
    pub(crate) budget: Arc<Budget>,
}

impl InstantSelect {
    /// The instants that may be needed, from the first step to the last.
    pub(crate) fn range(grid: Grid, anchor: Anchor, lookback: i64, smoothed: bool) -> TimeRange {
        let (first, last) = (anchor.reference(grid.start), anchor.reference(grid.last()));
        let ahead = if smoothed { lookback } else { 0 };
        TimeRange::left_open(first.saturating_sub(lookback), last.saturating_add(ahead))
    }
}

impl Source for InstantSelect {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }
    fn column(&self, i: usize, scratch: &mut Scratch, out: &mut Column) -> Result<(), QueryError> {
        let range = Self::range(self.grid, self.anchor, self.lookback, self.smoothed);
        let mut samples = std::mem::take(&mut scratch.samples);
        let _held = read(&self.stored[i], range, self.stats, &self.budget, scratch, &mut samples)?;
        // With `@` all steps see the same: one is enough.
        let grid = if self.anchor.at.is_some() { self.grid.first() } else { self.grid };
        out.reset(grid.len);
        if self.smoothed {
            let metric = self.metas[i].labels.metric_name().unwrap_or("");
            let mut notes = Notes::default();
            self.smooth(grid, &mut samples, &mut notes, out);
            notes.write(metric, self.span, &mut scratch.annotations);
        } else if samples.histograms.is_empty() {
            self.newest_floats(grid, &samples, out);
        } else {
            self.newest(grid, &samples, out);
        }
        scratch.samples = samples;
        out.present.iter().for_each(|step| scratch.look(step, 1));
        for (step, h) in &out.histograms {
            scratch.look(*step as usize, crate::histogram::size_in_samples(h));
        }
        if grid.len != self.grid.len {
            let single = std::mem::take(out);
            single.broadcast(self.grid.len, out);
        }
        Ok(())
    }
}

impl InstantSelect {
    fn taken(&self, samples: &Samples, at: usize) -> f64 {
        match self.take {
            Take::Value => samples.values[at],
            Take::Timestamp => samples.timestamps[at] as f64 / 1000.0,
            Take::StartTimestamp => samples.starts.get(at).copied().unwrap_or(0) as f64 / 1000.0,
        }
    }
    fn newest_floats(&self, grid: Grid, samples: &Samples, out: &mut Column) {
        let times = &samples.timestamps;
        let mut next = 0;
        for step in 0..grid.len {
            let reference = self.anchor.reference(grid.at(step));
            while next < times.len() && times[next] <= reference {
                next += 1;
            }
            let Some(at) = next.checked_sub(1) else { continue };
            if times[at] > reference.saturating_sub(self.lookback) && !is_stale(samples.values[at]) {
                out.set(step, self.taken(samples, at));
            }
        }
    }
    fn newest(&self, grid: Grid, samples: &Samples, out: &mut Column) {
        let (times, histograms) = (&samples.timestamps, &samples.histograms);
        let (mut next, mut next_histogram) = (0, 0);
        // Consecutive steps that see the same histogram share it.
        let mut shared: Option<(usize, Arc<Histogram>)> = None;
        for step in 0..grid.len {
            let reference = self.anchor.reference(grid.at(step));
            while next < times.len() && times[next] <= reference {
                next += 1;
            }
            while next_histogram < histograms.len() && histograms[next_histogram].0 <= reference {
                next_histogram += 1;
            }
            let oldest = reference.saturating_sub(self.lookback);
            let float = next.checked_sub(1).map(|i| (times[i], i));
            let histogram = next_histogram.checked_sub(1).map(|i| (histograms[i].0, i));
            match (float, histogram) {
                (Some((t, at)), h) if h.is_none_or(|h| h.0 < t) => {
                    let live = t > oldest && !is_stale(samples.values[at]);
                    live.then(|| out.set(step, self.taken(samples, at)));
                }
                (_, Some((t, at))) if t > oldest && !histograms[at].2.is_stale() => match self.take {
                    Take::Value => {
                        let known = shared.take().filter(|s| s.0 == at);
                        let (_, h) = known.unwrap_or_else(|| (at, Arc::new(histograms[at].2.clone())));
                        out.push_histogram(step, Arc::clone(&h));
                        shared = Some((at, h));
                    }
                    Take::Timestamp => out.set(step, t as f64 / 1000.0),
                    Take::StartTimestamp => out.set(step, histograms[at].1 as f64 / 1000.0),
                },
                _ => {}
            }
        }
    }
    /// Interpolates between the samples around each step; the last known value where none follows.
    fn smooth(&self, grid: Grid, samples: &mut Samples, notes: &mut Notes, out: &mut Column) {
        super::range_input::drop_stale(samples);
        let (times, histograms) = (&samples.timestamps, &samples.histograms);
        for step in 0..grid.len {
            let reference = self.anchor.reference(grid.at(step));
            let (from, to) =
                (reference.saturating_sub(self.lookback), reference.saturating_add(self.lookback));
            let floats = times.partition_point(|t| *t <= from)..times.partition_point(|t| *t <= to);
            let counts =
                histograms.partition_point(|h| h.0 <= from)..histograms.partition_point(|h| h.0 <= to);
            if !floats.is_empty() && !counts.is_empty() {
                notes.raise(Notes::MIXED_KINDS);
                continue;
            }
            if !floats.is_empty() {
                let next = floats.start + times[floats.clone()].partition_point(|t| *t < reference);
                if next < floats.end && times[next] == reference {
                    out.set(step, samples.values[next]);
                } else if next > floats.start {
                    let before = (times[next - 1], samples.values[next - 1]);
                    let value = if next < floats.end {
                        interpolate(before, (times[next], samples.values[next]), reference, false)
                    } else {
                        before.1
                    };
                    out.set(step, value);
                }
            } else if !counts.is_empty() {
                let next = counts.start + histograms[counts.clone()].partition_point(|h| h.0 < reference);
                let exact = next < counts.end && histograms[next].0 == reference;
                if exact {
                    out.push_histogram(step, Arc::new(histograms[next].2.clone()));
                } else if next > counts.start {
                    let before = &histograms[next - 1];
                    if next == counts.end {
                        out.push_histogram(step, Arc::new(before.2.clone()));
                        continue;
                    }
                    match interpolate_histogram(before, &histograms[next], reference, None, notes) {
                        Some(h) => out.push_histogram(step, Arc::new(h)),
                        None => notes.raise(Notes::MIXED_SCHEMAS),
                    }
                }
            }
        }
    }
}
