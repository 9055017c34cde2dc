//! Random operations on an engine against a plain map.
//!
//! After every operation the engine answers what the map answers: ordered, late and duplicate samples of
//! both kinds, flushes, clean and unclean restarts, on the disk in memory.

use engine::io::{Clock, FileSystem, memory::MemoryDisk};
use engine::{Engine, MatchOp, Matcher, Options};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage_format::model::{Histogram, Labels, Samples, Span, TimeRange, stale_nan};

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now_ms(&self) -> i64 {
        1 << 40
    }
}

/// Values by their bits; histograms by their count.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Float(u64),
    Histogram(u64),
}

#[derive(Debug, Clone)]
enum Operation {
    /// Series, timestamp, start timestamp, value.
    Append(Vec<(u8, i64, i64, Value)>),
    Flush,
    Compact,
    Reopen,
    Kill,
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (0u32..1000).prop_map(|n| Value::Float(f64::from(n).to_bits())),
        2 => any::<u64>().prop_map(Value::Float),
        1 => Just(Value::Float(stale_nan().to_bits())),
        2 => (0u64..100).prop_map(Value::Histogram),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let time = prop_oneof![4 => 0i64..40_000_000, 2 => (0i64..2000).prop_map(|n| n * 15_000)];
    let sample = (0u8..12, time, prop_oneof![3 => Just(0i64), 1 => 1i64..5], value());
    prop_oneof![
        8 => prop::collection::vec(sample, 1..60).prop_map(Operation::Append),
        2 => Just(Operation::Flush),
        1 => Just(Operation::Compact),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Kill),
    ]
}

fn labels(series: u8) -> Labels {
    let (n, third) = (series.to_string(), (series % 3).to_string());
    Labels::from_pairs([("__name__", "m"), ("n", n.as_str()), ("third", &third)])
}

fn histogram(count: u64) -> Histogram {
    Histogram {
        schema: 2,
        integer: true,
        count: count as f64,
        sum: count as f64 * 1.5,
        positive_spans: vec![Span { offset: 1, length: 2 }],
        positive_counts: vec![count as f64, 0.0],
        ..Histogram::default()
    }
}

fn open(disk: &MemoryDisk) -> Engine {
    let options = Options {
        out_of_order_window_ms: i64::MAX / 4,
        retention_ms: i64::MAX,
        shards: 3,
        ..Options::new("/data")
    };
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    Engine::open_with(options, fs, Arc::new(FixedClock), false).expect("opens")
}

type Model = BTreeMap<(u8, i64), (i64, Value)>;

fn append(engine: &Engine, model: &mut Model, samples: &[(u8, i64, i64, Value)]) {
    for (series, t, start, value) in samples {
        let mut one = Samples::default();
        match value {
            Value::Float(bits) => one.push_float(*t, *start, f64::from_bits(*bits)),
            Value::Histogram(count) => one.histograms.push((*t, *start, histogram(*count))),
        }
        let outcome = engine.append(&[(labels(*series), one)]).expect("memory does not fail");
        assert_eq!(outcome.accepted + outcome.rejected_count, 1);
        // The first value of a timestamp stays. A late duplicate may be accepted and merged away.
        let known = model.contains_key(&(*series, *t));
        assert!(known || outcome.accepted == 1, "a new sample was rejected: {outcome:?}");
        model.entry((*series, *t)).or_insert((*start, *value));
    }
}

fn check(engine: &Engine, model: &Model, range: TimeRange) {
    let matcher = Matcher::new(MatchOp::Equal, "__name__", "m").expect("matcher");
    let mut seen = Model::new();
    for series in engine.snapshot().select(&[matcher], range).expect("selects") {
        let n: u8 = series.labels().get("n").expect("label").parse().expect("number");
        assert_eq!(series.labels(), &labels(n));
        let mut samples = Samples::default();
        series.read(range, &mut samples).expect("reads");
        for (i, (t, v)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
            let start = samples.starts.get(i).copied().unwrap_or(0);
            assert!(seen.insert((n, *t), (start, Value::Float(v.to_bits()))).is_none());
        }
        for (t, start, h) in &samples.histograms {
            let count = h.count as u64;
            assert_eq!(h.positive_counts, histogram(count).positive_counts);
            assert!(seen.insert((n, *t), (*start, Value::Histogram(count))).is_none());
        }
    }
    let expected: Model =
        model.iter().filter(|((_, t), _)| range.contains(*t)).map(|(k, v)| (*k, *v)).collect();
    assert_eq!(seen.len(), expected.len(), "number of samples");
    for (key, value) in &expected {
        assert_eq!(seen.get(key), Some(value), "series and time {key:?}");
    }
}

fn run(operations: &[Operation]) {
    let disk = MemoryDisk::default();
    let mut engine = open(&disk);
    let mut model = Model::new();
    for operation in operations {
        match operation {
            Operation::Append(samples) => append(&engine, &mut model, samples),
            Operation::Flush => engine.flush().expect("flushes"),
            Operation::Compact => engine.compact().expect("compacts"),
            Operation::Reopen => {
                engine.close().expect("closes");
                drop(engine);
                engine = open(&disk);
            }
            Operation::Kill => {
                drop(engine);
                engine = open(&disk);
            }
        }
        assert_eq!(engine.stats().reports, Vec::<String>::new());
        check(&engine, &model, TimeRange::ALL);
        check(&engine, &model, TimeRange::new(7_000_000, 15_000_000));
    }
    let names = engine.snapshot().label_names(&[], TimeRange::ALL, 0).expect("names");
    let thirds = engine.snapshot().label_values("third", &[], TimeRange::ALL, 0).expect("values");
    if !model.is_empty() {
        assert_eq!(names, ["__name__", "n", "third"]);
        let mut expected: Vec<String> = model.keys().map(|(n, _)| (n % 3).to_string()).collect();
        expected.sort();
        expected.dedup();
        assert_eq!(thirds, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn random_operations_equal_a_map(operations in prop::collection::vec(operation(), 1..14)) {
        run(&operations);
    }
}
