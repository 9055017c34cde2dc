//! Reading the log back: which segments, which records, where it ends.
//!
//! Replay goes by log position, never by time. A damaged record costs itself; it is counted and reported.

use super::segment_base;
use crate::Error;
use crate::io::{FileSystem, Mapping};
use std::ops::Range;
use std::path::{Path, PathBuf};
use storage_format::wal::frame::{Found, Frames};

/// The log as it stands on disk.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Segments in the order of their positions.
    segments: Vec<(PathBuf, u64, Mapping)>,
    /// Good records from the position asked for: segment, record type, payload's place in the segment.
    records: Vec<(usize, u8, Range<usize>)>,
    /// Position behind the last good record (0 when there is none).
    pub(crate) end: u64,
    /// Damaged places found, a sentence each.
    pub(crate) damage: Vec<String>,
}

impl Log {
    /// Reads all segments in `dir` and collects the records at and after position `from`.
    pub(crate) fn read(fs: &dyn FileSystem, dir: &Path, from: u64) -> Result<Self, Error> {
        let io = |path: &Path, operation, source| Error::Io { path: path.to_owned(), operation, source };
        let mut log = Self::default();
        let mut files: Vec<_> = fs
            .list(dir)
            .map_err(|e| io(dir, "list", e))?
            .into_iter()
            .filter_map(|path| segment_base(&path).map(|base| (path, base)))
            .collect();
        files.sort_by_key(|(_, base)| *base);
        for (i, (path, base)) in files.iter().enumerate() {
            if files.get(i + 1).is_some_and(|(_, next)| *next <= from) {
                continue;
            }
            let map = fs.map(path).map_err(|e| io(path, "read", e))?;
            log.walk(path, *base, map, from);
        }
        Ok(log)
    }

    fn walk(&mut self, path: &Path, base: u64, map: Mapping, from: u64) {
        let index = self.segments.len();
        let name = path.display();
        match Frames::new(&map) {
            // A segment is created before its header is written: a crash between leaves it short.
            Err(e) if map.len() >= 32 => self.damage.push(format!("{name}: {e}")),
            Err(_) => {}
            Ok(frames) if frames.base() != base => {
                self.damage.push(format!("{name}: its header says position {:x}", frames.base()));
            }
            Ok(frames) => {
                for found in frames {
                    match found {
                        Found::Record { position, record_type, payload } => {
                            let start = payload.as_ptr() as usize - map.as_ptr() as usize;
                            let range = start..start + payload.len();
                            self.end = self.end.max(base + range.end as u64 - 32);
                            if position >= from {
                                self.records.push((index, record_type, range));
                            }
                        }
                        Found::Damaged { position } => {
                            self.damage
                                .push(format!("{name}: the record at position {position:x} is damaged"));
                        }
                        Found::Garbage { length, followed: true } => {
                            self.damage
                                .push(format!("{name}: {length} bytes between two records are damaged"));
                        }
                        Found::Garbage { followed: false, .. } => {}
                    }
                }
            }
        }
        self.segments.push((path.to_owned(), base, map));
    }

    /// The good records in log order: type and payload.
    pub(crate) fn records(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.records.iter().map(|(segment, kind, range)| (*kind, &self.segments[*segment].2[range.clone()]))
    }
}

/// Removes the segments whose records all stand before position `from`.
pub(crate) fn remove_before(fs: &dyn FileSystem, dir: &Path, from: u64) -> std::io::Result<()> {
    let mut files: Vec<_> =
        fs.list(dir)?.into_iter().filter_map(|path| segment_base(&path).map(|base| (base, path))).collect();
    files.sort();
    for pair in files.windows(2) {
        if pair[1].0 <= from {
            fs.remove(&pair[0].1)?;
        }
    }
    Ok(())
}
