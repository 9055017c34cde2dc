//! Point-in-time views: what a query reads.

use crate::{Error, Matcher};
use std::collections::BTreeSet;
use std::sync::Arc;
use storage_format::model::{Labels, Samples, TimeRange};

/// A consistent view. Holding it holds no lock.
#[derive(Debug, Clone)]
pub struct Snapshot {
    series: Arc<Vec<Series>>,
}

/// One selected series; its samples are decoded on demand, from any thread.
#[derive(Debug, Clone)]
pub struct Series {
    labels: Labels,
    samples: Arc<Samples>,
}

impl Series {
    /// A series in memory.
    #[must_use]
    pub fn from_samples(labels: Labels, samples: Arc<Samples>) -> Self {
        Self { labels, samples }
    }
    /// Its label set.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }
    /// Replaces `into` by the samples inside `range`, head and blocks merged, out-of-order and duplicate
    /// samples resolved.
    ///
    /// # Errors
    /// When a block is damaged or cannot be read.
    pub fn read(&self, range: TimeRange, into: &mut Samples) -> Result<(), Error> {
        into.clear();
        for (i, (t, v)) in self.samples.timestamps.iter().zip(&self.samples.values).enumerate() {
            if range.contains(*t) {
                into.push_float(*t, self.samples.starts.get(i).copied().unwrap_or(0), *v);
            }
        }
        into.histograms.extend(self.samples.histograms.iter().filter(|h| range.contains(h.0)).cloned());
        Ok(())
    }
}

impl Snapshot {
    /// A view over series in memory, for embedding and tests.
    pub fn from_series(series: impl IntoIterator<Item = Series>) -> Self {
        Self { series: Arc::new(series.into_iter().collect()) }
    }
    /// The series that fulfil all `matchers` and may have samples in `range`, in no particular order,
    /// each label set once.
    ///
    /// # Errors
    /// When an index is damaged or cannot be read.
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<Series>, Error> {
        let _ = range;
        let fits = |s: &&Series| matchers.iter().all(|m| m.matches(s.labels.get(&m.name).unwrap_or("")));
        Ok(self.series.iter().filter(fits).cloned().collect())
    }
    /// Label sets matched by any of `sets`, sorted, at most `limit` (0: all).
    ///
    /// # Errors
    /// As [`Snapshot::select`].
    pub fn series(
        &self,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, Error> {
        let mut found = BTreeSet::new();
        for set in sets {
            found.extend(self.select(set, range)?.iter().map(|s| s.labels.clone()));
        }
        let limit = if limit == 0 { usize::MAX } else { limit };
        Ok(found.into_iter().take(limit).collect())
    }
    /// Label names of the series matched by any of `sets` (all series when `sets` is empty), sorted, at
    /// most `limit` (0: all).
    ///
    /// # Errors
    /// As [`Snapshot::select`].
    pub fn label_names(
        &self,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let mut found = BTreeSet::new();
        let all = [Vec::new()];
        for labels in self.series(if sets.is_empty() { &all } else { sets }, range, 0)? {
            found.extend(labels.iter().map(|(n, _)| n.to_owned()));
        }
        let limit = if limit == 0 { usize::MAX } else { limit };
        Ok(found.into_iter().take(limit).collect())
    }
    /// Values of label `name` among the series matched by any of `sets` (all series when `sets` is empty),
    /// sorted, at most `limit` (0: all).
    ///
    /// # Errors
    /// As [`Snapshot::select`].
    pub fn label_values(
        &self,
        name: &str,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let mut found = BTreeSet::new();
        let all = [Vec::new()];
        for labels in self.series(if sets.is_empty() { &all } else { sets }, range, 0)? {
            found.extend(labels.get(name).map(str::to_owned));
        }
        let limit = if limit == 0 { usize::MAX } else { limit };
        Ok(found.into_iter().take(limit).collect())
    }
}
