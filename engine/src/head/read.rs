//! The way out: which series match, and their chunks as of one moment.
//!
//! A selection copies open chunks (compressed, so some hundred bytes each) and shares sealed ones while it
//! holds the gate; decoding happens later, without any lock.

use super::series::{Rare, SealedChunk};
use super::{Head, Shard};
use crate::select::postings::{asks_for_prefixes, resolve};
use crate::snapshot::add_text;
use crate::sync::MutexGuard;
use crate::{Error, Matcher, defects};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use storage_format::model::{Labels, TimeRange, Timestamp};

/// One selected series of the head.
#[derive(Debug, Clone)]
pub(crate) struct HeadSeries {
    pub(crate) labels: Labels,
    pub(crate) data: HeadData,
}

/// Its samples, still encoded. Pieces may overlap; in-order ones take precedence over late ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeadData {
    /// Sealed chunks, oldest first.
    pub(crate) chunks: Vec<SealedChunk>,
    /// The open chunk.
    open: Option<OpenCopy>,
    /// Histograms and late samples not sealed yet.
    pub(crate) rare: Option<Box<Rare>>,
}

/// Which series, and of what time.
pub(crate) type Selection<'a> = (&'a [Matcher], TimeRange);

/// Where the copy of an open chunk stands among those of its selection.
#[derive(Debug, Clone)]
struct OpenCopy {
    /// All copies that the selection took of a shard: one allocation, not one a series.
    copies: Arc<Vec<u8>>,
    from: usize,
    len: usize,
    samples: u32,
}

/// Series whose labels are read under one hold of a shard's lock.
const SLICE: usize = 1024;

/// What matched in a shard of some version.
struct Prepared {
    version: u64,
    series: Vec<(u32, Labels)>,
}

impl HeadData {
    /// The open chunk: bytes, number of samples.
    pub(crate) fn open(&self) -> Option<(&[u8], u32)> {
        let open = self.open.as_ref()?;
        Some((open.copies.get(open.from..open.from + open.len)?, open.samples))
    }

    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.open.is_none() && self.rare.is_none()
    }
}

impl Head {
    /// For each selection the series that fulfil its matchers and have samples in its range, all as of one
    /// moment; and what `at_that_moment` returns, which is called while no request is half applied.
    ///
    /// Writers wait only while chunks are copied: matching and labels come before, and are done again in the
    /// shards where series were made or forgotten in between.
    pub(crate) fn select<T>(
        &self,
        selections: &[Selection<'_>],
        at_that_moment: impl FnOnce() -> T,
    ) -> Result<(Vec<Vec<HeadSeries>>, T), Error> {
        let shards = 0..self.shards.len() as u32;
        let prepare = |(matchers, _): &Selection<'_>| {
            shards.clone().map(|n| self.prepare(n, matchers)).collect::<Result<Vec<_>, _>>()
        };
        let prepared = selections.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
        if defects::BLOCKS_BEFORE_HEAD {
            let moment = at_that_moment();
            std::thread::yield_now();
            let found = selections.iter().zip(prepared).map(|(selection, p)| self.copy(selection, p));
            return Ok((found.collect::<Result<Vec<_>, _>>()?, moment));
        }
        let gate = || self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let held = (!defects::GATE_NOT_HELD).then(gate);
        let mut found = Vec::with_capacity(selections.len());
        for (selection, prepared) in selections.iter().zip(prepared) {
            found.push(self.copy(selection, prepared)?);
        }
        if defects::BLOCKS_AFTER_HEAD {
            drop(held);
            std::thread::sleep(std::time::Duration::from_millis(2));
            return Ok((found, at_that_moment()));
        }
        let moment = at_that_moment();
        drop(held);
        Ok((found, moment))
    }

    /// The chunks of one selection; called with the gate held.
    fn copy(&self, selection: &Selection<'_>, prepared: Vec<Prepared>) -> Result<Vec<HeadSeries>, Error> {
        let (matchers, range) = *selection;
        let mut found = Vec::with_capacity(prepared.iter().map(|p| p.series.len()).sum());
        for (number, mut prepared) in prepared.into_iter().enumerate() {
            let shard = self.shard(number as u32);
            if prepared.version != shard.version {
                let slots = resolve(&shard.index, matchers)?;
                prepared.series = slots.into_iter().map(|slot| (slot, shard.index.labels(slot))).collect();
            }
            let (first, none) = (found.len(), Arc::default());
            let mut copies = Vec::new();
            for (slot, labels) in prepared.series {
                let data = shard.data(slot, range, &mut copies, &none);
                if !data.is_empty() {
                    found.push(HeadSeries { labels, data });
                }
            }
            let copies = Arc::new(copies);
            for open in found[first..].iter_mut().filter_map(|series| series.data.open.as_mut()) {
                open.copies = Arc::clone(&copies);
            }
        }
        Ok(found)
    }

