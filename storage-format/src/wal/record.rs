//! Records: what a WAL frame says.
//!
//! A batch record holds what one append brought to one shard of the head: definitions of new series, float samples,
//! histogram samples. Every record stands for itself: values are whole, not relative to earlier records,
//! so that a damaged one costs itself alone. Series are named by ids that are never used again.
//!
//! Bytes of a batch: number of definitions varint, and unless it is 0 a label table (`label_table`), then
//! each: id varint, label set · number of floats varint, each: control byte,
//! [id], [timestamp], [start], value bytes · number of histograms varint, each: id varint, timestamp
//! zigzag varint, start zigzag varint, length varint, a histogram chunk of one sample.
//! Control byte of a float: low 4 bits the number of value bytes kept (the high-order ones; the others
//! are 0), bit 4 the id is the one before plus 1 (else a zigzag varint difference follows), bit 5 the
//! timestamp is the one before (else a zigzag varint difference), bit 6 the start timestamp is the one
//! before (else a zigzag varint). Before the first float these are 2^64 - 1 (the
//! next is 0), 0 and 0; differences wrap around.
//!
//! Behind a batch with definitions stands a record that repeats them, read when records were lost.

use crate::bytes::{Cursor, put_varint, put_varint_signed};
use crate::error::FormatError;
use crate::label_table::{LabelTable, LabelTableBuilder};
use crate::model::Timestamp;

/// Record type of a batch.
pub const BATCH: u8 = 1;
/// Record type of metadata.
pub const METADATA: u8 = 2;
/// Record type of a delete: a tombstone (`crate::tombstone`), which in the head holds for what stands
/// before it in the log.
pub const DELETE: u8 = 3;
/// Record type of exemplars: a list as `exemplars` writes it, series named by their ids.
pub const EXEMPLARS: u8 = 4;
/// Record type of repeated definitions: a batch that holds the definitions of the batch before, and nothing
/// else.
pub const DEFINITIONS: u8 = 8;

const SAME_TIMESTAMP: u8 = 1 << 5;
const NEXT_ID: u8 = 1 << 4;
const SAME_START: u8 = 1 << 6;

/// Collects one batch record. Reuse it: `clear` keeps the allocations.
#[derive(Debug)]
pub struct BatchBuilder {
    table: LabelTableBuilder,
    definitions: Vec<u8>,
    definition_count: u64,
    floats: Vec<u8>,
    float_count: u64,
    histograms: Vec<u8>,
    histogram_count: u64,
    id: u64,
    timestamp: Timestamp,
    start: Timestamp,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self {
            table: LabelTableBuilder::default(),
            definitions: Vec::new(),
            definition_count: 0,
            floats: Vec::new(),
            float_count: 0,
            histograms: Vec::new(),
            histogram_count: 0,
            // Before the first one, so that a new builder writes what a cleared one does.
            id: u64::MAX,
            timestamp: 0,
            start: 0,
        }
    }
}

