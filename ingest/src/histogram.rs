//! Native histograms as remote write sends them: decoded, validated, reduced to what can be stored.
//!
//! Where it sits: used by both versions of remote write, whose message is the same, and by OTLP for
//! building buckets. Source of the rules: Prometheus' native histogram specification; refusals use the
//! words its users search for.

use crate::Error;
use crate::limits::{Budget, Limit, Limits};
use crate::wire::{Field, Reader, zigzag};
use storage_format::model::histogram::{CUSTOM_BUCKETS_SCHEMA, SCHEMA_MAX, SCHEMA_MIN};
use storage_format::model::{CounterResetHint, Histogram, Span, Timestamp, is_stale};

/// Finest schema a sender may use; what is finer than can be stored is merged.
const WIRE_SCHEMA_MAX: i32 = 52;
/// What a histogram without any bucket costs in samples: it is that much larger in memory.
pub(crate) const ELEMENTS_EACH: usize = 16;

/// A decoded histogram message.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) timestamp: Timestamp,
    pub(crate) start: Timestamp,
    /// The histogram, or why it cannot be stored.
    pub(crate) histogram: Result<Histogram, String>,
}

/// One side of a histogram as it stands on the wire.
#[derive(Debug, Default)]
struct WireSide {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl WireSide {
    fn absolute(self, integer: bool) -> (Vec<Span>, Vec<f64>) {
        if !integer {
            return (self.spans, self.counts);
        }
        let mut running = 0i64;
        let add = |delta: &i64| {
            running = running.wrapping_add(*delta);
            running as f64
        };
        (self.spans, self.deltas.iter().map(add).collect())
    }
}

/// Decodes one `Histogram` message of remote write 1.0 or 2.0.
pub(crate) fn decode(
    mut message: Reader<'_>,
    limits: &Limits,
    budget: &mut Budget,
) -> Result<Decoded, Error> {
    let mut h = Histogram { integer: true, ..Histogram::default() };
    let (mut positive, mut negative) = (WireSide::default(), WireSide::default());
    let (mut schema, mut timestamp, mut start) = (0i32, 0, 0);
    budget.elements(ELEMENTS_EACH)?;
    while let Some(field) = message.field()? {
        match field.number {
            1 => (h.count, h.integer) = (field.varint()? as f64, true),
            2 => (h.count, h.integer) = (field.double()?, false),
            3 => h.sum = field.double()?,
            4 => schema = field.sint32()?,
            5 => h.zero_threshold = field.double()?,
            6 => h.zero_count = field.varint()? as f64,
            7 => h.zero_count = field.double()?,
            8 => negative.spans.push(span(&field, budget)?),
            9 => deltas(&field, &mut negative.deltas, budget)?,
            10 => doubles(&field, &mut negative.counts, budget)?,
            11 => positive.spans.push(span(&field, budget)?),
            12 => deltas(&field, &mut positive.deltas, budget)?,
            13 => doubles(&field, &mut positive.counts, budget)?,
            14 => h.reset_hint = CounterResetHint::from_wire(field.varint()?),
            15 => timestamp = field.int64()?,
            16 => doubles(&field, &mut h.custom_bounds, budget)?,
            17 => start = field.int64()?,
            _ => {}
        }
    }
    (h.positive_spans, h.positive_counts) = positive.absolute(h.integer);
    (h.negative_spans, h.negative_counts) = negative.absolute(h.integer);
    Ok(Decoded { timestamp, start, histogram: storable(h, schema, limits) })
}

fn span(field: &Field<'_>, budget: &mut Budget) -> Result<Span, Error> {
    budget.elements(1)?;
    let (mut message, mut span) = (field.message()?, Span::default());
    while let Some(field) = message.field()? {
        match field.number {
            1 => span.offset = field.sint32()?,
            2 => span.length = (field.varint()? & 0xffff_ffff) as u32,
            _ => {}
        }
    }
    Ok(span)
}

fn deltas(field: &Field<'_>, into: &mut Vec<i64>, budget: &mut Budget) -> Result<(), Error> {
    budget.elements(field.element_bound(1))?;
    field.each_varint(|v| into.push(zigzag(v)))
}

fn doubles(field: &Field<'_>, into: &mut Vec<f64>, budget: &mut Budget) -> Result<(), Error> {
    budget.elements(field.element_bound(8))?;
    field.each_fixed64(|v| into.push(f64::from_bits(v)))
}

/// Checks a histogram whose schema is still as sent, and merges buckets until it can be stored.
pub(crate) fn storable(mut h: Histogram, schema: i32, limits: &Limits) -> Result<Histogram, String> {
    if is_stale(h.sum) {
        return Ok(Histogram { integer: h.integer, ..Histogram::stale() });
    }
    let known = schema == i32::from(CUSTOM_BUCKETS_SCHEMA)
        || (i32::from(SCHEMA_MIN)..=WIRE_SCHEMA_MAX).contains(&schema);
    if !known {
        return Err(format!("invalid histogram schema {schema}"));
    }
    // Checked as sent: -53 fits, and so does everything up to 52.
    h.schema = schema as i8;
    validate(&h)?;
    if h.uses_custom_buckets() {
        if h.positive_counts.len() > limits.buckets {
            return Err(too_many_buckets(limits));
        }
        return Ok(h);
    }
    let excess = (schema - i32::from(SCHEMA_MAX)).max(0);
    reduce(&mut h, excess as u32)?;
    while h.positive_counts.len() + h.negative_counts.len() > limits.buckets {
        if h.schema <= SCHEMA_MIN {
            return Err(too_many_buckets(limits));
        }
        reduce(&mut h, 1)?;
    }
    Ok(h)
}

pub(crate) fn too_many_buckets(limits: &Limits) -> String {
    Limit::Buckets.refused();
    format!("histogram has more than {} buckets", limits.buckets)
}

/// Lowers the resolution by `by` schema steps: bucket `i` becomes bucket `⌈i / 2^by⌉`.
pub(crate) fn reduce(h: &mut Histogram, by: u32) -> Result<(), String> {
    if by == 0 {
        return Ok(());
    }
    for (spans, counts) in
        [(&mut h.positive_spans, &mut h.positive_counts), (&mut h.negative_spans, &mut h.negative_counts)]
    {
        let mut side = Buckets::default();
        let mut index = 0i64;
        let mut at = counts.iter();
        for span in spans.iter() {
            index += i64::from(span.offset);
            for count in at.by_ref().take(span.length as usize) {
                side.push(((index - 1) >> by) + 1, *count)?;
                index += 1;
            }
        }
        (*spans, *counts) = (side.spans, side.counts);
    }
    h.schema -= by as i8;
    Ok(())
}

/// Builds spans and counts from buckets in ascending order.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    pub(crate) spans: Vec<Span>,
    pub(crate) counts: Vec<f64>,
    next: i64,
}

