//! A disk in memory that can lose power: the simulated disk of the crash tests, and a scratch disk.
//!
//! Model: every file has live bytes and durable bytes, every directory has live names and durable names.
//! [`MemoryDisk::power_cut`] drops names and bytes that were not synced, keeping for each file a prefix of
//! the unsynced bytes that the caller chooses, possibly with a torn (garbled) end.

use super::{File, FileSystem, Mapping};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default, Clone)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    locked: bool,
    operations: u64,
    fail_at: Option<u64>,
    frozen: bool,
}

/// A simulated disk; clones share it.
#[derive(Debug, Default, Clone)]
pub struct MemoryDisk(Arc<Mutex<State>>);

struct MemoryFile {
    disk: MemoryDisk,
    inode: usize,
}

struct MemoryLock(MemoryDisk);

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

impl State {
    /// Counts a persistence operation; fails it when it is the chosen one or the power is already gone.
    fn step(&mut self) -> io::Result<()> {
        if self.frozen {
            return Err(io::Error::other("power is off"));
        }
        self.operations += 1;
        if self.fail_at == Some(self.operations) {
            return Err(io::Error::other("injected fault"));
        }
        Ok(())
    }
}

impl MemoryDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Number of persistence operations so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }
    /// Makes the `n`-th persistence operation from the start of this disk fail once.
    pub fn fail_at(&self, n: u64) {
        self.state().fail_at = Some(n);
    }
    /// From now on every operation fails: the machine has lost power, its processes just do not know yet.
    pub fn freeze(&self) {
        self.state().frozen = true;
    }
    /// The disk as a power cut leaves it. `keep` is asked, for each file with unsynced bytes, how many of
    /// them survive, and for each unsynced name change (given as 1) whether it survives (1) or not (0);
    /// `torn` garbles the last surviving unsynced byte.
    #[must_use]
    pub fn power_cut(&self, keep: &mut dyn FnMut(usize) -> usize, torn: bool) -> Self {
        let state = self.state();
        let mut names = state.durable_names.clone();
        for (path, inode) in &state.names {
            if names.get(path) != Some(inode) && keep(1) == 1 {
                names.insert(path.clone(), *inode);
            }
        }
        for path in state.durable_names.keys() {
            if !state.names.contains_key(path) && keep(1) == 1 {
                names.remove(path);
            }
        }
        let inodes = state
            .inodes
            .iter()
            .map(|content| {
                let same = content.live.len() >= content.durable.len();
                let mut bytes = content.durable.clone();
                if same && content.live.len() > bytes.len() {
                    let extra = keep(content.live.len() - bytes.len()).min(content.live.len() - bytes.len());
                    let end = bytes.len() + extra;
                    bytes.extend_from_slice(&content.live[bytes.len()..end]);
                    if torn && extra > 0 {
                        bytes[end - 1] ^= 0xa5;
                    }
                }
                Content { live: bytes.clone(), durable: bytes }
            })
            .collect();
        Self(Arc::new(Mutex::new(State { inodes, durable_names: names.clone(), names, ..State::default() })))
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(ErrorKind::NotFound, path.display().to_string())
}

impl File for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.step();
        // A failing write leaves a part of its bytes behind.
        let written = if outcome.is_ok() { bytes.len() } else { bytes.len() / 2 };
        if !state.frozen {
            state.inodes[self.inode].live.extend_from_slice(&bytes[..written]);
        }
        outcome
    }
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        let content = &mut state.inodes[self.inode];
        content.durable = content.live.clone();
        Ok(())
    }
    fn truncate(&mut self, size: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        state.inodes[self.inode].live.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(())
    }
}

impl FileSystem for MemoryDisk {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        self.state().step()
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        state.step()?;
        state.inodes.push(Content::default());
        let inode = state.inodes.len() - 1;
        state.names.insert(path.to_owned(), inode);
        Ok(Box::new(MemoryFile { disk: self.clone(), inode }))
    }
    fn map(&self, path: &Path) -> io::Result<Mapping> {
        let state = self.state();
        let inode = state.names.get(path).ok_or_else(|| not_found(path))?;
        Ok(Mapping::Owned(Arc::from(state.inodes[*inode].live.as_slice())))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let inode = state.names.remove(from).ok_or_else(|| not_found(from))?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.names.remove(path).map(|_| ()).ok_or_else(|| not_found(path))
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let inode = *state.names.get(from).ok_or_else(|| not_found(from))?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.state().names.keys().filter(|p| p.parent() == Some(dir)).cloned().collect())
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let live: Vec<_> = state
            .names
            .iter()
            .filter(|(p, _)| p.parent() == Some(dir))
            .map(|(p, i)| (p.clone(), *i))
            .collect();
        state.durable_names.retain(|p, _| p.parent() != Some(dir));
        state.durable_names.extend(live);
        Ok(())
    }
    fn size(&self, path: &Path) -> io::Result<u64> {
        let state = self.state();
        let inode = state.names.get(path).ok_or_else(|| not_found(path))?;
        Ok(state.inodes[*inode].live.len() as u64)
    }
    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let mut state = self.state();
        if state.locked {
            return Ok(None);
        }
        state.locked = true;
        Ok(Some(Box::new(MemoryLock(self.clone()))))
    }
}
