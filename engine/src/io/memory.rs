//! A disk in memory that can lose power: the simulated disk of the crash tests, and a scratch disk.
//!
//! Model: every file has live bytes and durable bytes, every directory has live names and durable names.
//! [`MemoryDisk::power_cut`] drops names and bytes that were not synced as its caller chooses: of a file's
//! unsynced bytes a prefix survives, in which sectors may be lost (zeros) or garbled, as after writes that
//! reached the disk in another order. [`MemoryDisk::kill`] keeps all of it, synced or not, as the death of a
//! process does. A recording disk keeps its state after every operation.

use super::{File, FileSystem, Mapping};
use std::collections::{BTreeMap, BTreeSet};
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

/// What a loss of power did to a disk: how many files or names each happened to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Losses {
    /// Files whose unsynced bytes are all gone.
    pub dropped: u32,
    /// Files of whose unsynced bytes a part is there.
    pub torn: u32,
    /// Files whose unsynced bytes are all there.
    pub kept: u32,
    /// Files with a lost or garbled sector before one that is whole.
    pub reordered: u32,
    /// Names that were made or moved there and not synced, and are gone.
    pub names_lost: u32,
    /// Names that were removed and are back.
    pub names_back: u32,
}

impl Losses {
    /// What happened, in words, and how often.
    pub fn kinds(self) -> impl Iterator<Item = (&'static str, u32)> {
        [
            ("all unsynced bytes of a file", self.dropped),
            ("a part of a file's unsynced bytes (torn)", self.torn),
            ("nothing of a file's unsynced bytes", self.kept),
            ("earlier sectors of a file, not later ones (reordered)", self.reordered),
            ("an unsynced name", self.names_lost),
            ("the removal of a name", self.names_back),
        ]
        .into_iter()
    }
}

#[derive(Debug, Default)]
struct State {
    image: Image,
    locked: BTreeSet<PathBuf>,
    operations: usize,
    fail_at: Range<usize>,
    failed: Option<&'static str>,
    recording: Option<Vec<Image>>,
    losses: Losses,
    capacity: Option<usize>,
}

/// A simulated disk; clones share it.
#[derive(Debug, Default, Clone)]
pub struct MemoryDisk(Arc<Mutex<State>>);

struct MemoryFile {
    disk: MemoryDisk,
    inode: usize,
}

struct MemoryLock(MemoryDisk, PathBuf);

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.state().locked.remove(&self.1);
    }
}

impl State {
    /// Counts a persistence operation; fails it when it is the chosen one.
    fn step(&mut self, what: &'static str) -> io::Result<()> {
        self.operations += 1;
        if self.fail_at.contains(&self.operations) {
            self.failed = Some(what);
            return Err(io::Error::other("injected fault"));
        }
        Ok(())
    }

    /// Bytes that can still be written.
    fn room(&self) -> usize {
        let Some(capacity) = self.capacity else { return usize::MAX };
        capacity.saturating_sub(self.used())
    }

    /// Bytes of all files that have a name.
    fn used(&self) -> usize {
        let inodes: BTreeSet<usize> = self.image.names.values().copied().collect();
        inodes.into_iter().map(|inode| self.image.inodes[inode].live.len()).sum()
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

    /// Makes these persistence operations fail, counted from 1 at the start of this disk.
    pub fn fail_at(&self, operations: Range<usize>) {
        self.state().fail_at = operations;
    }

    /// What the operation was that was made to fail, the last one of several.
    #[must_use]
    pub fn failed(&self) -> Option<&'static str> {
        self.state().failed
    }

    /// What the loss of power did that made this disk (see [`MemoryDisk::power_cut`]).
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.state().losses
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

