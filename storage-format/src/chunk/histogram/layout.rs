//! What histograms of a series share: everything but the numbers that change from sample to sample.
//!
//! Invariant: floats are compared and stored by their bits, so that layouts are equal only when they are
//! indistinguishable.

use crate::bytes::{Cursor, put_varint, put_varint_signed};
use crate::error::FormatError;
use crate::model::{Histogram, Span};

const INTEGER: u8 = 1;
const CUSTOM_BOUNDS: u8 = 2;

/// The shape of a histogram. The numbers of counts are kept beside the spans, which they add up to in a
/// valid histogram, so that an invalid one comes back as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    integer: bool,
    schema: i8,
    zero_threshold: u64,
    positive_spans: Vec<Span>,
    negative_spans: Vec<Span>,
    bounds: Vec<u64>,
    /// Number of positive buckets.
    pub(super) positive: usize,
    /// Number of negative buckets.
    pub(super) negative: usize,
}

impl Layout {
    pub(super) fn of(histogram: &Histogram) -> Self {
        Self {
            integer: histogram.integer,
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold.to_bits(),
            positive_spans: histogram.positive_spans.clone(),
            negative_spans: histogram.negative_spans.clone(),
            bounds: histogram.custom_bounds.iter().map(|b| b.to_bits()).collect(),
            positive: histogram.positive_counts.len(),
            negative: histogram.negative_counts.len(),
        }
    }

    /// Numbers that a histogram of this shape allocates.
    pub(super) fn width(&self) -> usize {
        let shape = self.positive_spans.len() + self.negative_spans.len() + self.bounds.len();
        shape + self.positive + self.negative
    }

    /// A histogram of this shape with all numbers missing.
    pub(super) fn empty_histogram(&self) -> Histogram {
        Histogram {
            integer: self.integer,
            schema: self.schema,
            zero_threshold: f64::from_bits(self.zero_threshold),
            positive_spans: self.positive_spans.clone(),
            negative_spans: self.negative_spans.clone(),
            custom_bounds: self.bounds.iter().map(|b| f64::from_bits(*b)).collect(),
            ..Histogram::default()
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let bounds = if self.bounds.is_empty() { 0 } else { CUSTOM_BOUNDS };
        out.push((u8::from(self.integer) * INTEGER) | bounds);
        out.push(self.schema.to_le_bytes()[0]);
        out.extend_from_slice(&self.zero_threshold.to_le_bytes());
        for (spans, counts) in [(&self.positive_spans, self.positive), (&self.negative_spans, self.negative)]
        {
            put_varint(out, counts as u64);
            put_varint(out, spans.len() as u64);
            for span in spans {
                put_varint_signed(out, i64::from(span.offset));
                put_varint(out, u64::from(span.length));
            }
        }
        if !self.bounds.is_empty() {
            put_varint(out, self.bounds.len() as u64);
            for bound in &self.bounds {
                out.extend_from_slice(&bound.to_le_bytes());
            }
        }
    }

    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, FormatError> {
        let flags = cursor.u8()?;
        if flags & !(INTEGER | CUSTOM_BOUNDS) != 0 {
            return Err(cursor.malformed());
        }
        let schema = i8::from_le_bytes([cursor.u8()?]);
        let zero_threshold = cursor.u64()?;
        let (positive, positive_spans) = decode_spans(cursor)?;
        let (negative, negative_spans) = decode_spans(cursor)?;
        let mut bounds = Vec::new();
        if flags & CUSTOM_BOUNDS != 0 {
            let len = cursor.varint_up_to(cursor.remaining() / 8)?;
            for _ in 0..len {
                bounds.push(cursor.u64()?);
            }
        }
        Ok(Self {
            integer: flags & INTEGER != 0,
            schema,
            zero_threshold,
            positive_spans,
            negative_spans,
            bounds,
            positive,
            negative,
        })
    }
}

fn decode_spans(cursor: &mut Cursor<'_>) -> Result<(usize, Vec<Span>), FormatError> {
    let counts = cursor.varint_up_to(super::MAX_VALUES)?;
    // A span takes two bytes at least.
    let len = cursor.varint_up_to(cursor.remaining() / 2)?;
    let mut spans = Vec::with_capacity(len);
    for _ in 0..len {
        let offset = i32::try_from(cursor.varint_signed()?).map_err(|_| cursor.malformed())?;
        let length = u32::try_from(cursor.varint()?).map_err(|_| cursor.malformed())?;
        spans.push(Span { offset, length });
    }
    Ok((counts, spans))
}
