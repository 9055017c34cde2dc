//! The data directory: its names, its lock, and the catalog that says what in it is live.
//!
//! Invariant: a change becomes visible by one rename of the catalog, after everything it names is durable;
//! only then may anything it no longer names be removed.

use crate::Error;
use crate::io::{File, FileSystem};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage_format::catalog::Catalog;

/// Files of one data directory.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) fs: Arc<dyn FileSystem>,
    root: PathBuf,
}

impl Store {
    /// Creates the directory and its folders where they are missing.
    pub(crate) fn open(fs: Arc<dyn FileSystem>, root: PathBuf) -> Result<Self, Error> {
        let store = Self { fs, root };
        for dir in [store.root.clone(), store.wal_dir(), store.blocks_dir(), store.head_dir()] {
            store.fs.create_dir(&dir).map_err(Self::io(&dir, "create"))?;
        }
        store.sync_dir(&store.root)?;
        Ok(store)
    }

    /// The store of a directory that is only read.
    pub(crate) fn existing(fs: Arc<dyn FileSystem>, root: PathBuf) -> Self {
        Self { fs, root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Keeps engines away while the directory is read.
    pub(crate) fn lock_shared(&self) -> Result<Box<dyn Send + Sync>, Error> {
        let path = self.root.join("lock");
        let lock = self.fs.lock_shared(&path).map_err(Self::io(&path, "lock"))?;
        lock.ok_or_else(|| Error::Locked { path: self.root.clone() })
    }

    /// The store of a copy: a directory of its own under `snapshots`.
    pub(crate) fn copy_to(&self, name: &str) -> Result<Self, Error> {
        let copies = self.root.join("snapshots");
        let copy = Self::open(Arc::clone(&self.fs), copies.join(name))?;
        self.sync_dir(&copies)?;
        self.sync_dir(&self.root)?;
        Ok(copy)
    }

    /// Gives a sealed file a second name.
    pub(crate) fn link(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.fs.hard_link(from, to).map_err(Self::io(to, "link"))
    }

    /// Gives a damaged file a second name under `damaged`, so that it is there when its place is taken.
    pub(crate) fn keep_damaged(&self, path: &Path) -> Result<(), Error> {
        let dir = self.root.join("damaged");
        let Some(name) = path.file_name() else { return Ok(()) };
        self.fs.create_dir(&dir).map_err(Self::io(&dir, "create"))?;
        let kept = dir.join(name);
        match self.fs.hard_link(path, &kept) {
            // The file is not there any more, or was kept before.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => Ok(()),
            linked => linked.map_err(Self::io(&kept, "link")),
        }
    }

    /// Takes the directory's lock.
    pub(crate) fn lock(&self) -> Result<Box<dyn Send + Sync>, Error> {
        let path = self.root.join("lock");
        let lock = self.fs.lock(&path).map_err(Self::io(&path, "lock"))?;
        lock.ok_or_else(|| Error::Locked { path: self.root.clone() })
    }

    pub(crate) fn io(path: &Path, operation: &'static str) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::Io { path, operation, source }
    }

    pub(crate) fn wal_dir(&self) -> PathBuf {
        self.root.join("wal")
    }

    pub(crate) fn blocks_dir(&self) -> PathBuf {
        self.root.join("blocks")
    }

    pub(crate) fn head_dir(&self) -> PathBuf {
        self.root.join("head")
    }

    pub(crate) fn checkpoint_path(&self, number: u64) -> PathBuf {
        self.head_dir().join(format!("{number:016x}.checkpoint"))
    }

    pub(crate) fn catalog_path(&self) -> PathBuf {
        self.root.join("catalog")
    }

    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<(), Error> {
        self.fs.sync_dir(dir).map_err(Self::io(dir, "fsync directory"))
    }

    /// Creates a file, lets `write` fill it, makes it durable under its final name.
    pub(crate) fn create(
        &self,
        path: &Path,
        write: impl FnOnce(&mut dyn File) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.stage(path, write)?;
        self.commit(path)
    }

    /// Writes a file durably under a temporary name; where that fails, nothing is left of it.
    fn stage(
        &self,
        path: &Path,
        write: impl FnOnce(&mut dyn File) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let temporary = path.with_extension("tmp");
        let filled = || {
            let mut file = self.fs.create(&temporary).map_err(Self::io(&temporary, "create"))?;
            write(&mut *file)?;
            file.sync().map_err(Self::io(&temporary, "fsync"))
        };
        let outcome = filled();
        if outcome.is_err() {
            // On a full disk it would keep it full.
            let _ = self.fs.remove(&temporary);
        }
        outcome
    }

    /// Gives a staged file its name.
    fn commit(&self, path: &Path) -> Result<(), Error> {
        self.fs.rename(&path.with_extension("tmp"), path).map_err(Self::io(path, "rename"))?;
        if crate::defects::CATALOG_NAME_NOT_SYNCED {
            return Ok(());
        }
        self.sync_dir(path.parent().unwrap_or(Path::new(".")))
    }

    /// The catalog; `None` in a new directory.
    ///
    /// # Errors
    /// When it is damaged, or missing although there are blocks.
    pub(crate) fn read_catalog(&self) -> Result<Option<Catalog>, Error> {
        let path = self.catalog_path();
        match self.fs.map(&path) {
            Ok(bytes) => {
                let catalog = Catalog::decode(&bytes);
                catalog.map(Some).map_err(|source| Error::Corrupt { path, source })
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                // To begin anew would remove what the lost catalog named.
                for (dir, kind) in [(self.blocks_dir(), "block"), (self.head_dir(), "checkpoint")] {
                    let files = self.fs.list(&dir).map_err(Self::io(&dir, "list"))?;
                    if files.iter().any(|f| f.extension().is_some_and(|e| e == kind)) {
                        let operation = "find the catalog of the data in";
                        return Err(Error::Io { path: self.root.clone(), operation, source: e });
                    }
                }
                Ok(None)
            }
            Err(e) => Err(Self::io(&path, "read")(e)),
        }
    }

    /// Swaps in a catalog.
    pub(crate) fn write_catalog(&self, catalog: &Catalog) -> Result<(), Error> {
        self.stage_catalog(catalog)?;
        self.commit_catalog()
    }

    /// Writes a catalog down without making it the one that holds: a failure changes nothing.
    pub(crate) fn stage_catalog(&self, catalog: &Catalog) -> Result<(), Error> {
        let path = self.catalog_path();
        let bytes = catalog.encode();
        self.stage(&path, |file| file.append(&bytes).map_err(Self::io(&path, "write")))
    }

    /// Makes the staged catalog the one that holds; after a failure it is unknown which one does.
    pub(crate) fn commit_catalog(&self) -> Result<(), Error> {
        self.commit(&self.catalog_path())
    }

    /// Removes the files of our own naming that `catalog` does not name: leftovers of a crash, sources of
    /// a merge, expired blocks, older checkpoints. Returns how many.
    pub(crate) fn remove_unlisted(&self, catalog: &Catalog) -> Result<usize, Error> {
        let mut removed = 0;
        for dir in [self.root.clone(), self.blocks_dir(), self.head_dir()] {
            for path in self.fs.list(&dir).map_err(Self::io(&dir, "list"))? {
                if self.is_leftover(&path, catalog) {
                    self.fs.remove(&path).map_err(Self::io(&path, "remove"))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    fn is_leftover(&self, path: &Path, catalog: &Catalog) -> bool {
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let number = if stem.len() == 16 { u64::from_str_radix(stem, 16).ok() } else { None };
        match (path.extension().and_then(|e| e.to_str()), number) {
            (Some("tmp"), number) => number.is_some() || stem == "catalog",
            (Some("block"), Some(n)) => !catalog.blocks.iter().any(|block| block.number == n),
            (Some("checkpoint"), Some(n)) => n != catalog.checkpoint,
            _ => false,
        }
    }
}
