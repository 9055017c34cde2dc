//! Reading a block in place: views over its bytes, checked as far as they are looked at.
//!
//! The views do not verify checksums by themselves: [`BlockView::blob`] does, and its caller may remember
//! which blobs were verified and use [`BlockView::blob_unchecked`] for them afterwards.

use super::{FOOTER_BYTES, HEADER_BYTES, MAGIC, PAGE_SERIES, SECTIONS, Section, blob_crc};
use crate::bytes::{Cursor, unzigzag};
use crate::chunk::values::Group;
use crate::error::{FormatError, FormatErrorKind};
use crate::model::{TimeRange, Timestamp};

/// Where a blob stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobRef {
    /// Offset in the file.
    pub offset: u64,
    /// Length without its checksum.
    pub length: u64,
}

/// What the footer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Number of series.
    pub series: u64,
    /// Number of float samples.
    pub floats: u64,
    /// Number of histogram samples.
    pub histograms: u64,
    /// First timestamp.
    pub min: Timestamp,
    /// Last timestamp; less than `min` when there are no samples.
    pub max: Timestamp,
    /// The sections.
    pub sections: [BlobRef; SECTIONS],
}

/// Reads header and footer of a block.
///
/// # Errors
/// When one of them is damaged, cut, of another kind or of an unknown version.
pub fn read_footer(bytes: &[u8]) -> Result<Footer, FormatError> {
    let what = "block footer";
    if bytes.len() < HEADER_BYTES + FOOTER_BYTES {
        return Err(FormatError::truncated("block", bytes.len()));
    }
    let at = bytes.len() - FOOTER_BYTES;
    let (header, footer) = (&bytes[..HEADER_BYTES], &bytes[at..]);
    if header[..7] != MAGIC[..7] {
        return Err(FormatError::new("block header", 0, FormatErrorKind::BadMagic));
    }
    if header[7] > MAGIC[7] {
        return Err(FormatError::new("block header", 7, FormatErrorKind::UnknownVersion));
    }
    if crc32c::crc32c(&header[..12]).to_le_bytes() != header[12..] {
        return Err(FormatError::new("block header", 12, FormatErrorKind::BadChecksum));
    }
    if footer[..8] != MAGIC {
        return Err(FormatError::new(what, at, FormatErrorKind::BadMagic));
    }
    if crc32c::crc32c(&footer[..FOOTER_BYTES - 4]).to_le_bytes() != footer[FOOTER_BYTES - 4..] {
        return Err(FormatError::new(what, at, FormatErrorKind::BadChecksum));
    }
    let mut cursor = Cursor::new(what, &footer[8..]);
    let (series, floats, histograms) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
    let (min, max) = (cursor.i64()?, cursor.i64()?);
    let mut sections = [BlobRef { offset: 0, length: 0 }; SECTIONS];
    for section in &mut sections {
        *section = BlobRef { offset: cursor.u64()?, length: cursor.u64()? };
    }
    Ok(Footer { series, floats, histograms, min, max, sections })
}

/// A block's bytes and footer.
#[derive(Debug, Clone, Copy)]
pub struct BlockView<'a> {
    bytes: &'a [u8],
    footer: &'a Footer,
}

impl<'a> BlockView<'a> {
    /// Over a whole file whose footer was read.
    #[must_use]
    pub fn new(bytes: &'a [u8], footer: &'a Footer) -> Self {
        Self { bytes, footer }
    }

    /// A blob's bytes, its checksum verified.
    ///
    /// # Errors
    /// When it lies outside of the file or is damaged.
    pub fn blob(&self, at: BlobRef) -> Result<&'a [u8], FormatError> {
        let (blob, crc) = self.blob_and_crc(at)?;
        if blob_crc(at.offset, blob).to_le_bytes() == crc {
            Ok(blob)
        } else {
            Err(FormatError::new("block", at.offset as usize, FormatErrorKind::BadChecksum))
        }
    }

    /// A blob's bytes, its checksum not looked at.
    ///
    /// # Errors
    /// When it lies outside of the file.
    pub fn blob_unchecked(&self, at: BlobRef) -> Result<&'a [u8], FormatError> {
        self.blob_and_crc(at).map(|(blob, _)| blob)
    }

    fn blob_and_crc(&self, at: BlobRef) -> Result<(&'a [u8], [u8; 4]), FormatError> {
        let outside = || FormatError::malformed("block", self.bytes.len());
        let start = usize::try_from(at.offset).map_err(|_| outside())?;
        let end = usize::try_from(at.length).ok().and_then(|n| start.checked_add(n)).ok_or_else(outside)?;
        let blob = self.bytes.get(start..end).ok_or_else(outside)?;
        let crc = self.bytes.get(end..end + 4).ok_or_else(outside)?;
        Ok((blob, [crc[0], crc[1], crc[2], crc[3]]))
    }

    /// Where a section stands.
    #[must_use]
    pub fn section(&self, section: Section) -> BlobRef {
        self.footer.sections[section as usize]
    }
}

impl BlobRef {
    /// The `n`-th entry of a page table or column table.
    ///
    /// # Errors
    /// When the table is shorter.
    pub fn of_table(table: &[u8], n: usize) -> Result<Self, FormatError> {
        let entry = table.get(n * 12..n * 12 + 12).ok_or(FormatError::malformed("block table", n))?;
        let mut cursor = Cursor::new("block table", entry);
        Ok(Self { offset: cursor.u64()?, length: u64::from(cursor.u32()?) })
    }
}

