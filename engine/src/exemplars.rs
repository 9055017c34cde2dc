//! Exemplars: single observations with the labels (a trace's id) that tell where they come from.
//!
//! Where it sits: beside the head, in memory, bounded in number; what is older goes. Not logged: exemplars
//! do not survive a restart. Invariants: those of a series are ascending by timestamp; one that repeats
//! the newest is not kept twice.

use crate::Matcher;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use storage_format::model::{Labels, TimeRange, Timestamp};

/// Exemplars kept of one series.
const PER_SERIES_MAX: usize = 128;

/// One exemplar.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// Its labels; may be empty.
    pub labels: Labels,
    /// The observed value.
    pub value: f64,
    /// When, milliseconds since the epoch.
    pub timestamp: Timestamp,
}

/// The exemplars of all series.
#[derive(Debug)]
pub(crate) struct ExemplarStore {
    kept: Mutex<Kept>,
    max: usize,
    /// How far behind its series' newest one an exemplar may be, milliseconds.
    window_ms: i64,
}

#[derive(Debug, Default)]
struct Kept {
    series: HashMap<Labels, VecDeque<Exemplar>>,
    /// Series in the order in which their exemplars came; one entry an exemplar.
    order: VecDeque<Labels>,
}

impl ExemplarStore {
    pub(crate) fn new(max: usize, window_ms: i64) -> Self {
        Self { kept: Mutex::default(), max, window_ms }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an exemplar of a series; false when it is too old. A repetition of the newest counts as kept.
    pub(crate) fn append(&self, series: &Labels, exemplar: Exemplar) -> bool {
        if self.max == 0 {
            return false;
        }
        let mut kept = self.kept();
        let kept = &mut *kept;
        let mine = kept.series.entry(series.clone()).or_default();
        if let Some(newest) = mine.back() {
            if newest.timestamp == exemplar.timestamp
                && newest.labels == exemplar.labels
                && newest.value.to_bits() == exemplar.value.to_bits()
            {
                return true;
            }
            if exemplar.timestamp < newest.timestamp.saturating_sub(self.window_ms) {
                return false;
            }
        }
        let at = mine.partition_point(|e| e.timestamp <= exemplar.timestamp);
        mine.insert(at, exemplar);
        if mine.len() > PER_SERIES_MAX {
            // Its place in the order stays and finds the next one later; the number kept never grows.
            mine.pop_front();
        } else {
            kept.order.push_back(series.clone());
        }
        while kept.order.len() > self.max {
            kept.forget_oldest();
        }
        true
    }

    /// The exemplars inside `range` of the series matched by any of `sets`, sorted by series.
    pub(crate) fn select(&self, sets: &[Vec<Matcher>], range: TimeRange) -> Vec<(Labels, Vec<Exemplar>)> {
        let fits = |labels: &Labels| {
            sets.iter().any(|set| set.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or(""))))
        };
        let kept = self.kept();
        let mut found: Vec<(Labels, Vec<Exemplar>)> = Vec::new();
        for (labels, all) in kept.series.iter().filter(|(labels, _)| fits(labels)) {
            let inside: Vec<_> = all.iter().filter(|e| range.contains(e.timestamp)).cloned().collect();
            if !inside.is_empty() {
                found.push((labels.clone(), inside));
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    /// Exemplars kept.
    pub(crate) fn len(&self) -> usize {
        self.kept().order.len()
    }
}

impl Kept {
    fn forget_oldest(&mut self) {
        let Some(labels) = self.order.pop_front() else { return };
        if let Some(all) = self.series.get_mut(&labels) {
            all.pop_front();
            if all.is_empty() {
                self.series.remove(&labels);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatchOp;

    fn exemplar(timestamp: Timestamp, id: &str) -> Exemplar {
        Exemplar { labels: Labels::from_pairs([("trace_id", id)]), value: 1.0, timestamp }
    }

    fn series(name: &str) -> Labels {
        Labels::from_pairs([("__name__", name)])
    }

    fn times(store: &ExemplarStore, name: &str) -> Vec<Timestamp> {
        let set = vec![Matcher::new(MatchOp::Equal, "__name__", name).unwrap()];
        let found = store.select(&[set], TimeRange::ALL);
        found.iter().flat_map(|(_, all)| all.iter().map(|e| e.timestamp)).collect()
    }

    #[test]
    fn sorted_without_repetitions_and_bounded_in_age() {
        let store = ExemplarStore::new(100, 10);
        for t in [100, 120, 115, 120] {
            assert!(store.append(&series("a"), exemplar(t, "x")));
        }
        assert!(!store.append(&series("a"), exemplar(109, "x")));
        assert_eq!(times(&store, "a"), [100, 115, 120]);
        assert_eq!(store.len(), 3);
        assert_eq!(store.select(&[], TimeRange::ALL), []);
    }

    #[test]
    fn the_oldest_go_first() {
        let store = ExemplarStore::new(3, 0);
        for (name, t) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            store.append(&series(name), exemplar(t, "x"));
        }
        assert_eq!((times(&store, "a"), times(&store, "b"), times(&store, "c")), (vec![3], vec![2], vec![4]));
    }

    #[test]
    fn one_series_cannot_take_all_places() {
        let store = ExemplarStore::new(1000, 0);
        for t in 0..500 {
            store.append(&series("a"), exemplar(t, "x"));
        }
        assert_eq!((store.len(), times(&store, "a").len(), times(&store, "a")[0]), (128, 128, 372));
    }
}