impl BatchBuilder {
    /// Empties it.
    pub fn clear(&mut self) {
        if self.definition_count > 0 {
            self.table.clear();
        }
        self.definitions.clear();
        self.floats.clear();
        self.histograms.clear();
        (self.definition_count, self.float_count, self.histogram_count) = (0, 0, 0);
        (self.id, self.timestamp, self.start) = (u64::MAX, 0, 0);
    }
    /// Whether nothing was put in since `clear`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.definition_count + self.float_count + self.histogram_count == 0
    }
    /// Whether a histogram was put in since `clear`. Floats come before histograms when the record is read.
    #[must_use]
    pub fn has_histograms(&self) -> bool {
        self.histogram_count > 0
    }
    /// Defines a series; `pairs` and `text` as in [`LabelTableBuilder::put_set`].
    pub fn define<'t>(&mut self, id: u64, pairs: &[u32], text: impl Fn(u32) -> (&'t str, &'t str)) {
        self.definition_count += 1;
        put_varint(&mut self.definitions, id);
        self.table.put_set(pairs, text, &mut self.definitions);
    }
    /// Adds a float sample.
    #[inline]
    pub fn float(&mut self, id: u64, timestamp: Timestamp, start: Timestamp, value: f64) {
        self.float_count += 1;
        let bits = value.to_bits();
        let kept = 8 - (bits.trailing_zeros() / 8).min(8) as usize;
        let mut control = kept as u8;
        if id == self.id.wrapping_add(1) {
            control |= NEXT_ID;
        }
        if timestamp == self.timestamp {
            control |= SAME_TIMESTAMP;
        }
        if start == self.start {
            control |= SAME_START;
        }
        self.floats.push(control);
        if control & NEXT_ID == 0 {
            put_varint_signed(&mut self.floats, id.wrapping_sub(self.id) as i64);
        }
        if control & SAME_TIMESTAMP == 0 {
            put_varint_signed(&mut self.floats, timestamp.wrapping_sub(self.timestamp));
        }
        if control & SAME_START == 0 {
            put_varint_signed(&mut self.floats, start);
        }
        self.floats.extend_from_slice(&bits.to_le_bytes()[8 - kept..]);
        (self.id, self.timestamp, self.start) = (id, timestamp, start);
    }
    /// Adds a histogram sample; `chunk` is a histogram chunk that holds it alone.
    pub fn histogram(&mut self, id: u64, timestamp: Timestamp, start: Timestamp, chunk: &[u8]) {
        self.histogram_count += 1;
        put_varint(&mut self.histograms, id);
        put_varint_signed(&mut self.histograms, timestamp);
        put_varint_signed(&mut self.histograms, start);
        put_varint(&mut self.histograms, chunk.len() as u64);
        self.histograms.extend_from_slice(chunk);
    }
    /// Whether series are defined in it.
    #[must_use]
    pub fn has_definitions(&self) -> bool {
        self.definition_count > 0
    }
    /// Appends the record that repeats its definitions to `out`.
    pub fn repeat_definitions(&self, out: &mut Vec<u8>) {
        self.put_definitions(out);
        out.extend_from_slice(&[0, 0]);
    }
    fn put_definitions(&self, out: &mut Vec<u8>) {
        put_varint(out, self.definition_count);
        if self.definition_count > 0 {
            self.table.finish(out);
            out.extend_from_slice(&self.definitions);
        }
    }
    /// Appends the record to `out`.
    pub fn finish(&self, out: &mut Vec<u8>) {
        out.reserve(self.definitions.len() + self.floats.len() + self.histograms.len() + 20);
        self.put_definitions(out);
        put_varint(out, self.float_count);
        out.extend_from_slice(&self.floats);
        put_varint(out, self.histogram_count);
        out.extend_from_slice(&self.histograms);
    }
}

/// Receives what a batch record says, in its order.
pub trait BatchVisitor {
    /// A series is defined; `set` are its pairs in the record's table.
    fn define(&mut self, id: u64, table: &LabelTable<'_>, set: &[u32]);
    /// A float sample.
    fn float(&mut self, id: u64, timestamp: Timestamp, start: Timestamp, value: f64);
    /// A histogram sample as a histogram chunk of one.
    fn histogram(&mut self, id: u64, timestamp: Timestamp, start: Timestamp, chunk: &[u8]);
}

/// Reads one string: length and bytes.
fn string<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, FormatError> {
    let length = cursor.varint()?;
    let bytes = cursor.take(usize::try_from(length).unwrap_or(usize::MAX))?;
    std::str::from_utf8(bytes).map_err(|_| cursor.malformed())
}

/// Walks a batch record.
///
/// # Errors
/// When the bytes are none; what stands before the damage was visited.
pub fn visit_batch(payload: &[u8], visitor: &mut impl BatchVisitor) -> Result<(), FormatError> {
    let mut cursor = Cursor::new("WAL batch record", payload);
    let definitions = cursor.varint()?;
    if definitions > 0 {
        let (table, mut set) = (LabelTable::read(&mut cursor)?, Vec::new());
        for _ in 0..definitions {
            let id = cursor.varint()?;
            set.clear();
            table.read_set(&mut cursor, &mut set)?;
            visitor.define(id, &table, &set);
        }
    }
    let (mut id, mut timestamp, mut start) = (u64::MAX, 0i64, 0i64);
    for _ in 0..cursor.varint()? {
        let control = cursor.u8()?;
        id = match control & NEXT_ID {
            0 => id.wrapping_add(cursor.varint_signed()? as u64),
            _ => id.wrapping_add(1),
        };
        if control & SAME_TIMESTAMP == 0 {
            timestamp = timestamp.wrapping_add(cursor.varint_signed()?);
        }
        if control & SAME_START == 0 {
            start = cursor.varint_signed()?;
        }
        let kept = usize::from(control & 15);
        if kept > 8 {
            return Err(cursor.malformed());
        }
        let mut bits = [0; 8];
        bits[8 - kept..].copy_from_slice(cursor.take(kept)?);
        visitor.float(id, timestamp, start, f64::from_le_bytes(bits));
    }
    for _ in 0..cursor.varint()? {
        let id = cursor.varint()?;
        let (timestamp, start) = (cursor.varint_signed()?, cursor.varint_signed()?);
        let length = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
        visitor.histogram(id, timestamp, start, cursor.take(length)?);
    }
    Ok(())
}

/// One metadata entry of a metadata record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataEntry {
    /// Metric name.
    pub name: String,
    /// Type number as in remote write 1.0.
    pub metric_type: u8,
    /// Unit.
    pub unit: String,
    /// Help text.
    pub help: String,
}

