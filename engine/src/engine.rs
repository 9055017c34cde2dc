//! The engine's door: open, append, snapshot, flush, close. Sequences of verbs; the rooms do the work.

use crate::block::LiveBlock;
use crate::compaction::worker;
use crate::head::{Head, HeadLimits};
use crate::io::{Clock, FileSystem};
use crate::metadata::{Metadata, MetadataStore};
use crate::recovery::{Corruptions, recover};
use crate::snapshot::BlockList;
use crate::store::Store;
use crate::tombstones::{self, Deletions};
use crate::wal::Wal;
use crate::{
    AppendOutcome, DamagedBlock, Error, Matcher, Options, SeriesEntry, Snapshot, Stats, Ticket, WriteBatch,
    series_key,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use storage_format::catalog::{BlockEntry, Catalog};
use storage_format::model::labels::put_key;
use storage_format::model::{Exemplar, Labels, Samples, TimeRange, Timestamp};
use storage_format::wal::record;

/// Most sentences about damage and failures that are kept.
const REPORTS_MAX: usize = 100;

/// A storage engine on one data directory. Share it as `Arc<Engine>`.
///
/// ```
/// use engine::{Engine, MatchOp, Matcher, Options};
/// use storage_format::model::{Labels, Samples, TimeRange};
///
/// let dir = tempfile::tempdir().unwrap();
/// let engine = Engine::open(Options::new(dir.path())).unwrap();
/// let mut samples = Samples::default();
/// samples.push_float(1_000, 0, 42.0);
/// engine.append(&[(Labels::from_pairs([("__name__", "answer")]), samples)]).unwrap();
///
/// let matcher = Matcher::new(MatchOp::Equal, "__name__", "answer").unwrap();
/// let series = engine.snapshot().select(&[matcher], TimeRange::ALL).unwrap();
/// let mut read = Samples::default();
/// series[0].read(TimeRange::ALL, &mut read).unwrap();
/// assert_eq!((read.timestamps, read.values), (vec![1_000], vec![42.0]));
/// engine.close().unwrap();
/// ```
pub struct Engine {
    inner: Arc<Inner>,
    worker: Mutex<Option<JoinHandle<()>>>,
    /// Held as long as the engine lives.
    _lock: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("path", &self.inner.options.path).finish_non_exhaustive()
    }
}

/// What the background thread shares with the door.
pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) head: Arc<Head>,
    pub(crate) wal: Wal,
    pub(crate) blocks: Arc<BlockList>,
    /// The catalog on disk. Its lock is held by the one job that runs.
    pub(crate) catalog: Mutex<Catalog>,
    /// The deletes that blocks still need, newer ones than the catalog on disk included; changed only under
    /// the catalog's lock.
    pub(crate) deletions: Mutex<Deletions>,
    /// Whether the log may lack the record of a delete in `deletions`.
    pub(crate) unlogged: AtomicBool,
    /// Numbers of blocks, checkpoints and catalogs: never used twice, also not after a failure, when it is
    /// unknown what the disk's catalog names.
    pub(crate) number: AtomicU64,
    /// Whether it is unknown which catalog the disk holds: a swap failed half-way.
    pub(crate) catalog_unsure: AtomicBool,
    pub(crate) metadata: MetadataStore,
    pub(crate) closing: Mutex<bool>,
    pub(crate) wake: Condvar,
    pub(crate) counters: Counters,
    pub(crate) reports: Mutex<Vec<String>>,
    /// Damage that opening met.
    pub(crate) corruptions: Corruptions,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) appended: AtomicU64,
    pub(crate) rejected: [AtomicU64; crate::Rejection::ALL.len()],
    pub(crate) exemplars: AtomicU64,
    pub(crate) exemplars_left_out: [AtomicU64; crate::LeftOut::ALL.len()],
    pub(crate) flushes: AtomicU64,
    /// Exemplars that were flushed since the last checkpoint: the log still has them.
    pub(crate) exemplars_again: AtomicU64,
    pub(crate) merges: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) deletes: AtomicU64,
    pub(crate) rewrites: AtomicU64,
}

