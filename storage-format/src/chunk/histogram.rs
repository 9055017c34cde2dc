//! The codec of a native histogram chunk.
//!
//! Where it sits: beside the float codecs, which it is made of. What histograms of one series share
//! (schema, zero threshold, spans, bounds, flavour) is stored once as a *layout*; sums, counts and each
//! bucket over time are columns of floats in value groups, so that a quiet bucket costs next to nothing
//! and counts are as exact as floats are. A staleness marker is a histogram like any other.

mod layout;

use super::values::{Group, GroupEncoder};
use super::{MAX_SAMPLES, starts, timestamps};
use crate::bytes::{Cursor, put_varint};
use crate::error::FormatError;
use crate::model::{CounterResetHint, Histogram};
use layout::Layout;

const WHAT: &str = "histogram chunk";
/// The most numbers (counts, spans and bounds of all samples together) in one chunk.
const MAX_VALUES: usize = 1 << 20;
/// Columns in one value group: readers decode all of them, so the limit only bounds the directory.
const GROUP_COLUMNS: usize = 256;
/// Sum, count and zero count of each sample.
const FIXED_COLUMNS: usize = 3;

/// A sample of a histogram series: timestamp, start timestamp or 0 (both in milliseconds), histogram.
pub type HistogramSample = (i64, i64, Histogram);

/// Where the fixed columns go, in their order.
const FIELDS: [fn(&mut Histogram, f64); FIXED_COLUMNS] =
    [|h, v| h.sum = v, |h, v| h.count = v, |h, v| h.zero_count = v];

/// How many of the leading `samples` one chunk holds: all of them unless they are very many or very wide.
#[must_use]
pub fn fitting(samples: &[HistogramSample]) -> usize {
    let mut values = 0;
    let fits = |(_, _, h): &&HistogramSample| {
        let shape = h.positive_spans.len() + h.negative_spans.len() + h.custom_bounds.len();
        values += FIXED_COLUMNS + shape + h.positive_counts.len() + h.negative_counts.len();
        values <= MAX_VALUES
    };
    samples.iter().take(MAX_SAMPLES).take_while(fits).count()
}

/// Appends the encoding of `samples`: ascending by timestamp and no more than [`fitting`] says.
///
/// # Panics
/// When they are too many; in debug builds also when they are not ascending.
pub fn encode(samples: &[HistogramSample], out: &mut Vec<u8>) {
    assert_eq!(fitting(samples), samples.len(), "histograms beyond the limits of a chunk");
    let times: Vec<i64> = samples.iter().map(|s| s.0).collect();
    let begins: Vec<i64> = samples.iter().map(|s| s.1).collect();
    put_part(out, |part| timestamps::encode(&times, part));
    put_part(out, |part| starts::encode(&begins, &times, part));
    put_runs(out, samples.iter().map(|s| s.2.reset_hint as u64));
    let mut layouts: Vec<Layout> = Vec::new();
    let mut members: Vec<Vec<&Histogram>> = Vec::new();
    let mut chosen = Vec::with_capacity(samples.len());
    for (_, _, histogram) in samples {
        let layout = Layout::of(histogram);
        let id = layouts.iter().rposition(|l| *l == layout).unwrap_or_else(|| {
            layouts.push(layout);
            members.push(Vec::new());
            layouts.len() - 1
        });
        members[id].push(histogram);
        chosen.push(id as u64);
    }
    put_varint(out, layouts.len() as u64);
    for layout in &layouts {
        layout.encode(out);
    }
    put_runs(out, chosen.into_iter());

    let mut groups = Groups { out, encoder: GroupEncoder::new() };
    for field in [|h: &Histogram| h.sum, |h: &Histogram| h.count, |h: &Histogram| h.zero_count] {
        groups.push(&samples.iter().map(|s| field(&s.2)).collect::<Vec<_>>());
    }
    for (layout, members) in layouts.iter().zip(members) {
        for bucket in 0..layout.positive {
            groups.push(&members.iter().map(|h| h.positive_counts[bucket]).collect::<Vec<_>>());
        }
        for bucket in 0..layout.negative {
            groups.push(&members.iter().map(|h| h.negative_counts[bucket]).collect::<Vec<_>>());
        }
    }
    groups.cut();
}

