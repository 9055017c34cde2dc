//! `prometheus.WriteRequest`: labels spelled out for every series.
//!
//! Where it sits: below `remote_write`. Invariant: a series is keyed by the run of its label fields as
//! they stand in the body; runs that are interrupted by other fields are first put together in `side`.

use super::scratch::{Pending, SIDE, Scratch};
use crate::Error;
use crate::histogram;
use crate::labels::{Pair, Pairs, quote};
use crate::limits::{Budget, Limits};
use crate::metadata::Seen;
use crate::wire::{Field, Reader, varint_in_word};
use engine::{Exemplar, Metadata, MetricType, SeriesEntry, WriteBatch, series_key};

/// Tag of `TimeSeries.labels`.
const LABELS: u8 = 0x0a;
/// Tag of `TimeSeries.samples`.
const SAMPLES: u8 = 0x12;

/// Fills the scratch's columns from the body.
pub(super) fn walk(
    body: &[u8],
    scratch: &mut Scratch,
    limits: &Limits,
    budget: &mut Budget,
    seen: &Seen,
) -> Result<(), Error> {
    let mut request = Reader::new(body);
    while let Some(field) = request.field()? {
        match field.number {
            1 => series(field.message()?, scratch, limits, budget)?,
            3 => {
                budget.elements(8)?;
                metadata(field.message()?, scratch, seen)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where the label fields of a series stand.
#[derive(Debug)]
struct LabelRun {
    start: usize,
    end: usize,
    /// Start of the copy in `side`, once there was a gap.
    copied_at: Option<usize>,
}

impl LabelRun {
    fn add(&mut self, message: Reader<'_>, start: usize, end: usize, side: &mut Vec<u8>) {
        if self.start == self.end && self.copied_at.is_none() {
            (self.start, self.end) = (start, end);
        } else if self.end == start && self.copied_at.is_none() {
            self.end = end;
        } else {
            if self.copied_at.is_none() {
                self.copied_at = Some(side.len());
                side.extend_from_slice(message.slice(self.start, self.end));
            }
            side.extend_from_slice(message.slice(start, end));
        }
    }
    /// Offset and length of the key bytes, as `SeriesEntry` wants them.
    fn place(&self, side: &[u8]) -> (u32, u32) {
        match self.copied_at {
            None => (self.start as u32, (self.end - self.start) as u32),
            Some(at) => (SIDE + at as u32, (side.len() - at) as u32),
        }
    }
}

fn series(
    mut message: Reader<'_>,
    scratch: &mut Scratch,
    limits: &Limits,
    budget: &mut Budget,
) -> Result<(), Error> {
    budget.series()?;
    let whole = message;
    let (floats_before, histograms_before) = (scratch.batch.timestamps.len(), scratch.batch.histograms.len());
    // The shape every sender has: labels, then samples.
    message.skip_run(LABELS);
    let mut run = LabelRun { start: whole.at(), end: message.at(), copied_at: None };
    while quick_sample(&mut message, &mut scratch.batch, budget)? {}
    let mut refused = Vec::new();
    while let Some(field) = message.field()? {
        match field.number {
            1 => {
                field.message()?;
                run.add(whole, field.start, message.at(), &mut scratch.side);
            }
            2 => {
                budget.elements(1)?;
                sample(&field, &mut scratch.batch)?;
            }
            3 => {
                budget.elements(1)?;
                let (place, entry) = (field.message()?, scratch.batch.series.len() as u32);
                let (start, end) = (place.at() as u32, place.end() as u32);
                scratch.exemplars.push(Pending { entry, start, end });
            }
            4 => {
                let got = histogram::decode(field.message()?, limits, budget)?;
                match got.histogram {
                    Ok(h) => scratch.batch.histograms.push((got.timestamp, got.start, h)),
                    Err(why) => refused.push((got.timestamp, why)),
                }
            }
            _ => {}
        }
    }
    let (offset, len) = run.place(&scratch.side);
    let name = match run.copied_at {
        None => whole.slice(run.start, run.end),
        Some(at) => &scratch.side[at..],
    };
    for (timestamp, why) in refused {
        let refusals = &mut scratch.refusals;
        refusals.add(1, || format!("{why} for series {} at timestamp {timestamp}", quote_run(name)));
    }
    let batch = &mut scratch.batch;
    let has_samples = batch.timestamps.len() > floats_before || batch.histograms.len() > histograms_before;
    if has_samples || has_exemplars(&scratch.exemplars, batch) {
        batch.end_series(series_key(name), offset, len);
    }
    Ok(())
}

/// Takes a sample at the cursor if it has the usual shape: value, then timestamp, and nothing else.
#[inline]
pub(super) fn quick_sample(
    message: &mut Reader<'_>,
    batch: &mut WriteBatch,
    budget: &mut Budget,
) -> Result<bool, Error> {
    let Some(head) = message.ahead().first_chunk::<20>() else { return Ok(false) };
    let [SAMPLES, len, 0x09, ..] = *head else { return Ok(false) };
    if head[11] != 0x10 {
        return Ok(false);
    }
    let (Some(value), Some(word)) = (head[3..].first_chunk::<8>(), head[12..].first_chunk::<8>()) else {
        return Ok(false);
    };
    let Some((timestamp, bytes)) = varint_in_word(u64::from_le_bytes(*word)) else { return Ok(false) };
    if usize::from(len) != 10 + bytes || message.at() + 12 + bytes > message.end() {
        return Ok(false);
    }
    budget.elements(1)?;
    batch.values.push(f64::from_bits(u64::from_le_bytes(*value)));
    batch.timestamps.push(timestamp.cast_signed());
    message.advance(12 + bytes);
    Ok(true)
}

fn sample(field: &Field<'_>, batch: &mut WriteBatch) -> Result<(), Error> {
    let (mut message, mut value, mut timestamp) = (field.message()?, 0.0, 0);
    while let Some(field) = message.field()? {
        match field.number {
            1 => value = field.double()?,
            2 => timestamp = field.int64()?,
            _ => {}
        }
    }
    batch.values.push(value);
    batch.timestamps.push(timestamp);
    Ok(())
}

/// Whether the series just read, which has no entry in the batch yet, has exemplars. Prometheus sends
/// exemplars in series of their own, without samples.
pub(super) fn has_exemplars(exemplars: &[Pending], batch: &WriteBatch) -> bool {
    exemplars.last().is_some_and(|e| e.entry as usize == batch.series.len())
}

/// Drops the exemplars of the series just read, which gets no entry in the batch.
pub(super) fn forget_exemplars(exemplars: &mut Vec<Pending>, entries: usize) {
    while exemplars.pop_if(|e| e.entry as usize == entries).is_some() {}
}

/// An exemplar of the request.
///
/// # Errors
/// A sentence for the sender when it is malformed.
pub(super) fn exemplar(message: &[u8], limits: &Limits) -> Result<Exemplar, String> {
    let (mut message, mut pairs) = (Reader::new(message), Pairs::new(limits));
    let (mut value, mut timestamp) = (0.0, 0);
    while let Some(field) = message.field().map_err(|e| e.to_string())? {
        match field.number {
            1 => {
                let (name, text) = label_pair(&field).map_err(|e| e.to_string())?;
                pairs.push(name, text)?;
            }
            2 => value = field.double().map_err(|e| e.to_string())?,
            3 => timestamp = field.int64().map_err(|e| e.to_string())?,
            _ => {}
        }
    }
    Ok(Exemplar { labels: pairs.any()?, value, timestamp })
}

fn metadata(mut message: Reader<'_>, scratch: &mut Scratch, seen: &Seen) -> Result<(), Error> {
    let digest = series_key(message.rest());
    if !scratch.metadata.is_new(digest, seen) {
        return Ok(());
    }
    let (mut kind, mut name, mut help, mut unit) = (0, "", "", "");
    while let Some(field) = message.field()? {
        match field.number {
            1 => kind = field.varint()?,
            2 => name = field.str()?,
            4 => help = field.str()?,
            5 => unit = field.str()?,
            _ => {}
        }
    }
    let entry = Metadata { metric_type: metric_type(kind), unit: unit.into(), help: help.into() };
    scratch.metadata.push(digest, name.to_owned(), entry);
    Ok(())
}

/// The kind of metric by its wire number, which both versions share; anything unknown is `Unknown`.
pub(super) fn metric_type(wire: u64) -> MetricType {
    match wire {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

/// Name and value of the next `Label` message.
fn label<'a>(message: &mut Reader<'a>) -> Result<Option<Pair<'a>>, Error> {
    let Some(field) = message.field()? else { return Ok(None) };
    label_pair(&field).map(Some)
}

fn label_pair<'a>(field: &Field<'a>) -> Result<Pair<'a>, Error> {
    let (mut message, mut name, mut value) = (field.message()?, &b""[..], &b""[..]);
    while let Some(field) = message.field()? {
        match field.number {
            1 => name = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// The pairs that name a series of the batch.
pub(super) fn pairs<'a>(
    scratch: &'a Scratch,
    entry: &SeriesEntry,
    limits: &'a Limits,
) -> Result<Pairs<'a>, String> {
    let mut run = Reader::new(scratch.key_bytes(entry.key_offset, entry.key_len));
    let mut pairs = Pairs::new(limits);
    while let Some((name, value)) = label(&mut run).map_err(|e| e.to_string())? {
        pairs.push(name, value)?;
    }
    Ok(pairs)
}

fn quote_run(run: &[u8]) -> String {
    let mut run = Reader::new(run);
    let mut pairs = Vec::new();
    while let (Ok(Some(pair)), true) = (label(&mut run), pairs.len() < 64) {
        pairs.push(pair);
    }
    quote(&pairs)
}
