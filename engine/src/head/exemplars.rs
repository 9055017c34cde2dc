//! Exemplars of a shard's series: kept beside the samples until a flush has them in a block.
//!
//! Invariants: those of a series are sorted and without repetitions ([`Exemplar::order`]); `Head::exemplars`
//! counts those of all shards. What is remembered of a series (its spread, how many of the window were
//! flushed) goes with the series.

use super::Head;
use super::shard::{Bounds, Shard, Stored, window_of};
use crate::exemplars::{ExemplarLimits, ExemplarPolicy, LeftOut, Spread};
use crate::select::postings::resolve;
use crate::{Error, Matcher};
use roaring::RoaringBitmap;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use storage_format::exemplars::{LABEL_BYTES_MAX, put};
use storage_format::model::{Exemplar, Labels, TimeRange, Timestamp};

/// An exemplar, and whether a flush is writing it to a block.
#[derive(Debug)]
struct Kept {
    exemplar: Exemplar,
    flushing: bool,
}

/// The exemplars of one series.
#[derive(Debug)]
pub(super) struct SeriesExemplars {
    kept: Vec<Kept>,
    /// Newest timestamp so far.
    newest: Timestamp,
    /// The window of which exemplars were flushed last, and how many.
    flushed: (Timestamp, u32),
    spread: Spread,
}

impl SeriesExemplars {
    fn new() -> Self {
        Self { kept: Vec::new(), newest: i64::MIN, flushed: (i64::MIN, 0), spread: Spread::default() }
    }

    /// How many have timestamps in the window that begins at `start`.
    fn in_window(&self, start: Timestamp) -> usize {
        let first = self.kept.partition_point(|k| k.exemplar.timestamp < start);
        let kept = self.kept[first..].partition_point(|k| window_of(k.exemplar.timestamp) == start);
        kept + if self.flushed.0 == start { self.flushed.1 as usize } else { 0 }
    }
}

/// A series with some of its exemplars, sorted.
type Found = (Labels, Vec<Exemplar>);

/// What decides whether an exemplar is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExemplarRules<'a> {
    pub(super) bounds: Bounds,
    pub(super) window_ms: i64,
    pub(super) limits: ExemplarLimits,
    /// How many the head holds.
    pub(super) held: &'a AtomicU64,
}

impl<'a> ExemplarRules<'a> {
    /// Everything goes: for replay, which logged nothing that had been left out.
    pub(super) fn open(held: &'a AtomicU64) -> Self {
        let policy = ExemplarPolicy::Always;
        let limits = ExemplarLimits { head_max: u64::MAX, per_series_max: u32::MAX, policy };
        Self { bounds: Bounds::OPEN, window_ms: i64::MAX, limits, held }
    }
}

impl Shard {
    /// Keeps an exemplar of a series, or says why not.
    pub(super) fn append_exemplar(
        &mut self,
        slot: u32,
        exemplar: &Exemplar,
        rules: &ExemplarRules<'_>,
    ) -> Result<Stored, LeftOut> {
        let (t, limits) = (exemplar.timestamp, &rules.limits);
        if t > rules.bounds.until {
            return Err(LeftOut::OutOfBounds);
        }
        // Each label takes at most 13 bytes beside its name and value.
        if exemplar.labels.iter().map(|(n, v)| n.len() + v.len() + 13).sum::<usize>() > LABEL_BYTES_MAX {
            return Err(LeftOut::TooLong);
        }
        let series = self.exemplars.entry(slot).or_insert_with(SeriesExemplars::new);
        let late = series.newest != i64::MIN && t < series.newest.saturating_sub(rules.window_ms);
        if late || t < rules.bounds.ordered_from {
            return Err(LeftOut::TooOld);
        }
        let Err(at) = series.kept.binary_search_by(|k| k.exemplar.order(exemplar)) else {
            return Ok(Stored::Known);
        };
        if !limits.policy.chooses(exemplar, &mut series.spread) {
            return Err(LeftOut::Policy);
        }
        if series.in_window(window_of(t)) >= limits.per_series_max as usize {
            return Err(LeftOut::SeriesLimit);
        }
        if rules.held.load(Relaxed) >= limits.head_max {
            return Err(LeftOut::HeadLimit);
        }
        rules.held.fetch_add(1, Relaxed);
        series.newest = series.newest.max(t);
        series.kept.insert(at, Kept { exemplar: exemplar.clone(), flushing: false });
        Ok(Stored::New)
    }

