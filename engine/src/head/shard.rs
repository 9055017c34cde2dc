//! A shard of the head: its series, how samples are appended to them, how chunks are sealed.
//!
//! Where it sits: behind one lock each; `append.rs`, `read.rs`, `flush.rs` and `restore.rs` work through it.
//! Invariant: a slot's key, state and labels belong together from `create` to `evict`.

use super::exemplars::SeriesExemplars;
use super::index::HeadIndex;
use super::series::{ChunkKind, FloatSample, HistogramSample, NONE, Rare, SealedChunk, SeriesState};
use super::slab::Slab;
use crate::Rejection;
use hashbrown::{HashMap, HashTable};
use std::sync::Arc;
use storage_format::chunk::histogram as histogram_chunk;
use storage_format::head_chunk::{EncoderState, SAMPLE_BYTES_MAX, SampleBytes};
use storage_format::model::{Histogram, Labels, Samples, TimeRange, Timestamp};
use storage_format::wal::record::BatchBuilder;

/// Length of a block's window, milliseconds; windows are aligned to the epoch.
pub(crate) const WINDOW_MS: i64 = 2 * 3600 * 1000;
/// An open chunk with this many samples is sealed.
const SAMPLES_MAX: u16 = 480;
/// Histograms and late samples are sealed in runs of this many.
const RARE_MAX: usize = 120;
/// First bytes given to an open chunk.
const FIRST_BYTES: usize = 32;

/// The window in which a timestamp lies, by its first instant.
pub(crate) fn window_of(t: Timestamp) -> Timestamp {
    t.div_euclid(WINDOW_MS).saturating_mul(WINDOW_MS)
}

/// What decides whether a sample may be stored, the same for all samples of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Late samples from here on are taken.
    pub(super) late_from: Timestamp,
    /// In-order samples from here on are taken.
    pub(super) ordered_from: Timestamp,
    /// Samples after this are too far in the future.
    pub(super) until: Timestamp,
    /// Whether late samples are taken at all.
    pub(super) take_late: bool,
}

impl Bounds {
    /// Everything goes: for replay, which logged nothing that had been rejected.
    pub(super) const OPEN: Self =
        Self { late_from: i64::MIN, ordered_from: i64::MIN, until: i64::MAX, take_late: true };
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// Stored; it must be logged.
    New,
    /// It was there already.
    Known,
}

/// A part of the head.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    pub(super) keys: Vec<u128>,
    table: HashTable<u32>,
    pub(super) series: Vec<SeriesState>,
    free_slots: Vec<u32>,
    pub(super) index: HeadIndex,
    /// Changes with every series that is made or forgotten.
    pub(super) version: u64,
    pub(super) slab: Slab,
    pub(super) sealed: Vec<SealedChunk>,
    free_sealed: Vec<u32>,
    pub(super) starts: HashMap<u32, Timestamp>,
    pub(super) rare: HashMap<u32, Rare>,
    pub(super) exemplars: HashMap<u32, SeriesExemplars>,
    /// The record of the request being applied.
    pub(super) record: BatchBuilder,
    /// The list of its exemplars.
    pub(super) exemplar_record: Vec<u8>,
    /// Samples held (not counting those flushed).
    pub(super) samples: u64,
}

impl Shard {
    /// Slot of the series with this key. `hint` is tried first: senders repeat their order.
    #[inline]
    pub(super) fn find(&self, key: u128, hint: u32) -> Option<u32> {
        if self.keys.get(hint as usize) == Some(&key) {
            return Some(hint);
        }
        self.table.find(key as u64, |slot| self.keys[*slot as usize] == key).copied()
    }

    /// Whether a slot holds the series with this number.
    #[inline]
    pub(super) fn is_series(&self, slot: u32, id: u64) -> bool {
        self.series.get(slot as usize).is_some_and(|s| s.live && s.id == id)
    }

    /// Makes a series; its key must be new here.
    pub(super) fn create(&mut self, key: u128, id: u64, labels: &Labels) -> u32 {
        let slot = self.create_unindexed(key, id);
        self.index.insert(slot, labels);
        slot
    }

