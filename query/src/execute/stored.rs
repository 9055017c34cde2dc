//! Reading one stored series, with its histograms' reset hints told anew.

use super::source::Scratch;
use crate::QueryError;
use crate::histogram::tell_hints;
use storage_format::model::{CounterResetHint, Samples, TimeRange};

/// How far before the range the histogram is looked for that the first one is compared with, milliseconds.
const BEFORE: i64 = 600_000;

/// Replaces `into` by the samples of `series` inside `range`. `stats`: see [`tell_hints`].
pub(super) fn read(
    series: &engine::Series,
    range: TimeRange,
    stats: bool,
    scratch: &mut Scratch,
    into: &mut Samples,
) -> Result<(), QueryError> {
    series.read(range, into)?;
    scratch.read += into.len() as u64;
    let Some(first) = into.histograms.first() else { return Ok(()) };
    if first.2.reset_hint == CounterResetHint::Gauge {
        tell_hints(None, &mut into.histograms, stats);
        return Ok(());
    }
    let mut before = Samples::default();
    series.read(TimeRange::new(range.start.saturating_sub(BEFORE), range.start), &mut before)?;
    let histogram = before.histograms.pop();
    let histogram = histogram.filter(|h| before.timestamps.last().is_none_or(|t| *t < h.0));
    tell_hints(histogram.map(|h| h.2).as_ref(), &mut into.histograms, stats);
    Ok(())
}
