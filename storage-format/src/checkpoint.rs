//! Head checkpoints: what the head held at some log position, so that the log before it can go.
//!
//! Bytes: magic and version (8) · 0 u32 · CRC-32C of the 12 bytes before u32 · frames · end frame. A frame (little-endian): length of the compressed
//! payload u32 · length of the payload u32 · CRC-32C of the compressed payload u32 · CRC-32C of the 12
//! bytes before, seeded with the frame's offset in the file, u32 · zstd payload. The end frame has both
//! lengths 0. Behind damage the next frame is found by its header. A payload begins with its kind:
//! 1 groups of series until its end, 2 one metadata record (`wal::record`).
//!
//! A group: label table (`label_table`) · number of series varint, then each as
//! an entry: id varint · label set · newest timestamp zigzag varint · newest value u64 · predicted delta zigzag varint · scale u8 · flags u8
//! (1: the newest sample is a histogram, 2: a start timestamp follows, 4: exemplars stand at the end) ·
//! [start zigzag varint] · open
//! chunk: count varint, length varint, bytes · number of chunks varint, each: kind u8, count varint, first
//! timestamp zigzag varint, last less first varint, length varint, bytes (kinds 0 and 2 are head chunks,
//! 1 and 3 histogram chunks; 2 and 3 came late) · [exemplars: length varint, a list (`exemplars`)].

use crate::bytes::{Cursor, inflate, put_varint, put_varint_signed};
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
/// Bytes before the first frame.
pub const FILE_HEADER_BYTES: usize = 16;

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
    /// Exemplars, as `exemplars::put` writes them; empty when there are none.
    pub exemplars: &'a [u8],
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
    let has_exemplars = !entry.exemplars.is_empty();
    out.push(
        u8::from(entry.newest_is_histogram) | u8::from(entry.start != 0) << 1 | u8::from(has_exemplars) << 2,
    );
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
    if has_exemplars {
        put_bytes(out, entry.exemplars);
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
        let exemplars = if flags & 4 == 0 { &[] } else { take_bytes(cursor)? };
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
            exemplars,
        }))
    }
}

/// The bytes before the first frame.
#[must_use]
pub fn file_header() -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0; FILE_HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    let crc = crc32c::crc32c(&header[..12]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// What is wrong with the bytes before the first frame.
fn check_file_header(bytes: &[u8]) -> Result<(), FormatError> {
    let header = bytes.get(..FILE_HEADER_BYTES).ok_or(FormatError::truncated(WHAT, bytes.len()))?;
    if header[..7] != MAGIC[..7] {
        return Err(FormatError::new(WHAT, 0, FormatErrorKind::BadMagic));
    }
    if crc32c::crc32c(&header[..12]).to_le_bytes() != header[12..] {
        return Err(FormatError::new(WHAT, 12, FormatErrorKind::BadChecksum));
    }
    if header[7] != MAGIC[7] {
        return Err(FormatError::new(WHAT, 7, FormatErrorKind::UnknownVersion));
    }
    Ok(())
}

fn header_crc(offset: u64, header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&offset.to_le_bytes()), header)
}

/// Appends a frame around a payload, to stand at byte `offset` of the file; an empty payload makes the end
/// frame.
pub fn put_frame(offset: u64, payload: &[u8], out: &mut Vec<u8>) {
    let compressed = if payload.is_empty() {
        Vec::new()
    } else {
        zstd::bulk::compress(payload, 1).expect("memory is the only thing zstd can lack here")
    };
    let at = out.len();
    out.extend_from_slice(&(compressed.len() as u32).to_le_bytes());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&compressed).to_le_bytes());
    let crc = header_crc(offset, &out[at..at + 12]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&compressed);
}

/// One frame of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its offset in the file.
    pub offset: usize,
    /// The compressed payload.
    pub compressed: &'a [u8],
    /// How long the payload is.
    pub length: usize,
}

