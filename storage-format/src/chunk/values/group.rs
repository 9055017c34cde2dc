//! Reading of a group: the directory at once, the values of a series when asked for.
//!
//! Invariant: what `parse` accepted holds all lengths that `decode` uses; anything found wrong later is
//! an error of that series alone.

use super::column::{MAX_PLACES, Mapping};
use super::predict::{Prediction, Predictor};
use super::rans::{Decoder, Table};
use super::tables::MAX_TABLES;
use super::{ConstantKind, Head, Kind, MAX_GROUP_SERIES, MAX_SECTION, WHAT};
use crate::bytes::{BitReader, Cursor};
use crate::chunk::MAX_SAMPLES;
use crate::error::FormatError;
use crate::model::STALE_NAN_BITS;
use std::borrow::Cow;
use std::sync::OnceLock;

/// An encoded group, its directory read.
#[derive(Debug)]
pub struct Group<'a> {
    series: Vec<Entry>,
    tables: Vec<(Table, OnceLock<Decoder>)>,
    payload: Payload<'a>,
}

/// A series in the directory.
#[derive(Debug, Clone, Copy)]
struct Entry {
    count: u32,
    coding: Coding,
}

#[derive(Debug, Clone, Copy)]
enum Coding {
    Constant {
        value: f64,
    },
    Varying {
        mapping: Mapping,
        predictor: Predictor,
        exceptions: bool,
        table: Option<u8>,
        from: u32,
        len: u32,
    },
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
            Some(cell) => match cell.get_or_init(|| inflate(self.stored, self.len)) {
                Ok(bytes) => Ok(bytes),
                Err(error) => Err(error.clone()),
            },
        }
    }
}

fn inflate(stored: &[u8], len: usize) -> Result<Vec<u8>, FormatError> {
    let bytes = zstd::bulk::decompress(stored, len).map_err(|_| FormatError::malformed(WHAT, 0))?;
    if bytes.len() == len { Ok(bytes) } else { Err(FormatError::malformed(WHAT, bytes.len())) }
}

/// A section: its stored bytes, its length, whether it is compressed.
fn take_section<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], usize, bool), FormatError> {
    let head = cursor.varint_up_to(MAX_SECTION * 2 + 1)?;
    let len = head >> 1;
    if head & 1 == 0 {
        return Ok((cursor.take(len)?, len, false));
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
        let directory =
            if compressed { Cow::Owned(inflate(stored, directory_len)?) } else { Cow::Borrowed(stored) };
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
            Coding::Varying { .. } => {
                let decoded = self.decode_varying(entry, out);
                if decoded.is_err() {
                    out.truncate(from);
                }
                decoded
            }
        }
    }

    fn decode_varying(&self, entry: &Entry, out: &mut Vec<f64>) -> Result<(), FormatError> {
        let Coding::Varying { mapping, predictor, exceptions, table, from, len } = entry.coding else {
            return Ok(());
        };
        let payload = self.payload.bytes()?;
        let bytes = payload.get(from as usize..).and_then(|rest| rest.get(..len as usize));
        let mut cursor = Cursor::new(WHAT, bytes.ok_or_else(|| FormatError::truncated(WHAT, from as usize))?);
        let count = entry.count as usize;
        let aside = if exceptions { read_exceptions(&mut cursor, count)? } else { Vec::new() };
        let integers = count - aside.len();
        let start = out.len();
        out.reserve(count);
        if integers > 0 {
            let prediction = Prediction::decode(predictor, &mut cursor)?;
            let numbers = predictor.numbers(integers);
            out.resize(start + integers - numbers, 0.0);
            match table.and_then(|id| self.tables.get(usize::from(id))) {
                Some((table, decoder)) => {
                    let decoder = decoder.get_or_init(|| Decoder::new(table));
                    decoder.decode(cursor.rest(), numbers, out)?;
                }
                None => read_fixed(&mut cursor, numbers, out)?,
            }
            prediction.undo(&mut out[start..], mapping);
        }
        if !cursor.is_empty() {
            return Err(cursor.malformed());
        }
        insert_exceptions(&aside, start, out);
        Ok(())
    }
}

fn read_tables(bytes: &[u8]) -> Result<Vec<(Table, OnceLock<Decoder>)>, FormatError> {
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
        let (head, counted) = Head::of(cursor.u8()?).ok_or_else(|| cursor.malformed())?;
        if counted {
            count = cursor.varint_up_to(MAX_SAMPLES)?;
        }
        let coding = if head.kind == Kind::Constant {
            constant = match head.detail {
                d if d == ConstantKind::AsBefore as u8 => constant,
                d if d == ConstantKind::Integer as u8 => cursor.varint_signed()? as f64,
                d if d == ConstantKind::Bits as u8 => cursor.f64()?,
                _ => return Err(cursor.malformed()),
            };
            Coding::Constant { value: constant }
        } else {
            let mapping = match head.kind {
                Kind::Decimal => Mapping::Decimal(cursor.u8()?),
                _ => Mapping::Bits,
            };
            let table =
                if head.fixed { None } else { Some(cursor.varint_up_to(tables.wrapping_sub(1))? as u8) };
            let len = cursor.varint_up_to(payload - from)?;
            if tables == 0 && table.is_some() || matches!(mapping, Mapping::Decimal(p) if p > MAX_PLACES) {
                return Err(cursor.malformed());
            }
            let predictor = Predictor::ALL[usize::from(head.detail & 3)];
            let coding = Coding::Varying {
                mapping,
                predictor,
                exceptions: head.exceptions,
                table,
                from: from as u32,
                len: len as u32,
            };
            from += len;
            coding
        };
        series.push(Entry { count: count as u32, coding });
    }
    if cursor.is_empty() && from == payload { Ok(series) } else { Err(cursor.malformed()) }
}

/// Positions and bits of the values that stand aside.
fn read_exceptions(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<(usize, f64)>, FormatError> {
    let len = cursor.varint_up_to(count)?;
    let mut aside = Vec::new();
    let mut at = 0;
    for _ in 0..len {
        let head = cursor.varint_up_to(2 * MAX_SAMPLES)?;
        let position = at + (head >> 1);
        if position >= count {
            return Err(cursor.malformed());
        }
        let value = if head & 1 == 0 { f64::from_bits(STALE_NAN_BITS) } else { cursor.f64()? };
        aside.push((position, value));
        at = position + 1;
    }
    Ok(aside)
}

/// Moves the integers apart, from the last one on, and puts the exceptions between.
fn insert_exceptions(aside: &[(usize, f64)], start: usize, out: &mut Vec<f64>) {
    let mut end = out.len() - start;
    out.resize(out.len() + aside.len(), 0.0);
    let column = &mut out[start..];
    for (before, (position, value)) in aside.iter().enumerate().rev() {
        let first = position - before;
        column.copy_within(first..end, position + 1);
        column[*position] = *value;
        end = first;
    }
}

fn read_fixed(cursor: &mut Cursor<'_>, numbers: usize, out: &mut Vec<f64>) -> Result<(), FormatError> {
    let width = usize::from(cursor.u8()?);
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
