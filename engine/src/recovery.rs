//! Opening: lock, catalog, blocks, checkpoint, log, head.
//!
//! Invariants: the log continues at the greater of its own end and the catalog's position, so that no
//! position is used twice even when the log's unsynced tail was lost. Damage never keeps the directory from
//! opening, but for that of the catalog and for files of newer versions: what is whole is there, what is lost
//! is told, and the damaged files of log and checkpoint, which are replaced soon, are kept under `damaged`.

use crate::Error;
use crate::block::{Block, LiveBlock, block_path};
use crate::defects;
use crate::head::{Change, Head, Replay};
use crate::metadata::MetadataStore;
use crate::store::Store;
use crate::tombstones::{Deletion, Deletions, with};
use crate::wal::replay::Log;
use rayon::prelude::*;
use std::sync::Arc;
use storage_format::FormatError;
use storage_format::catalog::Catalog;
use storage_format::checkpoint;
use storage_format::tombstone::read_tombstone;
use storage_format::wal::record;

/// What was found and put back.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) catalog: Catalog,
    pub(crate) blocks: Vec<Arc<LiveBlock>>,
    /// The deletes that blocks still need.
    pub(crate) deletions: Deletions,
    /// No block, checkpoint or catalog has a higher number, and none had one before a delete found here.
    pub(crate) number: u64,
    /// Where the log goes on.
    pub(crate) next: u64,
    /// Whether anything came from the log. What was read may stand in the page cache only, so nothing may
    /// be acknowledged that builds on it before a checkpoint has it.
    pub(crate) from_log: bool,
    /// Damage that was found and other things worth telling, a sentence each; the data around it is there.
    pub(crate) reports: Vec<String>,
    /// Damaged places in the log and in the checkpoint.
    pub(crate) corruptions: Corruptions,
}

/// How many damaged places opening met.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Corruptions {
    pub(crate) log: u64,
    pub(crate) checkpoint: u64,
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

/// Loads what is whole of a checkpoint; the damaged places go to `damage`.
///
/// # Errors
/// When it is of a newer version.
fn load_checkpoint(
    store: &Store,
    number: u64,
    head: &Head,
    metadata: &MetadataStore,
    damage: &mut Vec<String>,
) -> Result<(), Error> {
    let path = store.checkpoint_path(number);
    let bytes = match store.fs.map(&path).map_err(Store::io(&path, "read")) {
        Ok(bytes) => bytes,
        Err(e) => {
            damage.push(format!("{e}; what the head held at the last checkpoint is lost"));
            return Ok(());
        }
    };
    let mut damaged = Vec::new();
    let corrupt = |source| Error::Corrupt { path: path.clone(), source };
    let frames = checkpoint::frames(&bytes, &mut damaged).map_err(corrupt)?;
    let failed: Vec<(usize, FormatError)> = frames
        .par_iter()
        .filter_map(|frame| {
            let loaded = load_frame(frame, head, metadata);
            let start = frame.compressed.as_ptr() as usize - bytes.as_ptr() as usize;
            bytes.release(start..start + frame.compressed.len());
            loaded.err().map(|e| (frame.offset, e))
        })
        .collect();
    let name = path.display();
    damage.extend(damaged.iter().map(|e| format!("{name}: {e}; the series there are lost")));
    damage.extend(failed.iter().map(|(at, e)| format!("{name}: the frame at byte {at}: {e}")));
    Ok(())
}

fn load_frame(
    frame: &checkpoint::Frame<'_>,
    head: &Head,
    metadata: &MetadataStore,
) -> Result<(), FormatError> {
    let payload = checkpoint::unpack(frame.compressed, frame.length)?;
    match payload.split_first() {
        Some((&checkpoint::SERIES, groups)) => head.restore(groups),
        Some((&checkpoint::METADATA, entries)) => {
            metadata.restore(record::read_metadata(entries)?);
            Ok(())
        }
        _ => Err(FormatError::malformed("head checkpoint", 0)),
    }
}

