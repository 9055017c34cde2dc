//! The way in: a decoded request is spread over the shards, its samples are stored and logged.
//!
//! Known series cost a key comparison and the sample's bytes; labels are asked for only when a key is new.

use super::shard::{Bounds, Shard, Stored};
use super::{ALIASES_MAX, Alias, Head, key_of};
use crate::wal::Wal;
use crate::{AppendOutcome, Rejected, Rejection, SeriesEntry, WriteBatch, canonical_key_bytes};
use std::cell::RefCell;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use storage_format::chunk::histogram as histogram_chunk;
use storage_format::model::{Labels, Timestamp};
use storage_format::wal::record;

/// Most rejected samples and invalid series that are named in an outcome.
const NAMED_MAX: usize = 10;

/// Buffers of one appending thread.
#[derive(Default)]
struct Scratch {
    /// Entries by shard.
    by_shard: Vec<Vec<u32>>,
    /// Entries whose key is not a canonical one of their shard.
    unknown: Vec<u32>,
    payload: Vec<u8>,
    key: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// An entry that was not found by its own key.
struct Target {
    shard: u32,
    entry: u32,
    how: How,
}

enum How {
    /// Known under an alias.
    Slot(u32, u64),
    /// Known or new under this canonical key.
    Labels(u128, Labels),
}

/// One request on its way into the head.
struct Request<'a> {
    batch: &'a WriteBatch,
    bounds: Bounds,
    outcome: AppendOutcome,
    newest: Timestamp,
    oldest: Timestamp,
}

impl Head {
    /// Stores a request's samples and hands their records to the log.
    pub(crate) fn append(
        &self,
        batch: &WriteBatch,
        now: Timestamp,
        wal: &Wal,
        resolve: &mut dyn FnMut(&SeriesEntry) -> Result<Labels, String>,
    ) -> AppendOutcome {
        let mut request = Request {
            batch,
            bounds: self.bounds(now),
            outcome: AppendOutcome::default(),
            newest: i64::MIN,
            oldest: i64::MAX,
        };
        SCRATCH.with_borrow_mut(|scratch| {
            let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            self.append_known(&mut request, scratch, wal);
            if !scratch.unknown.is_empty() {
                self.append_unknown(&mut request, scratch, wal, resolve);
            }
        });
        self.newest.fetch_max(request.newest, Relaxed);
        self.oldest_appended.fetch_min(request.oldest, Relaxed);
        request.outcome
    }

    /// Stores the samples of all entries whose key is a canonical one.
    fn append_known(&self, request: &mut Request<'_>, scratch: &mut Scratch, wal: &Wal) {
        scratch.by_shard.resize_with(self.shards.len(), Vec::new);
        scratch.by_shard.iter_mut().for_each(Vec::clear);
        scratch.unknown.clear();
        for (i, entry) in request.batch.series.iter().enumerate() {
            scratch.by_shard[self.shard_of(entry.key) as usize].push(i as u32);
        }
        for number in 0..self.shards.len() as u32 {
            let list = &scratch.by_shard[number as usize];
            if list.is_empty() {
                continue;
            }
            let mut shard = self.shard(number);
            shard.record.clear();
            let mut hint = 0;
            for i in list {
                match shard.find(request.batch.series[*i as usize].key, hint) {
                    Some(slot) => {
                        hint = slot + 1;
                        request.store(&mut shard, slot, *i);
                    }
                    None => scratch.unknown.push(*i),
                }
            }
            log(&mut shard, &mut scratch.payload, wal);
        }
    }

