//! Reading of a group: the directory at once, the values of a series when asked for.
//!
//! Invariant: what `parse` accepted holds all lengths that `decode` uses; anything found wrong later is
//! an error of that series alone.

use super::column::{MAX_PLACES, MAX_SLACK, Mapping};
use super::predict::{Prediction, Predictor};
use super::rans::{Decoder, Table};
use super::reference::MAX_HOPS;
use super::tables::MAX_TABLES;
use super::{ConstantKind, Head, Kind, MAX_GROUP_SERIES, MAX_INFLATED, VARINTS, WHAT};
use crate::bytes::{BitReader, Cursor, inflate};
use crate::chunk::MAX_SAMPLES;
use crate::error::FormatError;
use crate::model::STALE_NAN_BITS;
use std::borrow::Cow;
use std::sync::OnceLock;

/// An encoded group, its directory read.
#[derive(Debug)]
pub struct Group<'a> {
    series: Vec<Entry>,
    tables: Vec<SharedTable>,
    payload: Payload<'a>,
}

/// A table, and its decoder once it was needed.
type SharedTable = (Table, OnceLock<Box<Decoder>>);

/// A series in the directory.
#[derive(Debug, Clone, Copy)]
struct Entry {
    count: u32,
    coding: Coding,
}

#[derive(Debug, Clone, Copy)]
enum Coding {
    Constant { value: f64 },
    Varying(Varying),
}

#[derive(Debug, Clone, Copy)]
struct Varying {
    mapping: Mapping,
    predictor: Predictor,
    exceptions: bool,
    /// The series this one is the difference to, and how many are read for it in all.
    reference: Option<u16>,
    hops: u8,
    table: Option<u8>,
    from: u32,
    len: u32,
}

/// The payload as it is stored; inflated when first needed.
#[derive(Debug)]
struct Payload<'a> {
    stored: &'a [u8],
    len: usize,
    inflated: Option<OnceLock<Result<Vec<u8>, FormatError>>>,
}

impl Payload<'_> {
    fn bytes(&self) -> Result<&[u8], FormatError> {
        match &self.inflated {
            None => Ok(self.stored),
            Some(cell) => match cell.get_or_init(|| inflate(WHAT, self.stored, self.len)) {
                Ok(bytes) => Ok(bytes),
                Err(error) => Err(error.clone()),
            },
        }
    }
}

/// A section: its stored bytes, its length, whether it is compressed.
fn take_section<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], usize, bool), FormatError> {
    let head = cursor.varint_up_to(u32::MAX as usize)?;
    let len = head >> 1;
    if head & 1 == 0 {
        return Ok((cursor.take(len)?, len, false));
    }
    if len > MAX_INFLATED {
        return Err(cursor.malformed());
    }
    let stored = cursor.varint_up_to(cursor.remaining())?;
    Ok((cursor.take(stored)?, len, true))
}

