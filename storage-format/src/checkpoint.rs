//! Head checkpoints: what the head held at some log position, so that the log before it can go.
//!
//! Bytes: magic and version (8) · frames · end frame. A frame (little-endian): length of the compressed
//! payload u32 · length of the payload u32 · CRC-32C of the compressed payload u32 · the same of the 12
//! bytes before u32 · zstd payload. The end frame has both lengths 0. A payload begins with its kind:
//! 1 groups of series until its end, 2 one metadata record (`wal::record`).
//!
//! A group: label table (`label_table`) · number of series varint, then each as
//! an entry: id varint · label set · newest timestamp zigzag varint · newest value u64 · predicted delta zigzag varint · scale u8 · flags u8
//! (1: the newest sample is a histogram, 2: a start timestamp follows) · [start zigzag varint] · open
//! chunk: count varint, length varint, bytes · number of chunks varint, each: kind u8, count varint, first
//! timestamp zigzag varint, last less first varint, length varint, bytes (kinds 0 and 2 are head chunks,
//! 1 and 3 histogram chunks; 2 and 3 came late).

use crate::bytes::{Cursor, put_varint, put_varint_signed};
use crate::error::{FormatError, FormatErrorKind};
use crate::label_table::{LabelTable, LabelTableBuilder};
use crate::model::Timestamp;

/// First bytes of a checkpoint.
pub const MAGIC: [u8; 8] = *b"MARIHDC\x01";
/// Payload kind of groups of series.
pub const SERIES: u8 = 1;
/// Payload kind of a metadata record.
pub const METADATA: u8 = 2;
/// Longest payload.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;

const WHAT: &str = "head checkpoint";
const HEADER: usize = 16;

/// One series of a checkpoint, without its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesEntry<'a> {
    /// Its number in the log.
    pub id: u64,
    /// Newest in-order timestamp.
    pub timestamp: Timestamp,
    /// Bits of the newest value.
    pub value: u64,
    /// Predicted delta of the open chunk.
    pub delta: i32,
    /// Scale of the open chunk.
    pub scale: u8,
    /// Whether the newest sample is a histogram.
    pub newest_is_histogram: bool,
    /// Start timestamp, 0 when unknown.
    pub start: Timestamp,
    /// Samples of the open chunk.
    pub open_count: u32,
    /// Bytes of the open chunk.
    pub open: &'a [u8],
    /// Sealed chunks, oldest first.
    pub chunks: Vec<ChunkEntry<'a>>,
}

/// One sealed chunk of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkEntry<'a> {
    /// What it holds, see the module's description.
    pub kind: u8,
    /// Number of samples.
    pub count: u32,
    /// First timestamp.
    pub min: Timestamp,
    /// Last timestamp.
    pub max: Timestamp,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Collects a group of series. Reuse it: `finish` keeps the allocations.
#[derive(Debug, Default)]
pub struct SeriesGroup {
    table: LabelTableBuilder,
    entries: Vec<u8>,
    count: u64,
}

impl SeriesGroup {
    /// Adds a series; `pairs` and `text` as in [`LabelTableBuilder::put_set`].
    pub fn put<'t>(
        &mut self,
        entry: &SeriesEntry<'_>,
        pairs: &[u32],
        text: impl Fn(u32) -> (&'t str, &'t str),
    ) {
        self.count += 1;
        put_varint(&mut self.entries, entry.id);
        self.table.put_set(pairs, text, &mut self.entries);
        put_entry(entry, &mut self.entries);
    }

    /// Appends the group to a payload, unless it is empty, and empties it.
    pub fn finish(&mut self, payload: &mut Vec<u8>) {
        if self.count > 0 {
            self.table.finish(payload);
            put_varint(payload, self.count);
            payload.extend_from_slice(&self.entries);
        }
        self.table.clear();
        self.entries.clear();
        self.count = 0;
    }
}

