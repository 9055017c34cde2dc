//! The way in: a decoded request is spread over the shards, its samples are stored and logged.
//!
//! Known series cost a key comparison and the sample's bytes; labels are asked for only when a key is new.

use super::cardinality::Refusal;
use super::exemplars::ExemplarRules;
use super::shard::{Bounds, Shard, Stored};
use super::{ALIASES_MAX, Alias, Head, key_of};
use crate::exemplars::LeftOut;
use crate::wal::Wal;
use crate::{AppendOutcome, Rejected, Rejection, SeriesEntry, WriteBatch};
use std::cell::RefCell;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use storage_format::chunk::histogram as histogram_chunk;
use storage_format::exemplars;
use storage_format::model::{Exemplar, Labels, Timestamp};
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

crate::sync::thread_local! {
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
    exemplars: ExemplarRules<'a>,
    now: Timestamp,
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
        let bounds = self.bounds(now);
        let mut request = Request {
            batch,
            bounds,
            exemplars: self.exemplar_rules(bounds),
            now,
            outcome: AppendOutcome::default(),
            newest: i64::MIN,
            oldest: i64::MAX,
        };
        SCRATCH.with(|scratch| {
            let scratch = &mut *scratch.borrow_mut();
            let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            self.append_known(&mut request, scratch, wal);
            if !scratch.unknown.is_empty() {
                self.append_unknown(&mut request, scratch, wal, resolve);
            }
        });
        self.newest.fetch_max(request.newest, Relaxed);
        self.oldest.fetch_min(request.oldest, Relaxed);
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
            shard.clear_records();
            let mut hint = 0;
            for i in list {
                match shard.find(request.batch.series[*i as usize].key, hint) {
                    Some(slot) => {
                        hint = slot + 1;
                        if request.must_not_overtake(&shard, slot, *i) {
                            log(&mut shard, &mut scratch.payload, wal);
                            shard.clear_records();
                        }
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
        let (mut targets, unaliased) = self.aliased(request, &scratch.unknown);
        self.add_resolved(&mut targets, &unaliased, request, scratch, resolve);
        let stale = self.append_targets(targets, request, scratch, wal);
        if !stale.is_empty() {
            let mut targets = Vec::new();
            self.add_resolved(&mut targets, &stale, request, scratch, resolve);
            self.append_targets(targets, request, scratch, wal);
        }
    }

    /// Stores the samples of the targets. Returns the entries whose alias names a series that was evicted.
    fn append_targets(
        &self,
        mut targets: Vec<Target>,
        request: &mut Request<'_>,
        scratch: &mut Scratch,
        wal: &Wal,
    ) -> Vec<u32> {
        targets.sort_by_key(|t| t.shard);
        let (mut learned, mut stale) = (Vec::new(), Vec::new());
        for group in targets.chunk_by(|a, b| a.shard == b.shard) {
            let number = group[0].shard;
            let mut shard = self.shard(number);
            shard.clear_records();
            for target in group {
                let slot = match &target.how {
                    How::Slot(slot, id) if shard.is_series(*slot, *id) => *slot,
                    How::Slot(..) => {
                        stale.push(target.entry);
                        continue;
                    }
                    How::Labels(canonical, labels) => {
                        let slot = if request.has_samples(target.entry) {
                            self.get_or_create(&mut shard, (*canonical, labels, request.now)).map_err(Some)
                        } else {
                            shard.find(*canonical, u32::MAX).ok_or(None)
                        };
                        let slot = match slot {
                            Ok(slot) => slot,
                            Err(refusal) => {
                                request.reject_series(target.entry, refusal);
                                continue;
                            }
                        };
                        let key = request.batch.series[target.entry as usize].key;
                        if *canonical != key {
                            let id = shard.series[slot as usize].id;
                            learned.push((key, Alias { shard: number, slot, id }));
                        }
                        slot
                    }
                };
                if request.must_not_overtake(&shard, slot, target.entry) {
                    log(&mut shard, &mut scratch.payload, wal);
                    shard.clear_records();
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
        stale
    }

    /// The entries known under an alias, and the others. Whether the alias still names its series is seen
    /// under the shard's lock: evicted series leave theirs behind.
    fn aliased(&self, request: &Request<'_>, entries: &[u32]) -> (Vec<Target>, Vec<u32>) {
        let aliases = self.aliases.read().unwrap_or_else(PoisonError::into_inner);
        let (mut targets, mut others) = (Vec::with_capacity(entries.len()), Vec::new());
        for i in entries {
            match aliases.get(&request.batch.series[*i as usize].key) {
                Some(Alias { shard, slot, id }) => {
                    targets.push(Target { shard: *shard, entry: *i, how: How::Slot(*slot, *id) });
                }
                None => others.push(*i),
            }
        }
        (targets, others)
    }

    /// Adds where the entries belong by their labels. Those whose labels are refused are counted and left
    /// out.
    fn add_resolved(
        &self,
        targets: &mut Vec<Target>,
        entries: &[u32],
        request: &mut Request<'_>,
        scratch: &mut Scratch,
        resolve: &mut dyn FnMut(&SeriesEntry) -> Result<Labels, String>,
    ) {
        for i in entries {
            match resolve(&request.batch.series[*i as usize]) {
                Ok(labels) => {
                    let key = key_of(&labels, &mut scratch.key);
                    let how = How::Labels(key, labels);
                    targets.push(Target { shard: self.shard_of(key), entry: *i, how });
                }
                Err(why) => request.refuse(*i, why),
            }
        }
    }

    fn get_or_create(
        &self,
        shard: &mut Shard,
        (canonical, labels, now): (u128, &Labels, Timestamp),
    ) -> Result<u32, Refusal> {
        if let Some(slot) = shard.find(canonical, u32::MAX) {
            return Ok(slot);
        }
        self.cardinality.admit(&shard.index, labels, self.series.load(Relaxed), now)?;
        self.cardinality.add(&shard.index, labels);
        let id = self.next_id.fetch_add(1, Relaxed);
        let slot = shard.create(canonical, id, labels);
        let Shard { record, index, .. } = shard;
        record.define(id, index.slot_pairs(slot), |pair| index.pair_text(pair));
        self.series.fetch_add(1, Relaxed);
        Ok(slot)
    }
}

/// Hands a shard's record to the log; called under the shard's lock, so that the log keeps the order.
fn log(shard: &mut Shard, payload: &mut Vec<u8>, wal: &Wal) {
    if !shard.record.is_empty() {
        payload.clear();
        shard.record.finish(payload);
        wal.append(record::BATCH, payload);
    }
    if shard.record.has_definitions() {
        // Later records name the series by number alone; losing this record must not cost them as well.
        payload.clear();
        shard.record.repeat_definitions(payload);
        wal.append(record::DEFINITIONS, payload);
    }
    if !shard.exemplar_record.is_empty() {
        wal.append(record::EXEMPLARS, &shard.exemplar_record);
    }
}

impl Shard {
    /// Begins the records of a request.
    fn clear_records(&mut self) {
        self.record.clear();
        self.exemplar_record.clear();
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

    /// Whether floats of entry `i` may replace, when the log is read back, histograms of the same series and
    /// time that this request brought before: a record's floats are read first. They go to another record.
    #[inline]
    fn must_not_overtake(&self, shard: &Shard, slot: u32, i: u32) -> bool {
        shard.record.has_histograms() && shard.series[slot as usize].has_rare && !self.ranges(i).0.is_empty()
    }

    fn has_samples(&self, i: u32) -> bool {
        let (floats, histograms) = self.ranges(i);
        !floats.is_empty() || !histograms.is_empty()
    }

    /// The exemplars of entry `i`.
    fn exemplars_of(&self, i: u32) -> &[(u32, Exemplar)] {
        let all = &self.batch.exemplars;
        let first = all.partition_point(|(entry, _)| *entry < i);
        &all[first..first + all[first..].partition_point(|(entry, _)| *entry == i)]
    }

    /// Keeps the exemplars of entry `i` with a series.
    #[cold]
    fn store_exemplars(&mut self, shard: &mut Shard, slot: u32, i: u32) {
        let id = shard.series[slot as usize].id;
        let (mut stored, mut left_out) = (0, self.outcome.exemplars_left_out);
        for (_, exemplar) in self.exemplars_of(i) {
            match shard.append_exemplar(slot, exemplar, &self.exemplars) {
                Ok(known) => {
                    stored += 1;
                    if known == Stored::New {
                        exemplars::put(id, std::iter::once(exemplar), &mut shard.exemplar_record);
                    }
                }
                Err(why) => left_out[why as usize] += 1,
            }
        }
        self.outcome.exemplars_stored += stored;
        self.outcome.exemplars_left_out = left_out;
    }

    /// The series of entry `i` is not there and is not made, so its exemplars go nowhere.
    fn leave_out_exemplars(&mut self, i: u32) {
        let count = self.exemplars_of(i).len() as u64;
        self.outcome.exemplars_left_out[LeftOut::NoSeries as usize] += count;
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
        if !self.batch.exemplars.is_empty() {
            self.store_exemplars(shard, slot, i);
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

    /// No series may be made for entry `i`.
    #[cold]
    fn reject_series(&mut self, i: u32, refusal: Option<Refusal>) {
        self.leave_out_exemplars(i);
        // Without samples there was nothing to make a series for.
        let Some(refusal) = refusal else { return };
        let (floats, histograms) = self.ranges(i);
        let (f, h) = (floats.len() as u64, histograms.len() as u64);
        self.outcome.count_rejection(refusal.reason, f, h);
        self.outcome.rejected_entries.push(i);
        if self.outcome.invalid_series.len() < NAMED_MAX {
            self.outcome.invalid_series.push(refusal.text);
        }
    }

    /// The labels of entry `i` are refused.
    #[cold]
    fn refuse(&mut self, i: u32, why: String) {
        self.leave_out_exemplars(i);
        let (floats, histograms) = self.ranges(i);
        self.outcome.rejected_count += (floats.len() + histograms.len()) as u64;
        self.outcome.rejected_histograms += histograms.len() as u64;
        self.outcome.rejected_entries.push(i);
        if self.outcome.invalid_series.len() < NAMED_MAX {
            self.outcome.invalid_series.push(why);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::io::{SystemClock, memory::MemoryDisk};
    use crate::{Engine, MatchOp, Matcher, Options, WriteBatch, series_key};
    use std::sync::Arc;
    use storage_format::model::{Labels, Samples, TimeRange};

    const HOUR: i64 = 3_600_000;

    /// Appends one sample under a spelling of the labels that is not the canonical one.
    fn append(engine: &Engine, name: &str, t: i64) -> usize {
        let mut batch = WriteBatch::default();
        batch.timestamps.push(t);
        batch.values.push(1.0);
        batch.end_series(series_key(format!("spelled otherwise: {name}").as_bytes()), 0, 0);
        let mut asked = 0;
        let resolve = &mut |_: &_| {
            asked += 1;
            Ok(Labels::from_pairs([("__name__", name)]))
        };
        let (outcome, ticket) = engine.append_batch(&batch, resolve).expect("memory does not fail");
        assert_eq!((outcome.accepted, outcome.rejected_count), (1, 0));
        ticket.wait().expect("memory does not fail");
        asked
    }

    #[test]
    fn an_alias_of_an_evicted_series_is_learned_again_and_names_no_other_series() {
        let options = Options { shards: 1, retention_ms: i64::MAX, ..Options::new("/data") };
        let disk = Arc::new(MemoryDisk::default());
        let engine = Engine::open_with(options, disk, Arc::new(SystemClock), false).expect("opens");
        assert_eq!(append(&engine, "a", HOUR), 1, "new");
        assert_eq!(append(&engine, "a", HOUR + 1), 0, "known by its alias");
        assert_eq!(append(&engine, "b", 5 * HOUR), 1);
        engine.flush().expect("flushes");
        assert_eq!(engine.stats().head_series, 1, "a is quiet and has nothing left");
        assert_eq!(append(&engine, "c", 5 * HOUR), 1, "takes the place of a");
        assert_eq!(append(&engine, "a", 5 * HOUR), 1, "its alias is stale");
        for (name, expected) in [("a", vec![HOUR, HOUR + 1, 5 * HOUR]), ("c", vec![5 * HOUR])] {
            let matcher = Matcher::new(MatchOp::Equal, "__name__", name).expect("matcher");
            let found = engine.snapshot().select(&[matcher], TimeRange::ALL).expect("selects");
            let mut samples = Samples::default();
            found[0].read(TimeRange::ALL, &mut samples).expect("reads");
            assert_eq!(samples.timestamps, expected, "{name}");
        }
    }
}
