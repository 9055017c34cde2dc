//! OTLP's JSON rewritten as protobuf, field by field, in one pass.
//!
//! Where it sits: before `walk`, so that both formats have one meaning. Source: proto3's JSON mapping with
//! OTLP's exceptions (ids in hex, enums as numbers only). Invariants: `null` means absent, unknown fields
//! are skipped, and everything else that does not fit its field is an error: nothing is dropped silently.
//! Nesting is bounded by the parser (128 levels), output by the limit.

use super::schema::{EXPORT_REQUEST, Kind, Spec};
use crate::Error;
use crate::wire::push_varint;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
};
use std::fmt;

/// Bytes reserved for the length of a message that is still being written; a padded varint.
const LENGTH_BYTES: usize = 5;

/// Rewrites an `ExportMetricsServiceRequest`; `into` is replaced.
pub(super) fn to_protobuf(json: &[u8], limit: usize, into: &mut Vec<u8>) -> Result<(), Error> {
    into.clear();
    let mut parser = serde_json::Deserializer::from_slice(json);
    let seed = Message { fields: EXPORT_REQUEST, out: into, limit };
    let done = seed.deserialize(&mut parser).and_then(|()| parser.end());
    match done {
        Ok(()) => Ok(()),
        Err(_) if into.len() > limit => Err(Error::TooLarge { what: "bytes", limit }),
        Err(e) => Err(Error::BadJson(crate::labels::clip(e.to_string()))),
    }
}

/// Reads an object as a message.
struct Message<'o> {
    fields: &'static [Spec],
    out: &'o mut Vec<u8>,
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for Message<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(spec) = map.next_key_seed(Key(self.fields))? {
            match spec {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(spec) if spec.repeated => {
                    map.next_value_seed(Repeated { spec, out: &mut *self.out, limit: self.limit })?;
                }
                Some(spec) => {
                    map.next_value_seed(Single { spec, out: &mut *self.out, limit: self.limit, bare: false })?
                }
            }
        }
        Ok(())
    }
}

/// Finds the field a key means.
struct Key(&'static [Spec]);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<&'static Spec>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<&'static Spec>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }
    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|spec| spec.is(key)))
    }
}

/// Reads an array.
struct Repeated<'o> {
    spec: &'static Spec,
    out: &'o mut Vec<u8>,
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for Repeated<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Repeated<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array for {}", self.spec.name)
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let (spec, limit) = (self.spec, self.limit);
        let packed = spec.kind.is_number();
        let start = if packed { open(self.out, spec.number) } else { 0 };
        while seq.next_element_seed(Single { spec, out: &mut *self.out, limit, bare: packed })?.is_some() {}
        if packed {
            close(self.out, start);
        }
        Ok(())
    }
}

/// Reads one value of a field.
struct Single<'o> {
    spec: &'static Spec,
    out: &'o mut Vec<u8>,
    limit: usize,
    /// Whether it is an element of a packed field, which has no tag of its own.
    bare: bool,
}

impl<'de> DeserializeSeed<'de> for Single<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.out.len() > self.limit {
            return Err(D::Error::custom("body too large"));
        }
        match self.spec.kind {
            Kind::Message(fields) if !self.bare => {
                let start = open(self.out, self.spec.number);
                let out = &mut *self.out;
                let present =
                    deserializer.deserialize_any(Nullable(Message { fields, out, limit: self.limit }))?;
                if present {
                    close(self.out, start);
                } else {
                    self.out.truncate(start - LENGTH_BYTES - tag_len(self.spec.number));
                }
                Ok(())
            }
            _ => deserializer.deserialize_any(self),
        }
    }
}

/// A message or `null`; tells whether it was there.
struct Nullable<'o>(Message<'o>);

impl<'de> Visitor<'de> for Nullable<'_> {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<bool, A::Error> {
        self.0.visit_map(map).map(|()| true)
    }
}

impl<'de> Visitor<'de> for Single<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.spec.kind.name(), self.spec.name)
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        if self.bare { Err(E::invalid_type(Unexpected::Unit, &self)) } else { Ok(()) }
    }
    fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<(), E> {
        if self.spec.kind != Kind::Bool {
            return Err(E::invalid_type(Unexpected::Bool(v), &self));
        }
        self.varint(u64::from(v));
        Ok(())
    }
    fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<(), E> {
        self.integer(i128::from(v))
            .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(v), &"a number that fits"))
    }
    fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<(), E> {
        self.integer(i128::from(v))
            .ok_or_else(|| E::invalid_value(Unexpected::Signed(v), &"a number that fits"))
    }
    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<(), E> {
        if self.spec.kind == Kind::Double {
            self.fixed(v.to_bits());
            return Ok(());
        }
        let whole = v.fract() == 0.0 && v.abs() < 2f64.powi(63);
        match if whole { self.integer(v as i128) } else { None } {
            Some(()) => Ok(()),
            None => Err(E::invalid_value(Unexpected::Float(v), &"a whole number that fits")),
        }
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let name = self.spec.name;
        let bad = || E::invalid_value(Unexpected::Str(clip(text)), &name);
        match self.spec.kind {
            Kind::Text => self.bytes(text.as_bytes()),
            Kind::Hex => self.bytes(&unhex(text).ok_or_else(bad)?),
            Kind::Base64 => self.bytes(&unbase64(text).ok_or_else(bad)?),
            Kind::Double => self.fixed(double(text).ok_or_else(bad)?.to_bits()),
            Kind::Fixed64 | Kind::SignedFixed64 | Kind::Varint | Kind::Zigzag32 | Kind::Uint32 => {
                let v = text.parse::<i128>().map_err(|_| bad())?;
                self.integer(v).ok_or_else(bad)?;
            }
            Kind::Enum | Kind::Bool | Kind::Message(_) => return Err(bad()),
        }
        Ok(())
    }
}