/// Appends a series entry behind its id and labels.
fn put_entry(entry: &SeriesEntry<'_>, out: &mut Vec<u8>) {
    put_varint_signed(out, entry.timestamp);
    out.extend_from_slice(&entry.value.to_le_bytes());
    put_varint_signed(out, i64::from(entry.delta));
    out.push(entry.scale);
    out.push(u8::from(entry.newest_is_histogram) | u8::from(entry.start != 0) << 1);
    if entry.start != 0 {
        put_varint_signed(out, entry.start);
    }
    put_varint(out, u64::from(entry.open_count));
    put_bytes(out, entry.open);
    put_varint(out, entry.chunks.len() as u64);
    for chunk in &entry.chunks {
        out.push(chunk.kind);
        put_varint(out, u64::from(chunk.count));
        put_varint_signed(out, chunk.min);
        put_varint(out, chunk.max.wrapping_sub(chunk.min) as u64);
        put_bytes(out, chunk.bytes);
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], FormatError> {
    let length = cursor.varint()?;
    cursor.take(usize::try_from(length).unwrap_or(usize::MAX))
}

fn take_u32(cursor: &mut Cursor<'_>) -> Result<u32, FormatError> {
    u32::try_from(cursor.varint()?).map_err(|_| cursor.malformed())
}

/// Reads the groups of a payload.
#[derive(Debug)]
pub struct SeriesReader<'a> {
    cursor: Cursor<'a>,
    table: LabelTable<'a>,
    /// Series of the group not read yet.
    left: u64,
}

impl<'a> SeriesReader<'a> {
    /// At the first group of a payload (behind its kind byte).
    #[must_use]
    pub fn new(payload: &'a [u8]) -> Self {
        let cursor = Cursor::new("head checkpoint series", payload);
        Self { cursor, table: LabelTable::default(), left: 0 }
    }

    /// Goes to the next group, once all series of the last one were read; false at the end.
    ///
    /// # Errors
    /// When the bytes are no group.
    pub fn next_group(&mut self) -> Result<bool, FormatError> {
        if self.cursor.is_empty() {
            return Ok(false);
        }
        self.table = LabelTable::read(&mut self.cursor)?;
        self.left = self.cursor.varint()?;
        Ok(true)
    }

    /// The group's label table.
    #[must_use]
    pub fn table(&self) -> &LabelTable<'a> {
        &self.table
    }

    /// The next series of the group, none at its end; its labels' numbers in the table are appended to
    /// `set`.
    ///
    /// # Errors
    /// When the bytes are no entry.
    pub fn next_series(&mut self, set: &mut Vec<u32>) -> Result<Option<SeriesEntry<'a>>, FormatError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let cursor = &mut self.cursor;
        let id = cursor.varint()?;
        self.table.read_set(cursor, set)?;
        let timestamp = cursor.varint_signed()?;
        let value = cursor.u64()?;
        let delta = i32::try_from(cursor.varint_signed()?).map_err(|_| cursor.malformed())?;
        let (scale, flags) = (cursor.u8()?, cursor.u8()?);
        let start = if flags & 2 == 0 { 0 } else { cursor.varint_signed()? };
        let (open_count, open) = (take_u32(cursor)?, take_bytes(cursor)?);
        let mut chunks = Vec::new();
        for _ in 0..cursor.varint()? {
            let kind = cursor.u8()?;
            let count = take_u32(cursor)?;
            let min = cursor.varint_signed()?;
            let max = min.wrapping_add(cursor.varint()? as i64);
            chunks.push(ChunkEntry { kind, count, min, max, bytes: take_bytes(cursor)? });
        }
        Ok(Some(SeriesEntry {
            id,
            timestamp,
            value,
            delta,
            scale,
            newest_is_histogram: flags & 1 != 0,
            start,
            open_count,
            open,
            chunks,
        }))
    }
}

/// Appends a frame around a payload; an empty payload makes the end frame.
pub fn put_frame(payload: &[u8], out: &mut Vec<u8>) {
    let compressed = if payload.is_empty() {
        Vec::new()
    } else {
        zstd::bulk::compress(payload, 1).expect("memory is the only thing zstd can lack here")
    };
    let at = out.len();
    out.extend_from_slice(&(compressed.len() as u32).to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&compressed).to_le_bytes());
    let crc = crc32c::crc32c(&out[at..at + 12]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&compressed);
}

