//! The jobs: flush, merge, checkpoint, expire, copy. Each holds the catalog's lock from its beginning to
//! its end, so one runs at a time.
//!
//! Invariant: what is new is complete and durable before a catalog names it; what a catalog no longer names
//! is removed after that catalog is durable.

use super::flush::FlushSource;
use super::merge::MergeSource;
use super::plan;
use crate::Error;
use crate::block::{Block, LiveBlock, block_path, build_block};
use crate::defects;
use crate::engine::{Inner, lock};
use crate::head::{FlushedSeries, Part, WINDOW_MS, window_of};
use crate::store::Store;
use crate::wal::replay;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use storage_format::catalog::{BlockEntry, Catalog};
use storage_format::checkpoint;
use storage_format::model::{TimeRange, Timestamp};
use storage_format::wal::record;

/// A checkpoint is taken when the log behind the last one has grown to this many bytes, or to as many as
/// the head itself takes (about this many bytes a sample), whichever is more.
const CHECKPOINT_LOG_BYTES: u64 = 192 << 20;
const HEAD_BYTES_PER_SAMPLE: u64 = 3;
/// At most so many times the exemplars that the head may hold come back from the log after a restart.
const EXEMPLARS_AGAIN: u64 = 4;

impl Inner {
    /// After recovery: writes down what was read from the log, then lets writes be acknowledged.
    pub(crate) fn secure(&self) -> Result<(), Error> {
        if self.wal.is_held() {
            self.checkpoint().inspect_err(|e| {
                self.wal.hold_failed(&format!("the recovered head cannot be written down: {e}"));
            })?;
            self.wal.release();
        }
        Ok(())
    }

    /// Does what is due: cut whole windows off the head, checkpoint, drop expired blocks.
    pub(crate) fn maintain(&self) -> Result<(), Error> {
        self.secure()?;
        let flushed = self.flush_due();
        // Retention makes room on a full disk, so it must not wait for what failed there.
        let expired = self.expire();
        flushed.and(expired)?;
        while !*lock(&self.closing) && (self.merge_next()? || self.reclaim_next()?) {}
        Ok(())
    }

    /// Writes down what of the head is due: whole windows to blocks, or a checkpoint.
    fn flush_due(&self) -> Result<(), Error> {
        if let (Some(newest), Some(oldest)) = (self.head.newest(), self.head.oldest()) {
            // A window is cut when the head is half a window past it; until then late samples are cheap.
            let until = window_of(newest.saturating_sub(WINDOW_MS / 2));
            if oldest < until {
                self.flush(until)?;
            }
        }
        let log_bytes = self.wal.next().saturating_sub(lock(&self.catalog).log_position);
        let head_bytes = self.head.sample_count() * HEAD_BYTES_PER_SAMPLE;
        if log_bytes > CHECKPOINT_LOG_BYTES.max(head_bytes) {
            self.checkpoint()?;
        }
        self.relieve()
    }

    /// Merges the blocks whose turn it is. Returns whether there were any.
    pub(crate) fn merge_next(&self) -> Result<bool, Error> {
        let mut catalog = lock(&self.catalog);
        let newest = self.head.newest().into_iter().chain(catalog.blocks.iter().map(|b| b.max)).max();
        let longest = self.options.block_range_ms_max.min(self.options.retention_ms / 10);
        let live = self.live_blocks();
        let damaged: Vec<u64> =
            live.iter().filter(|block| block.damage().is_some()).map(|block| block.number).collect();
        let newest = newest.unwrap_or(i64::MIN);
        let Some(merge) = plan::next_merge(&catalog.blocks, &damaged, newest, longest) else {
            return Ok(false);
        };
        let is_source = |number: u64| merge.blocks.contains(&number);
        let sources: Vec<_> = live.iter().filter(|block| is_source(block.number)).cloned().collect();
        let entries = sources.iter().map(|block| &***block);
        let samples = entries.clone().map(|e| e.samples).sum();
        let series = entries.clone().map(|e| e.series).max().unwrap_or(0);
        let level = entries.clone().map(|e| e.level).max().unwrap_or(0) + 1;
        let rank = entries.clone().map(|e| e.rank).min().unwrap_or(0);
        let densest = entries.clone().map(|e| e.densest).sum();
        let slices = plan::slices(merge.range, series, samples, densest);
        let mut source = MergeSource::new(sources);
        self.replace(&mut catalog, &merge.blocks, (level, rank), slices, &mut source)?;
        self.counters.merges.fetch_add(1, Relaxed);
        Ok(true)
    }

