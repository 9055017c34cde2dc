//! The log's writer: one thread, group commit.
//!
//! Appenders hand over encoded records under a short lock and get a log position; the thread writes all
//! that waits, makes it durable once (as the mode says) and completes the tickets of everyone it served.
//!
//! Invariants: bytes reach the file in the order of their positions. After a failed write the file is cut
//! back to its last good length, the bytes are kept and tried again, and writes are refused meanwhile: what
//! the head has accepted is never dropped from the log. After a failed fsync nothing is tried again on the
//! log (the kernel may have thrown the pages away): writes are refused until the engine is reopened.

use super::segment_path;
use crate::defects;
use crate::io::{File, FileSystem};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::ticket::Promise;
use crate::{Error, Options, Ticket, WalSync};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use storage_format::wal::frame::{self, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES};

/// Most bytes that may wait for the writer.
const PENDING_BYTES_MAX: usize = 128 << 20;
/// Pause before a failed write is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Counters of the log.
#[derive(Debug, Default)]
pub(crate) struct WalCounters {
    /// Number of fsyncs.
    pub(crate) fsyncs: AtomicU64,
    /// Time spent in them, microseconds.
    pub(crate) fsync_micros: AtomicU64,
    /// Bytes written.
    pub(crate) bytes: AtomicU64,
    /// Failed writes and fsyncs.
    pub(crate) failures: AtomicU64,
}

/// Bytes on their way to one segment.
#[derive(Debug)]
struct Run {
    base: u64,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct State {
    pending: Vec<Run>,
    promises: Vec<(u64, Promise)>,
    /// Position behind the last record handed over.
    next: u64,
    /// Base of the segment into which the next record goes.
    base: u64,
    /// Everything before is durable (or written, as the mode says).
    done: u64,
    pending_bytes: usize,
    /// Nothing is acknowledged yet: what recovery read from the log is not known to be on the disk.
    held: bool,
    /// Why it cannot be known for now.
    hold_failed: Option<String>,
    refused: Option<String>,
    poisoned: bool,
    closing: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    counters: WalCounters,
}

impl Shared {
    fn poison(&self, reason: &str) {
        let mut state = self.lock();
        state.refused = Some(reason.to_owned());
        state.poisoned = true;
        drop(state);
        self.fail_promises(reason);
    }

