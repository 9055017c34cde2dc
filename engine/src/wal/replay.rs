//! Reading the log back: which segments, which records, where it ends.
//!
//! Replay goes by log position, never by time. A damaged record costs itself; it is counted and reported.

use super::segment_base;
use crate::Error;
use crate::io::{FileSystem, Mapping};
use std::path::Path;
use storage_format::wal::frame::{Found, Frames, SEGMENT_HEADER_BYTES};

/// Records are handed on when they have this many bytes together; the segment's pages behind them are let
/// go then, so that a long log needs no more memory than a short one.
const RUN_BYTES: usize = 8 << 20;

/// What was found while the log was read.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Position behind the last good record (0 when there is none).
    pub(crate) end: u64,
    /// Good records from the position asked for.
    pub(crate) records: u64,
    /// Damaged places found, a sentence each.
    pub(crate) damage: Vec<String>,
}

/// Takes a run of records: type and payload of each.
pub(crate) type VisitRun<'a> = dyn FnMut(&[(u8, &[u8])]) + 'a;

impl Log {
    /// Reads all segments in `dir` and hands on the good records at and after position `from`, in log order.
    pub(crate) fn read(
        fs: &dyn FileSystem,
        dir: &Path,
        from: u64,
        visit: &mut VisitRun<'_>,
    ) -> Result<Self, Error> {
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
            log.walk(path, *base, &map, from, visit);
        }
        Ok(log)
    }

    fn walk(&mut self, path: &Path, base: u64, map: &Mapping, from: u64, visit: &mut VisitRun<'_>) {
        let name = path.display();
        let frames = match Frames::new(map) {
            // A segment is created before its header is written: a crash between leaves it short.
            Err(e) if map.len() >= SEGMENT_HEADER_BYTES => {
                self.damage.push(format!("{name}: {e}"));
                return;
            }
            Err(_) => return,
            Ok(frames) if frames.base() != base => {
                self.damage.push(format!("{name}: its header says position {:x}", frames.base()));
                return;
            }
            Ok(frames) => frames,
        };
        let (mut run, mut run_bytes, mut run_start) = (Vec::new(), 0, 0);
        for found in frames {
            match found {
                Found::Record { position, record_type, payload } => {
                    let end = payload.as_ptr() as usize - map.as_ptr() as usize + payload.len();
                    self.end = self.end.max(base + (end - SEGMENT_HEADER_BYTES) as u64);
                    if position >= from {
                        self.records += 1;
                        run_bytes += payload.len();
                        run.push((record_type, payload));
                    }
                    if run_bytes >= RUN_BYTES {
                        visit(&run);
                        map.release(run_start..end);
                        run.clear();
                        (run_bytes, run_start) = (0, end);
                    }
                }
                Found::Damaged { position } => {
                    self.damage.push(format!("{name}: the record at position {position:x} is damaged"));
                }
                Found::Garbage { length, followed: true } => {
                    self.damage.push(format!("{name}: {length} bytes between two records are damaged"));
                }
                Found::Garbage { followed: false, .. } => {}
            }
        }
        if !run.is_empty() {
            visit(&run);
        }
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
