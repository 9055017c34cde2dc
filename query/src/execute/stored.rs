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

/// Fewer bytes than this are not charged: taking and giving back costs more than a short series, and no
/// worker holds more than one series at a time.
const CHARGED_FROM: u64 = 16 << 10;

/// Replaces `into` by the samples of `series` inside `range`; unless they are few they are charged until the
/// returned holding is dropped. `stats`: see [`tell_hints`].
pub(super) fn read(
    series: &engine::Series,
    range: TimeRange,
    stats: bool,
    budget: &Arc<Budget>,
    scratch: &mut Scratch,
    into: &mut Samples,
) -> Result<Option<Held>, QueryError> {
    scratch.from_blocks += series.read(range, into)?.from_blocks;
    scratch.read += into.len() as u64;
    if let Some(profile) = budget.profile() {
        profile.count_samples(into.len() as u64);
    }
    let histograms: usize = into.histograms.iter().map(|h| size_in_bytes(&h.2)).sum();
    let bytes = (into.timestamps.len() * 16 + into.starts.len() * 8 + histograms) as u64;
    let held = if bytes >= CHARGED_FROM { Some(budget.hold(0, bytes)?) } else { None };
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
