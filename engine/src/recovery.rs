//! Opening: lock, catalog, blocks, checkpoint, log, head.
//!
//! Invariant: the log continues at the greater of its own end and the catalog's position, so that no
//! position is used twice even when the log's unsynced tail was lost.

use crate::Error;
use crate::block::{Block, block_path};
use crate::head::{Head, Replay};
use crate::metadata::MetadataStore;
use crate::store::Store;
use crate::wal::replay::Log;
use rayon::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;
use storage_format::FormatError;
use storage_format::catalog::Catalog;
use storage_format::checkpoint;
use storage_format::wal::record;

/// What was found and put back.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) catalog: Catalog,
    pub(crate) blocks: Vec<Arc<Block>>,
    /// Where the log goes on.
    pub(crate) next: u64,
    /// Whether anything came from the log. What was read may stand in the page cache only, so nothing may
    /// be acknowledged that builds on it before a checkpoint has it.
    pub(crate) from_log: bool,
    /// Damage that was found, a sentence each; the data around it is there.
    pub(crate) damage: Vec<String>,
}

/// Opens every live block. A block that cannot be opened is kept in the list: queries that would need it
/// fail and name it.
fn open_blocks(store: &Store, catalog: &Catalog, damage: &mut Vec<String>) -> Vec<Arc<Block>> {
    let mut blocks = Vec::with_capacity(catalog.blocks.len());
    for entry in &catalog.blocks {
        let path = block_path(&store.blocks_dir(), entry.number);
        let block = Block::open(&*store.fs, path.clone(), *entry).unwrap_or_else(|e| {
            damage.push(e.to_string());
            Block::broken(path, *entry, &e)
        });
        blocks.push(Arc::new(block));
    }
    blocks.sort_by_key(|block| block.entry.rank);
    blocks
}

fn load_checkpoint(
    store: &Store,
    number: u64,
    head: &Head,
    metadata: &MetadataStore,
    damage: &mut Vec<String>,
) -> Result<(), Error> {
    let path = store.checkpoint_path(number);
    let bytes = store.fs.map(&path).map_err(Store::io(&path, "read"))?;
    let mut damaged = Vec::new();
    let corrupt = |path: PathBuf| move |source| Error::Corrupt { path, source };
    let frames = checkpoint::frames(&bytes, &mut damaged).map_err(corrupt(path.clone()))?;
    let failed: Vec<FormatError> = frames
        .par_iter()
        .filter_map(|(compressed, length)| {
            let loaded = load_frame(compressed, *length, head, metadata);
            let start = compressed.as_ptr() as usize - bytes.as_ptr() as usize;
            bytes.release(start..start + compressed.len());
            loaded.err()
        })
        .collect();
    damage.extend(damaged.iter().chain(&failed).map(|e| format!("{}: {e}", path.display())));
    Ok(())
}

fn load_frame(
    compressed: &[u8],
    length: usize,
    head: &Head,
    metadata: &MetadataStore,
) -> Result<(), FormatError> {
    let payload = checkpoint::unpack(compressed, length)?;
    match payload.split_first() {
        Some((&checkpoint::SERIES, groups)) => head.restore(groups),
        Some((&checkpoint::METADATA, entries)) => {
            metadata.restore(record::read_metadata(entries)?);
            Ok(())
        }
        _ => Err(FormatError::malformed("head checkpoint", 0)),
    }
}

/// Applies the log from a position on.
fn replay(
    store: &Store,
    from: u64,
    head: &Head,
    metadata: &MetadataStore,
    damage: &mut Vec<String>,
) -> Result<Log, Error> {
    let replay = Replay::new(head);
    let mut found = Vec::new();
    let mut visit = |run: &[(u8, &[u8])]| {
        let mut batches = Vec::with_capacity(run.len());
        for (record_type, payload) in run {
            match *record_type {
                record::BATCH => batches.push(*payload),
                record::METADATA => match record::read_metadata(payload) {
                    Ok(entries) => metadata.restore(entries),
                    Err(e) => found.push(e.to_string()),
                },
                unknown => found.push(format!("record of unknown type {unknown}")),
            }
        }
        found.extend(replay.apply(&batches).iter().map(FormatError::to_string));
    };
    let mut log = Log::read(&*store.fs, &store.wal_dir(), from, &mut visit)?;
    damage.append(&mut log.damage);
    damage.extend(found.iter().map(|e| format!("write-ahead log: {e}")));
    Ok(log)
}

/// Puts the engine's state back as the directory holds it.
pub(crate) fn recover(
    store: &Store,
    catalog: Catalog,
    head: &Head,
    metadata: &MetadataStore,
) -> Result<Recovered, Error> {
    let mut damage = Vec::new();
    store.remove_unlisted(&catalog)?;
    let blocks = open_blocks(store, &catalog, &mut damage);
    if catalog.checkpoint != 0 {
        load_checkpoint(store, catalog.checkpoint, head, metadata, &mut damage)?;
    }
    let log = replay(store, catalog.log_position, head, metadata, &mut damage)?;
    let next = log.end.max(catalog.log_position);
    head.recount_oldest();
    Ok(Recovered { catalog, blocks, next, from_log: log.records > 0, damage })
}
