//! The two seams to the world: files and clocks.
//!
//! Everything the engine does to a disk goes through [`FileSystem`], every look at the time through
//! [`Clock`], so that crash tests can put a simulated disk and a simulated clock under the real engine.
//! Durability contract: data is durable after [`File::sync`]; a created, renamed or removed name is
//! durable after [`FileSystem::sync_dir`] of its directory. Nothing else is promised.

mod disk;
pub mod memory;
mod mmap;

pub use disk::{Disk, SystemClock};

use std::fmt::Debug;
use std::io;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files as the engine uses them: append-only while written, immutable once sealed.
pub trait FileSystem: Debug + Send + Sync {
    /// Creates a directory and its parents; the names it had to make are durable when it returns.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates or truncates a file for appending.
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Whole content of a sealed file: mapped where that is possible.
    fn map(&self, path: &Path) -> io::Result<Mapping>;
    /// Renames a file, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Gives a sealed file a second name.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// The files directly inside a directory, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Makes the names inside a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Size of a file in bytes.
    fn size(&self, path: &Path) -> io::Result<u64>;
    /// Takes the directory's lock; `None` when another process (or engine) holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;
    /// Shares the directory's lock with other readers, without making a file; `None` when an engine holds it.
    fn lock_shared(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>>;
}

/// A file being appended to.
pub trait File: Send {
    /// Appends all of `bytes` or fails; after a failure some of them may stand in the file.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended so far durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file back to `size` bytes.
    fn truncate(&mut self, size: u64) -> io::Result<()>;
}

/// The bytes of a sealed file.
#[derive(Debug, Clone)]
pub enum Mapping {
    /// Mapped from the page cache.
    Mapped(Arc<memmap2::Mmap>),
    /// Held in memory (empty files, simulated disks).
    Owned(Arc<[u8]>),
}

impl Mapping {
    /// Says that the bytes of a range will hardly be looked at again, so that they need not stay in memory.
    pub fn release(&self, range: Range<usize>) {
        let end = range.end.min(self.len());
        if let Self::Mapped(map) = self
            && range.start < end
        {
            // Without it they stay until the map goes, which harms nobody.
            let _ = mmap::release(map, range.start..end);
        }
    }
}

impl Deref for Mapping {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Where the engine's idea of now comes from.
pub trait Clock: Debug + Send + Sync {
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> i64;
}
