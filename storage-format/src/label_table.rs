//! Label tables: the label sets of neighbouring series as numbers in one table of pairs.
//!
//! Where it sits: in the batch records of the log and in checkpoints. Neighbours share most of their labels,
//! so a table holds each pair once; who reads one looks each pair up once, and who writes one never builds
//! a label set.
//!
//! Bytes of a table: number of pairs varint, each: name length varint, name, value length varint, value.
//! Bytes of a label set: number of pairs varint, the number of each in the table varint, in name order.

use crate::bytes::{Cursor, put_varint};
use crate::error::FormatError;
use crate::model::Labels;
use crate::model::labels::{NAME_BYTES_MAX, VALUE_BYTES_MAX, put_key_part};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Spreads the caller's pair numbers, which are small and dense.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }
    fn write_u32(&mut self, n: u32) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(n)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Collects the pairs of label sets. Reuse it: `clear` keeps the allocations.
#[derive(Debug, Default)]
pub struct LabelTableBuilder {
    bytes: Vec<u8>,
    /// The caller's number of a pair to its number in the table.
    numbers: HashMap<u32, u32, BuildHasherDefault<Spread>>,
    /// The label set put last: the caller's numbers, the table's numbers.
    last: Vec<(u32, u32)>,
}

impl LabelTableBuilder {
    /// Empties it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.numbers.clear();
        self.last.clear();
    }

    /// Appends a label set to `out`. `pairs` are the numbers by which the caller knows its pairs, in name
    /// order, each always the same until `clear`; `text` gives a pair's name and value.
    pub fn put_set<'t>(
        &mut self,
        pairs: &[u32],
        text: impl Fn(u32) -> (&'t str, &'t str),
        out: &mut Vec<u8>,
    ) {
        put_varint(out, pairs.len() as u64);
        self.last.resize(pairs.len(), (u32::MAX, 0));
        for (pair, last) in pairs.iter().zip(&mut self.last) {
            if last.0 != *pair {
                let next = self.numbers.len() as u32;
                let number = *self.numbers.entry(*pair).or_insert(next);
                if number == next {
                    let (name, value) = text(*pair);
                    put_text(&mut self.bytes, name);
                    put_text(&mut self.bytes, value);
                }
                *last = (*pair, number);
            }
            put_varint(out, u64::from(last.1));
        }
    }

    /// Appends the table to `out`.
    pub fn finish(&self, out: &mut Vec<u8>) {
        put_varint(out, self.numbers.len() as u64);
        out.extend_from_slice(&self.bytes);
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// A table that was read.
#[derive(Debug, Default)]
pub struct LabelTable<'a> {
    pairs: Vec<(&'a str, &'a str)>,
    /// What each pair adds to a series key, one after the other, and where each ends.
    keys: Vec<u8>,
    key_ends: Vec<u32>,
}

impl<'a> LabelTable<'a> {
    /// Reads a table.
    ///
    /// # Errors
    /// When it is cut, a text is no UTF-8, empty or too long.
    pub fn read(cursor: &mut Cursor<'a>) -> Result<Self, FormatError> {
        let mut table = Self::default();
        // A pair takes four bytes at least, so the count is bounded by what is there.
        for _ in 0..cursor.varint_up_to(cursor.remaining() / 4)? {
            let pair = (take_text(cursor, NAME_BYTES_MAX)?, take_text(cursor, VALUE_BYTES_MAX)?);
            table.pairs.push(pair);
            put_key_part(pair.0, pair.1, &mut table.keys);
            table.key_ends.push(table.keys.len() as u32);
        }
        Ok(table)
    }

    /// Number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Name and value of a pair; empty when there is no such pair.
    #[must_use]
    pub fn pair(&self, number: u32) -> (&'a str, &'a str) {
        self.pairs.get(number as usize).copied().unwrap_or_default()
    }

    /// Reads a label set behind what `into` holds: pair numbers in name order, all of this table.
    ///
    /// # Errors
    /// When it is cut, names a pair that is not there, or its names do not ascend.
    pub fn read_set(&self, cursor: &mut Cursor<'_>, into: &mut Vec<u32>) -> Result<(), FormatError> {
        let mut before = "";
        for _ in 0..cursor.varint_up_to(cursor.remaining())? {
            let number = cursor.varint()?;
            let pair = usize::try_from(number).ok().and_then(|n| self.pairs.get(n));
            let Some((name, _)) = pair.filter(|(name, _)| *name > before) else {
                return Err(cursor.malformed());
            };
            before = name;
            into.push(number as u32);
        }
        Ok(())
    }