    /// Stores the samples of the other entries: aliases and new series.
    fn append_unknown(
        &self,
        request: &mut Request<'_>,
        scratch: &mut Scratch,
        wal: &Wal,
        resolve: &mut dyn FnMut(&SeriesEntry) -> Result<Labels, String>,
    ) {
        let mut targets = self.targets(request, scratch, resolve);
        targets.sort_by_key(|t| t.shard);
        let mut learned = Vec::new();
        for group in targets.chunk_by(|a, b| a.shard == b.shard) {
            let number = group[0].shard;
            let mut shard = self.shard(number);
            shard.record.clear();
            for target in group {
                let key = request.batch.series[target.entry as usize].key;
                let slot = match &target.how {
                    How::Slot(slot, id) => {
                        let known = shard.series.get(*slot as usize).filter(|s| s.live && s.id == *id);
                        known.map(|_| *slot)
                    }
                    How::Labels(canonical, labels) => {
                        self.get_or_create(&mut shard, *canonical, labels, &mut scratch.key)
                    }
                };
                let Some(slot) = slot else {
                    request.reject_series(target, &shard);
                    continue;
                };
                if matches!(target.how, How::Labels(canonical, _) if canonical != key) {
                    learned.push((key, Alias { shard: number, slot, id: shard.series[slot as usize].id }));
                }
                request.store(&mut shard, slot, target.entry);
            }
            log(&mut shard, &mut scratch.payload, wal);
        }
        if !learned.is_empty() {
            let mut aliases = self.aliases.write().unwrap_or_else(PoisonError::into_inner);
            if aliases.len() + learned.len() > ALIASES_MAX {
                aliases.clear();
            }
            aliases.extend(learned);
        }
    }

    /// Where the unknown entries belong. Series whose labels are refused are counted and left out.
    fn targets(
        &self,
        request: &mut Request<'_>,
        scratch: &mut Scratch,
        resolve: &mut dyn FnMut(&SeriesEntry) -> Result<Labels, String>,
    ) -> Vec<Target> {
        let aliases = self.aliases.read().unwrap_or_else(PoisonError::into_inner);
        let mut targets = Vec::with_capacity(scratch.unknown.len());
        for i in &scratch.unknown {
            let entry = &request.batch.series[*i as usize];
            if let Some(alias) = aliases.get(&entry.key).filter(|alias| self.is_current(alias)) {
                targets.push(Target { shard: alias.shard, entry: *i, how: How::Slot(alias.slot, alias.id) });
                continue;
            }
            match resolve(entry) {
                Ok(labels) => {
                    let key = key_of(&labels, &mut scratch.key);
                    let how = How::Labels(key, labels);
                    targets.push(Target { shard: self.shard_of(key), entry: *i, how });
                }
                Err(why) => request.refuse(*i, why),
            }
        }
        targets
    }

    /// Whether an alias still names the series it was learned for. Evicted series leave theirs behind.
    fn is_current(&self, alias: &Alias) -> bool {
        let shard = self.shard(alias.shard);
        shard.series.get(alias.slot as usize).is_some_and(|s| s.live && s.id == alias.id)
    }

    fn get_or_create(
        &self,
        shard: &mut Shard,
        canonical: u128,
        labels: &Labels,
        key: &mut Vec<u8>,
    ) -> Option<u32> {
        if let Some(slot) = shard.find(canonical, u32::MAX) {
            return Some(slot);
        }
        if self.series.load(Relaxed) >= self.limits.series_max as u64 {
            return None;
        }
        let id = self.next_id.fetch_add(1, Relaxed);
        let slot = shard.create(canonical, id, labels);
        key.clear();
        canonical_key_bytes(labels, key);
        shard.record.define(id, key);
        self.series.fetch_add(1, Relaxed);
        Some(slot)
    }
}

/// Hands a shard's record to the log; called under the shard's lock, so that the log keeps the order.
fn log(shard: &mut Shard, payload: &mut Vec<u8>, wal: &Wal) {
    if !shard.record.is_empty() {
        payload.clear();
        shard.record.finish(payload);
        wal.append(record::BATCH, payload);
    }
}

