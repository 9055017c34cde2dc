//! `io.prometheus.write.v2.Request`: labels as references into a table of symbols.
//!
//! Where it sits: below `remote_write`. Invariants: a series is keyed by the hashes of the symbols it
//! refers to, in order, so that senders with different tables agree, and each symbol is hashed once a
//! request; a series with a reference that leads nowhere is refused alone.

use super::scratch::{Pending, SIDE, Scratch, Symbol, Told};
use super::v1::{forget_exemplars, has_exemplars, metric_type, quick_sample};
use crate::Error;
use crate::histogram;
use crate::keys;
use crate::labels::{Pairs, quote};
use crate::limits::{Budget, Limits};
use crate::metadata::Seen;
use crate::wire::{Field, Reader, Value, push_varint};
use engine::{Exemplar, Metadata, MetricType, SeriesEntry, WriteBatch, series_key};
use std::sync::OnceLock;
use storage_format::model::METRIC_NAME;

const TYPE_LABEL: &[u8] = b"__type__";
const UNIT_LABEL: &[u8] = b"__unit__";

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
        if field.number == 4 {
            budget.elements(1)?;
            let text = field.message()?;
            let (start, len) = (text.at() as u32, (text.end() - text.at()) as u32);
            scratch.symbols.push(Symbol { start, len, hash: series_key(text.rest()) });
        }
    }
    let mut latest = None;
    request = Reader::new(body);
    while let Some(field) = request.field()? {
        if field.number == 5 {
            budget.series()?;
            let told = series(field.message()?, scratch, limits, budget)?;
            if told.is_some() && told != latest {
                latest = told;
                learn(body, scratch, &latest, seen);
            }
        }
    }
    if !scratch.batch.starts.is_empty() {
        scratch.batch.starts.resize(scratch.batch.timestamps.len(), 0);
    }
    if scratch.batch.timestamps.len() + scratch.batch.histograms.len() > 0
        && scratch.symbols.first().is_none_or(|s| s.len != 0)
    {
        return Err(Error::BadPayload { what: "symbols table that does not start with \"\"", offset: 0 });
    }
    Ok(())
}

/// The references that name a series: where their varints stand in the body, or in `side` when they came
/// in pieces.
#[derive(Debug, Default)]
struct Refs {
    start: usize,
    end: usize,
    copied_at: Option<usize>,
}

impl Refs {
    fn add(&mut self, field: &Field<'_>, whole: Reader<'_>, side: &mut Vec<u8>) -> Result<(), Error> {
        match field.value {
            Value::Bytes(packed) if self.start == self.end && self.copied_at.is_none() => {
                (self.start, self.end) = (packed.at(), packed.end());
                return Ok(());
            }
            Value::Bytes(_) | Value::Varint(_) => {}
            _ => return field.varint().map(drop),
        }
        if self.copied_at.is_none() {
            self.copied_at = Some(side.len());
            side.extend_from_slice(whole.slice(self.start, self.end));
        }
        match field.value {
            Value::Bytes(packed) => side.extend_from_slice(packed.rest()),
            _ => push_varint(side, field.varint()?),
        }
        Ok(())
    }
    fn bytes<'b>(&self, whole: Reader<'b>, side: &'b [u8]) -> &'b [u8] {
        match self.copied_at {
            None => whole.slice(self.start, self.end),
            Some(at) => &side[at..],
        }
    }
    fn place(&self, side: &[u8]) -> (u32, u32) {
        match self.copied_at {
            None => (self.start as u32, (self.end - self.start) as u32),
            Some(at) => (SIDE + at as u32, (side.len() - at) as u32),
        }
    }
}