/// A mutex's content, also after a panic of somebody who held it: what is under these locks is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Opens or creates the data directory and recovers what it holds.
    ///
    /// # Errors
    /// When it is in use, cannot be written, or its catalog is damaged.
    pub fn open(options: Options) -> Result<Self, Error> {
        let fs = Arc::new(crate::io::Disk);
        Self::open_with(options, fs, Arc::new(crate::io::SystemClock), true)
    }

    /// As [`Engine::open`], on the given files and clock. Without `background` nothing is flushed, merged
    /// or dropped unless it is asked for.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_with(
        options: Options,
        fs: Arc<dyn FileSystem>,
        clock: Arc<dyn Clock>,
        background: bool,
    ) -> Result<Self, Error> {
        let store = Store::open(fs, options.path.clone())?;
        let directory_lock = store.lock()?;
        let catalog = match store.read_catalog()? {
            Some(catalog) => catalog,
            None => {
                let catalog = Catalog { number: 1, shards: options.shards.max(1), ..Catalog::default() };
                store.write_catalog(&catalog)?;
                catalog
            }
        };
        let limits = HeadLimits::of(&options);
        let head = Arc::new(Head::new(catalog.shards, limits));
        let metadata = MetadataStore::default();
        let recovered = recover(&store, catalog, &head, &metadata)?;
        let (wal_dir, held) = (store.wal_dir(), recovered.from_log);
        let wal = Wal::start(Arc::clone(&store.fs), wal_dir, recovered.next, &options, held)?;
        let inner = Arc::new(Inner {
            options,
            store,
            clock,
            head,
            wal,
            blocks: Arc::new(RwLock::new(Arc::new(recovered.blocks))),
            number: AtomicU64::new(recovered.number),
            catalog: Mutex::new(recovered.catalog),
            deletions: Mutex::new(recovered.deletions),
            unlogged: AtomicBool::new(false),
            catalog_unsure: AtomicBool::new(false),
            metadata,
            closing: Mutex::new(false),
            wake: Condvar::new(),
            counters: Counters::default(),
            reports: Mutex::new(recovered.reports),
            corruptions: recovered.corruptions,
        });
        let engine = Self { inner, worker: Mutex::new(None), _lock: directory_lock };
        if background {
            let inner = Arc::clone(&engine.inner);
            let thread =
                std::thread::Builder::new().name("compaction".into()).spawn(move || worker::run(&inner));
            let path = engine.inner.options.path.clone();
            let failed = |source| Error::Io { path, operation: "start the background thread", source };
            *lock(&engine.worker) = Some(thread.map_err(failed)?);
        } else {
            engine.inner.secure()?;
        }
        Ok(engine)
    }

    /// Stores samples (each series' sorted by time) and returns when they are durable.
    ///
    /// # Errors
    /// When the log cannot be written; nothing is acknowledged then, and a retry is harmless.
    pub fn append(&self, rows: &[(Labels, Samples)]) -> Result<AppendOutcome, Error> {
        self.append_rows(rows, |batch, _, samples| {
            let known = batch.timestamps.len();
            batch.timestamps.extend_from_slice(&samples.timestamps);
            batch.values.extend_from_slice(&samples.values);
            if !samples.starts.is_empty() {
                batch.starts.resize(known, 0);
                batch.starts.extend_from_slice(&samples.starts);
            } else if !batch.starts.is_empty() {
                batch.starts.resize(batch.timestamps.len(), 0);
            }
            batch.histograms.extend_from_slice(&samples.histograms);
        })
    }

    /// Stores what `add` puts into the columns for each row, which it gets with its number, and waits until
    /// it is durable.
    fn append_rows<T>(
        &self,
        rows: &[(Labels, T)],
        mut add: impl FnMut(&mut WriteBatch, u32, &T),
    ) -> Result<AppendOutcome, Error> {
        let (mut batch, mut key) = (WriteBatch::default(), Vec::new());
        for (i, (labels, row)) in rows.iter().enumerate() {
            add(&mut batch, i as u32, row);
            key.clear();
            put_key(labels, &mut key);
            batch.end_series(series_key(&key), i as u32, 0);
        }
        let (outcome, ticket) =
            self.append_batch(&batch, &mut |entry| Ok(rows[entry.key_offset as usize].0.clone()))?;
        ticket.wait()?;
        Ok(outcome)
    }

    /// Stores a decoded batch: the samples are visible when this returns and durable when the ticket says
    /// so; acknowledge only then. `resolve` is asked for the labels of a series whose key is new; its error
    /// (a sentence for the sender) rejects that series alone.
    ///
    /// # Errors
    /// When writes are refused as a whole (`ReadOnly`, `Closed`).
    pub fn append_batch(
        &self,
        batch: &WriteBatch,
        resolve: &mut dyn FnMut(&SeriesEntry) -> Result<Labels, String>,
    ) -> Result<(AppendOutcome, Ticket), Error> {
        let inner = &self.inner;
        inner.wal.admit()?;
        let outcome = inner.head.append(batch, inner.clock.now_ms(), &inner.wal, resolve);
        let ticket = inner.wal.ticket();
        inner.counters.appended.fetch_add(outcome.accepted, Relaxed);
        for (counter, n) in inner.counters.rejected.iter().zip(outcome.by_reason) {
            counter.fetch_add(n, Relaxed);
        }
        inner.counters.exemplars.fetch_add(outcome.exemplars_stored, Relaxed);
        for (counter, n) in inner.counters.exemplars_left_out.iter().zip(outcome.exemplars_left_out) {
            counter.fetch_add(n, Relaxed);
        }
        Ok((outcome, ticket))
    }

    /// A consistent, immutable view of everything acknowledged so far.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let inner = &self.inner;
        Snapshot::of_engine(Arc::clone(&inner.head), Arc::clone(&inner.blocks), inner.kept_from())
    }

    /// Stores exemplars of series that are in the head and returns when they are durable.
    ///
    /// # Errors
    /// As [`Engine::append`].
    pub fn append_exemplars(&self, rows: &[(Labels, Vec<Exemplar>)]) -> Result<AppendOutcome, Error> {
        self.append_rows(rows, |batch, row, exemplars| {
            batch.exemplars.extend(exemplars.iter().map(|e| (row, e.clone())));
        })
    }

    /// The exemplars inside `range` of the series matched by any of `sets`: series sorted by labels, their
    /// exemplars by [`Exemplar::order`].
    ///
    /// # Errors
    /// As [`Snapshot::exemplars`].
    pub fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, Error> {
        self.snapshot().exemplars(sets, range)
    }

    /// Keeps what senders say about metrics.
    ///
    /// # Errors
    /// When writes are refused.
    pub fn set_metadata(&self, entries: &[(String, Metadata)]) -> Result<(), Error> {
        self.inner.wal.admit()?;
        let added = self.inner.metadata.add(entries);
        if !added.is_empty() {
            let mut payload = Vec::new();
            record::put_metadata(&added, &mut payload);
            self.inner.wal.append(record::METADATA, &payload);
        }
        Ok(())
    }

    /// Metadata by metric name; the newest entry of a metric stands last.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, Vec<Metadata>> {
        self.inner.metadata.all()
    }

    /// Writes the whole head to blocks and returns when they are durable and published.
    ///
    /// # Errors
    /// When a block cannot be written; the head then still holds the data.
    pub fn flush(&self) -> Result<(), Error> {
        self.inner.flush(i64::MAX)
    }

    /// Does what the background thread does from time to time, now: flushes, checkpoints, merges and drops
    /// what is due by the newest sample. For engines opened without one.
    ///
    /// # Errors
    /// When something cannot be written; it is tried again the next time.
    pub fn maintain(&self) -> Result<(), Error> {
        self.inner.maintain()
    }

    /// Runs every merge of blocks that is due and returns when they are published.
    ///
    /// # Errors
    /// When a block cannot be read or written; nothing is lost then.
    pub fn compact(&self) -> Result<(), Error> {
        while self.inner.merge_next()? {}
        Ok(())
    }

    /// Removes the samples inside `range` of the series matched by any of `sets` (by no matcher at all:
    /// every series). No snapshot taken from now on shows them, and when this returns no crash brings them
    /// back; readers that have selected already go on with what they have. Samples appended later are not
    /// touched, whatever their time. Waits for the background job that runs. The space is given back later,
    /// see [`Engine::clean_tombstones`].
    ///
    /// # Errors
    /// `Limit` when too many deletes wait to be applied to blocks, `ReadOnly` or `Closed` when writes are
    /// refused: nothing is deleted then. When the log fails after that, the samples are gone as far as
    /// readers can see, but a crash may bring all of them back.
    pub fn delete(&self, sets: &[Vec<Matcher>], range: TimeRange) -> Result<(), Error> {
        self.inner.delete(sets, range)
    }

    /// Rewrites every block of which samples were deleted and returns when their space is free.
    ///
    /// # Errors
    /// When a block cannot be read or written; the others are rewritten.
    pub fn clean_tombstones(&self) -> Result<(), Error> {
        self.inner.clean_tombstones()
    }

    /// Makes a consistent copy of everything acknowledged so far under `snapshots/<name>` of the data
    /// directory: hard links to the blocks, and a checkpoint of the head. Another engine can open it.
    ///
    /// # Errors
    /// When `name` is not letters, digits and dashes, or something cannot be written.
    pub fn copy(&self, name: &str) -> Result<(), Error> {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Error::Limit(format!(
                "{name:?} is no name for a snapshot: letters, digits and dashes"
            )));
        }
        self.inner.copy(name)
    }

    /// Numbers about the engine.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// The live blocks, those flushed first first.
    #[must_use]
    pub fn blocks(&self) -> Vec<BlockEntry> {
        self.inner.live_blocks().iter().map(|block| ***block).collect()
    }

    /// The live blocks in which damage was met since the directory was opened. Their files are kept, merges
    /// leave them alone, and reading what is damaged of them fails (or is left out of partial answers).
    #[must_use]
    pub fn damaged_blocks(&self) -> Vec<DamagedBlock> {
        let damaged = |block: &Arc<LiveBlock>| {
            let reason = block.damage()?.to_owned();
            Some(DamagedBlock { entry: ***block, path: block.path().to_owned(), reason })
        };
        self.inner.live_blocks().iter().filter_map(damaged).collect()
    }

    /// Number of damaged places that opening met in log and checkpoint, and of blocks in which damage was met.
    #[must_use]
    pub fn corruption_count(&self) -> u64 {
        let Corruptions { log, checkpoint } = self.inner.corruptions;
        log + checkpoint
            + self.inner.live_blocks().iter().filter(|block| block.damage().is_some()).count() as u64
    }

    /// For each label pair of the head the number of its series: name, value, series.
    pub fn visit_cardinality(&self, visit: &mut dyn FnMut(&str, &str, u64)) {
        self.inner.head.visit_cardinality(visit);
    }

    /// Stops background work, checkpoints the head and makes the log durable. Later appends fail with
    /// `Closed`.
    ///
    /// # Errors
    /// When the log cannot be synced.
    pub fn close(&self) -> Result<(), Error> {
        let first = !std::mem::replace(&mut *lock(&self.inner.closing), true);
        self.inner.wake.notify_all();
        let thread = lock(&self.worker).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        self.inner.wal.close()?;
        if first { self.inner.checkpoint() } else { Ok(()) }
    }
}