/// Applies the log from a position on; what of its content cannot be used goes to `damage`.
fn replay(
    store: &Store,
    from: u64,
    head: &Head,
    metadata: &MetadataStore,
    damage: &mut Vec<String>,
) -> Result<(Log, Vec<Deletion>), Error> {
    let mut deletes = Vec::new();
    let dir = store.wal_dir();
    let name = dir.display();
    let replay = Replay::new(head);
    let mut visit = |run: &[(u8, &[u8])], lossy: bool| {
        let mut changes = Vec::with_capacity(run.len());
        for (record_type, payload) in run {
            match *record_type {
                record::BATCH | record::EXEMPLARS => changes.push(Change::Append(*record_type, payload)),
                record::DELETE => match read_delete(payload) {
                    Ok(deletion) => {
                        changes.push(Change::Delete(deletion.sets.clone(), deletion.tombstone.range));
                        deletes.push(deletion);
                    }
                    Err(e) => damage.push(format!("{name}: {e}")),
                },
                // They are known, unless the batch before is lost.
                record::DEFINITIONS => changes.extend(lossy.then_some(Change::Append(*record_type, payload))),
                record::METADATA => match record::read_metadata(payload) {
                    Ok(entries) => metadata.restore(entries),
                    Err(e) => damage.push(format!("{name}: {e}")),
                },
                unknown => damage.push(format!("{name}: a record of unknown type {unknown} is lost")),
            }
        }
        damage.extend(replay.apply(&changes).iter().map(|e| format!("{name}: {e}")));
    };
    let log = Log::read(&*store.fs, &dir, from, &mut visit)?;
    let orphans = replay.orphans();
    if orphans > 0 {
        damage.push(format!(
            "{name}: {orphans} samples are lost, because what says of which series they are is lost"
        ));
    }
    Ok((log, deletes))
}

fn read_delete(payload: &[u8]) -> Result<Deletion, String> {
    let tombstone = read_tombstone(payload).map_err(|e| e.to_string())?;
    Deletion::read(tombstone)
}

/// The deletes that blocks still need, of the catalog and of the log, and the highest number any of either
/// names.
fn deletions(catalog: &Catalog, logged: Vec<Deletion>, damage: &mut Vec<String>) -> (Deletions, u64) {
    let (mut all, mut number) = (Deletions::new(), catalog.number);
    for tombstone in &catalog.tombstones {
        number = number.max(tombstone.last_block);
        match Deletion::read(tombstone.clone()) {
            Ok(deletion) => all = with(&all, deletion),
            Err(e) => damage.push(format!("catalog: {e}")),
        }
    }
    for deletion in logged {
        number = number.max(deletion.tombstone.last_block);
        if catalog.blocks.iter().any(|block| deletion.holds_for(block)) {
            all = with(&all, deletion);
        }
    }
    (all, number)
}

/// Puts the engine's state back as the directory holds it.
pub(crate) fn recover(
    store: &Store,
    catalog: Catalog,
    head: &Head,
    metadata: &MetadataStore,
) -> Result<Recovered, Error> {
    let mut reports = Vec::new();
    store.remove_unlisted(&catalog)?;
    let blocks = open_blocks(store, &catalog, &mut reports);
    let mut damage = Vec::new();
    if catalog.checkpoint != 0 {
        load_checkpoint(store, catalog.checkpoint, head, metadata, &mut damage)?;
    }
    let mut kept =
        if damage.is_empty() { Vec::new() } else { vec![store.checkpoint_path(catalog.checkpoint)] };
    let mut corruptions = Corruptions { checkpoint: damage.len() as u64, log: 0 };
    reports.append(&mut damage);
    let (mut log, deletes) = replay(store, catalog.log_position, head, metadata, &mut damage)?;
    let (deletions, number) = deletions(&catalog, deletes, &mut damage);
    let live = |block| Arc::new(LiveBlock::new(block, &deletions));
    let blocks = blocks.into_iter().map(live).collect();
    corruptions.log = (log.damage.len() + damage.len()) as u64;
    kept.append(&mut log.damaged_files);
    reports.extend(log.damage.into_iter().chain(damage).chain(log.notices));
    for path in kept {
        // What is lost already is not more lost when this fails.
        if let Err(e) = store.keep_damaged(&path) {
            reports.push(format!("the damaged file is not kept: {e}"));
        }
    }
    let next = if defects::POSITION_REUSED { log.end } else { log.end.max(catalog.log_position) };
    head.recount_oldest();
    head.count_restored();
    Ok(Recovered {
        catalog,
        blocks,
        deletions,
        number,
        next,
        from_log: log.records > 0,
        reports,
        corruptions,
    })
}