/// Reads one series into the columns; returns what it says about its metric.
fn series(
    mut message: Reader<'_>,
    scratch: &mut Scratch,
    limits: &Limits,
    budget: &mut Budget,
) -> Result<Option<Told>, Error> {
    let whole = message;
    let (floats, histograms) = (scratch.batch.timestamps.len(), scratch.batch.histograms.len());
    let (mut refs, mut told, mut refused) = (Refs::default(), None, Vec::new());
    while let Some(field) = message.field()? {
        match field.number {
            1 => {
                refs.add(&field, whole, &mut scratch.side)?;
                while quick_sample(&mut message, &mut scratch.batch, budget)? {}
            }
            2 => {
                budget.elements(1)?;
                sample(&field, &mut scratch.batch)?;
            }
            3 => {
                let got = histogram::decode(field.message()?, limits, budget)?;
                match got.histogram {
                    Ok(h) => scratch.batch.histograms.push((got.timestamp, got.start, h)),
                    Err(why) => refused.push((got.timestamp, why)),
                }
            }
            4 => {
                budget.elements(1)?;
                let (place, entry) = (field.message()?, scratch.batch.series.len() as u32);
                let (start, end) = (place.at() as u32, place.end() as u32);
                scratch.exemplars.push(Pending { entry, start, end });
            }
            5 => told = Some(metadata(&field)?),
            _ => {}
        }
    }
    let (offset, len) = refs.place(&scratch.side);
    let Scratch { side, symbols, refusals, batch, exemplars, type_and_unit_labels, told: tolds, .. } =
        scratch;
    let bytes = refs.bytes(whole, side);
    let name = || quote_refs(whole, bytes, symbols);
    for (timestamp, why) in &refused {
        refusals.add(1, || format!("{why} for series {} at timestamp {timestamp}", name()));
    }
    let stored = batch.timestamps.len() - floats + batch.histograms.len() - histograms;
    let (key, metric) = match key(bytes, symbols) {
        Ok(key) => key,
        Err(why) => {
            batch.timestamps.truncate(floats);
            batch.values.truncate(floats);
            batch.starts.truncate(floats);
            batch.histograms.truncate(histograms);
            forget_exemplars(exemplars, batch.series.len());
            refusals.add(stored, || why);
            return Ok(None);
        }
    };
    let labeled = told.filter(|told| *type_and_unit_labels && has_labels(told, symbols));
    let key = labeled.map_or(key, |told| {
        let unit = symbols.get(told.unit as usize).map_or(0, |s| s.hash);
        tolds.insert(offset, told);
        keys::finish(keys::fold(keys::fold(key, u128::from(told.kind)), unit))
    });
    if stored > 0 {
        batch.end_series(key, offset, len);
        return Ok(told.zip(metric).map(|(told, metric)| Told { metric, ..told }));
    }
    if has_exemplars(exemplars, batch) {
        batch.end_series(key, offset, len);
    } else if refused.is_empty() {
        refusals.add(0, || {
            format!("TimeSeries must contain at least one sample or histogram for series {}", name())
        });
    }
    Ok(told.zip(metric).map(|(told, metric)| Told { metric, ..told }))
}

/// The series' key and the symbol of its metric name.
#[inline(never)]
fn key(refs: &[u8], symbols: &[Symbol]) -> Result<(u128, Option<u32>), String> {
    let (factor, metric_name) = (keys::factor(), metric_name_hash());
    // Two sums, of names and of values, so that their multiplications overlap.
    let (mut at, mut count, mut names, mut values, mut metric) = (0, 0usize, 0u128, 0u128, None);
    while at < refs.len() {
        let name = next_symbol(refs, &mut at, symbols, &mut count)?.1;
        let (index, value) = next_symbol(refs, &mut at, symbols, &mut count)?;
        names = names.wrapping_add(name).wrapping_mul(factor);
        values = values.wrapping_add(value).wrapping_mul(factor);
        if name == metric_name {
            metric = Some(index);
        }
    }
    Ok((keys::finish(keys::join(names, values)), metric))
}

fn metric_name_hash() -> u128 {
    static HASH: OnceLock<u128> = OnceLock::new();
    *HASH.get_or_init(|| series_key(METRIC_NAME.as_bytes()))
}