    /// The series of a shard that fulfil all matchers, with their labels; the lock is let go in between.
    fn prepare(&self, number: u32, matchers: &[Matcher]) -> Result<Prepared, Error> {
        let shard = self.ordered(number, matchers);
        let (version, slots) = (shard.version, resolve(&shard.index, matchers)?);
        drop(shard);
        let slots: Vec<u32> = slots.into_iter().collect();
        let mut series = Vec::with_capacity(slots.len());
        for slice in slots.chunks(SLICE) {
            let shard = self.shard(number);
            if shard.version != version {
                break; // The caller sees the new version and does it again.
            }
            series.extend(slice.iter().map(|slot| (*slot, shard.index.labels(*slot))));
        }
        Ok(Prepared { version, series })
    }

    /// Visits, shard by shard, the series that fulfil all matchers and have samples in `range`.
    fn visit(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        mut visit: impl FnMut(&Shard, &RoaringBitmap),
    ) -> Result<(), Error> {
        for number in 0..self.shards.len() as u32 {
            let shard = self.ordered(number, matchers);
            // Most ask about all of the head's time.
            let all = self
                .oldest()
                .zip(self.newest())
                .is_some_and(|(oldest, newest)| range.start <= oldest && newest < range.end);
            let has = |slot: &u32| if all { !shard.is_bare(*slot) } else { shard.has_samples(*slot, range) };
            let slots = resolve(&shard.index, matchers)?.into_iter().filter(has).collect();
            visit(&shard, &slots);
        }
        Ok(())
    }

    /// A shard whose values are in order where a matcher asks for those with a prefix. Putting many in order
    /// is done in pieces, between which writers have their turn.
    fn ordered(&self, number: u32, matchers: &[Matcher]) -> MutexGuard<'_, Shard> {
        loop {
            let mut shard = self.shard(number);
            let mut asked = matchers.iter().filter(|m| asks_for_prefixes(m));
            if asked.all(|m| shard.index.order_values(&m.name)) {
                return shard;
            }
        }
    }

    /// Label sets of the series that fulfil all matchers and have samples in `range`.
    pub(crate) fn labels(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        into: &mut BTreeSet<Labels>,
    ) -> Result<(), Error> {
        self.visit(matchers, range, |shard, slots| into.extend(slots.iter().map(|s| shard.index.labels(s))))
    }

    /// Names of their labels.
    pub(crate) fn label_names(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        into: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        self.visit(matchers, range, |shard, slots| {
            shard.index.visit_names_of(slots, &mut |name| add_text(into, name));
        })
    }

    /// Values of one of their labels.
    pub(crate) fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        into: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        self.visit(matchers, range, |shard, slots| {
            shard.index.visit_values_of(slots, name, &mut |value| add_text(into, value));
        })
    }
}

impl Shard {
    /// All of a series.
    pub(super) fn all_data(&self, slot: u32) -> HeadData {
        let mut copies = Vec::new();
        let mut data = self.data(slot, TimeRange::ALL, &mut copies, &Arc::default());
        if let Some(open) = &mut data.open {
            open.copies = Arc::new(copies);
        }
        data
    }

    /// A series' pieces that may have samples in `range`. The open chunk goes to the end of `copies`; until
    /// that is complete the series refers to `none`.
    fn data(&self, slot: u32, range: TimeRange, copies: &mut Vec<u8>, none: &Arc<Vec<u8>>) -> HeadData {
        let mut data = HeadData::default();
        data.chunks.extend(self.sealed_of(slot).filter(|c| c.overlaps(range)).cloned());
        data.chunks.reverse();
        let open = self.open_chunk(slot).filter(|open| open.overlaps(range));
        data.open = open.map(|open| {
            let from = copies.len();
            copies.extend_from_slice(open.bytes);
            OpenCopy { copies: Arc::clone(none), from, len: open.bytes.len(), samples: open.count }
        });
        if let Some(rare) = self.rare_of(slot) {
            let inside = |t: Timestamp| range.contains(t);
            let mut wanted = rare.clone();
            wanted.histograms.retain(|s| inside(s.0));
            wanted.late_floats.retain(|s| inside(s.0));
            wanted.late_histograms.retain(|s| inside(s.0));
            data.rare = (!wanted.is_empty()).then(|| Box::new(wanted));
        }
        data
    }

    /// Whether a series may have samples in `range`.
    pub(super) fn has_samples(&self, slot: u32, range: TimeRange) -> bool {
        let state = &self.series[slot as usize];
        if state.count > 0 && !state.newest_is_histogram && range.contains(state.encoder.timestamp) {
            return true;
        }
        let open = || self.open_chunk(slot).is_some_and(|open| open.overlaps(range));
        let rare = || {
            let Some(rare) = self.rare_of(slot) else { return false };
            rare.late_floats.iter().any(|s| range.contains(s.0))
                || rare.histograms.iter().chain(&rare.late_histograms).any(|s| range.contains(s.0))
        };
        open() || self.sealed_of(slot).any(|c| c.overlaps(range)) || rare()
    }
}
