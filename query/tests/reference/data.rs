//! Random series: regular and irregular scrapes, gaps, resets, staleness markers, NaN and infinities.

use engine::{Series, Snapshot};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage_format::model::{Labels, Samples, stale_nan};

/// A series: labels and (milliseconds, value) ascending.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) samples: Vec<(i64, f64)>,
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        10 => (0_i32..40).prop_map(f64::from),
        6 => (-1000_i32..1000).prop_map(|v| f64::from(v) / 7.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        2 => Just(stale_nan()),
    ]
}

fn series() -> impl Strategy<Value = Stored> {
    let labels = (0_usize..3, 0_usize..3, 0_usize..3);
    let interval = prop_oneof![Just(15_000_i64), Just(60_000), Just(10_007)];
    let samples = prop::collection::vec((prop::bool::weighted(0.85), value()), 1..60);
    (labels, interval, 0_i64..60_000, samples).prop_map(|((m, a, b), interval, first, samples)| {
        let mut labels = BTreeMap::from([("__name__".to_owned(), ["m", "n", "o"][m].to_owned())]);
        for (name, value) in [("a", ["x", "y", ""][a]), ("b", ["1", "2", "3"][b])] {
            if !value.is_empty() {
                labels.insert(name.to_owned(), value.to_owned());
            }
        }
        let at = |i: usize| first + i as i64 * interval;
        let kept = samples.into_iter().enumerate().filter(|(_, (kept, _))| *kept);
        Stored { labels, samples: kept.map(|(i, (_, value))| (at(i), value)).collect() }
    })
}

/// Some series, each label set once.
pub(crate) fn stored() -> impl Strategy<Value = Vec<Stored>> {
    prop::collection::vec(series(), 1..9).prop_map(|mut all| {
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        all.dedup_by(|a, b| a.labels == b.labels);
        all
    })
}

/// The same series as the engine sees them.
pub(crate) fn snapshot(stored: &[Stored]) -> Snapshot {
    Snapshot::from_series(stored.iter().map(|s| {
        let mut samples = Samples::default();
        s.samples.iter().for_each(|(t, v)| samples.push_float(*t, 0, *v));
        Series::from_samples(Labels::from_pairs(&s.labels), Arc::new(samples))
    }))
}