    /// Writes what `source` has to a block of this level and rank, which takes the place of `sources`.
    pub(super) fn replace(
        &self,
        catalog: &mut Catalog,
        sources: &[u64],
        (level, rank): (u32, u64),
        slices: Vec<TimeRange>,
        source: &mut MergeSource,
    ) -> Result<(), Error> {
        let (fs, dir) = (&*self.store.fs, self.store.blocks_dir());
        let built = build_block(fs, &dir, self.next_number(), level, slices, source);
        let replaced = built.and_then(|built| {
            let mut changed = catalog.clone();
            changed.blocks.retain(|block| !sources.contains(&block.number));
            changed.blocks.extend(built.map(|entry| BlockEntry { rank, ..entry }));
            self.commit(catalog, changed)
        });
        if replaced.is_err() {
            self.clean_up(catalog);
        }
        replaced
    }

    /// Writes the head's samples before `until` to blocks, one for each window.
    pub(crate) fn flush(&self, until: Timestamp) -> Result<(), Error> {
        self.cut(Part::Before(until))
    }

    /// Writes exemplars to blocks of their own when they fill half of their room.
    pub(crate) fn relieve(&self) -> Result<(), Error> {
        let held = self.head.exemplar_count();
        if held > 0 && held >= (self.options.exemplars_max as u64).div_ceil(2) {
            self.cut(Part::Exemplars)?;
        }
        Ok(())
    }

    /// Writes a part of the head to blocks, one for each window.
    ///
    /// Whole windows go with a checkpoint, so that the log can be cut. For smaller parts that would be too
    /// much work; after a restart they are in the head once more and are merged away later, as long as that
    /// stays little beside the head.
    fn cut(&self, part: Part) -> Result<(), Error> {
        let mut catalog = lock(&self.catalog);
        let mut taken = self.head.begin_flush(part);
        let exemplars: u64 = taken.iter().map(|series| series.exemplars.len() as u64).sum();
        let written = self.write_blocks(&mut taken).and_then(|entries| {
            let blocks = catalog.blocks.iter().copied().chain(entries).collect();
            let changed = Catalog { blocks, ..catalog.clone() };
            let again = self.counters.exemplars_again.fetch_add(exemplars, Relaxed) + exemplars;
            let room = (self.options.exemplars_max as u64).saturating_mul(EXEMPLARS_AGAIN);
            if matches!(part, Part::Before(_)) || again > room {
                self.publish(&mut catalog, changed)
            } else {
                self.commit(&mut catalog, changed)
            }
        });
        drop(taken);
        match written {
            Ok(()) => self.head.end_flush(),
            Err(_) if defects::FAILED_FLUSH_DROPS => self.head.end_flush(),
            Err(_) => {
                self.clean_up(&catalog);
                self.head.abort_flush();
            }
        }
        self.counters.flushes.fetch_add(1, Relaxed);
        written
    }

    /// Writes one block for each window of the taken series.
    fn write_blocks(&self, taken: &mut [FlushedSeries]) -> Result<Vec<BlockEntry>, Error> {
        taken.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        let mut windows: Vec<Timestamp> =
            taken.iter().flat_map(|s| s.chunks.iter().map(|chunk| window_of(chunk.min))).collect();
        windows.extend(taken.iter().flat_map(|s| s.exemplars.iter().map(|e| window_of(e.timestamp))));
        windows.sort_unstable();
        windows.dedup();
        let mut entries = Vec::new();
        for start in windows {
            let window = TimeRange::new(start, start.saturating_add(WINDOW_MS));
            let mut source = FlushSource::new(taken, window);
            let number = self.next_number();
            let (fs, dir) = (&*self.store.fs, self.store.blocks_dir());
            let slices = plan::slices(window, 1, 0, source.densest());
            entries.extend(build_block(fs, &dir, number, 1, slices, &mut source)?);
        }
        Ok(entries)
    }

    /// Checkpoints the head, swaps in the catalog with the checkpoint added, then the blocks in memory, and
    /// removes what is not needed any more.
    fn publish(&self, current: &mut Catalog, mut changed: Catalog) -> Result<(), Error> {
        changed.checkpoint = self.next_number();
        // Everything before this position is in the head by now, or in the blocks.
        changed.log_position = self.wal.next();
        if defects::LOG_REMOVED_EARLY {
            let _ = replay::remove_before(&*self.store.fs, &self.store.wal_dir(), changed.log_position);
        }
        self.write_checkpoint(changed.checkpoint)?;
        self.swap(current, changed)?;
        self.unlogged.store(false, Relaxed);
        self.counters.checkpoints.fetch_add(1, Relaxed);
        self.counters.exemplars_again.store(0, Relaxed);
        let wal_dir = self.store.wal_dir();
        replay::remove_before(&*self.store.fs, &wal_dir, current.log_position)
            .map_err(Store::io(&wal_dir, "clean"))?;
        Ok(())
    }