    /// From now on holds at most so many bytes; `None`: as many as there are.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.state().capacity = bytes;
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used(&self) -> usize {
        self.state().used()
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
        let image = self.image_at(moment);
        let mut losses = Losses::default();
        let mut names = image.durable_names.clone();
        for (path, inode) in &image.names {
            if names.get(path) != Some(inode) {
                if choose(2) == 1 {
                    names.insert(path.clone(), *inode);
                } else {
                    losses.names_lost += 1;
                }
            }
        }
        for path in image.durable_names.keys() {
            if !image.names.contains_key(path) {
                if choose(2) == 1 {
                    names.remove(path);
                } else {
                    losses.names_back += 1;
                }
            }
        }
        let inodes = image.inodes.iter().map(|c| c.after_power_cut(choose, &mut losses)).collect();
        let image = Image { inodes, durable_names: names.clone(), names };
        Self(Arc::new(Mutex::new(State { image, losses, ..State::default() })))
    }

    /// A disk as the death of the process leaves this one after its `moment`-th recorded change (`None`:
    /// now): everything written is there to be read, and what was not synced can still be lost later.
    #[must_use]
    pub fn kill(&self, moment: Option<usize>) -> Self {
        let image = self.image_at(moment);
        Self(Arc::new(Mutex::new(State { image, ..State::default() })))
    }

    fn image_at(&self, moment: Option<usize>) -> Image {
        let state = self.state();
        let recorded = moment.and_then(|m| state.recording.as_ref()?.get(m));
        recorded.unwrap_or(&state.image).clone()
    }
}

impl Content {
    fn after_power_cut(&self, choose: &mut dyn FnMut(usize) -> usize, losses: &mut Losses) -> Self {
        let synced = self.durable.len();
        if self.live.len() <= synced || self.live[..synced] != self.durable[..] {
            // Cut back or rewritten without a sync: either content may be found.
            let found = if self.abandoned.is_empty() && choose(2) == 1 { &self.live } else { &self.durable };
            return Self { live: Arc::clone(found), durable: Arc::clone(found), abandoned: Vec::new() };
        }
        let unsynced = self.live.len() - synced;
        let kept = match choose(4) {
            0 => 0,
            1 => unsynced,
            _ => choose(unsynced + 1),
        };
        match kept {
            0 => losses.dropped += 1,
            _ if kept == unsynced => losses.kept += 1,
            _ => losses.torn += 1,
        }
        let mut bytes = self.live[..synced + kept].to_vec();
        if choose(2) == 1 {
            let (mut at, mut spoiled, mut whole_behind) = (synced, false, false);
            while at < bytes.len() {
                let end = bytes.len().min((at / SECTOR + 1) * SECTOR);
                match choose(6) {
                    0 => bytes[at..end].fill(0),
                    1 => bytes[at..end].iter_mut().for_each(|b| *b ^= 0xa5),
                    _ => whole_behind |= spoiled,
                }
                spoiled |= bytes[at..end] != self.live[at..end];
                at = end;
            }
            losses.reordered += u32::from(whole_behind);
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
        let outcome = state.step("append");
        // A failing write leaves a part of its bytes behind.
        let written = if outcome.is_ok() { bytes.len() } else { bytes.len() / 2 };
        let room = state.room();
        let full = || Err(io::Error::from(ErrorKind::StorageFull));
        let (written, outcome) = if written > room { (room, full()) } else { (written, outcome) };
        let live = &mut state.image.inodes[self.inode].live;
        Arc::make_mut(live).extend_from_slice(&bytes[..written]);
        state.done();
        outcome
    }
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.step("sync");
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
        state.step("truncate")?;
        let live = &mut state.image.inodes[self.inode].live;
        Arc::make_mut(live).truncate(usize::try_from(size).unwrap_or(usize::MAX));
        state.done();
        Ok(())
    }
}

impl FileSystem for MemoryDisk {
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        self.state().step("create directory")
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        state.step("create")?;
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
        state.step("rename")?;
        let inode = state.image.names.remove(from).ok_or_else(|| not_found(from))?;
        state.image.names.insert(to.to_owned(), inode);
        state.done();
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step("remove")?;
        state.image.names.remove(path).ok_or_else(|| not_found(path))?;
        state.done();
        Ok(())
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step("link")?;
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
        state.step("sync directory")?;
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
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        if !self.state().locked.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(MemoryLock(self.clone(), path.to_owned()))))
    }
    fn lock_shared(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        Ok(if self.state().locked.contains(path) { None } else { Some(Box::new(())) })
    }
}
