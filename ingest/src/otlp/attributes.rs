//! Attributes: key-value lists of OTLP as text, in Prometheus' rendering.
//!
//! Where it sits: below `resolve`; only new series come here. Invariant: nesting deeper than
//! [`DEPTH_MAX`] is refused, so that no recursion follows its input.

use crate::Error;
use crate::wire::{Field, Reader};
use std::borrow::Cow;
use std::fmt::Write;

/// Deepest nesting of an attribute's value.
const DEPTH_MAX: usize = 64;

/// Key and rendered value.
pub(super) type Attribute<'a> = (&'a str, Cow<'a, str>);

/// Reads a `KeyValue` message.
pub(super) fn key_value<'a>(mut message: Reader<'a>) -> Result<Attribute<'a>, Error> {
    let (mut key, mut value) = ("", Cow::Borrowed(""));
    while let Some(field) = message.field()? {
        match field.number {
            1 => key = field.str()?,
            2 => value = text(field.message()?)?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// All `KeyValue`s in field `number` of a message.
pub(super) fn list<'a>(mut message: Reader<'a>, number: u32) -> Result<Vec<Attribute<'a>>, Error> {
    let mut out = Vec::new();
    while let Some(field) = message.field()? {
        if field.number == number {
            out.push(key_value(field.message()?)?);
        }
    }
    Ok(out)
}

/// An `AnyValue` as a label's value: text as it is, everything composed as JSON.
fn text<'a>(mut value: Reader<'a>) -> Result<Cow<'a, str>, Error> {
    let mut out = Cow::Borrowed("");
    while let Some(field) = value.field()? {
        out = match field.number {
            1 => Cow::Borrowed(field.str()?),
            2 => Cow::Borrowed(if field.varint()? != 0 { "true" } else { "false" }),
            3 => Cow::Owned(field.int64()?.to_string()),
            4 => Cow::Owned(number(field.double()?)),
            7 => Cow::Owned(base64(field.bytes()?)),
            5 | 6 => {
                let mut json = String::new();
                composed(&field, &mut json, 0)?;
                Cow::Owned(json)
            }
            _ => continue,
        };
    }
    Ok(out)
}

fn composed(field: &Field<'_>, out: &mut String, depth: usize) -> Result<(), Error> {
    if depth >= DEPTH_MAX {
        return Err(Error::BadPayload { what: "attribute nested too deep", offset: field.start });
    }
    let mut message = field.message()?;
    if field.number == 5 {
        out.push('[');
        let mut first = true;
        while let Some(element) = message.field()? {
            if element.number == 1 {
                comma(&mut first, out);
                json(element.message()?, out, depth + 1)?;
            }
        }
        out.push(']');
        return Ok(());
    }
    let mut pairs = Vec::new();
    while let Some(element) = message.field()? {
        if element.number == 1 {
            let (mut inner, mut key, mut value) = (element.message()?, "", "null".to_owned());
            while let Some(field) = inner.field()? {
                match field.number {
                    1 => key = field.str()?,
                    2 => {
                        value.clear();
                        json(field.message()?, &mut value, depth + 1)?;
                    }
                    _ => {}
                }
            }
            pairs.push((key, value));
        }
    }
    // Go prints maps by key; a repeated key keeps its last value.
    pairs.sort_by(|a, b| a.0.cmp(b.0));
    out.push('{');
    let mut first = true;
    for (i, (key, value)) in pairs.iter().enumerate() {
        if pairs.get(i + 1).is_some_and(|next| next.0 == *key) {
            continue;
        }
        comma(&mut first, out);
        quoted(key, out);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    Ok(())
}

fn comma(first: &mut bool, out: &mut String) {
    if !std::mem::take(first) {
        out.push(',');
    }
}

fn json(mut value: Reader<'_>, out: &mut String, depth: usize) -> Result<(), Error> {
    let start = out.len();
    out.push_str("null");
    while let Some(field) = value.field()? {
        if !(1..=7).contains(&field.number) {
            continue;
        }
        out.truncate(start);
        match field.number {
            1 => quoted(field.str()?, out),
            2 => out.push_str(if field.varint()? != 0 { "true" } else { "false" }),
            3 => drop(write!(out, "{}", field.int64()?)),
            4 => out.push_str(&number(field.double()?)),
            7 => drop(write!(out, "\"{}\"", base64(field.bytes()?))),
            _ => composed(&field, out, depth)?,
        }
    }
    Ok(())
}

/// A number as JSON spells it: plain, or with an exponent when it is very small or large.
fn number(v: f64) -> String {
    let size = v.abs();
    if v.is_nan() {
        return "NaN".to_owned();
    }
    if v.is_infinite() {
        return if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{v:e}");
        return match text.split_once('e') {
            Some((digits, power)) if !power.starts_with('-') => format!("{digits}e+{power}"),
            _ => text,
        };
    }
    format!("{v}")
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // As Go does, so that the text is the one Prometheus would have stored.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Standard base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_json_spells_them() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1e-6, "0.000001"),
            (1.5e-7, "1.5e-7"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ];
        for (v, want) in cases {
            assert_eq!(number(v), want);
        }
    }

    #[test]
    fn base64_pads() {
        for (bytes, want) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), want);
        }
    }
}
