//! Encoding of a group: plans every column, writes the group in both layouts, keeps the smaller.
//!
//! Where it sits: behind `GroupEncoder`. *Coded* columns go through the entropy coder with shared tables
//! and can be read one by one. *Plain* columns are varints that zstd compresses together,
//! which wins where the same runs of values come again and again; reading one inflates all.

use super::column::{Column, Mapping};
use super::predict::{self, Predicted, Prediction, Predictor};
use super::rans::{self, Counts};
use super::reference::{self, Reference};
use super::tables::Tables;
use super::{ConstantKind, Head, Kind, MAX_INFLATED, VARINTS};
use crate::bytes::{BitWriter, bits_len, put_varint, put_varint_signed, squeeze, varint_len, width_of};
use crate::model::is_stale;

/// Below this many bytes zstd is not tried.
const SQUEEZE_MIN: usize = 64;
/// Plain columns must save this share, in percent, to be worth their slower access.
const PLAIN_MUST_SAVE: usize = 20;

/// A column on its way to bytes.
#[derive(Debug)]
pub(super) enum Prepared {
    /// No values, or the same in all places.
    Constant { count: usize, value: u64 },
    /// Anything else.
    Varying { count: usize, column: Column, predicted: Option<Box<Predicted>> },
}

impl Prepared {
    pub(super) fn of(values: &[f64]) -> Self {
        let first = values.first().copied().unwrap_or(0.0).to_bits();
        if values.iter().all(|v| v.to_bits() == first) {
            return Self::Constant { count: values.len(), value: first };
        }
        let column = Column::of(values);
        let predicted = (!column.integers.is_empty())
            .then(|| Box::new(predict::cheapest(column.mapping, &column.integers)));
        Self::Varying { count: values.len(), column, predicted }
    }
}

/// The sections of a group being written.
#[derive(Default)]
struct Sections {
    directory: Vec<u8>,
    payload: Vec<u8>,
    count_before: usize,
    constant_before: u64,
}

/// The encoded group of `columns`.
pub(super) fn encode(columns: &[Prepared], coded_only: bool) -> Vec<u8> {
    let coded = coded(columns);
    if coded_only {
        return coded;
    }
    let varying = columns.iter().any(|c| matches!(c, Prepared::Varying { .. }));
    if varying && coded.len() > 4 * SQUEEZE_MIN {
        let plain = plain(columns);
        if plain.len() * 100 < coded.len() * (100 - PLAIN_MUST_SAVE) {
            return plain;
        }
    }
    coded
}

fn coded(columns: &[Prepared]) -> Vec<u8> {
    let references = reference::choose(columns);
    let predictions: Vec<Option<&Predicted>> = columns
        .iter()
        .zip(&references)
        .map(|(column, reference)| prediction_of(column, reference.as_ref()))
        .collect();
    let counts: Vec<&Counts> =
        predictions.iter().flatten().filter(|p| !p.numbers.is_empty()).map(|p| &p.counts).collect();
    let tables = Tables::choose(&counts);
    let mut chosen = tables.chosen.iter();
    let mut sections = Sections::default();
    for ((column, reference), predicted) in columns.iter().zip(&references).zip(predictions) {
        match column {
            Prepared::Constant { count, value } => sections.constant(*count, *value),
            Prepared::Varying { count, column, .. } => {
                let choice = predicted.filter(|p| !p.numbers.is_empty()).and_then(|_| *chosen.next()?);
                let table = choice.map(|(id, bits)| (id, &tables.tables[id], bits));
                let distance = reference.as_ref().map(|r| r.distance);
                sections.varying(*count, column, distance, predicted, table);
            }
        }
    }
    let mut described = Vec::new();
    put_varint(&mut described, tables.tables.len() as u64);
    let mut bits = BitWriter::new(&mut described);
    for table in &tables.tables {
        table.describe(&mut bits);
    }
    bits.finish();
    sections.finish(columns.len(), &described, false)
}

