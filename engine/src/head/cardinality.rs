//! How many series each metric has and how many values each label, and whether one more series may come.
//!
//! Where it sits: beside the shards, asked and told under a shard's lock when a series is made or evicted,
//! never for a sample. Invariants: series are counted exactly. Values of a label are counted by a sample of
//! their hashes, the more values the limit allows the smaller a part: exactly up to 1,024, within some five
//! percent above. Writers at the same moment may pass a limit by as many series as they are. What is on the
//! disk is restored whatever the limits say.

use super::index::HeadIndex;
use crate::Rejection;
use crate::select::postings::LabelIndex;
use hashbrown::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use storage_format::model::{Labels, METRIC_NAME, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

/// Locks over which the metrics are spread.
const STRIPES: usize = 16;
/// Values of a label up to which all are counted.
const EXACT: usize = 1024;
/// New series that may come at once, in seconds of the rate.
const BURST_SECONDS: f64 = 10.0;
/// Bytes of a label set quoted in a refusal.
const QUOTE_BYTES_MAX: usize = 512;

/// What the head enforces about series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeriesLimits {
    pub(crate) series: usize,
    pub(crate) per_metric: usize,
    pub(crate) values_per_label: usize,
    pub(crate) new_per_second: u32,
}

/// The counts.
#[derive(Debug)]
pub(super) struct Cardinality {
    limits: SeriesLimits,
    /// Series by the hash of their metric's name.
    metrics: [Mutex<HashMap<u64, u32>>; STRIPES],
    /// Values whose hash has none of these bits are counted.
    mask: u64,
    values: Mutex<HashMap<u64, Values>>,
    /// Labels that have as many values as they may.
    full_labels: AtomicU64,
    tokens: Mutex<Tokens>,
}

/// Of one label: the hashes of the counted values, and how many shards know each.
type Values = HashMap<u64, u32>;

#[derive(Debug)]
struct Tokens {
    left: f64,
    at: Timestamp,
}

/// Why a series may not be made.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: Rejection,
    /// A sentence that names limit and series.
    pub(super) text: String,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

impl Cardinality {
    pub(super) fn new(limits: SeriesLimits) -> Self {
        let part = limits.values_per_label.div_ceil(EXACT).next_power_of_two();
        Self {
            limits,
            metrics: Default::default(),
            mask: part as u64 - 1,
            values: Mutex::default(),
            full_labels: AtomicU64::new(0),
            tokens: Mutex::new(Tokens {
                left: f64::from(limits.new_per_second) * BURST_SECONDS,
                at: Timestamp::MIN,
            }),
        }
    }
    /// Whether a series may be added to the shard with this index, where there are `so_many` in all.
    pub(super) fn admit(
        &self,
        index: &HeadIndex,
        labels: &Labels,
        so_many: u64,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let SeriesLimits { series, per_metric, values_per_label, new_per_second } = self.limits;
        let refuse = |reason, what: String| {
            let mut text = format!("{what} for series {labels}");
            text.truncate(text.floor_char_boundary(QUOTE_BYTES_MAX));
            Err(Refusal { reason, text })
        };
        if so_many >= series as u64 {
            return refuse(Rejection::SeriesLimit, format!("limit of {series} active series reached"));
        }
        let name = labels.metric_name().unwrap_or_default();
        let key = hash(name);
        if locked(self.stripe(key)).get(&key).is_some_and(|n| *n as usize >= per_metric) {
            let what = format!("limit of {per_metric} active series of metric {name:?} reached");
            return refuse(Rejection::MetricSeriesLimit, what);
        }
        if let Some(name) = self.overfull(index, labels) {
            let what = format!("limit of {values_per_label} values of label {name:?} reached");
            return refuse(Rejection::LabelValuesLimit, what);
        }
        if !self.take_token(now) {
            let what = format!("limit of {new_per_second} new series a second reached");
            return refuse(Rejection::NewSeriesRate, what);
        }
        Ok(())
    }

