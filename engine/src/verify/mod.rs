//! Looks at every byte of a data directory without changing any, and names what is damaged.
//!
//! Where it sits: beside the engine, not in it; nothing is opened for use. The catalog is read first, then
//! every file by itself, all cores at once, and last what the files say about one another.

mod block;
mod checkpoint;
mod log;

use crate::Error;
use crate::block::block_path;
use crate::io::FileSystem;
use crate::store::Store;
use hashbrown::HashSet;
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use storage_format::FormatError;
use storage_format::catalog::{BlockEntry, Catalog};

/// Most findings kept for one file; more are counted.
const FINDINGS_MAX: usize = 100;

/// What was found in a data directory.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    /// Every file, sorted by path.
    pub files: Vec<FileCheck>,
}

/// What was found in one file.
#[derive(Debug, Clone)]
pub struct FileCheck {
    /// The file.
    pub path: PathBuf,
    /// What it is: "catalog", "block", "checkpoint", "log segment", or what else stands there.
    pub kind: &'static str,
    /// Its length.
    pub bytes: u64,
    /// What it holds, in words; empty when that is not known.
    pub content: String,
    /// What is to be told about it.
    pub findings: Vec<Finding>,
}

/// Something to be told about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is damage; else it is merely worth knowing.
    pub damage: bool,
    /// Where in the file, if it is one place.
    pub offset: Option<u64>,
    /// What, in words.
    pub what: String,
}

/// How far a verification is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Files looked at.
    pub files: u64,
    /// All files.
    pub files_total: u64,
    /// Bytes looked at.
    pub bytes: u64,
    /// Bytes of all files.
    pub bytes_total: u64,
}

impl Verification {
    /// Number of damages found.
    #[must_use]
    pub fn damages(&self) -> usize {
        self.files.iter().flat_map(|file| &file.findings).filter(|finding| finding.damage).count()
    }
}

impl FileCheck {
    fn new(path: PathBuf, kind: &'static str, bytes: u64) -> Self {
        Self { path, kind, bytes, content: String::new(), findings: Vec::new() }
    }

    fn damage(&mut self, offset: impl Into<Option<u64>>, what: impl Into<String>) {
        self.add(true, offset.into(), what.into());
    }

    fn notice(&mut self, what: impl Into<String>) {
        self.add(false, None, what.into());
    }

    fn add(&mut self, damage: bool, offset: Option<u64>, what: String) {
        match self.findings.len() {
            FINDINGS_MAX => {
                let more = "more findings, which are not shown".to_owned();
                self.findings.push(Finding { damage, offset: None, what: more });
            }
            n if n < FINDINGS_MAX => self.findings.push(Finding { damage, offset, what }),
            _ => {}
        }
    }

    /// Adds what a decoder said about the structure at `offset`.
    fn malformed(&mut self, offset: u64, what: &str, error: &FormatError) {
        self.damage(offset, format!("{what}: {error}"));
    }
}

/// What the files say about one another.
#[derive(Debug, Default)]
struct Together {
    /// Numbers of the series that checkpoint and log define.
    defined: HashSet<u64>,
    /// For each log segment the samples behind the catalog's position: series number, how many.
    samples: Vec<(PathBuf, hashbrown::HashMap<u64, u64>)>,
}

/// One file and what its place says about it.
struct Task {
    path: PathBuf,
    what: What,
    bytes: u64,
}

