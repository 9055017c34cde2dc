//! A disk in memory that can lose power: the simulated disk of the crash tests, and a scratch disk.
//!
//! Model: every file has live bytes and durable bytes, every directory has live names and durable names.
//! [`MemoryDisk::power_cut`] drops names and bytes that were not synced as its caller chooses: of a file's
//! unsynced bytes a prefix survives, in which sectors may be lost (zeros) or garbled, as after writes that
//! reached the disk in another order. A recording disk keeps its state after every operation.

use super::{File, FileSystem, Mapping};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that a disk writes as a whole.
const SECTOR: usize = 512;

#[derive(Debug, Default, Clone)]
struct Content {
    live: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    /// What a failed sync should have made durable. The kernel takes these pages for clean: they can be
    /// read, but no later sync writes them.
    abandoned: Vec<Range<usize>>,
}

/// What a disk holds at one moment.
#[derive(Debug, Default, Clone)]
struct Image {
    inodes: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
}

#[derive(Debug, Default)]
struct State {
    image: Image,
    locked: bool,
    operations: usize,
    fail_at: Option<usize>,
    recording: Option<Vec<Image>>,
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
    /// Counts a persistence operation; fails it when it is the chosen one.
    fn step(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.fail_at == Some(self.operations) {
            return Err(io::Error::other("injected fault"));
        }
        Ok(())
    }

    /// Ends an operation that changed something.
    fn done(&mut self) {
        if let Some(images) = &mut self.recording {
            images.push(self.image.clone());
        }
    }
}

impl MemoryDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of persistence operations so far.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.state().operations
    }

    /// Makes the `n`-th persistence operation from the start of this disk fail once.
    pub fn fail_at(&self, n: usize) {
        self.state().fail_at = Some(n);
    }

    /// A disk of its own with the same files, all of them durable.
    #[must_use]
    pub fn fork(&self) -> Self {
        let image = self.state().image.clone();
        let durable = |content: Content| Content { durable: Arc::clone(&content.live), ..content };
        let inodes = image.inodes.into_iter().map(durable).collect();
        let image = Image { inodes, durable_names: image.names.clone(), names: image.names };
        Self(Arc::new(Mutex::new(State { image, ..State::default() })))
    }

    /// The paths of all files, sorted.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.state().image.names.keys().cloned().collect()
    }

    /// Changes a file's bytes behind everybody's back, as a failing disk does; false when there is none.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.state();
        let Some(inode) = state.image.names.get(path).copied() else { return false };
        let content = &mut state.image.inodes[inode];
        change(Arc::make_mut(&mut content.live));
        content.durable = Arc::clone(&content.live);
        true
    }

    /// From now on keeps the disk's state after every change.
    pub fn record(&self) {
        self.state().recording = Some(Vec::new());
    }

    /// Number of changes recorded so far.
    #[must_use]
    pub fn recorded(&self) -> usize {
        self.state().recording.as_ref().map_or(0, Vec::len)
    }

    /// A disk as a loss of power leaves this one after its `moment`-th recorded change (`None`: now).
    /// `choose(n)` picks a number below `n` for every question the physics leave open.
    #[must_use]
    pub fn power_cut(&self, moment: Option<usize>, choose: &mut dyn FnMut(usize) -> usize) -> Self {
        let state = self.state();
        let recorded = moment.and_then(|m| state.recording.as_ref()?.get(m));
        let image = recorded.unwrap_or(&state.image);
        let mut names = image.durable_names.clone();
        for (path, inode) in &image.names {
            if names.get(path) != Some(inode) && choose(2) == 1 {
                names.insert(path.clone(), *inode);
            }
        }
        for path in image.durable_names.keys() {
            if !image.names.contains_key(path) && choose(2) == 1 {
                names.remove(path);
            }
        }
        let inodes = image.inodes.iter().map(|content| content.after_power_cut(choose)).collect();
        let image = Image { inodes, durable_names: names.clone(), names };
        Self(Arc::new(Mutex::new(State { image, ..State::default() })))
    }
}