impl Request<'_> {
    /// Where the samples of entry `i` begin and end: floats, histograms.
    fn ranges(&self, i: u32) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let entry = &self.batch.series[i as usize];
        let before = i.checked_sub(1).map(|b| &self.batch.series[b as usize]);
        let (f, h) = before.map_or((0, 0), |b| (b.floats_end, b.histograms_end));
        (f as usize..entry.floats_end as usize, h as usize..entry.histograms_end as usize)
    }

    /// Stores the samples of entry `i` in a series.
    #[inline]
    fn store(&mut self, shard: &mut Shard, slot: u32, i: u32) {
        let (floats, histograms) = self.ranges(i);
        let rejected_before = self.outcome.rejected_count;
        let id = shard.series[slot as usize].id;
        for at in floats {
            let (t, value) = (self.batch.timestamps[at], self.batch.values[at]);
            let start = self.batch.starts.get(at).copied().unwrap_or(0);
            match shard.append_float(slot, (t, start, value), &self.bounds) {
                Ok(stored) => {
                    self.outcome.accepted += 1;
                    self.newest = self.newest.max(t);
                    self.oldest = self.oldest.min(t);
                    if stored == Stored::New {
                        shard.record.float(id, t, start, value);
                    }
                }
                Err(reason) => self.reject(shard, slot, false, t, reason),
            }
        }
        for sample in &self.batch.histograms[histograms] {
            match shard.append_histogram(slot, sample, &self.bounds) {
                Ok(stored) => {
                    self.outcome.accepted += 1;
                    self.newest = self.newest.max(sample.0);
                    self.oldest = self.oldest.min(sample.0);
                    if stored == Stored::New {
                        let mut chunk = Vec::new();
                        histogram_chunk::encode(std::slice::from_ref(sample), &mut chunk);
                        shard.record.histogram(id, sample.0, sample.1, &chunk);
                    }
                }
                Err(reason) => self.reject(shard, slot, true, sample.0, reason),
            }
        }
        if self.outcome.rejected_count > rejected_before {
            self.outcome.rejected_entries.push(i);
        }
    }

    #[cold]
    fn reject(&mut self, shard: &Shard, slot: u32, histogram: bool, timestamp: Timestamp, reason: Rejection) {
        self.outcome.count_rejection(reason, u64::from(!histogram), u64::from(histogram));
        if self.outcome.rejected.len() < NAMED_MAX {
            let labels = shard.index.labels(slot);
            self.outcome.rejected.push(Rejected { labels, timestamp, reason });
        }
    }

    /// No series may be made for the target, or it was evicted this very moment.
    #[cold]
    fn reject_series(&mut self, target: &Target, shard: &Shard) {
        let (floats, histograms) = self.ranges(target.entry);
        let (f, h) = (floats.len() as u64, histograms.len() as u64);
        self.outcome.count_rejection(Rejection::SeriesLimit, f, h);
        self.outcome.rejected_entries.push(target.entry);
        if self.outcome.rejected.len() < NAMED_MAX {
            let labels = match &target.how {
                How::Labels(_, labels) => labels.clone(),
                How::Slot(slot, _) => shard.index.labels(*slot),
            };
            let first = self.batch.timestamps.get(floats.start).copied();
            let timestamp = first.or(self.batch.histograms.get(histograms.start).map(|h| h.0)).unwrap_or(0);
            self.outcome.rejected.push(Rejected { labels, timestamp, reason: Rejection::SeriesLimit });
        }
    }

    /// The labels of entry `i` are refused.
    #[cold]
    fn refuse(&mut self, i: u32, why: String) {
        let (floats, histograms) = self.ranges(i);
        self.outcome.rejected_count += (floats.len() + histograms.len()) as u64;
        self.outcome.rejected_histograms += histograms.len() as u64;
        self.outcome.rejected_entries.push(i);
        if self.outcome.invalid_series.len() < NAMED_MAX {
            self.outcome.invalid_series.push(why);
        }
    }
}