    /// Whether a series has exemplars that are in no block yet.
    pub(super) fn has_exemplars(&self, slot: u32) -> bool {
        self.exemplars.get(&slot).is_some_and(|series| !series.kept.is_empty())
    }

    /// Marks a series' exemplars before `until` as being flushed and returns them.
    pub(super) fn mark_exemplars(&mut self, slot: u32, until: Timestamp) -> Vec<Exemplar> {
        let Some(series) = self.exemplars.get_mut(&slot) else { return Vec::new() };
        let taken = series.kept.iter_mut().take_while(|k| k.exemplar.timestamp < until);
        let mark = |kept: &mut Kept| {
            kept.flushing = true;
            kept.exemplar.clone()
        };
        taken.map(mark).collect()
    }

    /// Takes all marks back.
    pub(super) fn unmark_exemplars(&mut self) {
        self.exemplars.values_mut().flat_map(|series| &mut series.kept).for_each(|k| k.flushing = false);
    }

    /// Drops a series' marked exemplars. Returns how many.
    pub(super) fn drop_exemplars(&mut self, slot: u32) -> u64 {
        let Some(series) = self.exemplars.get_mut(&slot) else { return 0 };
        let before = series.kept.len();
        let SeriesExemplars { kept, flushed, .. } = series;
        kept.retain(|k| {
            let window = window_of(k.exemplar.timestamp);
            if k.flushing && window >= flushed.0 {
                let count = if window == flushed.0 { flushed.1 } else { 0 };
                *flushed = (window, count + 1);
            }
            !k.flushing
        });
        let dropped = before - kept.len();
        if kept.is_empty() {
            kept.shrink_to_fit();
        }
        dropped as u64
    }

    /// Appends what a checkpoint keeps of a series' exemplars: all but those being flushed.
    pub(super) fn put_exemplars(&self, slot: u32, out: &mut Vec<u8>) {
        let Some(series) = self.exemplars.get(&slot) else { return };
        let kept: Vec<&Exemplar> = series.kept.iter().filter(|k| !k.flushing).map(|k| &k.exemplar).collect();
        put(self.series[slot as usize].id, kept.into_iter(), out);
    }
}

impl Head {
    /// What the head enforces for exemplars.
    pub(super) fn exemplar_rules(&self, bounds: Bounds) -> ExemplarRules<'_> {
        let limits = self.limits.exemplars;
        ExemplarRules { bounds, window_ms: self.limits.out_of_order_window_ms, limits, held: &self.exemplars }
    }

    /// Number of exemplars, and of series that have any.
    pub(crate) fn exemplar_counts(&self) -> (u64, u64) {
        let series = |number| {
            self.shard(number).exemplars.values().filter(|series| !series.kept.is_empty()).count() as u64
        };
        (self.exemplars.load(Relaxed), (0..self.shards.len() as u32).map(series).sum())
    }

    /// The exemplars inside `range` of the series matched by any of `sets`; and what `at_that_moment`
    /// returns, which is called while no request is half applied.
    ///
    /// Matching comes first; writers wait only while exemplars are copied.
    pub(crate) fn exemplars<T>(
        &self,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        at_that_moment: impl FnOnce() -> T,
    ) -> Result<(Vec<Found>, T), Error> {
        let wanted = |shard: &Shard| {
            let mut slots = RoaringBitmap::new();
            for set in sets {
                slots |= resolve(&shard.index, set)?;
            }
            Ok::<_, Error>(slots)
        };
        let mut prepared = Vec::with_capacity(self.shards.len());
        for number in 0..self.shards.len() as u32 {
            let shard = self.shard(number);
            prepared.push((shard.version, wanted(&shard)?));
        }
        let mut found = Vec::new();
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        for (number, (version, mut slots)) in prepared.into_iter().enumerate() {
            let shard = self.shard(number as u32);
            if shard.version != version {
                slots = wanted(&shard)?;
            }
            for (slot, series) in shard.exemplars.iter().filter(|(slot, _)| slots.contains(**slot)) {
                let inside = series.kept.iter().filter(|k| range.contains(k.exemplar.timestamp));
                let inside: Vec<_> = inside.map(|k| k.exemplar.clone()).collect();
                if !inside.is_empty() {
                    found.push((shard.index.labels(*slot), inside));
                }
            }
        }
        Ok((found, at_that_moment()))
    }
}
