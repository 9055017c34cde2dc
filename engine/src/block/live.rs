//! A block as it is read: its file less what deletes have removed.
//!
//! Where it sits: between the files and everybody who reads blocks, snapshots and merges alike. Immutable: a
//! delete makes a new one over the same file, and who holds the old one reads on as before. Which series a
//! tombstone means in this block is looked up when it is first asked for, and kept.

use super::{Block, BlockSeries, ExemplarWalk};
use crate::damage::{Missing, tolerate};
use crate::tombstones::{Deletion, Deletions};
use crate::{Error, Matcher};
use roaring::RoaringBitmap;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use storage_format::catalog::BlockEntry;
use storage_format::model::{Exemplar, Labels, TimeRange};

/// A block without what was deleted from it.
#[derive(Debug)]
pub(crate) struct LiveBlock {
    block: Arc<Block>,
    deletions: Deletions,
    masks: OnceLock<Masks>,
}

/// What the tombstones mean in one block.
#[derive(Debug, Default)]
struct Masks {
    /// Series with what is deleted of them, ascending ranges that do not touch. A series is in one class at
    /// most.
    classes: Vec<(RoaringBitmap, Arc<[TimeRange]>)>,
    /// The series of which nothing is left.
    dead: RoaringBitmap,
    /// For each tombstone, whether it names a series of this block.
    used: Vec<bool>,
}

impl Deref for LiveBlock {
    type Target = BlockEntry;
    fn deref(&self) -> &BlockEntry {
        &self.block.entry
    }
}

impl LiveBlock {
    /// A block under those of the tombstones that hold for it.
    pub(crate) fn new(block: Arc<Block>, deletions: &[Arc<Deletion>]) -> Self {
        let holds = |d: &&Arc<Deletion>| d.holds_for(&block.entry);
        let deletions = deletions.iter().filter(holds).cloned().collect();
        Self { block, deletions, masks: OnceLock::new() }
    }

    /// This block under other tombstones; itself when the same ones hold for it.
    pub(crate) fn under(self: &Arc<Self>, deletions: &[Arc<Deletion>]) -> Arc<Self> {
        let new = Self::new(Arc::clone(&self.block), deletions);
        let same = |(a, b): (&Arc<Deletion>, &Arc<Deletion>)| Arc::ptr_eq(a, b);
        if new.deletions.len() == self.deletions.len() && new.deletions.iter().zip(&self.deletions).all(same)
        {
            return Arc::clone(self);
        }
        Arc::new(new)
    }

    /// Its time range, deleted samples included.
    pub(crate) fn range(&self) -> TimeRange {
        self.block.range()
    }

    /// Number of series, deleted ones included.
    pub(crate) fn series_count(&self) -> usize {
        self.block.series_count()
    }