/// The prediction a coded column is stored by: of itself, or of its difference to another.
fn prediction_of<'a>(column: &'a Prepared, reference: Option<&'a Reference>) -> Option<&'a Predicted> {
    match (column, reference) {
        (_, Some(reference)) => Some(&reference.predicted),
        (Prepared::Varying { predicted, .. }, None) => predicted.as_deref(),
        (Prepared::Constant { .. }, None) => None,
    }
}

fn plain(columns: &[Prepared]) -> Vec<u8> {
    let mut sections = Sections::default();
    let mut numbers = Vec::new();
    for column in columns {
        match column {
            Prepared::Constant { count, value } => sections.constant(*count, *value),
            Prepared::Varying { count, column, predicted } => {
                let prediction = predicted.as_ref().map(|_| plain_prediction(column, &mut numbers));
                sections.head(*count, column, None, prediction.map(|p| p.predictor), true);
                let from = sections.payload.len();
                sections.lead(column, prediction);
                if prediction.is_some() {
                    put_verbatim(&mut sections.payload, &numbers, true);
                }
                let len = sections.payload.len() - from;
                put_varint(&mut sections.directory, len as u64);
            }
        }
    }
    sections.finish(columns.len(), &[], true)
}

/// The prediction for a plain column: one whose numbers do not depend on where the column begins, so that
/// the same run of values in two columns is the same run of bytes.
fn plain_prediction(column: &Column, numbers: &mut Vec<u64>) -> Prediction {
    let mut steps = predict::steps_of(&column.integers);
    let divisor = predict::divisor_of(column.mapping, &steps);
    steps.iter_mut().for_each(|s| *s /= divisor as i64);
    let predictor = if column.mapping == Mapping::Bits { Predictor::Minimum } else { Predictor::MedianStep };
    let prediction = Prediction::verbatim(predictor, divisor, &column.integers);
    prediction.apply(&column.integers, &steps, numbers);
    prediction
}

/// Appends numbers in as many bytes each as the largest takes, after that width, or as varints, after
/// `VARINTS`, if that is shorter or asked for.
fn put_verbatim(out: &mut Vec<u8>, numbers: &[u64], varints: bool) {
    let width = fixed_width(numbers);
    if varints || varint_bytes(numbers) < width * numbers.len() {
        out.push(VARINTS);
        numbers.iter().for_each(|n| put_varint(out, *n));
        return;
    }
    out.push(width as u8);
    for n in numbers {
        out.extend_from_slice(&n.to_le_bytes()[..width]);
    }
}

fn fixed_width(numbers: &[u64]) -> usize {
    let all = numbers.iter().fold(0, |all, n| all | n);
    bits_len(width_of(all) as usize)
}

fn varint_bytes(numbers: &[u64]) -> usize {
    numbers.iter().map(|n| varint_len(*n)).sum()
}

/// Bytes that `put_verbatim` takes for `numbers`.
fn verbatim_bytes(numbers: &[u64]) -> usize {
    1 + varint_bytes(numbers).min(fixed_width(numbers) * numbers.len())
}

impl Sections {
    fn constant(&mut self, count: usize, value: u64) {
        let v = f64::from_bits(value);
        let integer = v as i64;
        let kind = if value == self.constant_before {
            ConstantKind::AsBefore
        } else if (integer as f64).to_bits() == value {
            ConstantKind::Integer
        } else {
            ConstantKind::Bits
        };
        let detail = kind as u8;
        let head =
            Head { kind: Kind::Constant, detail, exceptions: false, verbatim: false, reference: false };
        self.put_head(count, head);
        match kind {
            ConstantKind::AsBefore => {}
            ConstantKind::Integer => put_varint_signed(&mut self.directory, integer),
            ConstantKind::Bits => self.directory.extend_from_slice(&value.to_le_bytes()),
        }
        self.constant_before = value;
    }

    fn put_head(&mut self, count: usize, head: Head) {
        let same = count == self.count_before;
        self.directory.push(head.byte(same));
        if !same {
            put_varint(&mut self.directory, count as u64);
            self.count_before = count;
        }
    }

