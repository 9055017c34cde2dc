//! Exemplars of a block: blobs of neighbouring series, and the directory that says what is in which.
//!
//! A blob is a varint `n` and then, when `n` is 0, a list of exemplars (`crate::exemplars`, series named by
//! their numbers in the block), else a zstd frame that holds `n` bytes of one. Blobs are small, so that of a
//! large block only those of the wanted series and times are read. Directory, for each blob until the end:
//! first series less the last of the blob before varint · last series less first varint · first timestamp
//! zigzag varint · last less first varint · offset varint · length varint.

use super::BlobRef;
use crate::bytes::{Cursor, inflate, put_varint, put_varint_signed, squeeze};
use crate::error::FormatError;
use crate::exemplars;
use crate::model::{Exemplar, TimeRange, Timestamp};

/// A blob is closed when its list has this many bytes.
const BLOB_BYTES: usize = 16 << 10;
/// Most exemplars of a series added at once.
const PART: usize = 64;
/// Longest list in a blob: what a part at the end of a nearly full one may make it, rounded up.
const LIST_BYTES_MAX: usize = BLOB_BYTES + PART * (exemplars::LABEL_BYTES_MAX + 32);
const WHAT: &str = "exemplar directory";

/// Place and extent of an exemplar blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExemplarBlob {
    /// First and last series in it.
    pub first: u32,
    /// See `first`.
    pub last: u32,
    /// First and last timestamp in it.
    pub min: Timestamp,
    /// See `min`.
    pub max: Timestamp,
    /// Where it stands.
    pub place: BlobRef,
}

impl ExemplarBlob {
    /// Whether it may have exemplars in `range`.
    #[must_use]
    pub fn overlaps(&self, range: TimeRange) -> bool {
        self.min < range.end && self.max >= range.start
    }
}

/// Collects exemplars until they make a blob, and the directory of the blobs.
#[derive(Debug, Default)]
pub(super) struct ExemplarWriter {
    list: Vec<u8>,
    /// Extent of what is in `list`; its place is not known yet.
    begun: Option<ExemplarBlob>,
    ended: Vec<ExemplarBlob>,
}

impl ExemplarWriter {
    /// A series' exemplars in parts that may be added one by one.
    pub(super) fn parts(exemplars: &[Exemplar]) -> impl Iterator<Item = &[Exemplar]> {
        exemplars.chunks(PART)
    }

    /// Adds a part; true when the blob is full.
    pub(super) fn add(&mut self, series: u32, part: &[Exemplar]) -> bool {
        let (Some(min), Some(max)) = (part.first(), part.last()) else { return false };
        let (min, max, place) = (min.timestamp, max.timestamp, BlobRef { offset: 0, length: 0 });
        let begun = self.begun.get_or_insert(ExemplarBlob { first: series, last: series, min, max, place });
        begun.last = series;
        begun.min = begun.min.min(min);
        begun.max = begun.max.max(max);
        exemplars::put(u64::from(series), part.iter(), &mut self.list);
        self.list.len() >= BLOB_BYTES
    }

    /// Ends the blob that was begun; [`ExemplarWriter::placed`] must follow.
    pub(super) fn take_blob(&mut self) -> Option<Vec<u8>> {
        self.ended.push(self.begun.take()?);
        let list = std::mem::take(&mut self.list);
        let mut blob = Vec::new();
        match squeeze(&list) {
            Some(squeezed) => {
                put_varint(&mut blob, list.len() as u64);
                blob.extend_from_slice(&squeezed);
            }
            None => {
                put_varint(&mut blob, 0);
                blob.extend_from_slice(&list);
            }
        }
        Some(blob)
    }

    /// Says where the blob taken last stands.
    pub(super) fn placed(&mut self, (offset, length): (u64, u32)) {
        if let Some(blob) = self.ended.last_mut() {
            blob.place = BlobRef { offset, length: u64::from(length) };
        }
    }

    /// Appends the directory; nothing when there are no exemplars.
    pub(super) fn put_directory(&self, out: &mut Vec<u8>) {
        let mut before = 0;
        for blob in &self.ended {
            put_varint(out, u64::from(blob.first - before));
            put_varint(out, u64::from(blob.last - blob.first));
            before = blob.last;
            put_varint_signed(out, blob.min);
            put_varint(out, blob.max.wrapping_sub(blob.min) as u64);
            put_varint(out, blob.place.offset);
            put_varint(out, blob.place.length);
        }
    }
}

