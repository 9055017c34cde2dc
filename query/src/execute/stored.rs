//! Reading one stored series, with its histograms' reset hints told anew.

use super::source::Scratch;
use crate::QueryError;
use crate::budget::{Budget, Held};
use crate::histogram::algebra::size_in_bytes;
use crate::histogram::tell_hints;
use std::sync::Arc;
use storage_format::model::{CounterResetHint, Samples, TimeRange};

/// How far before the range the histogram is looked for that the first one is compared with, milliseconds.
const BEFORE: i64 = 600_000;

/// The range to select series for that will be read with `range`.
pub(super) fn to_select(range: TimeRange) -> TimeRange {
    TimeRange::new(range.start.saturating_sub(BEFORE), range.end)
}

/// Replaces `into` by the samples of `series` inside `range`; they are charged until the returned holding is
/// dropped. `stats`: see [`tell_hints`].
pub(super) fn read(
    series: &engine::Series,
    range: TimeRange,
    stats: bool,
    budget: &Arc<Budget>,
    scratch: &mut Scratch,
    into: &mut Samples,
) -> Result<Held, QueryError> {
    series.read(range, into)?;
    scratch.read += into.len() as u64;
    let histograms: usize = into.histograms.iter().map(|h| size_in_bytes(&h.2)).sum();
    let held = budget.hold(0, (into.timestamps.len() * 16 + into.starts.len() * 8 + histograms) as u64)?;
    let Some(first) = into.histograms.first() else { return Ok(held) };
    if first.2.reset_hint == CounterResetHint::Gauge {
        tell_hints(None, &mut into.histograms, stats);
        return Ok(held);
    }
    let mut before = Samples::default();
    series.read(TimeRange::new(range.start.saturating_sub(BEFORE), range.start), &mut before)?;
    let histogram = before.histograms.pop();
    let histogram = histogram.filter(|h| before.timestamps.last().is_none_or(|t| *t < h.0));
    tell_hints(histogram.map(|h| h.2).as_ref(), &mut into.histograms, stats);
    Ok(held)
}