    fn head(
        &mut self,
        count: usize,
        column: &Column,
        distance: Option<usize>,
        predictor: Option<Predictor>,
        verbatim: bool,
    ) {
        let kind = match column.mapping {
            Mapping::Decimal(_) => Kind::Decimal,
            Mapping::Near { .. } => Kind::Near,
            Mapping::Bits => Kind::Bits,
        };
        let detail = predictor.map_or(0, |p| p as u8);
        let exceptions = !column.exceptions.is_empty();
        self.put_head(count, Head { kind, detail, exceptions, verbatim, reference: distance.is_some() });
        if let Some(distance) = distance {
            put_varint(&mut self.directory, distance as u64);
        }
        match column.mapping {
            Mapping::Decimal(places) => self.directory.push(places),
            Mapping::Near { places, slack } => self.directory.extend_from_slice(&[places, slack]),
            Mapping::Bits => {}
        }
    }

    /// What stands before the numbers of a column: its exceptions and the parameters of its prediction.
    fn lead(&mut self, column: &Column, prediction: Option<Prediction>) {
        if !column.exceptions.is_empty() {
            put_varint(&mut self.payload, column.exceptions.len() as u64);
            let mut at = 0;
            for exception in &column.exceptions {
                let stale = is_stale(f64::from_bits(exception.bits));
                let gap = (exception.position - at) as u64;
                put_varint(
                    &mut self.payload,
                    gap << 2 | u64::from(exception.len > 1) << 1 | u64::from(!stale),
                );
                if exception.len > 1 {
                    put_varint(&mut self.payload, exception.len as u64);
                }
                if !stale {
                    self.payload.extend_from_slice(&exception.bits.to_le_bytes());
                }
                at = exception.position + exception.len;
            }
        }
        if let Some(prediction) = prediction {
            prediction.encode(&mut self.payload);
        }
    }

    fn varying(
        &mut self,
        count: usize,
        column: &Column,
        distance: Option<usize>,
        predicted: Option<&Predicted>,
        table: Option<(usize, &rans::Table, f64)>,
    ) {
        let prediction = predicted.map(|p| p.prediction);
        let numbers = predicted.map_or(&[][..], |p| &p.numbers);
        let coded = table.filter(|(_, _, bits)| {
            let extra = predicted.map_or(0, |p| rans::extra_bits(&p.counts)) as f64;
            (bits + extra) / 8.0 + 5.0 < verbatim_bytes(numbers) as f64
        });
        self.head(count, column, distance, prediction.map(|p| p.predictor), coded.is_none());
        let from = self.payload.len();
        self.lead(column, prediction);
        match coded {
            Some((id, table, _)) => {
                put_varint(&mut self.directory, id as u64);
                rans::encode(numbers, table, &mut self.payload);
            }
            None if prediction.is_some() => put_verbatim(&mut self.payload, numbers, false),
            None => {}
        }
        let len = self.payload.len() - from;
        put_varint(&mut self.directory, len as u64);
    }

    fn finish(self, series: usize, tables: &[u8], squeeze_payload: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.directory.len() + self.payload.len() + tables.len() + 16);
        put_varint(&mut out, series as u64);
        put_section(&mut out, &self.directory, true);
        put_section(&mut out, tables, false);
        put_section(&mut out, &self.payload, squeeze_payload);
        out
    }
}

/// A section: its length doubled, plus one when it is compressed, then the compressed length.
fn put_section(out: &mut Vec<u8>, section: &[u8], worth_a_try: bool) {
    let squeezed = if worth_a_try && (SQUEEZE_MIN..=MAX_INFLATED).contains(&section.len()) {
        squeeze(section)
    } else {
        None
    };
    match squeezed {
        Some(squeezed) => {
            put_varint(out, ((section.len() as u64) << 1) | 1);
            put_varint(out, squeezed.len() as u64);
            out.extend_from_slice(&squeezed);
        }
        None => {
            put_varint(out, (section.len() as u64) << 1);
            out.extend_from_slice(section);
        }
    }
}