enum What {
    Catalog,
    Block(Option<BlockEntry>),
    Checkpoint,
    Segment { base: u64, next: Option<u64>, covered: bool },
    Other(&'static str, &'static str),
    Missing(&'static str),
}

/// Looks at every file of the directory at `dir`: every checksum, every chunk, every order, and what the
/// files say about one another. Changes nothing. `progress` is called after each file, from any thread.
///
/// # Errors
/// When the directory cannot be listed or is in use.
pub fn verify(
    fs: &Arc<dyn FileSystem>,
    dir: &Path,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Verification, Error> {
    let store = Store::existing(Arc::clone(fs), dir.to_owned());
    let _lock = store.lock_shared()?;
    let catalog = store.read_catalog().ok().flatten();
    let tasks = tasks(&store, catalog.as_ref())?;
    let (files, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let bytes_total = tasks.iter().map(|task| task.bytes).sum();
    let checked: Vec<(FileCheck, Together)> = tasks
        .par_iter()
        .map(|task| {
            let checked = check(&store, task, catalog.as_ref());
            let files = files.fetch_add(1, Relaxed) + 1;
            let bytes = bytes.fetch_add(task.bytes, Relaxed) + task.bytes;
            progress(Progress { files, files_total: tasks.len() as u64, bytes, bytes_total });
            checked
        })
        .collect();
    let mut verification = Verification::default();
    let mut together = Together::default();
    for (file, said) in checked {
        verification.files.push(file);
        together.defined.extend(said.defined);
        together.samples.extend(said.samples);
    }
    for (path, samples) in together.samples {
        let orphans: u64 =
            samples.iter().filter(|(id, _)| !together.defined.contains(*id)).map(|(_, n)| n).sum();
        let file = verification.files.iter_mut().find(|file| file.path == path);
        if let Some(file) = file.filter(|_| orphans > 0) {
            file.damage(None, format!("{orphans} samples are of series that nothing defines"));
        }
    }
    verification.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(verification)
}

/// The files of the directory, and those that should be there.
fn tasks(store: &Store, catalog: Option<&Catalog>) -> Result<Vec<Task>, Error> {
    let mut tasks = Vec::new();
    let mut add = |path: PathBuf, what: What| {
        let bytes = store.fs.size(&path).unwrap_or(0);
        tasks.push(Task { path, what, bytes });
    };
    let list = |dir: &Path| match store.fs.list(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(Store::io(dir, "list")),
    };
    let root = store.root().to_owned();
    for path in store.fs.list(&root).map_err(Store::io(&root, "list"))? {
        let what = match path.file_name().and_then(|name| name.to_str()) {
            Some("catalog") => What::Catalog,
            Some("lock") => What::Other("lock", ""),
            Some("catalog.tmp") => LEFTOVER,
            _ => UNKNOWN,
        };
        add(path, what);
    }
    for path in list(&root.join("damaged"))? {
        add(path, What::Other("kept", "kept because damage was met in it"));
    }
    let wal_dir = store.wal_dir();
    let segments = crate::wal::replay::segments(&*store.fs, &wal_dir).unwrap_or_default();
    let mut covered = catalog.map(|catalog| catalog.log_position);
    for (i, (path, base)) in segments.iter().enumerate() {
        let next = segments.get(i + 1).map(|(_, next)| *next);
        let reaches = base.saturating_add(store.fs.size(path).unwrap_or(0).saturating_sub(32));
        let gap = covered.is_some_and(|covered| *base > covered);
        covered = covered.map(|covered| covered.max(reaches));
        add(path.clone(), What::Segment { base: *base, next, covered: !gap });
    }
    for path in list(&wal_dir)?.into_iter().filter(|path| !segments.iter().any(|(known, _)| known == path)) {
        add(path, UNKNOWN);
    }
    let live = catalog.map_or(&[][..], |catalog| &catalog.blocks);
    for dir in [store.blocks_dir(), store.head_dir()] {
        for path in list(&dir)? {
            let stem = path.file_stem().and_then(|s| s.to_str()).filter(|s| s.len() == 16);
            let number = stem.and_then(|s| u64::from_str_radix(s, 16).ok());
            let entry = live.iter().find(|entry| Some(entry.number) == number).copied();
            let what = match (path.extension().and_then(|e| e.to_str()), number) {
                (Some("tmp"), Some(_)) => LEFTOVER,
                (Some("block"), Some(_)) if entry.is_some() || catalog.is_none() => What::Block(entry),
                (Some("checkpoint"), n @ Some(_)) if catalog.is_none_or(|c| Some(c.checkpoint) == n) => {
                    What::Checkpoint
                }
                (Some("block" | "checkpoint"), Some(_)) => LEFTOVER,
                _ => UNKNOWN,
            };
            add(path, what);
        }
    }
    let there = |path: &Path| store.fs.size(path).is_ok();
    for path in live.iter().map(|entry| block_path(&store.blocks_dir(), entry.number)) {
        if !there(&path) {
            add(path, What::Missing("block"));
        }
    }
    if let Some(number) = catalog.map(|catalog| catalog.checkpoint).filter(|number| *number != 0) {
        let path = store.checkpoint_path(number);
        if !there(&path) {
            add(path, What::Missing("checkpoint"));
        }
    }
    if !there(&store.catalog_path()) && tasks.iter().any(|task| matches!(task.what, What::Block(_))) {
        tasks.push(Task { path: store.catalog_path(), what: What::Missing("catalog"), bytes: 0 });
    }
    Ok(tasks)
}

const LEFTOVER: What = What::Other("leftover", "left by a crash; removed when the directory is opened");
const UNKNOWN: What = What::Other("unknown", "not one of Marigram's files; left alone");

fn check(store: &Store, task: &Task, catalog: Option<&Catalog>) -> (FileCheck, Together) {
    let kind = match &task.what {
        What::Catalog => "catalog",
        What::Block(_) => "block",
        What::Checkpoint => "checkpoint",
        What::Segment { .. } => "log segment",
        What::Other(kind, _) | What::Missing(kind) => *kind,
    };
    let mut file = FileCheck::new(task.path.clone(), kind, task.bytes);
    let mut together = Together::default();
    match &task.what {
        What::Other(_, "") => return (file, together),
        What::Other(_, text) => {
            file.notice(*text);
            return (file, together);
        }
        What::Missing(_) => {
            file.damage(None, "the file is missing");
            return (file, together);
        }
        _ => {}
    }
    let bytes = match store.fs.map(&task.path) {
        Ok(bytes) => bytes,
        Err(e) => {
            file.damage(None, format!("cannot be read: {e}"));
            return (file, together);
        }
    };
    match &task.what {
        What::Catalog => match Catalog::decode(&bytes) {
            Ok(catalog) => file.content = format!("{} blocks", catalog.blocks.len()),
            Err(e) => file.damage(e.offset as u64, e.to_string()),
        },
        What::Block(entry) => block::check(&bytes, entry.as_ref(), &mut file),
        What::Checkpoint => checkpoint::check(&bytes, &mut file, &mut together),
        What::Segment { base, next, covered } => {
            if !covered {
                file.damage(None, "log positions before it are in no file");
            }
            let from = catalog.map_or(0, |catalog| catalog.log_position);
            log::check(&bytes, *base, *next, from, &mut file, &mut together);
        }
        What::Other(..) | What::Missing(_) => {}
    }
    (file, together)
}
