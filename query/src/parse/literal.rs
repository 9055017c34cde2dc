//! Native histogram literals, `{{schema:0 sum:3 count:2 buckets:[1 1]}}`, and arithmetic on them for
//! sequences.
//!
//! Where it sits: below `series`. Sequences only ever combine a histogram with one of the same or a finer
//! schema and the same zero bucket; the evaluator's algebra is not needed here.

use super::{number, text};
use std::collections::{BTreeMap, HashSet};
use storage_format::model::histogram::{CUSTOM_BUCKETS_SCHEMA, SCHEMA_MAX, SCHEMA_MIN};
use storage_format::model::{CounterResetHint, Histogram, Span};

/// How many bytes at the beginning of `text` may be a number.
pub(super) fn number_length(text: &str) -> usize {
    for word in ["inf", "nan"] {
        if text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(word)) {
            return 3;
        }
    }
    let bytes = text.as_bytes();
    let mut i = 0;
    while let Some(b) = bytes.get(i) {
        match b {
            b'0'..=b'9' | b'.' | b'_' => i += 1,
            b'e' | b'E' if i > 0 => {
                i += 1;
                i += usize::from(bytes.get(i).is_some_and(|b| matches!(b, b'+' | b'-')));
            }
            _ => break,
        }
    }
    i
}

/// The histogram between `{{` and `}}`, and whether it tells its counter reset hint.
pub(super) fn histogram(inner: &str) -> Result<(Histogram, bool), String> {
    let mut h = Histogram::default();
    let (mut offset, mut n_offset) = (0, 0);
    let mut seen = HashSet::new();
    let mut rest = inner.trim_start();
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once(':') else {
            return Err(format!("bad histogram descriptor found: {}", text::quote(rest.trim_end())));
        };
        let (value, after) = if let Some(list) = after.strip_prefix('[') {
            list.split_once(']').ok_or("unclosed left bracket")?
        } else {
            after.split_once([' ', '\t']).unwrap_or((after, ""))
        };
        if !seen.insert(key) {
            return Err(format!("duplicate key \"{key}\" in histogram"));
        }
        match key {
            "schema" => {
                h.schema = i8::try_from(integer(value)?).map_err(|_| "schema out of range")?;
            }
            "sum" => h.sum = float(value)?,
            "count" => h.count = float(value)?,
            "z_bucket" => h.zero_count = float(value)?,
            "z_bucket_w" => h.zero_threshold = float(value)?,
            "custom_values" => h.custom_bounds = floats(value)?,
            "buckets" => h.positive_counts = floats(value)?,
            "n_buckets" => h.negative_counts = floats(value)?,
            "offset" => offset = integer(value)?,
            "n_offset" => n_offset = integer(value)?,
            "counter_reset_hint" => h.reset_hint = hint(value)?,
            _ => return Err(format!("bad histogram descriptor found: {}", text::quote(key))),
        }
        rest = after.trim_start();
    }
    if h.schema != CUSTOM_BUCKETS_SCHEMA && !(SCHEMA_MIN..=SCHEMA_MAX).contains(&h.schema) {
        return Err(format!("histogram has an invalid schema: {}", h.schema));
    }
    h.positive_spans = span(offset, h.positive_counts.len());
    h.negative_spans = span(n_offset, h.negative_counts.len());
    Ok((h, seen.contains("counter_reset_hint")))
}

fn span(offset: i32, length: usize) -> Vec<Span> {
    if length == 0 { Vec::new() } else { vec![Span { offset, length: length as u32 }] }
}

fn float(text: &str) -> Result<f64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || number_length(digits) != digits.len() {
        return Err(format!("bad number syntax: {}", text::quote(text)));
    }
    let value = number::number(digits)?;
    Ok(if negative { -value } else { value })
}

fn floats(list: &str) -> Result<Vec<f64>, String> {
    list.split_whitespace().map(float).collect()
}

fn integer(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| format!("bad number syntax: {}", text::quote(text)))
}

fn hint(word: &str) -> Result<CounterResetHint, String> {
    Ok(match word {
        "unknown" => CounterResetHint::Unknown,
        "reset" => CounterResetHint::CounterReset,
        "not_reset" => CounterResetHint::NotCounterReset,
        "gauge" => CounterResetHint::Gauge,
        _ => return Err(format!("bad histogram descriptor found: {}", text::quote(word))),
    })
}

/// `a + b`, or `a - b`, in the layout of `a`'s schema.
pub(super) fn combine(a: &Histogram, b: &Histogram, subtract: bool) -> Result<Histogram, String> {
    let fail = |why: &str| Err(format!("error combining histograms: {why}"));
    let custom = a.uses_custom_buckets();
    if custom != b.uses_custom_buckets() {
        return fail("cannot mix exponential and custom buckets");
    }
    if a.schema > b.schema {
        return fail(&format!("cannot merge from schema {} to {}", b.schema, a.schema));
    }
    if a.custom_bounds != b.custom_bounds {
        return fail("different custom buckets");
    }
    if a.zero_threshold != b.zero_threshold {
        return fail("different zero thresholds");
    }
    let sign = if subtract { -1.0 } else { 1.0 };
    let finer = if custom { 0 } else { (b.schema - a.schema) as u32 };
    let mut sum = a.clone();
    sum.count += sign * b.count;
    sum.sum += sign * b.sum;
    sum.zero_count += sign * b.zero_count;
    for negative in [false, true] {
        let mut buckets: BTreeMap<i64, f64> = side(a, negative).collect();
        for (index, count) in side(b, negative) {
            *buckets.entry(((index - 1) >> finer) + 1).or_default() += sign * count;
        }
        let (spans, counts) = layout(&buckets);
        if negative {
            (sum.negative_spans, sum.negative_counts) = (spans, counts);
        } else {
            (sum.positive_spans, sum.positive_counts) = (spans, counts);
        }
    }
    sum.reset_hint = match (a.reset_hint, b.reset_hint) {
        _ if subtract => CounterResetHint::Gauge,
        (a, b) if a == b => a,
        (CounterResetHint::Gauge, _) | (_, CounterResetHint::Gauge) => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    };
    Ok(sum)
}

/// The buckets of one side with their indices.
fn side(h: &Histogram, negative: bool) -> impl Iterator<Item = (i64, f64)> {
    let (spans, counts) = if negative {
        (&h.negative_spans, &h.negative_counts)
    } else {
        (&h.positive_spans, &h.positive_counts)
    };
    let indices = spans.iter().scan(0_i64, |next, span| {
        let start = *next + i64::from(span.offset);
        *next = start + i64::from(span.length);
        Some(start..*next)
    });
    indices.flatten().zip(counts.iter().copied())
}

fn layout(buckets: &BTreeMap<i64, f64>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut next): (Vec<Span>, i64) = (Vec::new(), 0);
    for index in buckets.keys() {
        match spans.last_mut() {
            Some(span) if *index == next => span.length += 1,
            // Indices come from 32-bit offsets and lengths.
            _ => spans.push(Span { offset: (index - next) as i32, length: 1 }),
        }
        next = index + 1;
    }
    (spans, buckets.values().copied().collect())
}