    /// Appends the series key of a label set (`model::labels::put_key`).
    pub fn put_key(&self, set: &[u32], into: &mut Vec<u8>) {
        for number in set {
            let n = *number as usize;
            let start = n.checked_sub(1).and_then(|before| self.key_ends.get(before)).map_or(0, |end| *end);
            let end = self.key_ends.get(n).map_or(start, |end| *end);
            into.extend_from_slice(&self.keys[start as usize..end as usize]);
        }
    }

    /// The label set of these pairs.
    #[must_use]
    pub fn labels(&self, set: &[u32]) -> Labels {
        Labels::from_sorted(set.iter().map(|number| self.pair(*number)))
    }
}

fn take_text<'a>(cursor: &mut Cursor<'a>, most: usize) -> Result<&'a str, FormatError> {
    let length = cursor.varint_up_to(most)?;
    let text = std::str::from_utf8(cursor.take(length)?).map_err(|_| cursor.malformed())?;
    if text.is_empty() { Err(cursor.malformed()) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::put_key;
    use proptest::prelude::*;

    /// Pairs as a head numbers them: by name and value.
    fn number(name: u32, value: u32) -> u32 {
        name * 10 + value
    }

    proptest! {
        #[test]
        fn label_sets_survive_with_their_keys(
            sets in prop::collection::vec(prop::collection::btree_map(0u32..6, 0u32..10, 0..6), 0..20),
        ) {
            let names: Vec<String> = (0..6).map(|n| format!("name{n}")).collect();
            let values: Vec<String> = (0..10).map(|v| "v".repeat(1 + v * 30)).collect();
            let text = |pair: u32| (names[pair as usize / 10].as_str(), values[pair as usize % 10].as_str());
            let (mut builder, mut bytes, mut table) = (LabelTableBuilder::default(), Vec::new(), Vec::new());
            for set in &sets {
                let pairs: Vec<u32> = set.iter().map(|(n, v)| number(*n, *v)).collect();
                builder.put_set(&pairs, text, &mut bytes);
            }
            builder.finish(&mut table);
            let mut cursor = Cursor::new("test", &table);
            let read = LabelTable::read(&mut cursor).expect("own bytes");
            prop_assert!(cursor.is_empty());
            let mut cursor = Cursor::new("test", &bytes);
            for set in &sets {
                let expected = Labels::from_sorted(set.iter().map(|(n, v)| text(number(*n, *v))));
                let (mut pairs, mut key, mut expected_key) = (Vec::new(), Vec::new(), Vec::new());
                read.read_set(&mut cursor, &mut pairs).expect("own bytes");
                read.put_key(&pairs, &mut key);
                put_key(&expected, &mut expected_key);
                prop_assert_eq!(read.labels(&pairs), expected);
                prop_assert_eq!(key, expected_key);
            }
            prop_assert!(cursor.is_empty());
        }

        #[test]
        fn damaged_tables_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut cursor = Cursor::new("test", &bytes);
            if let Ok(table) = LabelTable::read(&mut cursor) {
                let _ = table.read_set(&mut cursor, &mut Vec::new());
            }
        }
    }

    #[test]
    fn sets_whose_names_do_not_ascend_and_pairs_without_text_are_refused() {
        let table = b"\x02\x01a\x01x\x01b\x01y";
        let read = LabelTable::read(&mut Cursor::new("test", table)).expect("two pairs");
        for bad in [&b"\x02\x01\x00"[..], b"\x02\x00\x00", b"\x01\x02", b"\x02\x00"] {
            assert!(read.read_set(&mut Cursor::new("test", bad), &mut Vec::new()).is_err(), "{bad:?}");
        }
        for bad in [&b"\x01\x00\x01x"[..], b"\x01\x01a\x00", b"\x02\x01a\x01x", b"\x01\x01\xff\x01x"] {
            assert!(LabelTable::read(&mut Cursor::new("test", bad)).is_err(), "{bad:?}");
        }
    }
}