/// Index and hash of the symbol that the varint at `at` refers to.
#[inline(always)]
fn next_symbol(
    refs: &[u8],
    at: &mut usize,
    symbols: &[Symbol],
    count: &mut usize,
) -> Result<(u32, u128), String> {
    let index = match refs.get(*at..) {
        Some([low @ 0..0x80, ..]) => {
            *at += 1;
            u64::from(*low)
        }
        Some([low, high @ 0..0x80, ..]) => {
            *at += 2;
            u64::from(*low & 0x7f) | u64::from(*high) << 7
        }
        Some(rest) if !rest.is_empty() => {
            let mut reader = Reader::new(rest);
            let index = reader.varint().map_err(|e| format!("parsing labels for series: {e}"))?;
            *at += reader.at();
            index
        }
        _ => return Err(format!("parsing labels for series: invalid labelRefs length {count}")),
    };
    match usize::try_from(index).ok().and_then(|i| symbols.get(i)) {
        Some(symbol) => {
            *count += 1;
            Ok((index as u32, symbol.hash))
        }
        None => Err(format!(
            "parsing labels for series: labelRefs {count} = {index} outside of symbols table (size {})",
            symbols.len()
        )),
    }
}

fn sample(field: &Field<'_>, batch: &mut WriteBatch) -> Result<(), Error> {
    let (mut message, mut value, mut timestamp, mut start) = (field.message()?, 0.0, 0, 0);
    while let Some(field) = message.field()? {
        match field.number {
            1 => value = field.double()?,
            2 => timestamp = field.int64()?,
            3 => start = field.int64()?,
            _ => {}
        }
    }
    if start != 0 {
        batch.starts.resize(batch.timestamps.len(), 0);
        batch.starts.push(start);
    }
    batch.values.push(value);
    batch.timestamps.push(timestamp);
    Ok(())
}

/// An exemplar of the request.
///
/// # Errors
/// A sentence for the sender when it is malformed.
pub(super) fn exemplar(scratch: &Scratch, message: &[u8], limits: &Limits) -> Result<Exemplar, String> {
    let (mut message, mut found) = (Reader::new(message), Pairs::new(limits));
    let (mut value, mut timestamp, mut refs) = (0.0, 0, Vec::new());
    while let Some(field) = message.field().map_err(|e| e.to_string())? {
        match field.number {
            1 => field.each_varint(|r| push_varint(&mut refs, r)).map_err(|e| e.to_string())?,
            2 => value = field.double().map_err(|e| e.to_string())?,
            3 => timestamp = field.int64().map_err(|e| e.to_string())?,
            _ => {}
        }
    }
    each_pair(&scratch.body, &refs, &scratch.symbols, |name, value| found.push(name, value))?;
    Ok(Exemplar { labels: found.any()?, value, timestamp })
}

fn metadata(field: &Field<'_>) -> Result<Told, Error> {
    let (mut message, mut told) = (field.message()?, Told { metric: 0, kind: 0, help: 0, unit: 0 });
    let symbol = |v: u64| u32::try_from(v).unwrap_or(u32::MAX);
    while let Some(field) = message.field()? {
        match field.number {
            1 => told.kind = field.varint()?,
            3 => told.help = symbol(field.varint()?),
            4 => told.unit = symbol(field.varint()?),
            _ => {}
        }
    }
    Ok(told)
}

/// Keeps what a series says about its metric, unless it is known already. References that lead nowhere
/// and text that is not UTF-8 count as not said: metadata never costs a sample.
fn learn(body: &[u8], scratch: &mut Scratch, told: &Option<Told>, seen: &Seen) {
    let Some(told) = told else { return };
    let symbol = |i: u32| scratch.symbols.get(i as usize);
    let hash = |i: u32| symbol(i).map_or(0, |s| s.hash);
    if told.kind == 0
        && symbol(told.help).is_none_or(|s| s.len == 0)
        && symbol(told.unit).is_none_or(|s| s.len == 0)
    {
        return;
    }
    let digest = [hash(told.metric), hash(told.help), hash(told.unit)]
        .into_iter()
        .fold(u128::from(told.kind), keys::fold);
    if !scratch.metadata.is_new(digest, seen) {
        return;
    }
    let text = |i: u32| symbol(i).and_then(|s| std::str::from_utf8(s.of(body)).ok()).unwrap_or_default();
    let entry = Metadata {
        metric_type: metric_type(told.kind),
        unit: text(told.unit).to_owned(),
        help: text(told.help).to_owned(),
    };
    let name = text(told.metric).to_owned();
    scratch.metadata.push(digest, name, entry);
}

