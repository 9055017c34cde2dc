//! Reading the log back: which segments, which records, where it ends.
//!
//! Replay goes by log position, never by time. A damaged record costs itself; it is counted and reported.
//! What stands before the position asked for is in a checkpoint and is not looked at.

use super::segment_base;
use crate::Error;
use crate::io::{FileSystem, Mapping};
use std::path::{Path, PathBuf};
use storage_format::FormatErrorKind;
use storage_format::wal::frame::{Found, Frames, SEGMENT_HEADER_BYTES, parse_segment_header};

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
    /// Files with damage in them.
    pub(crate) damaged_files: Vec<PathBuf>,
    /// What is no damage, but worth telling.
    pub(crate) notices: Vec<String>,
}

/// Takes a run of records (type and payload of each), and whether any before or among them was lost.
pub(crate) type VisitRun<'a> = dyn FnMut(&[(u8, &[u8])], bool) + 'a;

/// The segments in `dir`, in the order of their positions.
pub(crate) fn segments(fs: &dyn FileSystem, dir: &Path) -> std::io::Result<Vec<(PathBuf, u64)>> {
    let files = fs.list(dir)?;
    let mut files: Vec<_> =
        files.into_iter().filter_map(|path| segment_base(&path).map(|base| (path, base))).collect();
    files.sort_by_key(|(_, base)| *base);
    Ok(files)
}

impl Log {
    /// Reads all segments in `dir` and hands on the good records at and after position `from`, in log order.
    ///
    /// # Errors
    /// When a segment cannot be read, or is of a newer version.
    pub(crate) fn read(
        fs: &dyn FileSystem,
        dir: &Path,
        from: u64,
        visit: &mut VisitRun<'_>,
    ) -> Result<Self, Error> {
        let io = |path: &Path, operation, source| Error::Io { path: path.to_owned(), operation, source };
        let mut log = Self::default();
        let files = segments(fs, dir).map_err(|e| io(dir, "list", e))?;
        let mut covered = from;
        for (i, (path, base)) in files.iter().enumerate() {
            let next = files.get(i + 1).map(|(_, next)| *next);
            if next.is_some_and(|next| next <= from) {
                continue;
            }
            if *base > covered {
                log.damage.push(format!(
                    "{}: the log positions {covered:x} to {base:x} before it are in no file",
                    path.display()
                ));
            }
            let map = fs.map(path).map_err(|e| io(path, "read", e))?;
            covered = covered.max(base.saturating_add(map.len().saturating_sub(SEGMENT_HEADER_BYTES) as u64));
            log.walk(path, *base, &map, from, next, visit)?;
        }
        Ok(log)
    }

    /// Hands on the records of a segment from position `from` on. Where the next segment begins, at `next`, the
    /// log went on after a crash: what this one has from there on was read over then.
    fn walk(
        &mut self,
        path: &Path,
        base: u64,
        map: &Mapping,
        from: u64,
        next: Option<u64>,
        visit: &mut VisitRun<'_>,
    ) -> Result<(), Error> {
        let name = path.display();
        let known = self.damage.len();
        match parse_segment_header(map) {
            Err(source) if source.kind == FormatErrorKind::UnknownVersion => {
                return Err(Error::Corrupt { path: path.to_owned(), source });
            }
            // A segment is created before its header is written: a crash between leaves it short.
            Err(e) if map.len() >= SEGMENT_HEADER_BYTES => self.damage.push(format!("{name}: {e}")),
            Ok(told) if told != base => {
                self.damage.push(format!("{name}: its header says position {told:x}"));
            }
            _ => {}
        }
        let (mut run, mut run_bytes, mut run_start) = (Vec::new(), 0, 0);
        let mut frames = Frames::without_header(map, base);
        loop {
            let (offset, position) = (frames.offset(), frames.log_position());
            let Some(found) = frames.next() else { break };
            let behind = frames.log_position();
            let matters = behind > from && next.is_none_or(|next| position < next);
            match found {
                Found::Record { position, record_type, payload } => {
                    self.end = self.end.max(behind);
                    if position >= from {
                        self.records += 1;
                        run_bytes += payload.len();
                        run.push((record_type, payload));
                    }
                    if run_bytes >= RUN_BYTES {
                        visit(&run, !self.damage.is_empty());
                        map.release(run_start..frames.offset());
                        run.clear();
                        (run_bytes, run_start) = (0, frames.offset());
                    }
                }
                Found::Damaged { .. } if matters => {
                    let text = format!("{name}: the record at byte {offset} fails its checksum and is lost");
                    self.damage.push(text);
                }
                Found::Garbage { length, followed } if matters && (followed || next.is_some()) => {
                    let text = format!("{name}: {length} bytes at byte {offset} are no record and are lost");
                    self.damage.push(text);
                }
                Found::Garbage { length, .. } if matters => {
                    // Not acknowledged where a crash cut it; nobody can tell that from damage.
                    self.notices.push(format!(
                        "{name}: the last {length} bytes, from byte {offset} on, are no record: a write cut \
                         short before it was acknowledged, or damage"
                    ));
                }
                Found::Damaged { .. } | Found::Garbage { .. } => {}
            }
        }
        if !run.is_empty() {
            visit(&run, !self.damage.is_empty());
        }
        if self.damage.len() > known {
            self.damaged_files.push(path.to_owned());
        }
        Ok(())
    }
}

/// Removes the segments whose records all stand before position `from`.
pub(crate) fn remove_before(fs: &dyn FileSystem, dir: &Path, from: u64) -> std::io::Result<()> {
    let files = segments(fs, dir)?;
    for pair in files.windows(2) {
        if pair[1].1 <= from {
            fs.remove(&pair[0].0)?;
        }
    }
    Ok(())
}
