//! Bytes on disk by kind, after each server has been asked to put everything into its lasting form.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use storage_format::block::{BlobRef, BlockView, PAGE_SERIES, Section, read_footer};
use tests_support::prom::Api;
use tests_support::servers::{Kind, Server};

/// Bytes by what they are for.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Sizes {
    /// Samples.
    pub data: u64,
    /// What finds them: series, labels, postings.
    pub index: u64,
    /// Logs and whatever else is kept to recover.
    pub log: u64,
    /// Everything else.
    pub other: u64,
}

impl Sizes {
    /// What the stored samples cost in the end: everything but the log.
    pub fn lasting(&self) -> u64 {
        self.data + self.index + self.other
    }
}

/// Puts everything into its lasting form and measures it.
///
/// # Errors
/// When the server refuses.
pub fn measure(server: &Server, limit: Duration) -> Result<Sizes, String> {
    let mut api = server.api();
    let data = server.dir().join("data");
    match server.kind() {
        Kind::Prometheus => prometheus(&mut api, &data),
        Kind::VictoriaMetrics => {
            ask(&mut api, "GET", "/internal/force_flush")?;
            ask(&mut api, "GET", "/internal/force_merge")?;
            await_stable(&data, limit);
            Ok(walk(&data, &victoria))
        }
        Kind::Marigram => {
            ask(&mut api, "POST", "/api/v1/admin/tsdb/flush")?;
            // Compaction goes on by itself after the flush.
            await_stable(&data, limit);
            marigram(&data)
        }
    }
}

/// Which kind of bytes a file holds.
#[derive(Debug, Clone, Copy)]
enum Which {
    Data,
    Index,
    Log,
    Other,
}

/// Prometheus keeps the last hours in its head; a snapshot writes them as a block beside the others.
fn prometheus(api: &mut Api, data: &Path) -> Result<Sizes, String> {
    let answer = ask(api, "POST", "/api/v1/admin/tsdb/snapshot")?;
    let json: serde_json::Value = serde_json::from_str(&answer).map_err(|e| e.to_string())?;
    let name = json["data"]["name"].as_str().ok_or("the snapshot has no name")?;
    let snapshot = data.join("snapshots").join(name);
    let mut sizes = walk(&snapshot, &|path| {
        if path.components().any(|c| c.as_os_str() == "chunks") {
            Which::Data
        } else if path.ends_with("index") {
            Which::Index
        } else {
            Which::Other
        }
    });
    for log in ["wal", "chunks_head"] {
        let found = walk(&data.join(log), &|_| Which::Log);
        sizes.log += found.log;
    }
    fs::remove_dir_all(&snapshot).map_err(|e| e.to_string())?;
    Ok(sizes)
}

/// Its caches, saved by a clean stop, can be made again and count as a log.
fn victoria(path: &Path) -> Which {
    let is = |part: &str| path.components().any(|c| c.as_os_str() == part);
    if is("cache") {
        Which::Log
    } else if is("indexdb") || is("metadata") {
        Which::Index
    } else if is("small") || is("big") {
        Which::Data
    } else {
        Which::Other
    }
}

/// Marigram keeps data and index in one file a block, whose footer tells where the index is.
fn marigram(data: &Path) -> Result<Sizes, String> {
    let mut sizes = walk(data, &|path| match folder(path, data) {
        "blocks" => Which::Data,
        "catalog" => Which::Index,
        "wal" | "head" => Which::Log,
        _ => Which::Other,
    });
    for path in files(data).into_iter().filter(|p| p.extension().is_some_and(|e| e == "block")) {
        let index = block_index(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        sizes.data -= index;
        sizes.index += index;
    }
    Ok(sizes)
}

/// The first part of a path below `root`.
fn folder<'a>(path: &'a Path, root: &Path) -> &'a str {
    let first = path.strip_prefix(root).ok().and_then(|p| p.components().next());
    first.and_then(|c| c.as_os_str().to_str()).unwrap_or_default()
}

/// Bytes of a block that find series and samples: its sections, and its pages with labels and places.
fn block_index(path: &Path) -> Result<u64, String> {
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let footer = read_footer(&bytes).map_err(|e| e.to_string())?;
    let view = BlockView::new(&bytes, &footer);
    let pages = view.blob(view.section(Section::Pages)).map_err(|e| e.to_string())?;
    let mut index: u64 = footer.sections.iter().map(|s| s.length).sum();
    for page in 0..usize::try_from(footer.series).unwrap_or(0).div_ceil(PAGE_SERIES) {
        index += BlobRef::of_table(pages, page).map_err(|e| e.to_string())?.length;
    }
    Ok(index)
}

fn ask(api: &mut Api, method: &str, path: &str) -> Result<String, String> {
    let answer = if method == "POST" { api.post(path) } else { api.get(path) };
    let answer = answer.map_err(|e| format!("{path}: {e}"))?;
    if answer.is_success() { Ok(answer.text()) } else { Err(format!("{path}: {}", answer.text())) }
}

/// Waits until the folder's size has not changed for three seconds, at most for `limit`.
fn await_stable(dir: &Path, limit: Duration) {
    let deadline = Instant::now() + limit;
    let (mut last, mut since) = (0, Instant::now());
    while Instant::now() < deadline && since.elapsed() < Duration::from_secs(3) {
        let size = walk(dir, &|_| Which::Data).data;
        if size != last {
            (last, since) = (size, Instant::now());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Sizes of all files below a folder. A file that vanishes meanwhile does not count; one with several names
/// counts once for each.
fn walk(dir: &Path, which: &dyn Fn(&Path) -> Which) -> Sizes {
    let mut sizes = Sizes::default();
    for path in files(dir) {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let field = match which(&path) {
            Which::Data => &mut sizes.data,
            Which::Index => &mut sizes.index,
            Which::Log => &mut sizes.log,
            Which::Other => &mut sizes.other,
        };
        // A sparse file (a reserved log) costs what it occupies, a full one its length.
        *field += meta.len().min(meta.blocks() * 512);
    }
    sizes
}

/// All files below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}