    /// Makes a series whose labels the caller adds to the index before it lets the lock go.
    pub(super) fn create_unindexed(&mut self, key: u128, id: u64) -> u32 {
        let state = SeriesState {
            encoder: EncoderState { timestamp: i64::MIN, value: 0, delta: 0, scale: 0 },
            id,
            sealed: NONE,
            buffer: Slab::none(),
            len: 0,
            count: 0,
            newest_is_histogram: false,
            has_start: false,
            has_rare: false,
            live: true,
        };
        let slot = match self.free_slots.pop() {
            Some(slot) => {
                self.keys[slot as usize] = key;
                self.series[slot as usize] = state;
                slot
            }
            None => {
                self.keys.push(key);
                self.series.push(state);
                (self.series.len() - 1) as u32
            }
        };
        let keys = &self.keys;
        self.table.insert_unique(key as u64, slot, |slot| keys[*slot as usize] as u64);
        self.version += 1;
        slot
    }

    /// Forgets a series that has no samples left.
    pub(super) fn evict(&mut self, slot: u32) {
        let key = self.keys[slot as usize];
        if let Ok(found) = self.table.find_entry(key as u64, |other| *other == slot) {
            found.remove();
        }
        self.index.remove(slot);
        self.version += 1;
        self.starts.remove(&slot);
        self.rare.remove(&slot);
        self.exemplars.remove(&slot);
        self.keys[slot as usize] = 0;
        self.series[slot as usize].live = false;
        self.free_slots.push(slot);
    }

    /// Stores a float sample, or says why not. `start` is 0 when unknown.
    #[inline]
    pub(super) fn append_float(
        &mut self,
        slot: u32,
        (t, start, value): FloatSample,
        bounds: &Bounds,
    ) -> Result<Stored, Rejection> {
        let state = &self.series[slot as usize];
        if t <= state.encoder.timestamp {
            return self.append_old_float(slot, (t, start, value), bounds);
        }
        if t > bounds.until || t < bounds.ordered_from {
            return Err(self.outside(t, bounds));
        }
        if state.count > 0 && (state.count >= SAMPLES_MAX || crosses_window(state.encoder.timestamp, t)) {
            self.seal_open(slot);
        }
        if self.series[slot as usize].newest_is_histogram {
            self.seal_histograms(slot);
        }
        let mut out = SampleBytes::new();
        let known_start = if self.series[slot as usize].has_start { self.start_of(slot) } else { 0 };
        let state = &mut self.series[slot as usize];
        if state.count == 0 {
            state.encoder = EncoderState::first(t, start, value, &mut out);
        } else {
            if start != known_start {
                EncoderState::new_start(start, &mut out);
            }
            state.encoder.next(t, value, &mut out);
        }
        state.newest_is_histogram = false;
        if start != known_start {
            state.has_start = true;
            self.starts.insert(slot, start);
        }
        self.put_bytes(slot, out.as_slice());
        self.samples += 1;
        Ok(Stored::New)
    }

    pub(super) fn start_of(&self, slot: u32) -> Timestamp {
        self.starts.get(&slot).copied().unwrap_or(0)
    }

    fn outside(&self, t: Timestamp, bounds: &Bounds) -> Rejection {
        if t > bounds.until || !bounds.take_late { Rejection::OutOfBounds } else { Rejection::TooOld }
    }

    /// Appends a sample's bytes to the open chunk; seals it when the next may not fit any more.
    #[inline]
    fn put_bytes(&mut self, slot: u32, bytes: &[u8]) {
        let state = &mut self.series[slot as usize];
        let used = usize::from(state.len);
        let end = used + bytes.len();
        if state.count == 0 {
            state.buffer = self.slab.alloc(end.max(FIRST_BYTES));
        } else if end > Slab::capacity(state.buffer) {
            state.buffer = self.slab.grow(state.buffer, used, end);
        }
        self.slab.get_mut(state.buffer)[used..end].copy_from_slice(bytes);
        state.len = end as u16;
        state.count += 1;
        if end + SAMPLE_BYTES_MAX > Slab::LARGEST {
            self.seal_open(slot);
        }
    }