impl<'a> Group<'a> {
    /// Reads the directory of an encoded group.
    ///
    /// # Errors
    /// [`FormatError`] when the bytes are no group.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut cursor = Cursor::new(WHAT, bytes);
        let len = cursor.varint_up_to(MAX_GROUP_SERIES)?;
        let (stored, directory_len, compressed) = take_section(&mut cursor)?;
        let directory = if compressed {
            Cow::Owned(inflate(WHAT, stored, directory_len)?)
        } else {
            Cow::Borrowed(stored)
        };
        let (tables, _, compressed) = take_section(&mut cursor)?;
        if compressed {
            return Err(cursor.malformed());
        }
        let tables = read_tables(tables)?;
        let (stored, payload_len, compressed) = take_section(&mut cursor)?;
        if !cursor.is_empty() {
            return Err(cursor.malformed());
        }
        let series = read_directory(&directory, len, tables.len(), payload_len)?;
        let inflated = compressed.then(OnceLock::new);
        Ok(Self { series, tables, payload: Payload { stored, len: payload_len, inflated } })
    }
    /// Number of series.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }
    /// Whether there are no series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
    /// Number of values of series `series`; 0 when there is no such series.
    #[must_use]
    pub fn count(&self, series: usize) -> usize {
        self.series.get(series).map_or(0, |entry| entry.count as usize)
    }
    /// The value of series `series` when it is the same in all places: known without its payload.
    #[must_use]
    pub fn constant(&self, series: usize) -> Option<f64> {
        match self.series.get(series) {
            Some(Entry { coding: Coding::Constant { value }, count }) if *count > 0 => Some(*value),
            _ => None,
        }
    }
    /// Appends the values of series `series` to `out`.
    ///
    /// # Errors
    /// [`FormatError`] when there is no such series or its bytes are damaged; `out` is as before then.
    pub fn decode(&self, series: usize, out: &mut Vec<f64>) -> Result<(), FormatError> {
        let entry = self.series.get(series).ok_or_else(|| FormatError::malformed(WHAT, 0))?;
        let count = entry.count as usize;
        let from = out.len();
        match entry.coding {
            Coding::Constant { value } => {
                out.resize(from + count, value);
                Ok(())
            }
            Coding::Varying(varying) => {
                let decoded = self.decode_varying(&varying, count, out);
                if decoded.is_err() {
                    out.truncate(from);
                }
                decoded
            }
        }
    }

    fn decode_varying(&self, varying: &Varying, count: usize, out: &mut Vec<f64>) -> Result<(), FormatError> {
        let start = out.len();
        out.reserve(count);
        let Some(mut next) = varying.reference else {
            return self.decode_own(varying, count, out, |prediction, column| {
                prediction.undo(column, varying.mapping);
            });
        };
        // The integers of the series are the sum of its own and those of all it refers to.
        let integers = |prediction: &Prediction, column: &mut [f64]| {
            prediction.undo_with(column, |m| f64::from_bits(m as u64));
        };
        self.decode_own(varying, count, out, integers)?;
        let mut other = Vec::with_capacity(count);
        loop {
            let Some(Entry { coding: Coding::Varying(varying), .. }) = self.series.get(usize::from(next))
            else {
                return Err(FormatError::malformed(WHAT, usize::from(next)));
            };
            other.clear();
            self.decode_own(varying, count, &mut other, integers)?;
            for (sum, v) in out[start..].iter_mut().zip(&other) {
                *sum = f64::from_bits(sum.to_bits().wrapping_add(v.to_bits()));
            }
            match varying.reference {
                Some(reference) => next = reference,
                None => break,
            }
        }
        out[start..].iter_mut().for_each(|v| *v = varying.mapping.float(v.to_bits() as i64));
        Ok(())
    }

    /// Appends what is stored of a series itself: its numbers, which `undo` makes values of, between its
    /// exceptions.
    fn decode_own(
        &self,
        varying: &Varying,
        count: usize,
        out: &mut Vec<f64>,
        undo: impl Fn(&Prediction, &mut [f64]),
    ) -> Result<(), FormatError> {
        let Varying { predictor, exceptions, table, from, len, .. } = *varying;
        let payload = self.payload.bytes()?;
        let bytes = payload.get(from as usize..).and_then(|rest| rest.get(..len as usize));
        let mut cursor = Cursor::new(WHAT, bytes.ok_or_else(|| FormatError::truncated(WHAT, from as usize))?);
        let aside = if exceptions { read_exceptions(&mut cursor, count)? } else { Vec::new() };
        let integers = count - aside.iter().map(|(_, len, _)| len).sum::<usize>();
        let start = out.len();
        if integers > 0 {
            let prediction = Prediction::decode(predictor, &mut cursor)?;
            let numbers = predictor.numbers(integers);
            out.resize(start + integers - numbers, 0.0);
            match table.and_then(|id| self.tables.get(usize::from(id))) {
                Some((table, decoder)) => {
                    let decoder = decoder.get_or_init(|| Box::new(Decoder::new(table)));
                    decoder.decode(cursor.rest(), numbers, out)?;
                }
                None => read_verbatim(&mut cursor, numbers, out)?,
            }
            undo(&prediction, &mut out[start..]);
        }
        if !cursor.is_empty() {
            return Err(cursor.malformed());
        }
        insert_exceptions(&aside, start, out);
        Ok(())
    }
}

fn read_tables(bytes: &[u8]) -> Result<Vec<SharedTable>, FormatError> {
    let mut cursor = Cursor::new(WHAT, bytes);
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let len = cursor.varint_up_to(MAX_TABLES)?;
    let mut bits = BitReader::new(cursor.rest());
    (0..len).map(|_| Ok((Table::read(&mut bits)?, OnceLock::new()))).collect()
}

fn read_directory(
    bytes: &[u8],
    len: usize,
    tables: usize,
    payload: usize,
) -> Result<Vec<Entry>, FormatError> {
    let mut cursor = Cursor::new(WHAT, bytes);
    let mut series = Vec::with_capacity(len.min(bytes.len()));
    let mut count = 0;
    let mut constant = 0.0;
    let mut from = 0;
    for _ in 0..len {
        let (head, counted) = Head::of(cursor.u8()?);
        if counted {
            count = cursor.varint_up_to(MAX_SAMPLES)?;
        }
        let coding = if head.kind == Kind::Constant {
            constant = read_constant(&mut cursor, head, constant)?;
            Coding::Constant { value: constant }
        } else {
            let varying = read_varying(&mut cursor, head, count, &series, tables, payload - from)?;
            let coding = Coding::Varying(Varying { from: from as u32, ..varying });
            from += varying.len as usize;
            coding
        };
        series.push(Entry { count: count as u32, coding });
    }
    if cursor.is_empty() && from == payload { Ok(series) } else { Err(cursor.malformed()) }
}