    /// The damage that was met in it first, a sentence.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.block.damage()
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        self.block.path()
    }

    /// A walk over the exemplars of all its series; deletes do not touch them.
    pub(crate) fn exemplars(&self) -> ExemplarWalk {
        ExemplarWalk::new(&self.block)
    }

    /// Visits the series matched by any of `sets` that have exemplars inside `range`, with these.
    pub(crate) fn visit_exemplars(
        &self,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        visit: &mut dyn FnMut(Labels, Vec<Exemplar>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.block.visit_exemplars(sets, range, visit)
    }

    /// How its time is cut.
    pub(crate) fn slices(&self) -> Result<&[TimeRange], Error> {
        self.block.slices()
    }

    fn masks(&self) -> Result<&Masks, Error> {
        if let Some(masks) = self.masks.get() {
            return Ok(masks);
        }
        let masks = Masks::of(&self.block, &self.deletions)?;
        Ok(self.masks.get_or_init(|| masks))
    }

    /// Whether a tombstone may still hide something here; false only when that is known.
    pub(crate) fn needs(&self, deletion: &Arc<Deletion>) -> bool {
        let place = self.deletions.iter().position(|d| Arc::ptr_eq(d, deletion));
        place.is_some_and(|at| self.masks.get().is_none_or(|masks| masks.used[at]))
    }

    /// Whether a tombstone names a series of this block.
    pub(crate) fn is_masked(&self) -> Result<bool, Error> {
        Ok(!self.deletions.is_empty() && !self.masks()?.classes.is_empty())
    }

    /// About which part of the block is deleted, 0 to 1: series times time.
    pub(crate) fn deleted_share(&self) -> Result<f64, Error> {
        if self.deletions.is_empty() || self.series_count() == 0 {
            return Ok(0.0);
        }
        let span = self.range();
        let length = |r: &TimeRange| r.end.min(span.end) as f64 - r.start.max(span.start) as f64;
        let whole = length(&span).max(1.0) * self.series_count() as f64;
        let share = |(series, ranges): &(RoaringBitmap, Arc<[TimeRange]>)| {
            series.len() as f64 * ranges.iter().map(|r| length(r).max(0.0)).sum::<f64>()
        };
        Ok(self.masks()?.classes.iter().map(share).sum::<f64>() / whole)
    }

    /// The series that fulfil all matchers and are not deleted as a whole.
    pub(crate) fn resolve(&self, matchers: &[Matcher]) -> Result<RoaringBitmap, Error> {
        let found = self.block.resolve(matchers)?;
        Ok(if self.deletions.is_empty() { found } else { found - &self.masks()?.dead })
    }

    /// The series that fulfil all matchers, in label order; with `missing`, those whose labels can be read.
    pub(crate) fn select(
        &self,
        matchers: &[Matcher],
        missing: Option<&Missing>,
    ) -> Result<Vec<(Labels, BlockSeries)>, Error> {
        self.collect(tolerate(missing, self.resolve(matchers))?, missing)
    }

    /// The given series with their labels, in label order, less those that are deleted as a whole; with
    /// `missing`, those of which it is known what is deleted and whose page can be read.
    pub(crate) fn collect(
        &self,
        mut wanted: RoaringBitmap,
        missing: Option<&Missing>,
    ) -> Result<Vec<(Labels, BlockSeries)>, Error> {
        if self.deletions.is_empty() {
            return self.block.collect(&wanted, missing);
        }
        let Some(masks) = tolerate(missing, self.masks().map(Some))? else { return Ok(Vec::new()) };
        wanted -= &masks.dead;
        let mut found = self.block.collect(&wanted, missing)?;
        for (_, series) in &mut found {
            let id = series.number();
            if let Some((_, ranges)) = masks.classes.iter().find(|(class, _)| class.contains(id)) {
                series.hide(Arc::clone(ranges));
            }
        }
        Ok(found)
    }

    /// Visits the label names of the given series (`None`: all that are left), in no particular order.
    pub(crate) fn visit_names_of(
        &self,
        series: Option<&RoaringBitmap>,
        missing: Option<&Missing>,
        visit: &mut dyn FnMut(&str),
    ) -> Result<(), Error> {
        let left = self.left(series)?;
        self.block.visit_names_of(series.or(left.as_ref()), missing, visit)
    }

    /// Visits the values that the given series (`None`: all that are left) have for a label, in no
    /// particular order.
    pub(crate) fn visit_values_of(
        &self,
        series: Option<&RoaringBitmap>,
        name: &str,
        missing: Option<&Missing>,
        visit: &mut dyn FnMut(&str),
    ) -> Result<(), Error> {
        let left = self.left(series)?;
        self.block.visit_values_of(series.or(left.as_ref()), name, missing, visit)
    }

    /// All series but the deleted ones, when there are such and no series are given.
    fn left(&self, given: Option<&RoaringBitmap>) -> Result<Option<RoaringBitmap>, Error> {
        if given.is_some() || self.deletions.is_empty() || self.masks()?.dead.is_empty() {
            return Ok(None);
        }
        let mut left = RoaringBitmap::new();
        left.insert_range(0..self.series_count() as u32);
        Ok(Some(left - &self.masks()?.dead))
    }
}

impl Masks {
    fn of(block: &Block, deletions: &[Arc<Deletion>]) -> Result<Self, Error> {
        let mut classes: Vec<(RoaringBitmap, Vec<TimeRange>)> = Vec::new();
        let mut used = Vec::with_capacity(deletions.len());
        for deletion in deletions {
            let mut series = RoaringBitmap::new();
            for set in &deletion.sets {
                series |= block.resolve(set)?;
            }
            used.push(!series.is_empty());
            let mut split = Vec::new();
            for (class, ranges) in &mut classes {
                let both = &*class & &series;
                if !both.is_empty() {
                    *class -= &both;
                    series -= &both;
                    split.push((both, with_range(ranges, deletion.tombstone.range)));
                }
            }
            classes.append(&mut split);
            classes.push((series, vec![deletion.tombstone.range]));
            classes.retain(|(class, _)| !class.is_empty());
        }
        let span = block.range();
        let covers = |ranges: &[TimeRange]| ranges.iter().any(|r| r.start <= span.start && span.end <= r.end);
        let mut dead = RoaringBitmap::new();
        for (class, ranges) in &classes {
            if covers(ranges) {
                dead |= class;
            }
        }
        let classes = classes.into_iter().map(|(class, ranges)| (class, Arc::from(ranges))).collect();
        Ok(Self { classes, dead, used })
    }
}

/// Ascending ranges that do not touch, and one more.
fn with_range(ranges: &[TimeRange], new: TimeRange) -> Vec<TimeRange> {
    let mut all = ranges.to_vec();
    all.push(new);
    all.sort_by_key(|range| range.start);
    all.dedup_by(|next, range| {
        let touches = next.start <= range.end;
        if touches {
            range.end = range.end.max(next.end);
        }
        touches
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let r = TimeRange::new;
        let ranges = [r(0, 5), r(10, 15), r(20, 25)];
        assert_eq!(with_range(&ranges, r(6, 7)), [r(0, 5), r(6, 7), r(10, 15), r(20, 25)]);
        assert_eq!(with_range(&ranges, r(5, 10)), [r(0, 15), r(20, 25)]);
        assert_eq!(with_range(&ranges, r(-3, 30)), [r(-3, 30)]);
        assert_eq!(with_range(&ranges, r(11, 12)), ranges);
    }
}