    /// A sample that is not newer than the newest.
    #[cold]
    fn append_old_float(
        &mut self,
        slot: u32,
        sample: FloatSample,
        bounds: &Bounds,
    ) -> Result<Stored, Rejection> {
        let state = &self.series[slot as usize];
        let (t, _, value) = sample;
        if t == state.encoder.timestamp {
            return if !state.newest_is_histogram && value.to_bits() == state.encoder.value {
                Ok(Stored::Known)
            } else {
                Err(Rejection::DuplicateTimestamp)
            };
        }
        self.check_late(t, bounds)?;
        let rare = self.rare_mut(slot);
        if rare.late_histograms.binary_search_by_key(&t, |s| s.0).is_ok() {
            return Err(Rejection::DuplicateTimestamp);
        }
        match rare.late_floats.binary_search_by_key(&t, |s| s.0) {
            Ok(at) if rare.late_floats[at].2.to_bits() == value.to_bits() => return Ok(Stored::Known),
            Ok(_) => return Err(Rejection::DuplicateTimestamp),
            Err(at) => rare.late_floats.insert(at, sample),
        }
        if rare.late_floats.len() >= RARE_MAX {
            self.seal_late(slot, i64::MAX);
        }
        self.samples += 1;
        Ok(Stored::New)
    }

    fn check_late(&self, t: Timestamp, bounds: &Bounds) -> Result<(), Rejection> {
        if !bounds.take_late {
            return Err(if t < bounds.ordered_from { Rejection::OutOfBounds } else { Rejection::OutOfOrder });
        }
        if t < bounds.late_from { Err(Rejection::TooOld) } else { Ok(()) }
    }

    fn rare_mut(&mut self, slot: u32) -> &mut Rare {
        self.series[slot as usize].has_rare = true;
        self.rare.entry(slot).or_default()
    }

    /// Stores a histogram sample, or says why not.
    pub(super) fn append_histogram(
        &mut self,
        slot: u32,
        sample: &HistogramSample,
        bounds: &Bounds,
    ) -> Result<Stored, Rejection> {
        let state = self.series[slot as usize];
        let (t, _, histogram) = sample;
        if *t == state.encoder.timestamp {
            let newest = self.rare.get(&slot).and_then(|r| r.histograms.last());
            let same = newest.is_some_and(|(at, _, known)| at == t && same_histogram(known, histogram));
            return if state.newest_is_histogram && same {
                Ok(Stored::Known)
            } else if state.newest_is_histogram && newest.is_none() {
                // The newest one is sealed already; a retry of it is stored again and merged away.
                self.append_late_histogram(slot, sample)
            } else {
                Err(Rejection::DuplicateTimestamp)
            };
        }
        if *t < state.encoder.timestamp {
            self.check_late(*t, bounds)?;
            return self.append_late_histogram(slot, sample);
        }
        if *t > bounds.until || *t < bounds.ordered_from {
            return Err(self.outside(*t, bounds));
        }
        if state.count > 0 {
            self.seal_open(slot);
        }
        let full = self.rare.get(&slot).is_some_and(|r| {
            r.histograms.len() >= RARE_MAX || r.histograms.last().is_some_and(|h| crosses_window(h.0, *t))
        });
        if full {
            self.seal_histograms(slot);
        }
        self.rare_mut(slot).histograms.push(sample.clone());
        let state = &mut self.series[slot as usize];
        state.encoder.timestamp = *t;
        state.newest_is_histogram = true;
        self.samples += 1;
        Ok(Stored::New)
    }

    fn append_late_histogram(&mut self, slot: u32, sample: &HistogramSample) -> Result<Stored, Rejection> {
        let rare = self.rare_mut(slot);
        if rare.late_floats.binary_search_by_key(&sample.0, |s| s.0).is_ok() {
            return Err(Rejection::DuplicateTimestamp);
        }
        match rare.late_histograms.binary_search_by_key(&sample.0, |s| s.0) {
            Ok(at) if same_histogram(&rare.late_histograms[at].2, &sample.2) => return Ok(Stored::Known),
            Ok(_) => return Err(Rejection::DuplicateTimestamp),
            Err(at) => rare.late_histograms.insert(at, sample.clone()),
        }
        if rare.late_histograms.len() >= RARE_MAX {
            self.seal_late(slot, i64::MAX);
        }
        self.samples += 1;
        Ok(Stored::New)
    }