    /// Counts a series that is about to stand in `index`.
    pub(super) fn add(&self, index: &HeadIndex, labels: &Labels) {
        self.add_to_metric(labels.metric_name().unwrap_or_default(), 1);
        for (name, value) in self.counted(labels) {
            if !knows(index, name, value) {
                self.add_value(name, value);
            }
        }
    }

    /// Counts all series of `index`, which were restored from the disk.
    pub(super) fn add_all(&self, index: &HeadIndex) {
        index.visit_cardinality(&mut |name, value, series| {
            if name == METRIC_NAME {
                self.add_to_metric(value, u32::try_from(series).unwrap_or(u32::MAX));
            }
            if hash(value) & self.mask == 0 {
                self.add_value(name, value);
            }
        });
    }

    fn add_to_metric(&self, name: &str, series: u32) {
        let key = hash(name);
        let mut metrics = locked(self.stripe(key));
        let count = metrics.entry(key).or_default();
        *count = count.saturating_add(series);
    }

    fn add_value(&self, name: &str, value: &str) {
        let mut all = locked(&self.values);
        let values = all.entry(hash(name)).or_default();
        let before = values.len();
        *values.entry(hash(value)).or_default() += 1;
        let is_full_now = values.len() > before && values.len() == self.fill();
        self.full_labels.fetch_add(u64::from(is_full_now), Relaxed);
    }

    /// Counts a series off that has just been taken out of `index`.
    pub(super) fn remove(&self, index: &HeadIndex, labels: &Labels) {
        let key = hash(labels.metric_name().unwrap_or_default());
        take_one(&mut locked(self.stripe(key)), key);
        for (name, value) in self.counted(labels) {
            if !knows(index, name, value) {
                let mut all = locked(&self.values);
                let Some(values) = all.get_mut(&hash(name)) else { continue };
                let before = values.len();
                take_one(values, hash(value));
                self.full_labels
                    .fetch_sub(u64::from(values.len() < before && before == self.fill()), Relaxed);
                if values.is_empty() {
                    all.remove(&hash(name));
                }
            }
        }
    }

    fn stripe(&self, key: u64) -> &Mutex<HashMap<u64, u32>> {
        &self.metrics[key as usize % STRIPES]
    }
    /// Counted values with which a label is full.
    fn fill(&self) -> usize {
        (self.limits.values_per_label / (self.mask as usize + 1)).max(1)
    }
    fn counted<'a>(&self, labels: &'a Labels) -> impl Iterator<Item = (&'a str, &'a str)> {
        labels.iter().filter(|(_, value)| hash(value) & self.mask == 0)
    }

    /// A label that is full and to which the series would add a value. A value is known where its shard or
    /// the counted ones have it.
    fn overfull<'a>(&self, index: &HeadIndex, labels: &'a Labels) -> Option<&'a str> {
        if self.full_labels.load(Relaxed) == 0 {
            return None;
        }
        let adds = |(name, value): &(&str, &str)| {
            let all = locked(&self.values);
            let full = all.get(&hash(name)).filter(|values| values.len() >= self.fill());
            full.is_some_and(|values| !values.contains_key(&hash(value))) && !knows(index, name, value)
        };
        labels.iter().find(adds).map(|(name, _)| name)
    }

    fn take_token(&self, now: Timestamp) -> bool {
        let rate = f64::from(self.limits.new_per_second);
        if rate == 0.0 {
            return true;
        }
        let mut tokens = locked(&self.tokens);
        let passed = now.saturating_sub(tokens.at.max(now.saturating_sub(3_600_000))).max(0);
        tokens.left = (tokens.left + passed as f64 / 1000.0 * rate).min(rate * BURST_SECONDS);
        tokens.at = now;
        let some = tokens.left >= 1.0;
        if some {
            tokens.left -= 1.0;
        }
        some
    }
}

/// Whether a series of the shard has the pair.
fn knows(index: &HeadIndex, name: &str, value: &str) -> bool {
    matches!(index.pair(name, value), Ok(Some(_)))
}

fn take_one(counts: &mut HashMap<u64, u32>, key: u64) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}
