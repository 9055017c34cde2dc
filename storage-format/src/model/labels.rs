//! Label sets: the identity of a series, packed into one shared string.
//!
//! Bytes: labels sorted by name, each `[name length: 2 chars][value length: 3 chars][name][value]`, a
//! length being base-128 digits, lowest first, so that the packing is itself valid UTF-8 and slices need
//! no checking. Invariants: names unique and ascending, no empty name, no empty value (an empty value
//! means that the label is absent).

use crate::bytes::{Cursor, put_varint, varint_len};
use crate::error::FormatError;
use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";
/// Longest label name that can be represented, in bytes.
pub const NAME_BYTES_MAX: usize = (1 << 14) - 1;
/// Longest label value that can be represented, in bytes.
pub const VALUE_BYTES_MAX: usize = (1 << 21) - 1;

const HEADER: usize = 5;

/// Largest packing buffer that a thread keeps, in bytes.
const PACKED_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static PACKED: Cell<String> = const { Cell::new(String::new()) };
}

/// An immutable label set; cloning shares it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

impl Labels {
    /// The set without labels.
    #[must_use]
    pub fn empty() -> Self {
        Self(Arc::from(""))
    }
    /// From pairs in any order; empty values are dropped, of equal names the last wins.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }
    /// From pairs already ascending by name, unique and without empty values.
    pub fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        // Packed in a buffer that the thread keeps, so that a label set is one allocation.
        let mut packed = PACKED.take();
        packed.clear();
        for (name, value) in pairs {
            push_label(&mut packed, name, value);
        }
        let labels = Self(Arc::from(packed.as_str()));
        if packed.capacity() <= PACKED_BYTES_MAX {
            PACKED.set(packed);
        }
        labels
    }
    /// The pairs, ascending by name.
    #[must_use]
    pub fn iter(&self) -> LabelsIter<'_> {
        LabelsIter { rest: &self.0 }
    }
    /// The value of label `name`, if it is there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }
    /// The metric's name, if it has one.
    #[must_use]
    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }
    /// Number of labels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }
    /// Whether there is no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Bytes of the packed form.
    #[must_use]
    pub fn packed_len(&self) -> usize {
        self.0.len()
    }
    /// A builder that starts from these labels.
    #[must_use]
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }
    /// These labels without those for which `drop` is true; shares `self` when none is dropped.
    #[must_use]
    pub fn without(&self, mut drop: impl FnMut(&str) -> bool) -> Self {
        if !self.iter().any(|(n, _)| drop(n)) {
            return self.clone();
        }
        Self::from_sorted(self.iter().filter(|(n, _)| !drop(n)))
    }
}

/// Appends the key of a label set, the bytes by which it is hashed, logged and compared: for each label in
/// name order `0x0a`, the length of the rest, `0x0a`, name length, name, `0x12`, value length, value
/// (lengths as minimal varints), which is how a remote write 1.0 sender that follows the specification
/// encodes it.
pub fn put_key(labels: &Labels, into: &mut Vec<u8>) {
    for (name, value) in labels {
        put_key_part(name, value, into);
    }
}

/// Appends what one label adds to the key of a label set.
pub fn put_key_part(name: &str, value: &str, into: &mut Vec<u8>) {
    let (n, v) = (name.len() as u64, value.len() as u64);
    into.push(0x0a);
    put_varint(into, 2 + (varint_len(n) + varint_len(v)) as u64 + n + v);
    into.push(0x0a);
    put_varint(into, n);
    into.extend_from_slice(name.as_bytes());
    into.push(0x12);
    put_varint(into, v);
    into.extend_from_slice(value.as_bytes());
}

impl Labels {
    /// Reads what [`put_key`] wrote.
    ///
    /// # Errors
    /// When the bytes are no key.
    pub fn from_key(key: &[u8]) -> Result<Self, FormatError> {
        let mut cursor = Cursor::new("series key", key);
        let mut packed = String::with_capacity(key.len() + 16);
        let mut before = "";
        while !cursor.is_empty() {
            expect(&mut cursor, 0x0a)?;
            cursor.varint()?;
            expect(&mut cursor, 0x0a)?;
            let name = text(&mut cursor, NAME_BYTES_MAX)?;
            expect(&mut cursor, 0x12)?;
            let value = text(&mut cursor, VALUE_BYTES_MAX)?;
            if name <= before || value.is_empty() {
                return Err(cursor.malformed());
            }
            push_label(&mut packed, name, value);
            before = name;
        }
        Ok(Self(Arc::from(packed)))
    }
}

fn expect(cursor: &mut Cursor<'_>, tag: u8) -> Result<(), FormatError> {
    if cursor.u8()? == tag { Ok(()) } else { Err(cursor.malformed()) }
}