/// Appends a metadata record: number of entries varint, each: type u8, name, unit, help as length varint
/// and bytes.
pub fn put_metadata(entries: &[MetadataEntry], out: &mut Vec<u8>) {
    put_varint(out, entries.len() as u64);
    for entry in entries {
        out.push(entry.metric_type);
        for text in [&entry.name, &entry.unit, &entry.help] {
            put_varint(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Reads a metadata record.
///
/// # Errors
/// When the bytes are none.
pub fn read_metadata(payload: &[u8]) -> Result<Vec<MetadataEntry>, FormatError> {
    let mut cursor = Cursor::new("WAL metadata record", payload);
    let mut entries = Vec::new();
    for _ in 0..cursor.varint()? {
        let metric_type = cursor.u8()?;
        let mut text = || string(&mut cursor).map(str::to_owned);
        entries.push(MetadataEntry { metric_type, name: text()?, unit: text()?, help: text()? });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;
    use proptest::prelude::*;

    #[derive(Default, Debug, PartialEq)]
    struct Seen {
        defined: Vec<(u64, Labels)>,
        floats: Vec<(u64, i64, i64, u64)>,
        histograms: Vec<(u64, i64, i64, Vec<u8>)>,
    }

    impl BatchVisitor for Seen {
        fn define(&mut self, id: u64, table: &LabelTable<'_>, set: &[u32]) {
            self.defined.push((id, table.labels(set)));
        }
        fn float(&mut self, id: u64, timestamp: i64, start: i64, value: f64) {
            self.floats.push((id, timestamp, start, value.to_bits()));
        }
        fn histogram(&mut self, id: u64, timestamp: i64, start: i64, chunk: &[u8]) {
            self.histograms.push((id, timestamp, start, chunk.to_vec()));
        }
    }

    proptest! {
        #[test]
        fn every_batch_survives(
            floats in prop::collection::vec((prop_oneof![0u64..50, any::<u64>()], any::<i64>(), 0i64..3, any::<u64>(), 0u32..64), 0..50),
            chunk in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut builder = BatchBuilder::default();
            builder.clear();
            let text = |pair| if pair == 5 { ("a", "x") } else { ("b", "y") };
            builder.define(7, &[5], text);
            builder.define(8, &[5, 2], text);
            let defined =
                vec![(7, Labels::from_pairs([("a", "x")])), (8, Labels::from_pairs([("a", "x"), ("b", "y")]))];
            let mut expected = Seen { defined, ..Seen::default() };
            for (id, t, start, bits, shift) in floats {
                let bits = bits << shift;
                builder.float(id, t, start, f64::from_bits(bits));
                expected.floats.push((id, t, start, bits));
            }
            builder.histogram(9, -5, 3, &chunk);
            expected.histograms.push((9, -5, 3, chunk));
            let mut out = Vec::new();
            builder.finish(&mut out);
            let mut seen = Seen::default();
            visit_batch(&out, &mut seen).expect("own bytes");
            let defined = expected.defined.clone();
            prop_assert_eq!(seen, expected);
            let mut repeated = Vec::new();
            builder.repeat_definitions(&mut repeated);
            let mut again = Seen::default();
            visit_batch(&repeated, &mut again).expect("own bytes");
            prop_assert_eq!(again, Seen { defined, ..Seen::default() });
        }

        #[test]
        fn damaged_batches_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = visit_batch(&bytes, &mut Seen::default());
            let _ = read_metadata(&bytes);
        }
    }
}