    /// The open chunk of a series' floats, if it has one.
    pub(super) fn open_chunk(&self, slot: u32) -> Option<OpenChunk<'_>> {
        let state = &self.series[slot as usize];
        (state.count > 0).then(|| {
            let bytes = &self.slab.get(state.buffer)[..usize::from(state.len)];
            let first = storage_format::head_chunk::first_timestamp(bytes).unwrap_or(i64::MIN);
            OpenChunk { bytes, count: u32::from(state.count), first, last: state.encoder.timestamp }
        })
    }

    /// What a series has that few have.
    pub(super) fn rare_of(&self, slot: u32) -> Option<&Rare> {
        if self.series[slot as usize].has_rare { self.rare.get(&slot) } else { None }
    }

    fn push_sealed(&mut self, slot: u32, mut chunk: SealedChunk) {
        let state = &mut self.series[slot as usize];
        chunk.previous = state.sealed;
        state.sealed = match self.free_sealed.pop() {
            Some(place) => {
                self.sealed[place as usize] = chunk;
                place
            }
            None => {
                self.sealed.push(chunk);
                (self.sealed.len() - 1) as u32
            }
        };
    }

    /// Adds a chunk read from a checkpoint.
    pub(super) fn restore_sealed(&mut self, slot: u32, chunk: SealedChunk) {
        self.samples += u64::from(chunk.count);
        self.push_sealed(slot, chunk);
    }

    /// Puts back the open chunk of a checkpoint.
    pub(super) fn restore_open(&mut self, slot: u32, bytes: &[u8], count: u32) {
        if count == 0 || bytes.is_empty() || bytes.len() > Slab::LARGEST {
            return;
        }
        let buffer = self.slab.alloc(bytes.len());
        self.slab.get_mut(buffer)[..bytes.len()].copy_from_slice(bytes);
        let state = &mut self.series[slot as usize];
        state.buffer = buffer;
        state.len = bytes.len() as u16;
        state.count = count as u16;
        self.samples += u64::from(count);
        if bytes.len() + SAMPLE_BYTES_MAX > Slab::LARGEST {
            self.seal_open(slot);
        }
    }

    /// Seals the open chunk of floats, if there is one.
    pub(super) fn seal_open(&mut self, slot: u32) {
        let Some(open) = self.open_chunk(slot) else { return };
        let chunk = SealedChunk::new(open.bytes, open.first, open.last, open.count, ChunkKind::Floats);
        let state = &mut self.series[slot as usize];
        (state.len, state.count) = (0, 0);
        self.slab.free(state.buffer);
        self.push_sealed(slot, chunk);
    }

    /// Seals the in-order histograms, if there are any.
    pub(super) fn seal_histograms(&mut self, slot: u32) {
        let Some(rare) = self.rare.get_mut(&slot) else { return };
        let histograms = std::mem::take(&mut rare.histograms);
        histogram_chunks(&histograms, ChunkKind::Histograms).for_each(|chunk| self.push_sealed(slot, chunk));
    }

    /// Seals the late samples before `until`.
    pub(super) fn seal_late(&mut self, slot: u32, until: Timestamp) {
        let Some(rare) = self.rare.get_mut(&slot) else { return };
        let keep = rare.late_floats.partition_point(|s| s.0 < until);
        let floats: Vec<_> = rare.late_floats.drain(..keep).collect();
        let keep = rare.late_histograms.partition_point(|s| s.0 < until);
        let histograms: Vec<_> = rare.late_histograms.drain(..keep).collect();
        let histograms = histogram_chunks(&histograms, ChunkKind::LateHistograms);
        histograms.chain(late_float_chunks(&floats)).for_each(|chunk| self.push_sealed(slot, chunk));
    }

    /// The sealed chunks of a series, newest first.
    pub(super) fn sealed_of(&self, slot: u32) -> impl Iterator<Item = &SealedChunk> {
        let mut next = self.series[slot as usize].sealed;
        std::iter::from_fn(move || {
            let chunk = (next != NONE).then(|| &self.sealed[next as usize])?;
            next = chunk.previous;
            Some(chunk)
        })
    }

    /// Visits the sealed chunks of a series, newest first.
    pub(super) fn visit_sealed(&mut self, slot: u32, mut visit: impl FnMut(&mut SealedChunk)) {
        let mut next = self.series[slot as usize].sealed;
        while next != NONE {
            let chunk = &mut self.sealed[next as usize];
            visit(chunk);
            next = chunk.previous;
        }
    }

    /// Drops the sealed chunks for which `drop` is true.
    pub(super) fn drop_sealed(&mut self, slot: u32, drop: impl Fn(&SealedChunk) -> bool) {
        let mut next = self.series[slot as usize].sealed;
        let mut before = NONE;
        while next != NONE {
            let (place, chunk) = (next, &mut self.sealed[next as usize]);
            next = chunk.previous;
            if !drop(chunk) {
                before = place;
                continue;
            }
            self.samples = self.samples.saturating_sub(u64::from(chunk.count));
            chunk.bytes = Arc::from([]);
            self.free_sealed.push(place);
            if before == NONE {
                self.series[slot as usize].sealed = next;
            } else {
                self.sealed[before as usize].previous = next;
            }
        }
        if self.rare.get(&slot).is_some_and(Rare::is_empty) {
            self.rare.remove(&slot);
            self.series[slot as usize].has_rare = false;
        }
    }

    /// Whether a series holds no sample and no exemplar.
    pub(super) fn is_bare(&self, slot: u32) -> bool {
        let state = &self.series[slot as usize];
        state.count == 0 && state.sealed == NONE && !state.has_rare && !self.has_exemplars(slot)
    }

    /// The slots in use.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + use<> {
        let live: Vec<u32> =
            (0..self.series.len() as u32).filter(|s| self.series[*s as usize].live).collect();
        live.into_iter()
    }
}

