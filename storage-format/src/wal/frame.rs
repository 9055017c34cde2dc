//! Frames: the checksummed unit of a WAL segment.
//!
//! Bytes of a segment: a 32-byte header, then frames without gaps. Bytes of a frame (little-endian):
//! payload length u32 · log position u64 · type u8 · flags u8 (0) · reserved u16 (0) · CRC-32C of the
//! payload u32 · CRC-32C of the 20 bytes before, seeded with the segment's base position u32 · payload.
//!
//! Invariants: a frame's log position is the segment's base plus its offset behind the header, so a frame
//! that stands in a wrong place (misdirected or stale sector) is no frame. The header has a checksum of
//! its own: a damaged payload costs one record, and behind a damaged header the next good frame is found
//! by its position.

use crate::error::{FormatError, FormatErrorKind};

/// First bytes of every segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"MARIWAL\x01";
/// Bytes before the first frame.
pub const SEGMENT_HEADER_BYTES: usize = 32;
/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: usize = 24;
/// Longest payload.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 20;

/// The header of a segment whose first frame has log position `base`.
#[must_use]
pub fn segment_header(base: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(&SEGMENT_MAGIC);
    header[8..16].copy_from_slice(&base.to_le_bytes());
    let crc = crc32c::crc32c(&header[..28]);
    header[28..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// The base position of a segment.
///
/// # Errors
/// When the header is cut, of another kind or damaged.
pub fn parse_segment_header(bytes: &[u8]) -> Result<u64, FormatError> {
    let what = "WAL segment header";
    let header = bytes.get(..SEGMENT_HEADER_BYTES).ok_or(FormatError::truncated(what, bytes.len()))?;
    if header[..7] != SEGMENT_MAGIC[..7] {
        return Err(FormatError::new(what, 0, FormatErrorKind::BadMagic));
    }
    if crc32c::crc32c(&header[..28]).to_le_bytes() != header[28..] {
        return Err(FormatError::new(what, 28, FormatErrorKind::BadChecksum));
    }
    if header[7] != SEGMENT_MAGIC[7] {
        return Err(FormatError::new(what, 7, FormatErrorKind::UnknownVersion));
    }
    Ok(u64_at(header, 8))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// Appends a frame to `out`; `payload_crc` is the CRC-32C of `payload`, computed by the caller so that it
/// can be done outside of any lock.
pub fn put_frame(
    out: &mut Vec<u8>,
    segment_base: u64,
    position: u64,
    record_type: u8,
    payload: &[u8],
    payload_crc: u32,
) {
    let at = out.len();
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(&[record_type, 0, 0, 0]);
    out.extend_from_slice(&payload_crc.to_le_bytes());
    let crc = header_crc(segment_base, &out[at..at + 20]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
}

fn header_crc(segment_base: u64, header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&segment_base.to_le_bytes()), header)
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A good record.
    Record {
        /// Its log position.
        position: u64,
        /// Its type.
        record_type: u8,
        /// What it says.
        payload: &'a [u8],
    },
    /// A record whose payload is damaged; the next frame stands behind it.
    Damaged {
        /// Its log position.
        position: u64,
    },
    /// Bytes that are no frame, up to the next good header (or the end of the segment).
    Garbage {
        /// How many bytes.
        length: usize,
        /// Whether a good frame follows. When none does, this is a torn tail.
        followed: bool,
    },
}

/// Walks the frames of one segment, from first to last byte.
#[derive(Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    base: u64,
    at: usize,
}

impl<'a> Frames<'a> {
    /// The frames of a whole segment file.
    ///
    /// # Errors
    /// When its header is no good.
    pub fn new(segment: &'a [u8]) -> Result<Self, FormatError> {
        let base = parse_segment_header(segment)?;
        Ok(Self { bytes: segment, base, at: SEGMENT_HEADER_BYTES })
    }
    /// The frames of a segment that begins at `base`, its header not looked at: the file's name says where a
    /// segment begins too, so a damaged header costs nothing.
    #[must_use]
    pub fn without_header(segment: &'a [u8], base: u64) -> Self {
        Self { bytes: segment, base, at: SEGMENT_HEADER_BYTES.min(segment.len()) }
    }
    /// Offset in the file at which the walk stands.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.at
    }
    /// Log position of the segment's first frame.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }
    /// Log position at which the walk stands.
    #[must_use]
    pub fn log_position(&self) -> u64 {
        self.base + self.at.saturating_sub(SEGMENT_HEADER_BYTES) as u64
    }
    /// Payload length of a good frame header at `at`.
    fn header_at(&self, at: usize) -> Option<usize> {
        let header = self.bytes.get(at..at + FRAME_HEADER_BYTES)?;
        let length = u32_at(header, 0) as usize;
        let position = self.base + (at - SEGMENT_HEADER_BYTES) as u64;
        let good = u64_at(header, 4) == position
            && length <= PAYLOAD_BYTES_MAX
            && header[13..16] == [0, 0, 0]
            && u32_at(header, 20) == header_crc(self.base, &header[..20]);
        good.then_some(length)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Found<'a>;
    fn next(&mut self) -> Option<Found<'a>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let position = self.log_position();
        let whole = |length: usize| {
            self.bytes.get(self.at + FRAME_HEADER_BYTES..self.at + FRAME_HEADER_BYTES + length)
        };
        if let Some(length) = self.header_at(self.at)
            && let Some(payload) = whole(length)
        {
            let header = &self.bytes[self.at..];
            let (record_type, crc) = (header[12], u32_at(header, 16));
            self.at += FRAME_HEADER_BYTES + length;
            // A seeded defect, see engine/src/defects.rs.
            let trusted = cfg!(defect = "payload_unchecked");
            return Some(if trusted || crc32c::crc32c(payload) == crc {
                Found::Record { position, record_type, payload }
            } else {
                Found::Damaged { position }
            });
        }
        let next = (self.at + 1..self.bytes.len()).find(|at| self.header_at(*at).is_some());
        let end = next.unwrap_or(self.bytes.len());
        let length = end - self.at;
        self.at = end;
        Some(Found::Garbage { length, followed: next.is_some() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(payloads: &[&[u8]]) -> Vec<u8> {
        let base = 1000;
        let mut out = segment_header(base).to_vec();
        for payload in payloads {
            let position = base + (out.len() - SEGMENT_HEADER_BYTES) as u64;
            put_frame(&mut out, base, position, 1, payload, crc32c::crc32c(payload));
        }
        out
    }

    fn good(bytes: &[u8]) -> Vec<Vec<u8>> {
        Frames::new(bytes)
            .expect("header")
            .filter_map(|f| if let Found::Record { payload, .. } = f { Some(payload.to_vec()) } else { None })
            .collect()
    }

    #[test]
    fn every_flipped_bit_costs_one_record_at_most() {
        let payloads: [&[u8]; 4] = [b"first", b"second one", b"", b"the last"];
        let whole = segment(&payloads);
        for bit in SEGMENT_HEADER_BYTES * 8..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let found = good(&damaged);
            assert!(found.len() >= 3, "bit {bit} cost {} records", 4 - found.len());
            assert!(found.iter().all(|f| payloads.contains(&f.as_slice())), "bit {bit} invented a record");
        }
        for bit in 0..SEGMENT_HEADER_BYTES * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Frames::new(&damaged).is_err(), "bit {bit} of the header went unseen");
            assert_eq!(Frames::without_header(&damaged, 1000).count(), 4);
        }
    }

    #[test]
    fn every_cut_is_a_torn_tail() {
        let payloads: [&[u8]; 3] = [b"first", b"second", b"third"];
        let whole = segment(&payloads);
        for cut in SEGMENT_HEADER_BYTES..whole.len() {
            let found = good(&whole[..cut]);
            assert_eq!(found, payloads[..found.len()].to_vec());
            for f in Frames::new(&whole[..cut]).expect("header") {
                assert!(!matches!(f, Found::Garbage { followed: true, .. } | Found::Damaged { .. }));
            }
        }
    }
}