    fn fail_promises(&self, reason: &str) {
        let promises = std::mem::take(&mut self.lock().promises);
        for (_, promise) in promises {
            promise.complete(Err(Error::ReadOnly { reason: reason.to_owned() }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log, open for appending.
pub(crate) struct Wal {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// A segment is closed when it has this many bytes.
    segment_bytes: u64,
}

impl std::fmt::Debug for Wal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wal")
    }
}

impl Wal {
    /// Starts the log at position `next`, in a new segment. A `held` log takes records and makes them
    /// durable, but no ticket is completed before `release`.
    pub(crate) fn start(
        fs: Arc<dyn FileSystem>,
        dir: PathBuf,
        next: u64,
        options: &Options,
        held: bool,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.lock();
            (state.next, state.base, state.done) = (next, next, next);
            state.held = held && !defects::HELD_FORGOTTEN;
        }
        let writer = Writer {
            shared: Arc::clone(&shared),
            fs,
            dir: dir.clone(),
            sync: options.wal_sync,
            segment: None,
            carried: Vec::new(),
            dirty_since: None,
        };
        let thread = thread::Builder::new()
            .name("wal".into())
            .spawn(move || {
                let shared = Arc::clone(&writer.shared);
                // A panic is a defect; it must not leave anybody waiting.
                if std::panic::catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                    shared.poison("the write-ahead log's thread met a defect, restart needed");
                }
            })
            .map_err(|source| Error::Io { path: dir, operation: "start the log's thread", source })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)), segment_bytes: options.wal_segment_bytes })
    }

    /// Whether a write may be accepted now.
    ///
    /// # Errors
    /// When writes are refused or too much is waiting already.
    pub(crate) fn admit(&self) -> Result<(), Error> {
        let state = self.shared.lock();
        if state.closing {
            return Err(Error::Closed);
        }
        if let Some(reason) = state.refused.as_ref().or(state.hold_failed.as_ref()) {
            return Err(Error::ReadOnly { reason: reason.clone() });
        }
        if state.pending_bytes > PENDING_BYTES_MAX {
            let waiting = state.pending_bytes;
            let reason =
                format!("{waiting} bytes wait for the write-ahead log, at most {PENDING_BYTES_MAX} may");
            return Err(Error::ReadOnly { reason });
        }
        Ok(())
    }

    /// Hands over a record; the order of calls is the order in the log.
    pub(crate) fn append(&self, record_type: u8, payload: &[u8]) {
        let crc = crc32c::crc32c(payload);
        let mut state = self.shared.lock();
        let size = (FRAME_HEADER_BYTES + payload.len()) as u64;
        if state.next - state.base >= self.segment_bytes {
            state.base = state.next;
        }
        let (base, position) = (state.base, state.next);
        if state.pending.last().is_none_or(|run| run.base != base) {
            state.pending.push(Run { base, bytes: Vec::with_capacity(64 << 10) });
        }
        if let Some(run) = state.pending.last_mut() {
            frame::put_frame(&mut run.bytes, base, position, record_type, payload, crc);
        }
        state.next += size;
        state.pending_bytes += size as usize;
    }

    /// A ticket for everything handed over so far. Also wakes the writer.
    pub(crate) fn ticket(&self) -> Ticket {
        let (ticket, promise) = Ticket::new();
        let mut state = self.shared.lock();
        if state.poisoned || state.closing && (state.held || state.done < state.next) {
            let reason = state.refused.clone().unwrap_or_default();
            drop(state);
            promise.complete(Err(Error::ReadOnly { reason }));
        } else if let Some(reason) = state.hold_failed.clone() {
            drop(state);
            promise.complete(Err(Error::ReadOnly { reason }));
        } else if state.done >= state.next && !state.held {
            drop(state);
            promise.complete(Ok(()));
        } else {
            let position = state.next;
            state.promises.push((position, promise));
            drop(state);
            self.shared.work.notify_one();
        }
        ticket
    }

    /// Whether tickets wait for `release`.
    pub(crate) fn is_held(&self) -> bool {
        self.shared.lock().held
    }

    /// What recovery read cannot be made durable for now: writes are refused until `release`, instead of
    /// waiting for it.
    pub(crate) fn hold_failed(&self, reason: &str) {
        self.shared.lock().hold_failed = Some(reason.to_owned());
        self.shared.fail_promises(reason);
    }

    /// Lets tickets complete.
    pub(crate) fn release(&self) {
        let mut state = self.shared.lock();
        (state.held, state.hold_failed) = (false, None);
        drop(state);
        self.shared.work.notify_one();
    }

    /// Position behind the last record handed over.
    pub(crate) fn next(&self) -> u64 {
        self.shared.lock().next
    }

    /// Counters of the log.
    pub(crate) fn counters(&self) -> &WalCounters {
        &self.shared.counters
    }

    /// Writes and syncs what waits and stops the thread.
    ///
    /// # Errors
    /// When the log could not be made durable.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        let state = self.shared.lock();
        match &state.refused {
            Some(reason) if state.done < state.next => Err(Error::ReadOnly { reason: reason.clone() }),
            _ => Ok(()),
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

struct Segment {
    base: u64,
    file: Box<dyn File>,
    /// Bytes of the file that are good.
    size: u64,
}

struct Writer {
    shared: Arc<Shared>,
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    sync: WalSync,
    segment: Option<Segment>,
    /// Runs taken over and not yet written.
    carried: Vec<Run>,
    /// When the oldest written byte that is not synced yet was written.
    dirty_since: Option<Instant>,
}

/// Why a round failed.
enum Failure {
    /// The write can be tried again.
    Write(std::io::Error),
    /// The log is lost to this process.
    Fatal(&'static str, std::io::Error),
}

impl Writer {
    fn run(mut self) {
        loop {
            let (end, closing) = self.take_work();
            match self.round(closing) {
                Ok(()) => self.complete(end),
                Err(failure) => self.refuse(&failure),
            }
            let state = self.shared.lock();
            if closing && (state.done >= state.next || state.refused.is_some()) || state.poisoned {
                drop(state);
                // A held log may stop before anybody was told.
                self.shared.fail_promises("the storage is closing");
                return;
            }
        }
    }

    /// Waits for work and takes it over. Returns the position behind it and whether the log is closing.
    fn take_work(&mut self) -> (u64, bool) {
        let mut state = self.shared.lock();
        while (state.promises.is_empty() || state.held && state.pending.is_empty())
            && !state.closing
            && self.carried.is_empty()
        {
            let idle = match (self.sync, self.dirty_since) {
                (WalSync::Interval(every), Some(since)) => every.saturating_sub(since.elapsed()),
                _ => Duration::from_secs(1),
            };
            if idle.is_zero() {
                break;
            }
            let (again, timeout) =
                self.shared.work.wait_timeout(state, idle).unwrap_or_else(PoisonError::into_inner);
            state = again;
            if timeout.timed_out() && (!state.pending.is_empty() || self.dirty_since.is_some()) {
                break;
            }
        }
        if !self.carried.is_empty() && state.refused.is_some() && !state.closing {
            state = self.shared.work.wait_timeout(state, RETRY).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.carried.append(&mut state.pending);
        (state.next, state.closing)
    }

    /// Writes what was taken over and syncs as the mode says.
    fn round(&mut self, closing: bool) -> Result<(), Failure> {
        while let Some(run) = self.carried.first() {
            if self.segment.as_ref().is_none_or(|s| s.base != run.base) {
                let base = run.base;
                self.roll(base)?;
            }
            let (Some(segment), Some(run)) = (&mut self.segment, self.carried.first()) else { break };
            if let Err(e) = segment.file.append(&run.bytes) {
                let cut = if defects::NO_CUT_BACK { Ok(()) } else { segment.file.truncate(segment.size) };
                return match cut {
                    Ok(()) => Err(Failure::Write(e)),
                    Err(_) => Err(Failure::Fatal("write", e)),
                };
            }
            segment.size += run.bytes.len() as u64;
            self.dirty_since.get_or_insert_with(Instant::now);
            let written = run.bytes.len();
            self.shared.counters.bytes.fetch_add(written as u64, Relaxed);
            self.carried.remove(0);
            let mut state = self.shared.lock();
            state.pending_bytes = state.pending_bytes.saturating_sub(written);
        }
        let due = match self.sync {
            WalSync::Ack => !defects::ACK_BEFORE_SYNC || closing,
            WalSync::Interval(every) => closing || self.dirty_since.is_some_and(|s| s.elapsed() >= every),
            WalSync::None => closing,
        };
        if due && self.dirty_since.is_some() { self.fsync() } else { Ok(()) }
    }

    fn fsync(&mut self) -> Result<(), Failure> {
        let Some(segment) = &mut self.segment else { return Ok(()) };
        let began = Instant::now();
        let mut outcome = segment.file.sync();
        if defects::FSYNC_RETRIED && outcome.is_err() {
            outcome = segment.file.sync();
        }
        outcome.map_err(|e| Failure::Fatal("fsync", e))?;
        self.dirty_since = None;
        self.shared.counters.fsyncs.fetch_add(1, Relaxed);
        self.shared.counters.fsync_micros.fetch_add(began.elapsed().as_micros() as u64, Relaxed);
        Ok(())
    }

    /// Closes the segment and begins the one at `base`.
    fn roll(&mut self, base: u64) -> Result<(), Failure> {
        if self.dirty_since.is_some() {
            self.fsync()?;
        }
        self.segment = None;
        let path = segment_path(&self.dir, base);
        let mut file = self.fs.create(&path).map_err(Failure::Write)?;
        file.append(&frame::segment_header(base)).map_err(Failure::Write)?;
        if !defects::SEGMENT_NAME_NOT_SYNCED {
            self.fs.sync_dir(&self.dir).map_err(|e| Failure::Fatal("fsync directory", e))?;
        }
        self.segment = Some(Segment { base, file, size: SEGMENT_HEADER_BYTES as u64 });
        self.dirty_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Everything before `end` is as durable as the mode promises.
    fn complete(&self, end: u64) {
        let mut state = self.shared.lock();
        state.done = end;
        state.refused = None;
        if state.held {
            return;
        }
        let (served, waiting) =
            std::mem::take(&mut state.promises).into_iter().partition(|(at, _)| *at <= end);
        state.promises = waiting;
        drop(state);
        for (_, promise) in Vec::into_iter(served) {
            promise.complete(Ok(()));
        }
    }

    fn refuse(&self, failure: &Failure) {
        self.shared.counters.failures.fetch_add(1, Relaxed);
        let (reason, fatal) = match failure {
            Failure::Write(e) => (format!("the write-ahead log cannot be written: {e}"), false),
            Failure::Fatal(what, e) => {
                (format!("{what} of the write-ahead log failed, restart needed: {e}"), true)
            }
        };
        let mut state = self.shared.lock();
        state.refused = Some(reason.clone());
        state.poisoned |= fatal;
        drop(state);
        self.shared.fail_promises(&reason);
    }
}
