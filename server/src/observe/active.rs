//! Which queries run at the moment, in a file: when a query takes the process down, the next start names it.
//!
//! `queries.active` in the data directory has a slot of fixed size for each place at the queries' gate. A
//! slot is written when a query begins and cleared when it ends, without syncing: what the process wrote
//! survives the process, and that is all this is for.

use super::log;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Bytes of a slot: length of the text (2), time of the begin in milliseconds (8), text.
const SLOT: usize = 1024;
const HEADER: usize = 10;
/// Most slots.
const SLOTS_MAX: usize = 4096;

/// A query that had not ended when the process did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The query, cut to what a slot holds.
    pub query: String,
    /// When it began, milliseconds since the epoch.
    pub began: i64,
}

/// The list of running queries.
#[derive(Debug)]
pub struct ActiveQueries {
    file: File,
    free: Mutex<Vec<usize>>,
}

/// Keeps a query listed until it is dropped.
#[derive(Debug)]
pub struct Listed<'a> {
    list: &'a ActiveQueries,
    slot: usize,
}

impl ActiveQueries {
    /// Opens the list in a data directory and empties it; the queries that an earlier process left there.
    ///
    /// # Errors
    /// When the file cannot be opened or written.
    pub fn open(dir: &Path, places: usize) -> std::io::Result<(Self, Vec<Unfinished>)> {
        let path = dir.join("queries.active");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut left = Vec::new();
        (&mut file).take((SLOTS_MAX * SLOT) as u64).read_to_end(&mut left)?;
        let unfinished = left.chunks_exact(SLOT).filter_map(read_slot).collect();
        let places = places.clamp(1, SLOTS_MAX);
        file.set_len(0)?;
        file.set_len((places * SLOT) as u64)?;
        Ok((Self { file, free: Mutex::new((0..places).collect()) }, unfinished))
    }
    /// Lists a query; nothing happens when there is no slot or the file cannot be written.
    pub fn list(&self, query: &str) -> Option<Listed<'_>> {
        let slot = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        let listed = Listed { list: self, slot };
        let text = &query.as_bytes()[..query.floor_char_boundary(SLOT - HEADER)];
        let mut bytes = Vec::with_capacity(HEADER + text.len());
        bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&log::now().to_le_bytes());
        bytes.extend_from_slice(text);
        self.file.write_all_at(&bytes, (slot * SLOT) as u64).ok()?;
        Some(listed)
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        // If it fails, a query that ended well may be named at the next start: no harm.
        let _ = self.list.file.write_all_at(&[0; 2], (self.slot * SLOT) as u64);
        self.list.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
    }
}

fn read_slot(slot: &[u8]) -> Option<Unfinished> {
    let (len, rest) = slot.split_first_chunk::<2>()?;
    let (began, rest) = rest.split_first_chunk::<8>()?;
    let len = usize::from(u16::from_le_bytes(*len));
    let text = rest.get(..len).filter(|text| !text.is_empty())?;
    Some(Unfinished { query: String::from_utf8_lossy(text).into_owned(), began: i64::from_le_bytes(*began) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_had_not_ended_is_named_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let (list, unfinished) = ActiveQueries::open(dir.path(), 3).unwrap();
        assert_eq!(unfinished, []);
        let long = "ü".repeat(1000);
        let ended = list.list("ended").unwrap();
        let held = [list.list("sum(up)").unwrap(), list.list(&long).unwrap()];
        assert!(list.list("no slot is left").is_none());
        drop(ended);
        drop(list.list("its slot is used again and cleared").unwrap());
        // As the process ends here, nobody clears anything.
        let (_, unfinished) = ActiveQueries::open(dir.path(), 3).unwrap();
        let mut named: Vec<&str> = unfinished.iter().map(|u| u.query.as_str()).collect();
        named.sort_unstable();
        assert_eq!(named, ["sum(up)", &long[..SLOT - HEADER]]);
        assert!(unfinished.iter().all(|u| u.began > 0));
        drop(held);
        let (_, unfinished) = ActiveQueries::open(dir.path(), 1).unwrap();
        assert_eq!(unfinished, []);
    }
}