/// The frames of a whole checkpoint whose payloads are good. What is not is left out and reported in
/// `damage`, with its offset in the file: a payload costs its frame, anything else the bytes up to the next
/// good frame header.
///
/// # Errors
/// When the file is of a newer version: nothing is known about what it holds, so it must not be touched.
pub fn frames<'a>(bytes: &'a [u8], damage: &mut Vec<FormatError>) -> Result<Vec<Frame<'a>>, FormatError> {
    match check_file_header(bytes) {
        Err(newer) if newer.kind == FormatErrorKind::UnknownVersion => return Err(newer),
        checked => damage.extend(checked.err()),
    }
    let (mut found, mut at, mut ended) = (Vec::new(), FILE_HEADER_BYTES, false);
    while at < bytes.len() {
        let frame = header_at(bytes, at).filter(|_| !ended);
        let Some((compressed, length, crc)) = frame else {
            damage.push(FormatError::new(WHAT, at, FormatErrorKind::BadChecksum));
            let next = (at + 1..bytes.len()).find(|at| header_at(bytes, *at).is_some());
            at = next.filter(|_| !ended).unwrap_or(bytes.len());
            continue;
        };
        ended = length == 0 && compressed.is_empty();
        if !ended && (crc32c::crc32c(compressed) != crc || length > PAYLOAD_BYTES_MAX) {
            damage.push(FormatError::new(WHAT, at, FormatErrorKind::BadChecksum));
        } else if !ended {
            found.push(Frame { offset: at, compressed, length });
        }
        at += HEADER + compressed.len();
    }
    if !ended {
        damage.push(FormatError::truncated(WHAT, bytes.len()));
    }
    Ok(found)
}

/// The frame whose good header stands at `at`: compressed payload, length, checksum of the payload.
fn header_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize, u32)> {
    let header = bytes.get(at..at.checked_add(HEADER)?)?;
    let word = |i: usize| u32::from_le_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
    if header_crc(at as u64, &header[..12]) != word(12) {
        return None;
    }
    let start = at + HEADER;
    let compressed = bytes.get(start..start.checked_add(word(0) as usize)?)?;
    Some((compressed, word(4) as usize, word(8)))
}

/// Unpacks a payload.
///
/// # Errors
/// When it is not zstd or longer than its frame says.
pub fn unpack(compressed: &[u8], length: usize) -> Result<Vec<u8>, FormatError> {
    if length > PAYLOAD_BYTES_MAX {
        return Err(FormatError::malformed(WHAT, 0));
    }
    inflate(WHAT, compressed, length)
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
            exemplars: b"exemplars",
        };
        let mut payload = vec![SERIES];
        let text = |pair| if pair == 9 { ("a", "x") } else { ("b", "y") };
        let mut group = SeriesGroup::default();
        group.put(&entry, &[9, 3], text);
        group.put(&SeriesEntry { start: 0, chunks: Vec::new(), exemplars: b"", ..entry.clone() }, &[3], text);
        group.finish(&mut payload);
        group.put(&entry, &[3], text);
        group.finish(&mut payload);
        let mut file = file_header().to_vec();
        for payload in [&payload[..], &[METADATA, 0], &[]] {
            put_frame(file.len() as u64, payload, &mut file);
        }
        let mut damage = Vec::new();
        let found = frames(&file, &mut damage).expect("own bytes");
        assert_eq!((found.len(), damage.len()), (2, 0));
        let unpacked = unpack(found[0].compressed, found[0].length).expect("own bytes");
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
            let left = frames(&bad, &mut damage).expect("this version");
            assert!(!damage.is_empty(), "bit {bit} went unseen");
            assert!(left.len() >= found.len() - 1, "bit {bit} cost more than a frame");
            assert!(left.iter().all(|frame| found.contains(frame)), "bit {bit} invented a frame");
        }
        for cut in 0..file.len() {
            damage.clear();
            frames(&file[..cut], &mut damage).expect("this version");
            assert!(!damage.is_empty(), "a cut at {cut} went unseen");
        }
        damage.clear();
        frames(&[&file[..], b"more"].concat(), &mut damage).expect("this version");
        assert_eq!(damage.len(), 1, "bytes behind the end went unseen");
        file[7] += 1;
        let crc = crc32c::crc32c(&file[..12]);
        file[12..16].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(frames(&file, &mut damage).map_err(|e| e.kind), Err(FormatErrorKind::UnknownVersion));
    }
}
