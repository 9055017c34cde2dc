//! Memory maps of sealed files: the only unsafe code of the engine.
//!
//! Invariant: only files that are complete, synced and never written again are mapped, so the bytes
//! behind the map do not change while it lives. The safe twin is reading the file into memory, which
//! `disk.rs` does where mapping is not possible.
#![expect(unsafe_code, reason = "a file map cannot be had without; sealed files only, see above")]

use std::fs::File;
use std::io;
use std::ops::Range;

/// Maps a whole sealed file.
pub(super) fn map(file: &File) -> io::Result<memmap2::Mmap> {
    // SAFETY: the caller maps sealed files only: complete, synced, never written or truncated again.
    unsafe { memmap2::Mmap::map(file) }
}

/// Lets the resident pages of a range go; they are read again when they are looked at again.
pub(super) fn release(map: &memmap2::Mmap, range: Range<usize>) -> io::Result<()> {
    // SAFETY: the map is a file's and read-only, so its pages hold nothing that the file does not.
    unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) }
}
