//! The way to disk: sealed chunks are handed to a block's writer and dropped once the block is published.
//!
//! A flush marks the chunks it takes; what arrives meanwhile is not marked and stays. Chunks lie within
//! one window of block length, so a flush up to a window's end needs to cut none.

use super::series::SealedChunk;
use super::{Head, Shard};
use crate::defects;
use std::sync::atomic::Ordering::Relaxed;
use storage_format::model::{Exemplar, Labels, Timestamp};

/// The chunks that a flush takes from one series, oldest first.
#[derive(Debug)]
pub(crate) struct FlushedSeries {
    pub(crate) labels: Labels,
    pub(crate) chunks: Vec<SealedChunk>,
    /// Exemplars, sorted.
    pub(crate) exemplars: Vec<Exemplar>,
}

/// What a flush takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything before the end of a window (or `i64::MAX`).
    Before(Timestamp),
    /// All exemplars.
    Exemplars,
}

impl Head {
    /// Seals and marks what the flush takes and returns it by series.
    pub(crate) fn begin_flush(&self, part: Part) -> Vec<FlushedSeries> {
        let mut taken = Vec::new();
        for number in 0..self.shards.len() as u32 {
            let slots = self.shard(number).slots();
            for slot in slots {
                let mut shard = self.shard(number);
                if !shard.series[slot as usize].live {
                    continue;
                }
                let (chunks, exemplars) = match part {
                    Part::Before(until) => (shard.mark(slot, until), shard.mark_exemplars(slot, until)),
                    Part::Exemplars => (Vec::new(), shard.mark_exemplars(slot, i64::MAX)),
                };
                if !chunks.is_empty() || !exemplars.is_empty() {
                    taken.push(FlushedSeries { labels: shard.index.labels(slot), chunks, exemplars });
                }
            }
        }
        taken
    }

    /// Drops what is marked, and the series that have nothing left and are quiet.
    pub(crate) fn end_flush(&self) {
        let quiet_before = self.bounds(i64::MAX).ordered_from;
        for number in 0..self.shards.len() as u32 {
            let slots = self.shard(number).slots();
            for slot in slots {
                let mut shard = self.shard(number);
                if !shard.series[slot as usize].live {
                    continue;
                }
                shard.drop_sealed(slot, |chunk| chunk.flushing || defects::FLUSH_DROPS_NEW_CHUNKS);
                self.exemplars.fetch_sub(shard.drop_exemplars(slot), Relaxed);
                if shard.is_bare(slot) && shard.series[slot as usize].encoder.timestamp < quiet_before {
                    let labels = shard.index.labels(slot);
                    shard.evict(slot);
                    self.series.fetch_sub(1, Relaxed);
                    self.cardinality.remove(&shard.index, &labels);
                }
            }
        }
        self.recount_oldest();
    }

    /// Takes the marks back: the flush failed, the head still holds the data.
    pub(crate) fn abort_flush(&self) {
        for number in 0..self.shards.len() as u32 {
            let mut shard = self.shard(number);
            for chunk in &mut shard.sealed {
                chunk.flushing = false;
            }
            shard.unmark_exemplars();
        }
    }

    /// Looks up the oldest sample again.
    pub(crate) fn recount_oldest(&self) {
        // Appends lower it meanwhile.
        self.oldest.store(i64::MAX, Relaxed);
        for number in 0..self.shards.len() as u32 {
            let shard = self.shard(number);
            let oldest = shard.slots().filter_map(|slot| shard.oldest_of(slot)).min();
            self.oldest.fetch_min(oldest.unwrap_or(i64::MAX), Relaxed);
        }
    }
}

impl Shard {
    fn mark(&mut self, slot: u32, until: Timestamp) -> Vec<SealedChunk> {
        if self.open_chunk(slot).is_some_and(|open| open.first < until) {
            self.seal_open(slot);
        }
        if self.series[slot as usize].has_rare {
            let first = self.rare_of(slot).and_then(|r| r.histograms.first()).map(|h| h.0);
            if first.is_some_and(|t| t < until) {
                self.seal_histograms(slot);
            }
            self.seal_late(slot, until);
        }
        let mut taken = Vec::new();
        self.visit_sealed(slot, |chunk| {
            if chunk.max < until {
                chunk.flushing = true;
                taken.push(chunk.clone());
            }
        });
        taken.reverse();
        taken
    }

    /// First timestamp of a series' samples.
    fn oldest_of(&self, slot: u32) -> Option<Timestamp> {
        let open = self.open_chunk(slot).map(|open| open.first);
        let rare = self.rare_of(slot);
        let late = rare.and_then(|r| {
            let firsts = [
                r.histograms.first().map(|s| s.0),
                r.late_floats.first().map(|s| s.0),
                r.late_histograms.first().map(|s| s.0),
            ];
            firsts.into_iter().flatten().min()
        });
        self.sealed_of(slot).map(|c| c.min).chain(open).chain(late).min()
    }
}
