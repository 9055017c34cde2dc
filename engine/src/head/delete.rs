//! Deletes in the head: the samples leave memory, so that nothing later has to know of them.
//!
//! Where it sits: the delete's job and the log's replay. Appenders wait meanwhile (the gate is held for
//! writing), and the delete's record reaches the log before any of theirs that come after, so that a
//! replay in the log's order comes to the same content. What is left of a series is appended anew: its
//! newest sample may be gone, and then samples before it are in order again.

use super::series::{ChunkKind, SealedChunk};
use super::shard::{Bounds, decode_chunk};
use super::slab::Slab;
use super::{Head, Shard};
use crate::select::postings::resolve;
use crate::snapshot::{drop_range, normalize, read_head};
use crate::{Error, Matcher};
use roaring::RoaringBitmap;
use std::sync::PoisonError;
use storage_format::head_chunk::EncoderState;
use storage_format::model::{Samples, TimeRange};

/// The newest in-order sample of a series that has none.
const NO_SAMPLE: EncoderState = EncoderState { timestamp: i64::MIN, value: 0, delta: 0, scale: 0 };

impl Head {
    /// Removes the samples inside `range` of the series matched by any of `sets`. `done` is called while
    /// nobody can append or select yet.
    ///
    /// No flush may run.
    pub(crate) fn delete(
        &self,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        done: impl FnOnce(),
    ) -> Result<(), Error> {
        let shards = 0..self.shards.len() as u32;
        let matched = shards.map(|n| self.shard(n).matched(sets)).collect::<Result<Vec<_>, _>>()?;
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        // Series may have been made or forgotten before the gate was closed; look again where that is so,
        // and before anything is changed.
        let mut again = Vec::with_capacity(matched.len());
        for (number, (version, slots)) in matched.into_iter().enumerate() {
            let shard = self.shard(number as u32);
            again.push(if shard.version == version { slots } else { shard.matched(sets)?.1 });
        }
        for (number, slots) in again.into_iter().enumerate() {
            let mut shard = self.shard(number as u32);
            slots.into_iter().for_each(|slot| shard.delete(slot, range));
        }
        done();
        Ok(())
    }
}

impl Shard {
    /// The series matched by any of the sets, and the version for which that holds.
    pub(super) fn matched(&self, sets: &[Vec<Matcher>]) -> Result<(u64, RoaringBitmap), Error> {
        let mut slots = RoaringBitmap::new();
        for set in sets {
            slots |= resolve(&self.index, set)?;
        }
        Ok((self.version, slots))
    }

    /// Removes the samples inside `range` of the series matched by any of the sets.
    pub(super) fn delete_matched(&mut self, sets: &[Vec<Matcher>], range: TimeRange) {
        // The head's index is in memory and cannot fail.
        if let Ok((_, slots)) = self.matched(sets) {
            slots.into_iter().for_each(|slot| self.delete(slot, range));
        }
    }

    /// Removes a series' samples inside `range`.
    pub(super) fn delete(&mut self, slot: u32, range: TimeRange) {
        // The newest sample counts though a flush has taken it: an equal one must be stored again, not be
        // taken for known.
        let newest = self.series[slot as usize].encoder.timestamp;
        if !range.contains(newest) && !self.has_samples(slot, range) {
            return;
        }
        let mut data = self.all_data(slot);
        let late = data.chunks.iter().any(SealedChunk::is_late)
            || data.rare.as_ref().is_some_and(|r| !r.late_floats.is_empty() || !r.late_histograms.is_empty());
        let before = data.chunks.iter().take_while(|chunk| !late && chunk.max < range.start).count();
        let kept: Vec<SealedChunk> = data.chunks.drain(..before).collect();
        let mut rest = Samples::default();
        // Bytes that do not decode can neither be cut nor read; queries say so.
        if read_head(&data, TimeRange::ALL, &mut rest).is_err() {
            return;
        }
        let newest = match kept.last().map(newest_of) {
            None => Some((NO_SAMPLE, false)),
            Some(newest) => newest,
        };
        let Some((newest, newest_is_histogram)) = newest else { return };
        normalize(&mut rest);
        drop_range(&mut rest, (0, 0), range);
        self.empty(slot);
        kept.into_iter().for_each(|chunk| self.restore_sealed(slot, chunk));
        let state = &mut self.series[slot as usize];
        state.encoder = newest;
        state.newest_is_histogram = newest_is_histogram;
        self.append_all(slot, &rest);
    }

    /// Takes everything from a series but its identity.
    fn empty(&mut self, slot: u32) {
        self.drop_sealed(slot, |_| true);
        if let Some(rare) = self.rare.remove(&slot) {
            let count = rare.histograms.len() + rare.late_floats.len() + rare.late_histograms.len();
            self.samples = self.samples.saturating_sub(count as u64);
        }
        self.starts.remove(&slot);
        let state = &mut self.series[slot as usize];
        if state.count > 0 {
            self.samples = self.samples.saturating_sub(u64::from(state.count));
            self.slab.free(state.buffer);
        }
        (state.buffer, state.len, state.count) = (Slab::none(), 0, 0);
        (state.has_start, state.has_rare, state.newest_is_histogram) = (false, false, false);
        state.encoder = NO_SAMPLE;
    }

    /// Appends ascending samples of both kinds, in the order of their timestamps.
    fn append_all(&mut self, slot: u32, samples: &Samples) {
        let mut histograms = samples.histograms.iter().peekable();
        for (i, (t, value)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
            while let Some(histogram) = histograms.next_if(|h| h.0 < *t) {
                let _ = self.append_histogram(slot, histogram, &Bounds::OPEN);
            }
            let start = samples.starts.get(i).copied().unwrap_or(0);
            let _ = self.append_float(slot, (*t, start, *value), &Bounds::OPEN);
        }
        for histogram in histograms {
            let _ = self.append_histogram(slot, histogram, &Bounds::OPEN);
        }
    }
}

/// The newest sample of a chunk, and whether it is a histogram; `None` when its bytes do not decode.
fn newest_of(chunk: &SealedChunk) -> Option<(EncoderState, bool)> {
    let histogram = chunk.kind == ChunkKind::Histograms;
    let mut samples = Samples::default();
    decode_chunk(&chunk.bytes, chunk.count, chunk.kind, &mut samples).ok()?;
    let value = samples.values.last().map_or(0, |value| value.to_bits());
    Some((EncoderState { timestamp: chunk.max, value, ..NO_SAMPLE }, histogram))
}
