//! A small directory on the disk in memory, and what it answers.

use engine::io::{Clock, FileSystem, memory::MemoryDisk};
use engine::{Engine, MatchOp, Matcher, Options, Snapshot};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use storage_format::model::{Histogram, Labels, Samples, Span, TimeRange};

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now_ms(&self) -> i64 {
        1 << 40
    }
}

/// A way to damage a disk, and its name.
pub(crate) type Spoil<'a> = (&'a str, &'a dyn Fn(&MemoryDisk));

pub(crate) const H: i64 = 3_600_000;

pub(crate) fn options() -> Options {
    Options {
        out_of_order_window_ms: i64::MAX / 4,
        retention_ms: i64::MAX,
        shards: 1,
        ..Options::new("/data")
    }
}

pub(crate) fn try_open(disk: &MemoryDisk) -> Result<Engine, engine::Error> {
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    Engine::open_with(options(), fs, Arc::new(FixedClock), false)
}

pub(crate) fn open(disk: &MemoryDisk) -> Engine {
    try_open(disk).expect("opens")
}

pub(crate) fn labels(series: usize) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", &format!("{series:03}"))])
}

pub(crate) fn append(engine: &Engine, series: usize, t: i64, value: f64) {
    let mut samples = Samples::default();
    samples.push_float(t, 0, value);
    let outcome = engine.append(&[(labels(series), samples)]).expect("appends");
    assert_eq!(outcome.rejected_count, 0);
}

pub(crate) fn append_histogram(engine: &Engine, series: usize, t: i64, start: i64, count: f64) {
    let histogram = Histogram {
        schema: 2,
        integer: true,
        count,
        sum: count * 1.5,
        positive_spans: vec![Span { offset: 1, length: 2 }],
        positive_counts: vec![count, 0.0],
        ..Histogram::default()
    };
    let samples = Samples { histograms: vec![(t, start, histogram)], ..Samples::default() };
    engine.append(&[(labels(series), samples)]).expect("appends");
}

/// Series and timestamp to what stands there, in words.
pub(crate) type Answers = BTreeMap<(String, i64), String>;

pub(crate) fn every() -> Matcher {
    Matcher::new(MatchOp::Equal, "__name__", "m").expect("a matcher")
}

/// Everything in `range`, by way of the index and of the samples.
pub(crate) fn answers(snapshot: &Snapshot, range: TimeRange) -> Result<Answers, engine::Error> {
    let mut found = Answers::new();
    for series in snapshot.select(&[every()], range)? {
        let name = series.labels().iter().map(|(n, v)| format!("{n}={v},")).collect::<String>();
        let mut samples = Samples::default();
        series.read(range, &mut samples)?;
        for (i, (t, v)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
            let start = samples.starts.get(i).copied().unwrap_or(0);
            found.insert((name.clone(), *t), format!("{:x} since {start}", v.to_bits()));
        }
        for (t, start, h) in &samples.histograms {
            found.insert((name.clone(), *t), format!("{h:?} since {start}"));
        }
    }
    Ok(found)
}

/// The files with this extension.
pub(crate) fn files(disk: &MemoryDisk, extension: &str) -> Vec<PathBuf> {
    let wanted = |path: &PathBuf| {
        path.extension().is_some_and(|e| e == extension)
            && !path.components().any(|c| c.as_os_str() == "damaged")
    };
    disk.files().into_iter().filter(wanted).collect()
}