/// The slices of a slice table.
///
/// # Errors
/// When it is malformed.
pub fn slices(table: &[u8]) -> Result<Vec<TimeRange>, FormatError> {
    let mut cursor = Cursor::new("slice table", table);
    let mut out = Vec::new();
    while !cursor.is_empty() {
        out.push(TimeRange::new(cursor.i64()?, cursor.i64()?));
    }
    Ok(out)
}

/// The labels of a page's series, as pair numbers, and the places of its slice blobs.
#[derive(Debug, Clone, Default)]
pub struct PageView {
    /// Pair numbers of all series, one after the other.
    pairs: Vec<u32>,
    /// Where each series' pairs end.
    ends: Vec<u32>,
    /// Place of the slice blob for each slice, where there is one.
    pub slices: Vec<Option<BlobRef>>,
}

impl PageView {
    /// Reads a page blob; `slices` is the number of the block's slices.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn read(page: &[u8], slices: usize) -> Result<Self, FormatError> {
        let mut cursor = Cursor::new("page", page);
        let count = cursor.varint()?;
        if count > PAGE_SERIES as u64 {
            return Err(cursor.malformed());
        }
        let mut view = Self::default();
        let mut before = 0..0;
        for _ in 0..count {
            let shared = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
            let fresh = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
            if shared > before.len() || fresh > page.len() {
                return Err(cursor.malformed());
            }
            let start = view.pairs.len();
            view.pairs.extend_from_within(before.start..before.start + shared);
            for _ in 0..fresh {
                view.pairs.push(u32::try_from(cursor.varint()?).map_err(|_| cursor.malformed())?);
            }
            before = start..view.pairs.len();
            view.ends.push(view.pairs.len() as u32);
        }
        for _ in 0..slices {
            let offset = cursor.varint()?;
            let place = if offset == 0 { None } else { Some(BlobRef { offset, length: cursor.varint()? }) };
            view.slices.push(place);
        }
        Ok(view)
    }

    /// Number of series in the page.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Pair numbers of a series, in label name order; empty when there is no such series.
    #[must_use]
    pub fn pairs(&self, series: usize) -> &[u32] {
        let Some(end) = self.ends.get(series) else { return &[] };
        let start = series.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.pairs[start as usize..*end as usize]
    }
}

/// Place and extent of a histogram chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistogramPlace {
    /// Where it stands.
    pub blob: BlobRef,
    /// First timestamp.
    pub min: Timestamp,
    /// Last timestamp.
    pub max: Timestamp,
}

/// What a slice blob says about its page's series.
#[derive(Debug, Clone)]
pub struct SliceView<'a> {
    /// For each series: its timestamp column, if it has floats.
    columns: Vec<Option<u32>>,
    /// Extras: series, kind, bytes.
    extras: Vec<(usize, u8, &'a [u8])>,
    group: &'a [u8],
}

impl<'a> SliceView<'a> {
    /// Reads a slice blob of a page with `series` series.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn read(blob: &'a [u8], series: usize) -> Result<Self, FormatError> {
        let mut cursor = Cursor::new("slice", blob);
        let mut columns = Vec::with_capacity(series.min(PAGE_SERIES));
        let mut before = 0i64;
        for _ in 0..series {
            let word = cursor.varint()?;
            columns.push(match word.checked_sub(1) {
                None => None,
                Some(delta) => {
                    before = before.wrapping_add(unzigzag(delta));
                    Some(u32::try_from(before).map_err(|_| cursor.malformed())?)
                }
            });
        }
        let mut extras = Vec::new();
        for _ in 0..cursor.varint()? {
            let at = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
            let kind = cursor.u8()?;
            let length = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
            extras.push((at, kind, cursor.take(length)?));
        }
        Ok(Self { columns, extras, group: cursor.rest() })
    }

    /// The timestamp column of a series, if it has floats here.
    #[must_use]
    pub fn column(&self, series: usize) -> Option<u32> {
        self.columns.get(series).copied().flatten()
    }

    /// The place of a series' values in the group, if it has floats here.
    #[must_use]
    pub fn place(&self, series: usize) -> Option<usize> {
        self.column(series)?;
        Some(self.columns[..series].iter().flatten().count())
    }

    /// The group of values.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn group(&self) -> Result<Group<'a>, FormatError> {
        Group::parse(self.group)
    }

    /// The start timestamps of a series' floats (`chunk::starts`), when some are known.
    #[must_use]
    pub fn starts(&self, series: usize) -> Option<&'a [u8]> {
        self.extras.iter().find(|(at, kind, _)| *at == series && *kind == 0).map(|(_, _, bytes)| *bytes)
    }

    /// The histogram chunks of a series, in time order.
    ///
    /// # Errors
    /// When one of the places is malformed.
    pub fn histograms(&self, series: usize) -> Result<Vec<HistogramPlace>, FormatError> {
        let mut out = Vec::new();
        for (_, _, bytes) in self.extras.iter().filter(|(at, kind, _)| *at == series && *kind == 1) {
            let mut cursor = Cursor::new("histogram place", bytes);
            let blob = BlobRef { offset: cursor.varint()?, length: cursor.varint()? };
            let _count = cursor.varint()?;
            let min = cursor.varint_signed()?;
            out.push(HistogramPlace { blob, min, max: min.wrapping_add(cursor.varint()? as i64) });
        }
        Ok(out)
    }
}