impl Drop for Engine {
    /// Stops the threads. Nothing more is written than what was handed to the log: a checkpoint is what
    /// [`Engine::close`] is for.
    fn drop(&mut self) {
        *lock(&self.inner.closing) = true;
        self.inner.wake.notify_all();
        if let Some(thread) = lock(&self.worker).take() {
            let _ = thread.join();
        }
        let _ = self.inner.wal.close();
    }
}

impl Inner {
    /// Samples before this instant are beyond the retention.
    pub(crate) fn kept_from(&self) -> Timestamp {
        let newest = self.head.newest().into_iter().chain(self.live_blocks().iter().map(|b| b.max)).max();
        newest.map_or(i64::MIN, |newest| newest.saturating_sub(self.options.retention_ms))
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.number.fetch_add(1, Relaxed) + 1
    }

    pub(crate) fn live_blocks(&self) -> Arc<Vec<Arc<LiveBlock>>> {
        Arc::clone(&self.blocks.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps a sentence about damage or failure for the status pages.
    pub(crate) fn report(&self, sentence: String) {
        self.counters.failures.fetch_add(1, Relaxed);
        let mut reports = lock(&self.reports);
        if reports.len() >= REPORTS_MAX {
            reports.remove(0);
        }
        reports.push(sentence);
    }

    /// The kept sentences, and those about damage that readers met in blocks since.
    fn all_reports(&self) -> Vec<String> {
        let mut reports = lock(&self.reports).clone();
        for block in self.live_blocks().iter() {
            if let Some(damage) = block.damage()
                && !reports.iter().any(|known| known == damage)
            {
                reports.push(damage.to_owned());
            }
        }
        reports
    }

    fn stats(&self) -> Stats {
        let (blocks, wal) = (self.live_blocks(), self.wal.counters());
        let newest = self.head.newest();
        let (exemplars, exemplar_series) = self.head.exemplar_counts();
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        Stats {
            head_series: self.head.series_count(),
            head_samples: self.head.sample_count(),
            head_label_pairs: self.head.label_pair_count(),
            head_range: self.head.oldest().zip(newest),
            exemplars,
            exemplar_series,
            exemplars_appended: load(&self.counters.exemplars),
            exemplars_left_out: std::array::from_fn(|i| load(&self.counters.exemplars_left_out[i])),
            samples_appended: load(&self.counters.appended),
            samples_rejected: std::array::from_fn(|i| load(&self.counters.rejected[i])),
            blocks: blocks.len() as u64,
            block_bytes: blocks.iter().map(|block| block.bytes).sum(),
            wal_fsyncs: load(&wal.fsyncs),
            wal_fsync_seconds: load(&wal.fsync_micros) as f64 / 1e6,
            wal_bytes: load(&wal.bytes),
            wal_failures: load(&wal.failures),
            flushes: load(&self.counters.flushes),
            merges: load(&self.counters.merges),
            rewrites: load(&self.counters.rewrites),
            deletes: load(&self.counters.deletes),
            tombstone_selectors: tombstones::selectors(&lock(&self.deletions)) as u64,
            tombstone_selectors_max: self.options.tombstones_max as u64,
            checkpoints: load(&self.counters.checkpoints),
            failures: load(&self.counters.failures),
            damaged_blocks: blocks.iter().filter(|block| block.damage().is_some()).count() as u64,
            wal_corruptions: self.corruptions.log,
            checkpoint_corruptions: self.corruptions.checkpoint,
            reports: self.all_reports(),
        }
    }
}