fn text<'a>(cursor: &mut Cursor<'a>, most: usize) -> Result<&'a str, FormatError> {
    let length = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
    if length > most {
        return Err(cursor.malformed());
    }
    std::str::from_utf8(cursor.take(length)?).map_err(|_| cursor.malformed())
}

fn push_label(packed: &mut String, name: &str, value: &str) {
    debug_assert!(name.len() <= NAME_BYTES_MAX && value.len() <= VALUE_BYTES_MAX);
    let digit = |n: usize, shift: u32| ((n >> shift) & 0x7f) as u8;
    let (n, v) = (name.len().min(NAME_BYTES_MAX), value.len().min(VALUE_BYTES_MAX));
    let header = [digit(n, 0), digit(n, 7), digit(v, 0), digit(v, 7), digit(v, 14)];
    packed.push_str(std::str::from_utf8(&header).unwrap_or_default());
    packed.push_str(name);
    packed.push_str(value);
}

/// Walks a label set in name order.
#[derive(Debug, Clone)]
pub struct LabelsIter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for LabelsIter<'a> {
    type Item = (&'a str, &'a str);
    fn next(&mut self) -> Option<Self::Item> {
        let [a, b, c, d, e, ..] = self.rest.as_bytes() else { return None };
        let name_len = usize::from(*a) | usize::from(*b) << 7;
        let value_len = usize::from(*c) | usize::from(*d) << 7 | usize::from(*e) << 14;
        let name = &self.rest[HEADER..HEADER + name_len];
        let value = &self.rest[HEADER + name_len..HEADER + name_len + value_len];
        self.rest = &self.rest[HEADER + name_len + value_len..];
        Some((name, value))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = LabelsIter<'a>;
    fn into_iter(self) -> LabelsIter<'a> {
        self.iter()
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

/// Prometheus' order: pair by pair, name before value; a prefix sorts first.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As Prometheus prints a label set: `{a="b", c="d"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_name(name) {
                write!(f, "{name}={value:?}")?
            } else {
                write!(f, "{name:?}={value:?}")?
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether `name` matches `[a-zA-Z_][a-zA-Z0-9_]*`, the label names that need no quotes.
#[must_use]
pub fn is_legacy_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Collects labels in any order.
#[derive(Debug, Clone, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Sets a label; an empty value deletes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        if value.is_empty() {
            return self.delete(name);
        }
        match self.pairs.iter_mut().find(|(n, _)| n == name) {
            Some(pair) => value.clone_into(&mut pair.1),
            None => self.pairs.push((name.to_owned(), value.to_owned())),
        }
        self
    }
    /// Deletes a label.
    pub fn delete(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(n, _)| n != name);
        self
    }
    /// The value set for `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// The label set.
    #[must_use]
    pub fn build(mut self) -> Labels {
        self.pairs.sort_unstable();
        Labels::from_sorted(self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_pairs_sorted_and_drops_empty_values() {
        let labels = Labels::from_pairs([("job", "a"), ("__name__", "up"), ("x", ""), ("ü", "é")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("__name__", "up"), ("job", "a"), ("ü", "é")]);
        assert_eq!(labels.get("job"), Some("a"));
        assert_eq!(labels.to_string(), r#"{__name__="up", job="a", "ü"="é"}"#);
    }

    #[test]
    fn keys_are_the_remote_write_encoding() {
        let labels = Labels::from_pairs([("job", "x"), ("__name__", "up")]);
        let mut key = Vec::new();
        put_key(&labels, &mut key);
        assert_eq!(key, b"\x0a\x0e\x0a\x08__name__\x12\x02up\x0a\x08\x0a\x03job\x12\x01x");
        assert_eq!(Labels::from_key(&key), Ok(labels));
        for cut in 1..key.len() {
            assert!(Labels::from_key(&key[..cut]).is_err() || cut == 16, "cut at {cut}");
        }
        for i in 0..key.len() {
            let mut bad = key.clone();
            bad[i] ^= 0x91;
            let _ = Labels::from_key(&bad);
        }
    }

    #[test]
    fn orders_like_prometheus() {
        let a = Labels::from_pairs([("a", "bb")]);
        let b = Labels::from_pairs([("a", "c")]);
        let c = Labels::from_pairs([("a", "bb"), ("b", "1")]);
        assert!(a < b && a < c && c < b);
    }

    #[test]
    fn long_values_survive() {
        let long = "v".repeat(300_000);
        let labels = Labels::from_pairs([("a", long.as_str()), ("b", "x")]);
        assert_eq!(labels.get("a"), Some(long.as_str()));
        assert_eq!(labels.get("b"), Some("x"));
    }
}
