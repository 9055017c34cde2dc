//! Blocks: immutable files with the samples of many series over a time range, and their index.
//!
//! Bytes: header (16) · blobs · footer (168). A blob is bytes followed by their CRC-32C, seeded with the
//! blob's offset in the file, so that a blob in a wrong place is none. Everything between header and footer
//! is blobs, in the order in which they were written:
//! - *timestamp columns* (`chunk::timestamps`), each distinct content once;
//! - *slice blobs*: the samples of one page of series over one slice of the block's time;
//! - *histogram chunks* (`chunk::histogram`);
//! - *page blobs*: labels of up to [`PAGE_SERIES`] series, and where their slice blobs are;
//! - *exemplar blobs*: exemplars of neighbouring series, where there are any;
//! - the *sections*: symbols, pairs, postings, page table, column table, slice table, exemplar directory.
//!
//! Series are sorted by labels and numbered from 0; page `n` holds the series from `n * PAGE_SERIES` on.
//! `FORMAT.md` has every structure byte for byte.

mod exemplars;
mod index;
mod reader;
mod writer;

pub use exemplars::{ExemplarBlob, read_blob as read_exemplars, read_directory as exemplar_directory};
pub use index::{Pairs, PostingsSection, SymbolWalk, Symbols};
pub use reader::{BlobRef, BlockView, Footer, HistogramPlace, PageView, SliceView, read_footer, slices};
pub use writer::BlockWriter;

/// First bytes of a block, also the first of its footer; the last byte is the version.
pub const MAGIC: [u8; 8] = *b"MARIBLK\x01";
/// Bytes before the first blob.
pub const HEADER_BYTES: usize = 16;
/// Bytes of the footer.
pub const FOOTER_BYTES: usize = 168;
/// Series in a page, but for the last one.
pub const PAGE_SERIES: usize = 128;
/// Number of sections.
pub const SECTIONS: usize = 7;

/// The sections, by their place in the footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Section {
    /// Sorted strings.
    Symbols = 0,
    /// Label pairs.
    Pairs = 1,
    /// Series by pair.
    Postings = 2,
    /// Place of each page blob.
    Pages = 3,
    /// Place of each timestamp column.
    Columns = 4,
    /// Boundaries of the slices.
    Slices = 5,
    /// Place and extent of each exemplar blob; of length 0 when there are none.
    Exemplars = 6,
}

/// The checksum of a blob at `offset`.
fn blob_crc(offset: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&offset.to_le_bytes()), bytes)
}
