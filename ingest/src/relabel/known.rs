//! What relabeling made of the series seen so far, under the keys by which their senders name them.
//!
//! Invariants: an outcome belongs to the rules that made it, so new rules start with empty tables; tables are
//! bounded and only a cache, whoever is forgotten is relabeled again. The keys are keyed hashes, so nobody
//! outside can aim for a place. While rules are on, no sender's key reaches the engine: what it names there
//! may be another series than the one it names here.

use super::Rules;
use crate::keys::AsHash;
use engine::{SeriesEntry, WriteBatch, series_key};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use storage_format::model::Labels;
use storage_format::model::labels::put_key;

/// Kept series remembered, 32 bytes each; when there are more they are all relabeled again.
const KEPT_MAX: usize = 4 << 20;
/// Dropped series remembered, 16 bytes each; likewise.
const DROPPED_MAX: usize = 1 << 20;

/// The rules in force, for all receivers of a server. Share it as `Arc`.
#[derive(Debug, Default)]
pub struct Relabeling {
    current: RwLock<Option<Arc<Generation>>>,
    dropped_samples: AtomicU64,
}

impl Relabeling {
    /// Puts other rules in force; requests that are being decoded end under the old ones.
    pub fn set(&self, rules: Rules) {
        let next = (!rules.is_empty()).then(|| Arc::new(Generation { rules, outcomes: RwLock::default() }));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
    /// Samples and histograms that were dropped because of rules.
    #[must_use]
    pub fn dropped_samples(&self) -> u64 {
        self.dropped_samples.load(Ordering::Relaxed)
    }
    /// Series of which it is known that the rules drop them, and series of which it is known that they keep
    /// them.
    #[must_use]
    pub fn known_series(&self) -> (usize, usize) {
        self.current().map_or((0, 0), |current| {
            let outcomes = current.outcomes.read().unwrap_or_else(PoisonError::into_inner);
            (outcomes.dropped.len(), outcomes.kept.len())
        })
    }
    /// The rules and what they have done; `None` when there are no rules.
    pub(crate) fn current(&self) -> Option<Arc<Generation>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    pub(crate) fn count(&self, relabeled: &Relabeled) {
        if relabeled.dropped_samples > 0 {
            self.dropped_samples.fetch_add(relabeled.dropped_samples, Ordering::Relaxed);
        }
    }
}

/// One set of rules, and what they made of the series they have seen.
#[derive(Debug)]
pub(crate) struct Generation {
    rules: Rules,
    outcomes: RwLock<Outcomes>,
}

#[derive(Debug, Default)]
struct Outcomes {
    /// The sender's key to the canonical one of the new labels.
    kept: HashMap<u128, u128, AsHash>,
    dropped: HashSet<u128, AsHash>,
}

/// A batch after relabeling.
#[derive(Debug, Default)]
pub(crate) struct Relabeled {
    /// For each entry of the batch as it was, its number now; empty when no entry went.
    pub(crate) moved: Vec<Option<u32>>,
    /// Samples and histograms that went with them.
    pub(crate) dropped_samples: u64,
    /// Histograms among them.
    pub(crate) dropped_histograms: u64,
}

impl Generation {
    /// The labels as the rules leave them; `None` when the series is to be dropped.
    pub(crate) fn apply(&self, labels: &Labels) -> Option<Labels> {
        self.rules.apply(labels)
    }