    /// Makes `changed` the catalog. While there is a delete of which it is not known whether the log has it,
    /// the head is written down as well: the catalog has that delete's tombstone, and neither may be on the
    /// disk without the other.
    pub(super) fn commit(&self, current: &mut Catalog, changed: Catalog) -> Result<(), Error> {
        if self.unlogged.load(Relaxed) { self.publish(current, changed) } else { self.swap(current, changed) }
    }

    /// Makes `changed` the catalog, on disk and in memory, with the tombstones that its blocks need.
    fn swap(&self, current: &mut Catalog, mut changed: Catalog) -> Result<(), Error> {
        changed.number = self.next_number();
        let known = self.live_blocks();
        let mut live = Vec::with_capacity(changed.blocks.len());
        for entry in &changed.blocks {
            match known.iter().find(|block| block.number == entry.number) {
                Some(block) => live.push(Arc::clone(block)),
                None => {
                    let path = block_path(&self.store.blocks_dir(), entry.number);
                    let block = Arc::new(Block::open(&*self.store.fs, path, *entry)?);
                    live.push(Arc::new(LiveBlock::new(block, &[])));
                }
            }
        }
        live.sort_by_key(|block| block.rank);
        let mut deletions = lock(&self.deletions).clone();
        deletions.retain(|deletion| live.iter().any(|block| block.needs(deletion)));
        live.iter_mut().for_each(|block| *block = block.under(&deletions));
        changed.tombstones = deletions.iter().map(|deletion| deletion.tombstone.clone()).collect();
        if defects::SOURCES_REMOVED_EARLY {
            self.store.remove_unlisted(&changed)?;
        }
        self.store.stage_catalog(&changed)?;
        self.catalog_unsure.store(true, Relaxed);
        self.store.commit_catalog()?;
        self.catalog_unsure.store(false, Relaxed);
        *current = changed;
        *lock(&self.deletions) = deletions;
        *self.blocks.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
        self.store.remove_unlisted(current)?;
        Ok(())
    }

    fn write_checkpoint(&self, number: u64) -> Result<(), Error> {
        let path = self.store.checkpoint_path(number);
        self.store.create(&path, |file| {
            file.append(&checkpoint::file_header()).map_err(Store::io(&path, "write"))?;
            let mut offset = checkpoint::FILE_HEADER_BYTES as u64;
            let mut put = |payload: &[u8]| {
                let mut frame = Vec::new();
                checkpoint::put_frame(offset, payload, &mut frame);
                offset += frame.len() as u64;
                file.append(&frame).map_err(Store::io(&path, "write"))
            };
            let mut metadata = vec![checkpoint::METADATA];
            record::put_metadata(&self.metadata.entries(), &mut metadata);
            put(&metadata)?;
            self.head.checkpoint(&mut put)?;
            put(&[])
        })
    }

    /// Makes a consistent copy of the directory, see `Engine::copy`.
    pub(crate) fn copy(&self, name: &str) -> Result<(), Error> {
        let mut catalog = lock(&self.catalog);
        let unchanged = catalog.clone();
        self.publish(&mut catalog, unchanged)?;
        let target = self.store.copy_to(name)?;
        for block in &catalog.blocks {
            let path = |store: &Store| block_path(&store.blocks_dir(), block.number);
            self.store.link(&path(&self.store), &path(&target))?;
        }
        let checkpoint = |store: &Store| store.checkpoint_path(catalog.checkpoint);
        self.store.link(&checkpoint(&self.store), &checkpoint(&target))?;
        target.sync_dir(&target.blocks_dir())?;
        target.sync_dir(&target.head_dir())?;
        target.write_catalog(&catalog)
    }

    /// Writes the head down, so that the log before can go.
    pub(crate) fn checkpoint(&self) -> Result<(), Error> {
        let mut catalog = lock(&self.catalog);
        let unchanged = catalog.clone();
        let published = self.publish(&mut catalog, unchanged);
        if published.is_err() {
            self.clean_up(&catalog);
        }
        published
    }

    /// Removes what a failed job has left, so that a full disk is not kept full by it. Not while it is unknown
    /// which catalog holds: that one may name it.
    fn clean_up(&self, catalog: &Catalog) {
        if !self.catalog_unsure.load(Relaxed) {
            // What cannot be removed now is removed with the next catalog.
            let _ = self.store.remove_unlisted(catalog);
        }
    }

    /// Drops the blocks whose newest sample is beyond the retention.
    fn expire(&self) -> Result<(), Error> {
        let mut catalog = lock(&self.catalog);
        let from = self.kept_from();
        let mut changed = catalog.clone();
        changed.blocks.retain(|block| block.max >= from);
        if changed.blocks.len() == catalog.blocks.len() {
            return Ok(());
        }
        self.commit(&mut catalog, changed)
    }
}