/// Reads a directory: the blobs by series, those of the same series by time.
///
/// # Errors
/// When it is malformed.
pub fn read_directory(section: &[u8]) -> Result<Vec<ExemplarBlob>, FormatError> {
    let mut cursor = Cursor::new(WHAT, section);
    let (mut blobs, mut before) = (Vec::new(), 0u32);
    while !cursor.is_empty() {
        let mut next = |base: u32| {
            let step = cursor.varint_up_to(u32::MAX as usize)? as u32;
            base.checked_add(step).ok_or_else(|| cursor.malformed())
        };
        let first = next(before)?;
        let last = next(first)?;
        before = last;
        let min = cursor.varint_signed()?;
        let max = min.wrapping_add(cursor.varint()? as i64);
        let place = BlobRef { offset: cursor.varint()?, length: cursor.varint()? };
        blobs.push(ExemplarBlob { first, last, min, max, place });
    }
    Ok(blobs)
}

/// The exemplars of a blob with the numbers of their series, both ascending.
///
/// # Errors
/// When it is malformed.
pub fn read_blob(blob: &[u8]) -> Result<Vec<(u32, Exemplar)>, FormatError> {
    let mut cursor = Cursor::new("exemplar blob", blob);
    let length = cursor.varint_up_to(LIST_BYTES_MAX)?;
    let rest = cursor.rest();
    let inflated = if length == 0 { None } else { Some(inflate("exemplar blob", rest, length)?) };
    let mut found = Vec::new();
    exemplars::visit(inflated.as_deref().unwrap_or(rest), &mut |series, exemplar| {
        found.push((u32::try_from(series).unwrap_or(u32::MAX), exemplar));
    })?;
    if !found.is_sorted_by_key(|(series, _)| *series) {
        return Err(FormatError::malformed("exemplar blob", 0));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::hostile::each_damage;
    use crate::exemplars::tests::exemplar;

    #[test]
    fn blobs_stay_small_and_say_what_is_in_them() {
        let mut writer = ExemplarWriter::default();
        let (mut blobs, mut expected) = (Vec::new(), Vec::new());
        for series in (0..2000u32).step_by(7) {
            let all: Vec<_> = (0..1 + i64::from(series % 90))
                .map(|t| exemplar(t * 1000, f64::from(series), &format!("{t}-{series}")))
                .collect();
            for part in ExemplarWriter::parts(&all) {
                if writer.add(series, part) {
                    blobs.extend(writer.take_blob());
                    writer.placed((blobs.len() as u64 * 100_000, 7));
                }
            }
            expected.extend(all.into_iter().map(|e| (series, e)));
        }
        blobs.extend(writer.take_blob());
        writer.placed((blobs.len() as u64 * 100_000, 7));
        let mut section = Vec::new();
        writer.put_directory(&mut section);
        let directory = read_directory(&section).expect("own bytes");
        assert_eq!(directory.len(), blobs.len());
        assert!(blobs.len() > 10, "{} blobs", blobs.len());
        let mut found = Vec::new();
        for (n, (entry, blob)) in directory.iter().zip(&blobs).enumerate() {
            let mine = read_blob(blob).expect("own bytes");
            assert_eq!(entry.place, BlobRef { offset: (n as u64 + 1) * 100_000, length: 7 });
            let (series, times): (Vec<u32>, Vec<i64>) = mine.iter().map(|(s, e)| (*s, e.timestamp)).unzip();
            assert_eq!((Some(&entry.first), Some(&entry.last)), (series.first(), series.last()));
            assert_eq!((Some(&entry.min), Some(&entry.max)), (times.iter().min(), times.iter().max()));
            found.extend(mine);
        }
        assert_eq!(found, expected);
        each_damage(&section, |bad| {
            let _ = read_directory(bad);
        });
        each_damage(&blobs[blobs.len() - 1][..200], |bad| {
            let _ = read_blob(bad);
        });
    }
}