impl Content {
    fn after_power_cut(&self, choose: &mut dyn FnMut(usize) -> usize) -> Self {
        let synced = self.durable.len();
        if self.live.len() <= synced || self.live[..synced] != self.durable[..] {
            // Cut back or rewritten without a sync: either content may be found.
            let found = if self.abandoned.is_empty() && choose(2) == 1 { &self.live } else { &self.durable };
            return Self { live: Arc::clone(found), durable: Arc::clone(found), abandoned: Vec::new() };
        }
        let kept = match choose(4) {
            0 => 0,
            1 => self.live.len() - synced,
            _ => choose(self.live.len() - synced + 1),
        };
        let mut bytes = self.live[..synced + kept].to_vec();
        if choose(2) == 1 {
            let mut at = synced;
            while at < bytes.len() {
                let end = bytes.len().min((at / SECTOR + 1) * SECTOR);
                match choose(6) {
                    0 => bytes[at..end].fill(0),
                    1 => bytes[at..end].iter_mut().for_each(|b| *b ^= 0xa5),
                    _ => {}
                }
                at = end;
            }
        }
        let bytes = Arc::new(bytes);
        Self { live: Arc::clone(&bytes), durable: bytes, abandoned: Vec::new() }
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
        let live = &mut state.image.inodes[self.inode].live;
        Arc::make_mut(live).extend_from_slice(&bytes[..written]);
        state.done();
        outcome
    }
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.step();
        let content = &mut state.image.inodes[self.inode];
        if outcome.is_err() {
            content.abandoned.push(content.durable.len()..content.live.len());
        } else {
            content.durable = Arc::clone(&content.live);
            for lost in &content.abandoned {
                let end = lost.end.min(content.durable.len());
                Arc::make_mut(&mut content.durable)[lost.start.min(end)..end].fill(0);
            }
        }
        state.done();
        outcome
    }
    fn truncate(&mut self, size: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        let live = &mut state.image.inodes[self.inode].live;
        Arc::make_mut(live).truncate(usize::try_from(size).unwrap_or(usize::MAX));
        state.done();
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
        state.image.inodes.push(Content::default());
        let inode = state.image.inodes.len() - 1;
        state.image.names.insert(path.to_owned(), inode);
        state.done();
        Ok(Box::new(MemoryFile { disk: self.clone(), inode }))
    }
    fn map(&self, path: &Path) -> io::Result<Mapping> {
        let state = self.state();
        let inode = state.image.names.get(path).ok_or_else(|| not_found(path))?;
        Ok(Mapping::Owned(Arc::from(state.image.inodes[*inode].live.as_slice())))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let inode = state.image.names.remove(from).ok_or_else(|| not_found(from))?;
        state.image.names.insert(to.to_owned(), inode);
        state.done();
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.image.names.remove(path).ok_or_else(|| not_found(path))?;
        state.done();
        Ok(())
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let inode = *state.image.names.get(from).ok_or_else(|| not_found(from))?;
        state.image.names.insert(to.to_owned(), inode);
        state.done();
        Ok(())
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.state().image.names.keys().filter(|p| p.parent() == Some(dir)).cloned().collect())
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let inside = |p: &PathBuf| p.parent() == Some(dir);
        let image = &mut state.image;
        image.durable_names.retain(|p, _| !inside(p));
        let live = image.names.iter().filter(|(p, _)| inside(p)).map(|(p, i)| (p.clone(), *i));
        image.durable_names.extend(live);
        state.done();
        Ok(())
    }
    fn size(&self, path: &Path) -> io::Result<u64> {
        let state = self.state();
        let inode = state.image.names.get(path).ok_or_else(|| not_found(path))?;
        Ok(state.image.inodes[*inode].live.len() as u64)
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
