//! The catalog: the one file that says which blocks are live, which checkpoint holds, where replay begins.
//!
//! Written whole and swapped in by a rename. Bytes (little-endian): magic and version (8) · number of the
//! catalog u64 · log position of the checkpoint u64 · number of the checkpoint u64 (0: none) · shards u32 ·
//! number of blocks u32 · blocks, each: number u64, rank u64, first timestamp i64, last timestamp i64, level u32,
//! series u64, samples u64, float samples of the
//! densest series u64, bytes u64 · number of tombstones u32 · tombstones (`tombstone`) · CRC-32C of
//! everything before u32.

use crate::bytes::Cursor;
use crate::error::{FormatError, FormatErrorKind};
use crate::model::Timestamp;
use crate::tombstone::{Tombstone, put_tombstone, take_tombstone};

/// First bytes of a catalog; the last one is the version.
pub const MAGIC: [u8; 8] = *b"MARICAT\x01";
const BLOCK_BYTES: usize = 68;

/// What a catalog says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    /// Counts the catalogs written, and numbers blocks and checkpoints.
    pub number: u64,
    /// Replay begins at this log position; the log never continues before it.
    pub log_position: u64,
    /// The checkpoint taken at that position; 0 when there is none.
    pub checkpoint: u64,
    /// Shards of the head.
    pub shards: u32,
    /// The live blocks.
    pub blocks: Vec<BlockEntry>,
    /// What deletes removed from blocks that still hold it.
    pub tombstones: Vec<Tombstone>,
}

/// A live block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockEntry {
    /// Its number, which names its file.
    pub number: u64,
    /// Of two samples with the same timestamp the one in the block with the lower rank came first and holds.
    pub rank: u64,
    /// First timestamp of its samples.
    pub min: Timestamp,
    /// Last timestamp of its samples.
    pub max: Timestamp,
    /// How often its samples were merged.
    pub level: u32,
    /// Number of series.
    pub series: u64,
    /// Number of samples.
    pub samples: u64,
    /// Float samples of the series that has most of them.
    pub densest: u64,
    /// Size of the file.
    pub bytes: u64,
}

impl Catalog {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for word in [self.number, self.log_position, self.checkpoint] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.shards.to_le_bytes());
        out.extend_from_slice(&(self.blocks.len() as u32).to_le_bytes());
        for block in &self.blocks {
            for word in [block.number, block.rank, block.min as u64, block.max as u64] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(&block.level.to_le_bytes());
            for word in [block.series, block.samples, block.densest, block.bytes] {
                out.extend_from_slice(&word.to_le_bytes());
            }
        }
        out.extend_from_slice(&(self.tombstones.len() as u32).to_le_bytes());
        for tombstone in &self.tombstones {
            put_tombstone(tombstone, &mut out);
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a catalog.
    ///
    /// # Errors
    /// When it is damaged, cut, or written by a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let what = "catalog";
        if bytes.len() < 12 || bytes[..7] != MAGIC[..7] {
            return Err(FormatError::new(what, 0, FormatErrorKind::BadMagic));
        }
        if bytes[7] > MAGIC[7] {
            return Err(FormatError::new(what, 7, FormatErrorKind::UnknownVersion));
        }
        let (body, crc) = bytes.split_at(bytes.len() - 4);
        if crc32c::crc32c(body).to_le_bytes() != crc {
            return Err(FormatError::new(what, body.len(), FormatErrorKind::BadChecksum));
        }
        let mut cursor = Cursor::new(what, &body[8..]);
        let (number, log_position, checkpoint) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
        let (shards, count) = (cursor.u32()?, cursor.u32()? as usize);
        if cursor.remaining() / BLOCK_BYTES < count {
            return Err(cursor.truncated());
        }
        let mut blocks = Vec::with_capacity(count);
        for _ in 0..count {
            blocks.push(BlockEntry {
                number: cursor.u64()?,
                rank: cursor.u64()?,
                min: cursor.i64()?,
                max: cursor.i64()?,
                level: cursor.u32()?,
                series: cursor.u64()?,
                samples: cursor.u64()?,
                densest: cursor.u64()?,
                bytes: cursor.u64()?,
            });
        }
        let mut tombstones = Vec::new();
        for _ in 0..cursor.u32()? {
            tombstones.push(take_tombstone(&mut cursor)?);
        }
        if !cursor.is_empty() {
            return Err(cursor.malformed());
        }
        Ok(Self { number, log_position, checkpoint, shards, blocks, tombstones })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimeRange;
    use crate::tombstone::MatcherText;

    #[test]
    fn survives_and_no_damage_goes_unseen() {
        let block = BlockEntry {
            number: 3,
            rank: 2,
            min: -5,
            max: 9,
            level: 1,
            series: 2,
            samples: 7,
            densest: 4,
            bytes: 400,
        };
        let matcher = MatcherText { operator: 2, name: "a".into(), value: "b|c".into() };
        let tombstone =
            Tombstone { last_block: 7, range: TimeRange::new(-3, 4), sets: vec![vec![matcher; 2]; 2] };
        let catalog = Catalog {
            number: 9,
            log_position: 1 << 40,
            checkpoint: 8,
            shards: 2,
            blocks: vec![block; 3],
            tombstones: vec![tombstone; 2],
        };
        let bytes = catalog.encode();
        assert_eq!(Catalog::decode(&bytes), Ok(catalog));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Catalog::decode(&bad).is_err(), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert!(Catalog::decode(&bytes[..cut]).is_err());
        }
    }
}