/// Calls `each` with the pairs that `refs` name, as far as they lead somewhere.
fn each_pair<'a>(
    body: &'a [u8],
    refs: &[u8],
    symbols: &[Symbol],
    mut each: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), String>,
) -> Result<(), String> {
    let mut refs = Reader::new(refs);
    while !refs.is_empty() {
        let mut next = || {
            let symbol = refs.varint().ok().and_then(|i| symbols.get(usize::try_from(i).ok()?));
            symbol
                .map(|s| s.of(body))
                .ok_or_else(|| "parsing labels for series: invalid labelRefs".to_owned())
        };
        each(next()?, next()?)?;
    }
    Ok(())
}

/// The pairs that name a series of the batch.
pub(super) fn pairs<'a>(
    scratch: &'a Scratch,
    entry: &SeriesEntry,
    limits: &'a Limits,
) -> Result<Pairs<'a>, String> {
    let refs = scratch.key_bytes(entry.key_offset, entry.key_len);
    let mut found = Pairs::new(limits);
    let told = scratch.told.get(&entry.key_offset);
    each_pair(&scratch.body, refs, &scratch.symbols, |name, value| {
        // Metadata goes before what the sender calls by these names.
        if told.is_some() && [TYPE_LABEL, UNIT_LABEL].contains(&name) {
            return Ok(());
        }
        found.push(name, value)
    })?;
    if let Some(told) = told {
        if metric_type(told.kind) != MetricType::Unknown {
            found.push(TYPE_LABEL, metric_type(told.kind).name().as_bytes())?;
        }
        let unit = scratch.symbols.get(told.unit as usize).map_or(&b""[..], |s| s.of(&scratch.body));
        found.push(UNIT_LABEL, unit)?;
    }
    Ok(found)
}

/// Whether metadata has anything that becomes a label.
fn has_labels(told: &Told, symbols: &[Symbol]) -> bool {
    metric_type(told.kind) != MetricType::Unknown
        || symbols.get(told.unit as usize).is_some_and(|s| s.len > 0)
}

fn quote_refs(whole: Reader<'_>, refs: &[u8], symbols: &[Symbol]) -> String {
    let mut found = Vec::new();
    // Stops at what is broken or too much: a quote is cut anyway.
    let _ = each_pair(whole.slice(0, whole.end()), refs, symbols, |name, value| {
        found.push((name, value));
        if found.len() < 64 { Ok(()) } else { Err(String::new()) }
    });
    quote(&found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(texts: &[&str]) -> Vec<Symbol> {
        texts
            .iter()
            .map(|t| Symbol { start: 0, len: t.len() as u32, hash: series_key(t.as_bytes()) })
            .collect()
    }

    #[test]
    fn a_key_depends_on_the_labels_and_not_on_the_table() {
        let one = table(&["", "__name__", "up", "job", "a"]);
        let mut texts = vec!["unused"; 300];
        texts.extend(["a", "job", "up", "__name__"]);
        let two = table(&texts);
        let mut refs = Vec::new();
        [303, 302, 301, 300].iter().for_each(|r| push_varint(&mut refs, *r));
        let want = key(&[1, 2, 3, 4], &one).unwrap();
        assert_eq!(key(&refs, &two).unwrap().0, want.0);
        assert_eq!(want.1, Some(2));
        for other in [
            &[3, 4, 1, 2][..],
            &[1, 4, 3, 2],
            &[2, 1, 3, 4],
            &[1, 3, 2, 4],
            &[1, 2],
            &[1, 2, 3, 4, 3, 4],
            &[],
        ] {
            assert_ne!(key(other, &one).unwrap().0, want.0, "{other:?}");
        }
    }
}