impl Single<'_> {
    fn tag(&mut self, wire: u8) {
        if !self.bare {
            push_varint(self.out, u64::from(self.spec.number) << 3 | u64::from(wire));
        }
    }
    fn varint(mut self, v: u64) {
        self.tag(crate::wire::VARINT);
        push_varint(self.out, v);
    }
    fn fixed(mut self, bits: u64) {
        self.tag(crate::wire::FIXED64);
        self.out.extend(bits.to_le_bytes());
    }
    fn bytes(mut self, bytes: &[u8]) {
        self.tag(crate::wire::BYTES);
        push_varint(self.out, bytes.len() as u64);
        self.out.extend(bytes);
    }
    /// Writes a whole number, `None` if the field cannot hold it.
    fn integer(self, v: i128) -> Option<()> {
        match self.spec.kind {
            Kind::Double => self.fixed((v as f64).to_bits()),
            Kind::Fixed64 => self.fixed(u64::try_from(v).ok()?),
            Kind::SignedFixed64 => self.fixed(i64::try_from(v).ok()?.cast_unsigned()),
            Kind::Varint => {
                let n = i64::try_from(v).map(i64::cast_unsigned).or_else(|_| u64::try_from(v)).ok()?;
                self.varint(n);
            }
            Kind::Uint32 => self.varint(u64::from(u32::try_from(v).ok()?)),
            Kind::Enum => self.varint(i64::from(i32::try_from(v).ok()?).cast_unsigned()),
            Kind::Zigzag32 => {
                let n = i32::try_from(v).ok()?;
                self.varint(u64::from(((n << 1) ^ (n >> 31)).cast_unsigned()));
            }
            Kind::Text | Kind::Hex | Kind::Base64 | Kind::Bool | Kind::Message(_) => return None,
        }
        Some(())
    }
}

fn tag_len(number: u32) -> usize {
    if number < 16 { 1 } else { 2 }
}

/// Writes a tag and room for a length; returns where the content starts.
fn open(out: &mut Vec<u8>, number: u32) -> usize {
    push_varint(out, u64::from(number) << 3 | u64::from(crate::wire::BYTES));
    out.extend([0x80, 0x80, 0x80, 0x80, 0x00]);
    out.len()
}

/// Fills in the length of what was written since `start`.
fn close(out: &mut [u8], start: usize) {
    let len = out.len() - start;
    for (i, byte) in out[start - LENGTH_BYTES..start].iter_mut().enumerate() {
        let more = if i + 1 < LENGTH_BYTES { 0x80 } else { 0 };
        *byte = (len >> (7 * i)) as u8 & 0x7f | more;
    }
}

fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(100)]
}

fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok().filter(|v: &f64| v.is_finite()),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|p| Some((digit(*p.first()?)? << 4 | digit(*p.get(1)?)?) as u8)).collect()
}

/// Base64 in either alphabet, padded or not.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    if digits.len() % 4 == 1 || text.len() - digits.len() > 2 {
        return None;
    }
    let value = |b: u8| match b {
        b'A'..=b'Z' => Some(b - b'A'),
        b'a'..=b'z' => Some(b - b'a' + 26),
        b'0'..=b'9' => Some(b - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.chunks(4) {
        let mut word = 0u32;
        for b in chunk {
            word = word << 6 | u32::from(value(*b)?);
        }
        word <<= 6 * (4 - chunk.len());
        out.extend(&word.to_be_bytes()[1..chunk.len()]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_in_either_alphabet() {
        for (text, want) in [
            ("", Some("")),
            ("Zg==", Some("f")),
            ("Zg", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Z", None),
            ("Zm9v!", None),
        ] {
            assert_eq!(unbase64(text).as_deref(), want.map(str::as_bytes), "{text}");
        }
        assert_eq!(unbase64("-_8="), unbase64("+/8="));
    }

    #[test]
    fn hex_of_ids() {
        assert_eq!(unhex("0aFF"), Some(vec![10, 255]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("zz"), None);
    }
}
