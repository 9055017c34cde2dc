//! The way out: which series match, and their chunks as of one moment.
//!
//! A selection copies open chunks (compressed, so some hundred bytes each) and shares sealed ones while it
//! holds the gate; decoding happens later, without any lock.

use super::series::{FloatSample, HistogramSample, SealedChunk};
use super::{Head, Shard};
use crate::select::postings::resolve;
use crate::{Error, Matcher};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::sync::PoisonError;
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
    /// The open chunk: bytes, number of samples.
    pub(crate) open: Option<(Box<[u8]>, u32)>,
    /// Histograms not sealed yet.
    pub(crate) histograms: Vec<HistogramSample>,
    /// Late samples not sealed yet.
    pub(crate) late_floats: Vec<FloatSample>,
    /// Late histograms not sealed yet.
    pub(crate) late_histograms: Vec<HistogramSample>,
}

impl HeadData {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty()
            && self.open.is_none()
            && self.histograms.is_empty()
            && self.late_floats.is_empty()
            && self.late_histograms.is_empty()
    }
}

impl Head {
    /// The series that fulfil all matchers and have samples in `range`.
    pub(crate) fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<HeadSeries>, Error> {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for number in 0..self.shards.len() as u32 {
            let shard = self.shard(number);
            for slot in resolve(&shard.index, matchers)? {
                let data = shard.data(slot, range);
                if !data.is_empty() {
                    found.push(HeadSeries { labels: shard.index.labels(slot), data });
                }
            }
        }
        Ok(found)
    }

    /// Visits, shard by shard, the series that fulfil all matchers and have samples in `range`.
    fn visit(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        mut visit: impl FnMut(&Shard, &RoaringBitmap),
    ) -> Result<(), Error> {
        for number in 0..self.shards.len() as u32 {
            let shard = self.shard(number);
            let slots = resolve(&shard.index, matchers)?;
            let slots = slots.into_iter().filter(|slot| shard.has_samples(*slot, range)).collect();
            visit(&shard, &slots);
        }
        Ok(())
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
            for slot in slots {
                for name in shard.index.names_of(slot) {
                    if !into.contains(name) {
                        into.insert(name.to_owned());
                    }
                }
            }
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
            for slot in slots {
                if let Some(value) = shard.index.value_of(slot, name)
                    && !into.contains(value)
                {
                    into.insert(value.to_owned());
                }
            }
        })
    }
}

impl Shard {
    /// A series' pieces that may have samples in `range`.
    pub(super) fn data(&self, slot: u32, range: TimeRange) -> HeadData {
        let state = &self.series[slot as usize];
        let mut data = HeadData::default();
        data.chunks.extend(self.sealed_of(slot).filter(|c| c.overlaps(range)).cloned());
        data.chunks.reverse();
        if state.count > 0 && state.encoder.timestamp >= range.start {
            let bytes = &self.slab.get(state.buffer)[..usize::from(state.len)];
            let first = storage_format::head_chunk::first_timestamp(bytes).unwrap_or(i64::MIN);
            if first < range.end {
                data.open = Some((Box::from(bytes), u32::from(state.count)));
            }
        }
        if let Some(rare) = state.has_rare.then(|| self.rare.get(&slot)).flatten() {
            let inside = |t: &Timestamp| range.contains(*t);
            data.histograms.extend(rare.histograms.iter().filter(|s| inside(&s.0)).cloned());
            data.late_floats.extend(rare.late_floats.iter().filter(|s| inside(&s.0)).copied());
            data.late_histograms.extend(rare.late_histograms.iter().filter(|s| inside(&s.0)).cloned());
        }
        data
    }

    /// Whether a series may have samples in `range`.
    fn has_samples(&self, slot: u32, range: TimeRange) -> bool {
        let state = &self.series[slot as usize];
        let open = state.count > 0 && state.encoder.timestamp >= range.start && {
            let bytes = &self.slab.get(state.buffer)[..usize::from(state.len)];
            storage_format::head_chunk::first_timestamp(bytes).is_some_and(|t| t < range.end)
        };
        let rare = || {
            let Some(rare) = self.rare.get(&slot) else { return false };
            rare.late_floats.iter().any(|s| range.contains(s.0))
                || rare.histograms.iter().chain(&rare.late_histograms).any(|s| range.contains(s.0))
        };
        open || self.sealed_of(slot).any(|c| c.overlaps(range)) || state.has_rare && rare()
    }
}
