//! Metric families: the numbers of one moment, ready to be shown or stored; and the counters behind them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Kind of a family, as the exposition formats name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only goes up; the name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
    /// Quantiles, sum and count.
    Summary,
}

/// One number of a family.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What follows the family's name (`_bucket`, `_sum`), mostly nothing.
    pub suffix: &'static str,
    /// Labels besides the name.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: f64,
}

/// A metric with all its label sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Full name, `_total` included.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its numbers.
    pub samples: Vec<Sample>,
}

/// Families being collected.
#[derive(Debug, Default)]
pub struct Families(pub Vec<Family>);

impl Families {
    /// Adds a counter without labels.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.add(name, help, Kind::Counter, vec![(Vec::new(), value as f64)]);
    }
    /// Adds a gauge without labels.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.add(name, help, Kind::Gauge, vec![(Vec::new(), value)]);
    }
    /// Adds a counter or gauge with labels; nothing when there are no samples.
    pub fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        samples: Vec<(Vec<(&'static str, String)>, f64)>,
    ) {
        let sample = |(labels, value)| Sample { suffix: "", labels, value };
        self.push(name, help, kind, samples.into_iter().map(sample).collect());
    }
    /// Adds a family; nothing when there are no samples.
    pub fn push(&mut self, name: &'static str, help: &'static str, kind: Kind, samples: Vec<Sample>) {
        if !samples.is_empty() {
            self.0.push(Family { name, help, kind, samples });
        }
    }
}

/// Counts observations by size.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    sum_bits: AtomicU64,
}

impl Histogram {
    /// A histogram with these upper bounds (ascending, without +Inf).
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_bits: AtomicU64::new(0f64.to_bits()) }
    }
    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _ = self.sum_bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
    /// Its buckets (cumulative), sum and count, each with `labels`.
    pub fn samples(&self, labels: &[(&'static str, String)], into: &mut Vec<Sample>) {
        let mut total = 0;
        let bounds = self.bounds.iter().map(ToString::to_string).chain(std::iter::once("+Inf".to_owned()));
        for (count, bound) in self.counts.iter().zip(bounds) {
            total += count.load(Ordering::Relaxed);
            let labels = labels.iter().cloned().chain(std::iter::once(("le", bound))).collect();
            into.push(Sample { suffix: "_bucket", labels, value: total as f64 });
        }
        let sum = f64::from_bits(self.sum_bits.load(Ordering::Relaxed));
        into.push(Sample { suffix: "_sum", labels: labels.to_vec(), value: sum });
        into.push(Sample { suffix: "_count", labels: labels.to_vec(), value: total as f64 });
    }
}

/// Quantiles over the most recent observations.
#[derive(Debug, Default)]
pub struct Summary(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    values: VecDeque<f64>,
    sum: f64,
    count: u64,
}

/// Observations a [`Summary`] remembers.
const RECENT_MAX: usize = 1024;

impl Summary {
    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.values.len() == RECENT_MAX {
            recent.values.pop_front();
        }
        recent.values.push_back(value);
        recent.sum += value;
        recent.count += 1;
    }
    /// Its quantiles 0.5, 0.9 and 0.99 (NaN before the first observation), sum and count, with `labels`.
    pub fn samples(&self, labels: &[(&'static str, String)], into: &mut Vec<Sample>) {
        let (mut values, sum, count) = {
            let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (recent.values.iter().copied().collect::<Vec<_>>(), recent.sum, recent.count)
        };
        values.sort_unstable_by(f64::total_cmp);
        for quantile in [0.5, 0.9, 0.99] {
            let rank = (quantile * values.len() as f64).ceil() as usize;
            let value = values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN);
            let with = labels.iter().cloned().chain(std::iter::once(("quantile", quantile.to_string())));
            into.push(Sample { suffix: "", labels: with.collect(), value });
        }
        into.push(Sample { suffix: "_sum", labels: labels.to_vec(), value: sum });
        into.push(Sample { suffix: "_count", labels: labels.to_vec(), value: count as f64 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_include_their_bound() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for value in [0.05, 0.1, 0.5, 7.0] {
            histogram.observe(value);
        }
        let mut samples = Vec::new();
        histogram.samples(&[("handler", "/x".to_owned())], &mut samples);
        let values: Vec<_> = samples.iter().map(|s| s.value).collect();
        assert_eq!(values, [2.0, 3.0, 4.0, 7.65, 4.0]);
        assert_eq!(samples[2].labels, [("handler", "/x".to_owned()), ("le", "+Inf".to_owned())]);
    }

    #[test]
    fn quantiles_are_those_of_the_recent_observations() {
        let summary = Summary::default();
        let mut samples = Vec::new();
        summary.samples(&[], &mut samples);
        assert!(samples[0].value.is_nan());
        for i in 1..=2000 {
            summary.observe(f64::from(i));
        }
        samples.clear();
        summary.samples(&[], &mut samples);
        let values: Vec<_> = samples.iter().map(|s| s.value).collect();
        assert_eq!(values, [1488.0, 1898.0, 1990.0, 2_001_000.0, 2000.0]);
    }
}
