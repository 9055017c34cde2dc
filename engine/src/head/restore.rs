//! The head to and from disk: checkpoints of all it holds, and the replay of log records into it.
//!
//! A checkpoint is fuzzy: taken shard by shard while appends go on, so it may hold samples that the log
//! holds too, behind the position it belongs to. Replaying a sample that is there already changes nothing.

use super::series::{ChunkKind, SealedChunk};
use super::shard::{Bounds, histogram_chunks, late_float_chunks};
use super::{Head, Shard};
use crate::{Error, series_key};
use hashbrown::HashMap;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering::Relaxed;
use storage_format::FormatError;
use storage_format::checkpoint::{ChunkEntry, SERIES, SeriesEntry, put_series};
use storage_format::chunk::histogram as histogram_chunk;
use storage_format::head_chunk::EncoderState;
use storage_format::model::labels::put_key;
use storage_format::model::{Labels, Timestamp};
use storage_format::wal::record::{BatchVisitor, visit_batch};

/// A payload is handed on when it has this many bytes.
const PAYLOAD_BYTES: usize = 1 << 20;
/// Series encoded under one hold of a shard's lock.
const SLICE: usize = 512;

impl Head {
    /// Encodes everything but what a flush is writing to a block, payload by payload.
    pub(crate) fn checkpoint(&self, emit: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let mut payload = vec![SERIES];
        for number in 0..self.shards.len() as u32 {
            let slots: Vec<u32> = self.shard(number).slots().collect();
            for slice in slots.chunks(SLICE) {
                let shard = self.shard(number);
                for slot in slice.iter().filter(|s| shard.series[**s as usize].live) {
                    shard.put_checkpoint(*slot, &mut payload);
                }
                drop(shard);
                if payload.len() >= PAYLOAD_BYTES {
                    emit(&payload)?;
                    payload.truncate(1);
                }
            }
        }
        if payload.len() > 1 { emit(&payload) } else { Ok(()) }
    }

    /// Adds a series of a checkpoint.
    ///
    /// # Errors
    /// When its key is none.
    pub(crate) fn restore(&self, entry: &SeriesEntry<'_>) -> Result<(), FormatError> {
        let (key, labels) = (series_key(entry.key), Labels::from_key(entry.key)?);
        let mut shard = self.shard(self.shard_of(key));
        if shard.find(key, u32::MAX).is_some() {
            return Ok(());
        }
        let slot = shard.create(key, entry.id, &labels);
        self.series.fetch_add(1, Relaxed);
        self.next_id.fetch_max(entry.id + 1, Relaxed);
        let state = &mut shard.series[slot as usize];
        state.encoder = EncoderState {
            timestamp: entry.timestamp,
            value: entry.value,
            delta: entry.delta,
            scale: entry.scale,
        };
        state.newest_is_histogram = entry.newest_is_histogram;
        if entry.start != 0 {
            state.has_start = true;
            shard.starts.insert(slot, entry.start);
        }
        for chunk in &entry.chunks {
            let Some(kind) = ChunkKind::from_number(chunk.kind) else { continue };
            shard
                .restore_sealed(slot, SealedChunk::new(chunk.bytes, chunk.min, chunk.max, chunk.count, kind));
        }
        shard.restore_open(slot, entry.open, entry.open_count);
        self.newest.fetch_max(entry.timestamp, Relaxed);
        Ok(())
    }

    /// Replays the batch records of the log, all shards at once.
    pub(crate) fn replay(&self, records: &[&[u8]]) -> Vec<FormatError> {
        let errors = std::sync::Mutex::new(Vec::new());
        rayon::scope(|scope| {
            for number in 0..self.shards.len() as u32 {
                let errors = &errors;
                scope.spawn(move |_| {
                    let mut replayer = Replayer::new(self, number);
                    let mut found = Vec::new();
                    for record in records {
                        if let Err(e) = visit_batch(record, &mut replayer) {
                            found.push(e);
                        }
                    }
                    replayer.finish();
                    // Every shard sees every record; one report of its damage is enough.
                    if number == 0 {
                        errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner).append(&mut found);
                    }
                });
            }
        });
        errors.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Applies log records to one shard: the samples of the series that belong there.
pub(crate) struct Replayer<'a> {
    head: &'a Head,
    number: u32,
    shard: MutexGuard<'a, Shard>,
    slots: HashMap<u64, u32>,
    newest: Timestamp,
    id_end: u64,
    /// The slot behind the one found last: requests repeat the order in which series were made.
    hint: u32,
}

impl<'a> Replayer<'a> {
    fn new(head: &'a Head, number: u32) -> Self {
        let shard = head.shard(number);
        let slots = shard.slots().map(|slot| (shard.series[slot as usize].id, slot)).collect();
        Self { head, number, shard, slots, newest: i64::MIN, id_end: 0, hint: 0 }
    }

    fn finish(self) {
        self.head.newest.fetch_max(self.newest, Relaxed);
        self.head.next_id.fetch_max(self.id_end, Relaxed);
    }

    fn slot(&mut self, id: u64) -> Option<u32> {
        let predicted = self.shard.is_series(self.hint, id);
        let slot = if predicted { self.hint } else { *self.slots.get(&id)? };
        self.hint = slot + 1;
        Some(slot)
    }
}

impl BatchVisitor for Replayer<'_> {
    fn define(&mut self, id: u64, labels: &[u8]) {
        self.id_end = self.id_end.max(id.saturating_add(1));
        let key = series_key(labels);
        if self.head.shard_of(key) != self.number || self.slots.contains_key(&id) {
            return;
        }
        // A record whose checksum held was written by us, so this cannot fail.
        let Ok(labels) = Labels::from_key(labels) else { return };
        let slot = match self.shard.find(key, u32::MAX) {
            Some(slot) => slot,
            None => {
                self.head.series.fetch_add(1, Relaxed);
                self.shard.create(key, id, &labels)
            }
        };
        self.slots.insert(id, slot);
    }

    fn float(&mut self, id: u64, timestamp: Timestamp, start: Timestamp, value: f64) {
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

impl Shard {
    fn put_checkpoint(&self, slot: u32, payload: &mut Vec<u8>) {
        let state = &self.series[slot as usize];
        let mut chunks: Vec<&SealedChunk> = self.sealed_of(slot).filter(|chunk| !chunk.flushing).collect();
        chunks.reverse();
        let loose: Vec<SealedChunk> = self.rare_of(slot).map_or_else(Vec::new, |rare| {
            histogram_chunks(&rare.histograms, ChunkKind::Histograms)
                .chain(histogram_chunks(&rare.late_histograms, ChunkKind::LateHistograms))
                .chain(late_float_chunks(&rare.late_floats))
                .collect()
        });
        chunks.extend(&loose);
        let open = self.open_chunk(slot);
        let mut key = Vec::new();
        put_key(&self.index.labels(slot), &mut key);
        let entry = SeriesEntry {
            id: state.id,
            key: &key,
            timestamp: state.encoder.timestamp,
            value: state.encoder.value,
            delta: state.encoder.delta,
            scale: state.encoder.scale,
            newest_is_histogram: state.newest_is_histogram,
            start: if state.has_start { self.start_of(slot) } else { 0 },
            open_count: open.as_ref().map_or(0, |open| open.count),
            open: open.map_or(&[], |open| open.bytes),
            chunks: chunks
                .into_iter()
                .map(|chunk| ChunkEntry {
                    kind: chunk.kind as u8,
                    count: chunk.count,
                    min: chunk.min,
                    max: chunk.max,
                    bytes: &chunk.bytes,
                })
                .collect(),
        };
        put_series(&entry, payload);
    }
}