impl Buckets {
    /// Adds `count` to bucket `index`, which is the last one pushed or lies behind it. Gaps of up to two
    /// buckets are filled with zeros, since a span costs more than that.
    pub(crate) fn push(&mut self, index: i64, count: f64) -> Result<(), String> {
        if let Some(last) = self.counts.last_mut()
            && index + 1 == self.next
        {
            *last += count;
            return Ok(());
        }
        let gap = index - self.next;
        match self.spans.last_mut() {
            Some(span) if (0..=2).contains(&gap) => {
                span.length += gap as u32 + 1;
                self.counts.resize(self.counts.len() + gap as usize, 0.0);
            }
            _ => {
                let offset = i32::try_from(gap).map_err(|_| "histogram bucket index overflows".to_owned())?;
                self.spans.push(Span { offset, length: 1 });
            }
        }
        self.counts.push(count);
        self.next = index + 1;
        Ok(())
    }
}

/// Checks a histogram against the specification's invariants.
fn validate(h: &Histogram) -> Result<(), String> {
    if h.uses_custom_buckets() {
        custom_bounds(h).map_err(|e| format!("custom buckets: {e}"))?;
    } else {
        spans(&h.positive_spans, h.positive_counts.len()).map_err(|e| format!("positive side: {e}"))?;
        spans(&h.negative_spans, h.negative_counts.len()).map_err(|e| format!("negative side: {e}"))?;
        if !h.custom_bounds.is_empty() {
            return Err("histogram with exponential schema must not have custom bounds".to_owned());
        }
        if h.zero_threshold.is_nan() || h.zero_threshold < 0.0 {
            return Err(format!("histogram has a zero threshold of {}", h.zero_threshold));
        }
    }
    counts(&h.negative_counts).map_err(|e| format!("negative side: {e}"))?;
    counts(&h.positive_counts).map_err(|e| format!("positive side: {e}"))?;
    if h.zero_count < 0.0 || h.count < 0.0 {
        return Err("histogram has a bucket whose observation count is negative".to_owned());
    }
    if h.integer { total(h) } else { Ok(()) }
}