fn read_constant(cursor: &mut Cursor<'_>, head: Head, before: f64) -> Result<f64, FormatError> {
    match head.detail {
        d if d == ConstantKind::AsBefore as u8 => Ok(before),
        d if d == ConstantKind::Integer as u8 => Ok(cursor.varint_signed()? as f64),
        d if d == ConstantKind::Bits as u8 => cursor.f64(),
        _ => Err(cursor.malformed()),
    }
}

/// A series of `count` values behind those of `before`; `from` is left to the caller.
fn read_varying(
    cursor: &mut Cursor<'_>,
    head: Head,
    count: usize,
    before: &[Entry],
    tables: usize,
    payload: usize,
) -> Result<Varying, FormatError> {
    let distance = if head.reference { Some(cursor.varint_up_to(before.len())?) } else { None };
    let mapping = match head.kind {
        Kind::Decimal => Mapping::Decimal(cursor.u8()?),
        Kind::Near => Mapping::Near { places: cursor.u8()?, slack: cursor.u8()? },
        _ => Mapping::Bits,
    };
    match mapping {
        Mapping::Decimal(places) if places > MAX_PLACES => return Err(cursor.malformed()),
        Mapping::Near { places, slack } if places > MAX_PLACES || !(1..=MAX_SLACK).contains(&slack) => {
            return Err(cursor.malformed());
        }
        _ => {}
    }
    let (mut reference, mut hops) = (None, 0);
    if let Some(distance) = distance {
        let at = before.len() - distance;
        match before.get(at) {
            Some(Entry { coding: Coding::Varying(other), count: others })
                if !head.exceptions
                    && !other.exceptions
                    && *others as usize == count
                    && other.mapping == mapping
                    && usize::from(other.hops) < MAX_HOPS =>
            {
                reference = Some(at as u16);
                hops = other.hops + 1;
            }
            _ => return Err(cursor.malformed()),
        }
    }
    let table = match tables.checked_sub(1) {
        _ if head.verbatim => None,
        Some(last) => Some(cursor.varint_up_to(last)? as u8),
        None => return Err(cursor.malformed()),
    };
    let len = cursor.varint_up_to(payload)? as u32;
    let predictor = Predictor::ALL[usize::from(head.detail & 3)];
    Ok(Varying { mapping, predictor, exceptions: head.exceptions, reference, hops, table, from: 0, len })
}

/// A run of equal values that stand aside: position, length, value.
type Aside = (usize, usize, f64);

/// The runs of values that stand aside, ascending and apart.
fn read_exceptions(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<Aside>, FormatError> {
    let runs = cursor.varint_up_to(count)?;
    let mut aside = Vec::new();
    let mut at = 0;
    for _ in 0..runs {
        let head = cursor.varint_up_to(4 * MAX_SAMPLES)?;
        let position = at + (head >> 2);
        let len = if head & 2 == 0 { 1 } else { cursor.varint_up_to(count)? };
        if position + len > count {
            return Err(cursor.malformed());
        }
        let value = if head & 1 == 0 { f64::from_bits(STALE_NAN_BITS) } else { cursor.f64()? };
        aside.push((position, len, value));
        at = position + len;
    }
    Ok(aside)
}

/// Moves the values behind `start` apart, from the last one on, and puts the exceptions between.
fn insert_exceptions(aside: &[Aside], start: usize, out: &mut Vec<f64>) {
    let mut end = out.len() - start;
    let mut before: usize = aside.iter().map(|(_, len, _)| len).sum();
    out.resize(out.len() + before, 0.0);
    let column = &mut out[start..];
    for (position, len, value) in aside.iter().rev() {
        before -= len;
        let first = position - before;
        column.copy_within(first..end, position + len);
        column[*position..position + len].fill(*value);
        end = first;
    }
}

fn read_verbatim(cursor: &mut Cursor<'_>, numbers: usize, out: &mut Vec<f64>) -> Result<(), FormatError> {
    let width = cursor.u8()?;
    if width == VARINTS {
        for _ in 0..numbers {
            out.push(f64::from_bits(cursor.varint()?));
        }
        return Ok(());
    }
    let width = usize::from(width);
    if width > 8 {
        return Err(cursor.malformed());
    }
    if width == 0 {
        out.resize(out.len() + numbers, 0.0);
        return Ok(());
    }
    let bytes = cursor.take(numbers * width)?;
    out.extend(bytes.chunks_exact(width).map(|n| {
        let mut word = [0; 8];
        word[..width].copy_from_slice(n);
        f64::from_le_bytes(word)
    }));
    Ok(())
}