/// Appends the samples of a chunk to `out`.
///
/// # Errors
/// [`FormatError`] when the bytes are no histogram chunk.
pub fn decode(bytes: &[u8], out: &mut Vec<HistogramSample>) -> Result<(), FormatError> {
    let mut cursor = Cursor::new(WHAT, bytes);
    let mut times = Vec::new();
    timestamps::decode(take_part(&mut cursor)?, &mut times)?;
    let mut begins = Vec::new();
    starts::decode(take_part(&mut cursor)?, &times, &mut begins)?;
    let hints = take_runs(&mut cursor, times.len(), 3)?;
    let distinct = cursor.varint_up_to(times.len())?;
    if distinct == 0 && !times.is_empty() {
        return Err(cursor.malformed());
    }
    let mut layouts = Vec::new();
    for _ in 0..distinct {
        layouts.push(Layout::decode(&mut cursor)?);
    }
    let chosen = take_runs(&mut cursor, times.len(), distinct.saturating_sub(1))?;
    let mut members = vec![Vec::new(); distinct];
    let mut values = FIXED_COLUMNS * times.len();
    for (sample, id) in chosen.iter().enumerate() {
        members[*id].push(sample);
        values = values.saturating_add(layouts[*id].width());
    }
    // Every layout must be used: otherwise its width would be bounded by nothing.
    if values > MAX_VALUES || members.iter().any(Vec::is_empty) {
        return Err(cursor.malformed());
    }

    let from = out.len();
    out.extend((0..times.len()).map(|i| {
        let mut histogram = layouts[chosen[i]].empty_histogram();
        histogram.reset_hint = CounterResetHint::from_wire(hints[i] as u64);
        (times[i], begins[i], histogram)
    }));
    let samples = &mut out[from..];
    let all: Vec<usize> = (0..times.len()).collect();
    let mut columns = Columns { cursor, group: None, next: 0, column: Vec::new() };
    for field in FIELDS {
        columns.scatter(&all, samples, field)?;
    }
    for (layout, members) in layouts.iter().zip(&members) {
        for _ in 0..layout.positive {
            columns.scatter(members, samples, |h, v| h.positive_counts.push(v))?;
        }
        for _ in 0..layout.negative {
            columns.scatter(members, samples, |h, v| h.negative_counts.push(v))?;
        }
    }
    columns.end()
}

fn put_part(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut part = Vec::new();
    write(&mut part);
    put_varint(out, part.len() as u64);
    out.extend_from_slice(&part);
}

fn take_part<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], FormatError> {
    let len = cursor.varint_up_to(cursor.remaining())?;
    cursor.take(len)
}

/// Runs of equal small numbers: value, length − 1; their lengths add up to the number of samples.
fn put_runs(out: &mut Vec<u8>, values: impl Iterator<Item = u64>) {
    let values: Vec<u64> = values.collect();
    for run in values.chunk_by(|a, b| a == b) {
        put_varint(out, run[0]);
        put_varint(out, run.len() as u64 - 1);
    }
}

fn take_runs(cursor: &mut Cursor<'_>, count: usize, max: usize) -> Result<Vec<usize>, FormatError> {
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        let value = cursor.varint_up_to(max)?;
        let more = cursor.varint_up_to(count - values.len() - 1)?;
        values.resize(values.len() + more + 1, value);
    }
    Ok(values)
}

/// Columns being written as length-prefixed groups.
struct Groups<'a> {
    out: &'a mut Vec<u8>,
    encoder: GroupEncoder,
}

impl Groups<'_> {
    fn push(&mut self, column: &[f64]) {
        self.encoder.push(column);
        if self.encoder.len() == GROUP_COLUMNS {
            self.cut();
        }
    }
    fn cut(&mut self) {
        if !self.encoder.is_empty() {
            let group = self.encoder.finish();
            put_varint(self.out, group.len() as u64);
            self.out.extend_from_slice(&group);
        }
    }
}

/// Columns being read, in the order they were written.
struct Columns<'a> {
    cursor: Cursor<'a>,
    group: Option<Group<'a>>,
    next: usize,
    column: Vec<f64>,
}

impl Columns<'_> {
    /// Hands the values of the next column to the samples it belongs to.
    fn scatter(
        &mut self,
        members: &[usize],
        samples: &mut [HistogramSample],
        set: impl Fn(&mut Histogram, f64),
    ) -> Result<(), FormatError> {
        if self.next == GROUP_COLUMNS {
            self.close()?;
        }
        let group = match &self.group {
            Some(group) => group,
            None => self.group.insert(Group::parse(take_part(&mut self.cursor)?)?),
        };
        if group.count(self.next) != members.len() {
            return Err(self.cursor.malformed());
        }
        self.column.clear();
        group.decode(self.next, &mut self.column)?;
        for (sample, value) in members.iter().zip(&self.column) {
            set(&mut samples[*sample].2, *value);
        }
        self.next += 1;
        Ok(())
    }
    fn close(&mut self) -> Result<(), FormatError> {
        if self.group.take().is_some_and(|group| group.len() != self.next) {
            return Err(self.cursor.malformed());
        }
        self.next = 0;
        Ok(())
    }
    fn end(mut self) -> Result<(), FormatError> {
        self.close()?;
        if self.cursor.is_empty() { Ok(()) } else { Err(self.cursor.malformed()) }
    }
}

#[cfg(test)]
mod tests;