fn spans(spans: &[Span], buckets: usize) -> Result<(), String> {
    let (mut need, mut index) = (0u64, 0i64);
    for (i, span) in spans.iter().enumerate() {
        if i > 0 && span.offset < 0 {
            return Err(negative_offset(i, span));
        }
        need += u64::from(span.length);
        index += i64::from(span.offset) + i64::from(span.length);
    }
    if i32::try_from(index).is_err() {
        return Err("histogram bucket index overflows".to_owned());
    }
    matching(need, buckets)
}

fn negative_offset(i: usize, span: &Span) -> String {
    format!(
        "span number {} with offset {}: histogram has a span whose offset is negative",
        i + 1,
        span.offset
    )
}

fn matching(need: u64, have: usize) -> Result<(), String> {
    if need == have as u64 {
        return Ok(());
    }
    Err(format!(
        "spans need {need} buckets, have {have} buckets: histogram spans specify different number of buckets \
         than provided"
    ))
}

fn custom_bounds(h: &Histogram) -> Result<(), String> {
    for (i, bound) in h.custom_bounds.iter().enumerate() {
        if bound.is_nan() || *bound == f64::INFINITY {
            return Err("histogram custom bounds must be finite".to_owned());
        }
        if i > 0 && *bound <= h.custom_bounds[i - 1] {
            return Err("histogram custom bounds must be in strictly increasing order".to_owned());
        }
    }
    let (mut need, mut covered) = (0u64, 0u64);
    for (i, span) in h.positive_spans.iter().enumerate() {
        let offset = u64::try_from(span.offset).map_err(|_| negative_offset(i, span))?;
        need += u64::from(span.length);
        covered += offset + u64::from(span.length);
    }
    matching(need, h.positive_counts.len())?;
    if covered > h.custom_bounds.len() as u64 + 1 {
        return Err("histogram custom bounds are too few".to_owned());
    }
    if h.zero_count != 0.0 {
        return Err("must have zero count of 0".to_owned());
    }
    if h.zero_threshold != 0.0 {
        return Err("must have zero threshold of 0".to_owned());
    }
    if !h.negative_spans.is_empty() || !h.negative_counts.is_empty() {
        return Err("must not have negative buckets".to_owned());
    }
    Ok(())
}

fn counts(counts: &[f64]) -> Result<(), String> {
    match counts.iter().position(|c| *c < 0.0) {
        None => Ok(()),
        Some(i) => Err(format!(
            "bucket number {} has observation count of {}: histogram has a bucket whose observation count is \
             negative",
            i + 1,
            counts[i]
        )),
    }
}

/// The buckets of an integer histogram add up to its count; NaN observations are in none.
fn total(h: &Histogram) -> Result<(), String> {
    let found = h.zero_count + h.positive_counts.iter().chain(&h.negative_counts).sum::<f64>();
    if h.count > 9_007_199_254_740_992.0 {
        return Ok(()); // Beyond 2^53 the sum of floats is not exact, so inequality proves nothing.
    }
    let said = format_args!("{found} observations found in buckets, but the Count field is {}", h.count);
    if h.sum.is_nan() && found > h.count {
        return Err(format!(
            "{said}: histogram's observation count should be at least the number of observations found in the \
             buckets"
        ));
    }
    if !h.sum.is_nan() && found != h.count {
        return Err(format!(
            "{said}: histogram's observation count should equal the number of observations found in the buckets \
             (in absence of NaN)"
        ));
    }
    Ok(())
}