/// The compressed payloads of a whole checkpoint, each with the length it unpacks to. Damaged payloads are
/// left out and reported in `damage`.
///
/// # Errors
/// When the file is cut or a frame's header is damaged: what follows cannot be found.
pub fn frames<'a>(
    bytes: &'a [u8],
    damage: &mut Vec<FormatError>,
) -> Result<Vec<(&'a [u8], usize)>, FormatError> {
    if bytes.get(..8).is_none_or(|magic| magic[..7] != MAGIC[..7]) {
        return Err(FormatError::new(WHAT, 0, FormatErrorKind::BadMagic));
    }
    if bytes[7] != MAGIC[7] {
        return Err(FormatError::new(WHAT, 7, FormatErrorKind::UnknownVersion));
    }
    let mut cursor = Cursor::new(WHAT, bytes);
    cursor.take(8)?;
    let mut found = Vec::new();
    loop {
        let at = cursor.position();
        let header = cursor.take(HEADER)?;
        let word = |i: usize| u32::from_le_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
        if crc32c::crc32c(&header[..12]) != word(12) {
            return Err(FormatError::new(WHAT, at, FormatErrorKind::BadChecksum));
        }
        if word(0) == 0 && word(4) == 0 {
            return Ok(found);
        }
        let payload = cursor.take(word(0) as usize)?;
        if crc32c::crc32c(payload) == word(8) && word(4) as usize <= PAYLOAD_BYTES_MAX {
            found.push((payload, word(4) as usize));
        } else {
            damage.push(FormatError::new(WHAT, at, FormatErrorKind::BadChecksum));
        }
    }
}

/// Unpacks a payload.
///
/// # Errors
/// When it is not zstd or longer than its frame says.
pub fn unpack(compressed: &[u8], length: usize) -> Result<Vec<u8>, FormatError> {
    zstd::bulk::decompress(compressed, length).map_err(|_| FormatError::malformed(WHAT, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_and_damage_is_seen() {
        let entry = SeriesEntry {
            id: 1 << 40,
            timestamp: -5,
            value: 3,
            delta: -7,
            scale: 15,
            newest_is_histogram: true,
            start: 12,
            open_count: 3,
            open: b"open",
            chunks: vec![ChunkEntry { kind: 2, count: 9, min: -100, max: 900, bytes: b"chunk" }],
        };
        let mut payload = vec![SERIES];
        let text = |pair| if pair == 9 { ("a", "x") } else { ("b", "y") };
        let mut group = SeriesGroup::default();
        group.put(&entry, &[9, 3], text);
        group.put(&SeriesEntry { start: 0, chunks: Vec::new(), ..entry.clone() }, &[3], text);
        group.finish(&mut payload);
        group.put(&entry, &[3], text);
        group.finish(&mut payload);
        let mut file = MAGIC.to_vec();
        put_frame(&payload, &mut file);
        put_frame(&[METADATA, 0], &mut file);
        put_frame(&[], &mut file);
        let mut damage = Vec::new();
        let found = frames(&file, &mut damage).expect("own bytes");
        assert_eq!((found.len(), damage.len()), (2, 0));
        let unpacked = unpack(found[0].0, found[0].1).expect("own bytes");
        let (mut reader, mut seen) = (SeriesReader::new(&unpacked[1..]), Vec::new());
        while reader.next_group().expect("own bytes") {
            let mut set = Vec::new();
            while let Some(found) = reader.next_series(&mut set).expect("own bytes") {
                seen.push((found, reader.table().labels(&set).to_string()));
                set.clear();
            }
        }
        assert_eq!(seen[0], (entry, r#"{a="x", b="y"}"#.to_owned()));
        assert_eq!(seen[1].1, r#"{b="y"}"#);
        assert_eq!((seen.len(), &seen[2].1), (3, &seen[1].1));
        for bit in 0..file.len() * 8 {
            let mut bad = file.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut damage = Vec::new();
            assert!(frames(&bad, &mut damage).is_err() || !damage.is_empty(), "bit {bit} went unseen");
        }
        for cut in 0..file.len() {
            assert!(frames(&file[..cut], &mut Vec::new()).is_err());
        }
    }
}
