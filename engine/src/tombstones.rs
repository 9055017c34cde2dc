//! Deletes that blocks still need: tombstones with their matchers compiled, and how many there may be.
//!
//! Where it sits: the jobs keep the list, blocks hide what the tombstones name, the catalog writes them
//! down. Invariant: a tombstone holds only for blocks that were there when its delete came, which is what
//! its `last_block` says, so that samples appended afterwards are never hidden by it.

use crate::{Error, MatchOp, Matcher};
use std::sync::Arc;
use storage_format::catalog::BlockEntry;
use storage_format::model::TimeRange;
use storage_format::tombstone::{MatcherText, Tombstone};

/// A tombstone, ready to be used.
#[derive(Debug)]
pub(crate) struct Deletion {
    pub(crate) tombstone: Tombstone,
    pub(crate) sets: Vec<Vec<Matcher>>,
}

/// The tombstones in force, oldest first.
pub(crate) type Deletions = Vec<Arc<Deletion>>;

const OPERATORS: [MatchOp; 4] = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];

impl Deletion {
    /// What removes the samples inside `range` of the series matched by any of `sets` from all blocks up to
    /// `last_block`.
    pub(crate) fn new(sets: &[Vec<Matcher>], range: TimeRange, last_block: u64) -> Self {
        let text = |m: &Matcher| MatcherText {
            operator: OPERATORS.iter().position(|op| *op == m.op).unwrap_or(0) as u8,
            name: m.name.clone(),
            value: m.value.clone(),
        };
        let texts = sets.iter().map(|set| set.iter().map(text).collect()).collect();
        Self { tombstone: Tombstone { last_block, range, sets: texts }, sets: sets.to_vec() }
    }

    /// From what is written down.
    ///
    /// # Errors
    /// In words, when a regular expression is none here.
    pub(crate) fn read(tombstone: Tombstone) -> Result<Self, String> {
        let matcher = |m: &MatcherText| {
            let op = OPERATORS.get(usize::from(m.operator)).copied().unwrap_or(MatchOp::Equal);
            Matcher::new(op, &m.name, &m.value)
        };
        let set = |set: &Vec<MatcherText>| set.iter().map(matcher).collect::<Result<Vec<_>, _>>();
        let sets = tombstone.sets.iter().map(set).collect::<Result<Vec<_>, _>>();
        let sets = sets.map_err(|e| format!("a delete's matcher cannot be read: {e}"))?;
        Ok(Self { tombstone, sets })
    }

    /// Whether it may hide samples of a block.
    pub(crate) fn holds_for(&self, block: &BlockEntry) -> bool {
        let span = TimeRange::closed(block.min, block.max);
        self.tombstone.last_block >= block.number && self.tombstone.range.overlaps(&span)
    }
}

/// Number of selectors in force.
pub(crate) fn selectors(deletions: &[Arc<Deletion>]) -> usize {
    deletions.iter().map(|d| d.sets.len()).sum()
}

/// The list with one more. Deletes of the same range between two changes of the blocks share a tombstone.
pub(crate) fn with(deletions: &[Arc<Deletion>], new: Deletion) -> Deletions {
    let mut all = deletions.to_vec();
    let same = |d: &Arc<Deletion>| {
        d.tombstone.last_block == new.tombstone.last_block && d.tombstone.range == new.tombstone.range
    };
    let Some(at) = all.iter().position(same) else {
        all.push(Arc::new(new));
        return all;
    };
    let (mut tombstone, mut sets) = (all[at].tombstone.clone(), all[at].sets.clone());
    for (text, set) in new.tombstone.sets.into_iter().zip(new.sets) {
        if !tombstone.sets.contains(&text) {
            tombstone.sets.push(text);
            sets.push(set);
        }
    }
    all[at] = Arc::new(Deletion { tombstone, sets });
    all
}

/// Refuses what would be more selectors than `max`.
///
/// # Errors
/// When it is more.
pub(crate) fn check_limit(deletions: &[Arc<Deletion>], max: usize) -> Result<(), Error> {
    let count = selectors(deletions);
    if count <= max {
        return Ok(());
    }
    Err(Error::Limit(format!(
        "with this delete {count} selectors would wait to be applied to the blocks, at most {max} may: \
         clean_tombstones applies them"
    )))
}
