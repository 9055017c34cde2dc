//! Deletes: the moment at which samples go, and the jobs that give back the space they took.
//!
//! Invariant: the delete's record in the log is what makes it durable, for the head and for the blocks
//! alike. The catalog's tombstones only carry on what stands before the log's position; they are written
//! while the record is not durable by nobody but a job that also writes the head down.

use super::merge::MergeSource;
use crate::block::LiveBlock;
use crate::engine::{Inner, lock};
use crate::tombstones::{Deletion, check_limit, with};
use crate::{Error, Matcher};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use storage_format::catalog::Catalog;
use storage_format::model::TimeRange;
use storage_format::tombstone::put_tombstone;
use storage_format::wal::record;

/// From this share of deleted samples on a block is rewritten in the background.
const RECLAIM_SHARE: f64 = 0.05;
/// Blocks are rewritten whatever their share when this part of the selectors allowed is in force.
const CROWDED: usize = 4;

impl Inner {
    /// Removes the samples inside `range` of the series matched by any of `sets`, see `Engine::delete`.
    pub(crate) fn delete(&self, sets: &[Vec<Matcher>], range: TimeRange) -> Result<(), Error> {
        if sets.is_empty() || range.is_empty() {
            return Ok(());
        }
        // A held log would complete the ticket only after a checkpoint, which waits for the catalog's lock.
        self.secure()?;
        let catalog = lock(&self.catalog);
        self.wal.admit()?;
        let deletion = Deletion::new(sets, range, self.number.load(Relaxed));
        let mut payload = Vec::new();
        put_tombstone(&deletion.tombstone, &mut payload);
        let mut deletions = lock(&self.deletions);
        let changed = match catalog.blocks.iter().any(|block| deletion.holds_for(block)) {
            true => with(&deletions, deletion),
            false => {
                check_limit(&[Arc::new(deletion)], self.options.tombstones_max)?;
                deletions.clone()
            }
        };
        check_limit(&changed, self.options.tombstones_max)?;
        let live = self.live_blocks().iter().map(|block| block.under(&changed)).collect();
        self.head.delete(sets, range, || {
            *self.blocks.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
            self.wal.append(record::DELETE, &payload);
        })?;
        *deletions = changed;
        drop(deletions);
        self.head.recount_oldest();
        self.counters.deletes.fetch_add(1, Relaxed);
        let durable = self.wal.ticket().wait();
        if durable.is_err() {
            self.unlogged.store(true, Relaxed);
        }
        durable
    }

    /// Rewrites every block of which something is deleted, so that its space is free and no tombstone is
    /// needed any more.
    pub(crate) fn clean_tombstones(&self) -> Result<(), Error> {
        let (mut failed, mut first) = (Vec::new(), None);
        let known = self.number.load(Relaxed);
        loop {
            let mut catalog = lock(&self.catalog);
            let live = self.live_blocks();
            let mut wanted = live.iter().filter(|b| b.number <= known && !failed.contains(&b.number));
            let next = wanted.find(|block| block.is_masked().unwrap_or(true));
            let Some(block) = next else {
                let unchanged = catalog.clone();
                self.commit(&mut catalog, unchanged)?;
                return first.map_or(Ok(()), Err);
            };
            if let Err(e) = self.rewrite(&mut catalog, block) {
                failed.push(block.number);
                first.get_or_insert(e);
            }
        }
    }

    /// Rewrites the next block of which a meaningful part is deleted. Returns whether there was one.
    pub(crate) fn reclaim_next(&self) -> Result<bool, Error> {
        let mut catalog = lock(&self.catalog);
        let crowded =
            crate::tombstones::selectors(&lock(&self.deletions)) * CROWDED > self.options.tombstones_max;
        for block in self.live_blocks().iter() {
            // A damaged block is left alone; queries name it.
            let due = block.damage().is_none()
                && (block.deleted_share().is_ok_and(|share| share >= RECLAIM_SHARE)
                    || crowded && block.is_masked().unwrap_or(false));
            if due {
                self.rewrite(&mut catalog, block)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes what is left of a block to a new one that takes its place.
    fn rewrite(&self, catalog: &mut Catalog, block: &Arc<LiveBlock>) -> Result<(), Error> {
        let slices = block.slices()?.to_vec();
        let mut source = MergeSource::new(vec![Arc::clone(block)]);
        self.replace(catalog, &[block.number], (block.level, block.rank), slices, &mut source)?;
        self.counters.rewrites.fetch_add(1, Relaxed);
        Ok(())
    }
}