    /// Gives the batch's entries the keys of their new labels and takes out those that are dropped. Entries
    /// whose labels cannot be read get a key that names nothing, so that the engine asks for their labels
    /// and hears why.
    pub(crate) fn relabel(
        &self,
        batch: &mut WriteBatch,
        read: &mut dyn FnMut(&SeriesEntry) -> Result<Labels, String>,
    ) -> Relabeled {
        let mut relabeled = Relabeled::default();
        let (mut unknown, mut drops) = (Vec::new(), Vec::new());
        {
            let outcomes = self.outcomes.read().unwrap_or_else(PoisonError::into_inner);
            for (i, entry) in batch.series.iter_mut().enumerate() {
                match outcomes.kept.get(&entry.key) {
                    Some(canonical) => entry.key = *canonical,
                    None if outcomes.dropped.contains(&entry.key) => drops.push(i),
                    None => unknown.push(i),
                }
            }
        }
        if !unknown.is_empty() {
            self.learn(batch, &unknown, read, &mut drops);
        }
        if !drops.is_empty() {
            drops.sort_unstable();
            take_out(batch, &drops, &mut relabeled);
        }
        relabeled
    }

    fn learn(
        &self,
        batch: &mut WriteBatch,
        unknown: &[usize],
        read: &mut dyn FnMut(&SeriesEntry) -> Result<Labels, String>,
        drops: &mut Vec<usize>,
    ) {
        let (mut kept, mut dropped, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for i in unknown {
            let Some(entry) = batch.series.get_mut(*i) else { continue };
            let key = entry.key;
            match read(entry).map(|labels| self.rules.apply(&labels)) {
                Ok(Some(labels)) => {
                    bytes.clear();
                    put_key(&labels, &mut bytes);
                    entry.key = series_key(&bytes);
                    kept.push((key, entry.key));
                }
                Ok(None) => {
                    dropped.push(key);
                    drops.push(*i);
                }
                Err(_) => entry.key = !key,
            }
        }
        let mut outcomes = self.outcomes.write().unwrap_or_else(PoisonError::into_inner);
        if outcomes.kept.len() + kept.len() > KEPT_MAX {
            outcomes.kept = HashMap::default();
        }
        if outcomes.dropped.len() + dropped.len() > DROPPED_MAX {
            outcomes.dropped = HashSet::default();
        }
        outcomes.kept.extend(kept);
        outcomes.dropped.extend(dropped.into_iter().take(DROPPED_MAX));
    }
}

/// Takes the entries at `drops`, ascending, out of the batch, with their samples.
fn take_out(batch: &mut WriteBatch, drops: &[usize], relabeled: &mut Relabeled) {
    let mut keep = vec![true; batch.series.len()];
    drops.iter().for_each(|i| keep[*i] = false);
    let (mut floats, mut histograms) =
        (vec![true; batch.timestamps.len()], vec![true; batch.histograms.len()]);
    let (mut from, mut gone) = ((0, 0), (0, 0));
    for (entry, keep) in batch.series.iter_mut().zip(&keep) {
        let until = (entry.floats_end, entry.histograms_end);
        if !keep {
            floats[from.0 as usize..until.0 as usize].fill(false);
            histograms[from.1 as usize..until.1 as usize].fill(false);
            gone = (gone.0 + until.0 - from.0, gone.1 + until.1 - from.1);
        }
        from = until;
        (entry.floats_end, entry.histograms_end) = (until.0 - gone.0, until.1 - gone.1);
    }
    retain(&mut batch.series, &keep);
    retain(&mut batch.timestamps, &floats);
    retain(&mut batch.values, &floats);
    if !batch.starts.is_empty() {
        // Short while its end is not needed; what is not there is 0.
        batch.starts.resize(floats.len(), 0);
        retain(&mut batch.starts, &floats);
    }
    retain(&mut batch.histograms, &histograms);
    let mut next = 0;
    let number = |keep: &bool| {
        let number = keep.then_some(next);
        next += u32::from(*keep);
        number
    };
    relabeled.moved = keep.iter().map(number).collect();
    relabeled.dropped_samples = u64::from(gone.0 + gone.1);
    relabeled.dropped_histograms = u64::from(gone.1);
}

fn retain<T>(column: &mut Vec<T>, keep: &[bool]) {
    let mut keep = keep.iter();
    column.retain(|_| keep.next().copied().unwrap_or(true));
}