/// An open chunk.
pub(super) struct OpenChunk<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) count: u32,
    /// First and last timestamp.
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl OpenChunk<'_> {
    /// Whether it has samples around `range`.
    pub(super) fn overlaps(&self, range: TimeRange) -> bool {
        self.first < range.end && self.last >= range.start
    }
}

/// Chunks of ascending histogram samples, none across windows.
pub(super) fn histogram_chunks(
    samples: &[HistogramSample],
    kind: ChunkKind,
) -> impl Iterator<Item = SealedChunk> {
    let windows = samples.chunk_by(|a, b| !crosses_window(a.0, b.0));
    windows.flat_map(|window| FittingRuns { rest: window }).map(move |run| {
        let mut bytes = Vec::new();
        histogram_chunk::encode(run, &mut bytes);
        SealedChunk::new(&bytes, run[0].0, run[run.len() - 1].0, run.len() as u32, kind)
    })
}

/// Chunks of ascending late floats, none across windows.
pub(super) fn late_float_chunks(samples: &[FloatSample]) -> impl Iterator<Item = SealedChunk> {
    samples.chunk_by(|a, b| !crosses_window(a.0, b.0)).map(|run| {
        let (min, max, count) = (run[0].0, run[run.len() - 1].0, run.len() as u32);
        SealedChunk::new(&encode_floats(run), min, max, count, ChunkKind::LateFloats)
    })
}

/// Cuts histograms into runs that fit a chunk.
struct FittingRuns<'a> {
    rest: &'a [HistogramSample],
}

impl<'a> Iterator for FittingRuns<'a> {
    type Item = &'a [HistogramSample];
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (run, rest) = self.rest.split_at(histogram_chunk::fitting(self.rest).max(1));
        self.rest = rest;
        Some(run)
    }
}

fn crosses_window(before: Timestamp, t: Timestamp) -> bool {
    before.div_euclid(WINDOW_MS) != t.div_euclid(WINDOW_MS)
}

fn same_histogram(a: &Histogram, b: &Histogram) -> bool {
    // A stale marker's other fields do not matter, and NaN sums are compared by their bits.
    a.is_stale() && b.is_stale()
        || a.sum.to_bits() == b.sum.to_bits() && {
            let zeroed = |h: &Histogram| Histogram { sum: 0.0, ..h.clone() };
            zeroed(a) == zeroed(b)
        }
}

/// A head chunk of float samples in ascending order.
fn encode_floats(samples: &[FloatSample]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut state: Option<(EncoderState, Timestamp)> = None;
    for (t, start, value) in samples {
        let mut out = SampleBytes::new();
        match &mut state {
            None => state = Some((EncoderState::first(*t, *start, *value, &mut out), *start)),
            Some((encoder, known)) => {
                if start != known {
                    EncoderState::new_start(*start, &mut out);
                    *known = *start;
                }
                encoder.next(*t, *value, &mut out);
            }
        }
        bytes.extend_from_slice(out.as_slice());
    }
    bytes
}

/// Decodes a chunk of the head behind what `into` holds.
pub(crate) fn decode_chunk(
    bytes: &[u8],
    count: u32,
    kind: ChunkKind,
    into: &mut Samples,
) -> Result<(), storage_format::FormatError> {
    if kind.is_float() {
        storage_format::head_chunk::decode(bytes, count as usize, into)
    } else {
        histogram_chunk::decode(bytes, &mut into.histograms)
    }
}
