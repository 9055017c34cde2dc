//! Log records into the head: all shards read every record, each takes the samples of its own series.
//!
//! Which shard a series belongs to depends on the process's key, so a record of one shard of yesterday names
//! series of all shards of today. Records must come in the order of the log; a run of them may be replayed
//! as soon as it was read, so that the log need not be held in memory.

use super::exemplars::ExemplarRules;
use super::ids::SlotsById;
use super::index::NewSeries;
use super::shard::Bounds;
use super::{Head, Shard};
use crate::{Matcher, defects, series_key};
use rayon::prelude::*;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use storage_format::FormatError;
use storage_format::chunk::histogram as histogram_chunk;
use storage_format::exemplars;
use storage_format::label_table::LabelTable;
use storage_format::model::{Exemplar, TimeRange, Timestamp};
use storage_format::wal::record::{self, BatchVisitor, visit_batch};

/// What a record of the log does to the head.
#[derive(Debug)]
pub(crate) enum Change<'a> {
    /// The type and payload of a batch or of exemplars.
    Append(u8, &'a [u8]),
    /// Removes the samples inside the range of the series matched by any of the sets.
    Delete(Vec<Vec<Matcher>>, TimeRange),
}

/// The state of a replay, from the first record to the last.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    head: &'a Head,
    shards: Vec<Mutex<ShardReplay>>,
}

#[derive(Debug)]
struct ShardReplay {
    slots: SlotsById,
    /// The slot behind the one found last: requests repeat the order in which series were made.
    hint: u32,
    fresh: NewSeries,
    key: Vec<u8>,
    /// Samples in the records, and those of them that are of this shard's series.
    seen: u64,
    applied: u64,
}

impl<'a> Replay<'a> {
    /// Begins behind what the head holds.
    pub(crate) fn new(head: &'a Head) -> Self {
        let state = |number: u32| {
            let shard = head.shard(number);
            let mut slots = SlotsById::default();
            shard.slots().for_each(|slot| slots.insert(shard.series[slot as usize].id, slot));
            let (fresh, key) = (NewSeries::default(), Vec::new());
            Mutex::new(ShardReplay { slots, hint: 0, fresh, key, seen: 0, applied: 0 })
        };
        Self { head, shards: (0..head.shards.len() as u32).into_par_iter().map(state).collect() }
    }

    /// Samples so far of series that nothing defines: they are in no shard.
    pub(crate) fn orphans(&self) -> u64 {
        let counts = self.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            (shard.seen, shard.applied)
        });
        // Every shard sees every sample.
        let (seen, applied) = counts.fold((0, 0), |all, one| (one.0, all.1 + one.1));
        seen.saturating_sub(applied)
    }

    /// Replays records. Returns what is wrong with them; the data around it is there.
    pub(crate) fn apply(&self, changes: &[Change<'_>]) -> Vec<FormatError> {
        let apply = |(number, state): (usize, &Mutex<ShardReplay>)| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let shard = &mut *self.head.shard(number as u32);
            let mut replayer = Replayer {
                head: self.head,
                number: number as u32,
                shard,
                state: &mut state,
                newest: i64::MIN,
            };
            let mut damage = Vec::new();
            for change in changes {
                let walked = match change {
                    Change::Append(record::EXEMPLARS, payload) => {
                        exemplars::visit(payload, &mut |id, e| replayer.exemplar(id, &e))
                    }
                    Change::Append(_, payload) => visit_batch(payload, &mut replayer),
                    Change::Delete(sets, range) => {
                        replayer.shard.delete_matched(sets, *range);
                        Ok(())
                    }
                };
                damage.extend(walked.err());
                replayer.shard.index.insert_all(&mut replayer.state.fresh);
            }
            self.head.newest.fetch_max(replayer.newest, Relaxed);
            // Every shard sees every record; one report of its damage is enough.
            if number == 0 { damage } else { Vec::new() }
        };
        self.shards.par_iter().enumerate().flat_map_iter(apply).collect()
    }
}

/// Applies records to one shard.
struct Replayer<'a> {
    head: &'a Head,
    number: u32,
    shard: &'a mut Shard,
    state: &'a mut ShardReplay,
    newest: Timestamp,
}

impl Replayer<'_> {
    fn exemplar(&mut self, id: u64, exemplar: &Exemplar) {
        if let Some(slot) = self.slot(id) {
            // What was logged had been kept; a difference now means that it is there already.
            let rules = ExemplarRules::open(&self.head.exemplars);
            let _ = self.shard.append_exemplar(slot, exemplar, &rules);
        }
    }

    #[inline]
    fn slot(&mut self, id: u64) -> Option<u32> {
        self.state.seen += 1;
        let predicted = self.shard.is_series(self.state.hint, id);
        let slot = if predicted { self.state.hint } else { self.state.slots.get(id)? };
        self.state.applied += 1;
        self.state.hint = slot + 1;
        Some(slot)
    }
}

impl BatchVisitor for Replayer<'_> {
    fn define(&mut self, id: u64, table: &LabelTable<'_>, set: &[u32]) {
        let ShardReplay { slots, fresh, key: bytes, .. } = &mut *self.state;
        bytes.clear();
        table.put_key(set, bytes);
        let key = series_key(bytes);
        if self.head.shard_of(key) != self.number || slots.get(id).is_some() {
            return;
        }
        self.head.next_id.fetch_max(id.saturating_add(1), Relaxed);
        let slot = match self.shard.find(key, u32::MAX) {
            Some(slot) => slot,
            None => {
                self.head.series.fetch_add(1, Relaxed);
                let slot = self.shard.create_unindexed(key, id);
                fresh.add(slot, table, set, &mut self.shard.index);
                slot
            }
        };
        slots.insert(id, slot);
    }

    #[inline]
    fn float(&mut self, id: u64, timestamp: Timestamp, start: Timestamp, value: f64) {
        if defects::REPLAY_BY_TIME && timestamp <= self.head.newest.load(Relaxed) {
            return;
        }
        if let Some(slot) = self.slot(id) {
            // What was logged had been accepted; a difference now means that it is there already.
            let _ = self.shard.append_float(slot, (timestamp, start, value), &Bounds::OPEN);
            self.newest = self.newest.max(timestamp);
        }
    }

    fn histogram(&mut self, id: u64, _: Timestamp, _: Timestamp, chunk: &[u8]) {
        let Some(slot) = self.slot(id) else { return };
        let mut samples = Vec::new();
        if histogram_chunk::decode(chunk, &mut samples).is_ok() {
            for sample in samples {
                let _ = self.shard.append_histogram(slot, &sample, &Bounds::OPEN);
                self.newest = self.newest.max(sample.0);
            }
        }
    }
}
