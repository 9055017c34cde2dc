//! Random operations on an engine against a plain map.
//!
//! After every operation the engine answers what the map answers: batches of ordered, late, duplicate and
//! stale samples of both kinds, deletes, flushes, merges, copies, clean restarts and losses of power, on the disk
//! in memory. `MODEL_CASES` (10,000 by default) says how many cases, `MODEL_SEED=n` runs one again; a failure
//! is made as small as possible and printed.

mod support;

use engine::io::memory::MemoryDisk;
use engine::{Engine, MatchOp, Matcher};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use storage_format::model::{Histogram, Labels, Samples, Span, TimeRange, stale_nan};
use support::{Random, for_seeds, from_env, open_at};

/// Cases run when the environment does not say how many.
const CASES: u64 = 10_000;

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
    /// Which series (see [`selectors`]), from, length.
    Delete(u8, i64, i64),
    CleanTombstones,
    Flush,
    Compact,
    Copy,
    Reopen,
    /// Everything that was not synced is lost.
    PowerLoss,
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
        2 => (0u8..6, delete_range()).prop_map(|(which, (from, len))| Operation::Delete(which, from, len)),
        1 => Just(Operation::CleanTombstones),
        2 => Just(Operation::Flush),
        1 => Just(Operation::Compact),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::PowerLoss),
        1 => Just(Operation::Copy),
    ]
}

/// Where a delete begins and how long it is; often everything.
fn delete_range() -> impl Strategy<Value = (i64, i64)> {
    prop_oneof![
        1 => Just((i64::MIN, i64::MAX)),
        3 => (0i64..40_000_000, prop_oneof![Just(0i64), 0i64..20_000_000]),
    ]
}

/// Whether a delete means a series.
type Means = fn(u8) -> bool;

/// Selectors of a delete, and the series they mean.
fn selectors(which: u8) -> (Vec<Vec<Matcher>>, Means) {
    let matcher = |op, name, value| Matcher::new(op, name, value).expect("matcher");
    match which {
        0 => (vec![vec![matcher(MatchOp::Equal, "n", "3")]], |n| n == 3),
        1 => (vec![vec![matcher(MatchOp::Equal, "third", "1")]], |n| n % 3 == 1),
        2 => (vec![vec![matcher(MatchOp::Regex, "n", "1.*")]], |n| n == 1 || n >= 10),
        3 => {
            let two = vec![matcher(MatchOp::NotEqual, "n", "5"), matcher(MatchOp::Equal, "third", "2")];
            (vec![two, vec![matcher(MatchOp::Equal, "n", "0")]], |n| n % 3 == 2 && n != 5 || n == 0)
        }
        4 => (vec![Vec::new()], |_| true),
        _ => (vec![vec![matcher(MatchOp::Equal, "n", "99")]], |_| false),
    }
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

fn open(disk: &MemoryDisk, path: &str) -> Engine {
    open_at(disk, path, i64::MAX / 4).expect("opens")
}

type Model = BTreeMap<(u8, i64), (i64, Value)>;

fn append(engine: &Engine, model: &mut Model, samples: &[(u8, i64, i64, Value)]) {
    let row = |(series, t, start, value): &(u8, i64, i64, Value)| {
        let mut one = Samples::default();
        match value {
            Value::Float(bits) => one.push_float(*t, *start, f64::from_bits(*bits)),
            Value::Histogram(count) => one.histograms.push((*t, *start, histogram(*count))),
        }
        (labels(*series), one)
    };
    let rows: Vec<_> = samples.iter().map(row).collect();
    let outcome = engine.append(&rows).expect("memory does not fail");
    assert_eq!(outcome.accepted + outcome.rejected_count, samples.len() as u64);
    for (i, (series, t, start, value)) in samples.iter().enumerate() {
        // The first value of a timestamp stays. A late duplicate may be accepted and merged away.
        let known = model.contains_key(&(*series, *t));
        let rejected = outcome.rejected_entries.contains(&(i as u32));
        assert!(known || !rejected, "a new sample was rejected: {outcome:?}");
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
    let mut disk = MemoryDisk::default();
    let mut engine = open(&disk, "/data");
    let mut model = Model::new();
    for (number, operation) in operations.iter().enumerate() {
        match operation {
            Operation::Append(samples) => append(&engine, &mut model, samples),
            Operation::Delete(which, from, length) => {
                let (sets, means) = selectors(*which);
                let range = TimeRange::closed(*from, from.saturating_add(*length));
                engine.delete(&sets, range).expect("deletes");
                model.retain(|(n, t), _| !means(*n) || !range.contains(*t));
            }
            Operation::CleanTombstones => {
                engine.clean_tombstones().expect("cleans");
                assert_eq!(engine.stats().tombstone_selectors, 0);
            }
            Operation::Flush => engine.flush().expect("flushes"),
            Operation::Compact => engine.compact().expect("compacts"),
            Operation::Reopen => {
                engine.close().expect("closes");
                drop(engine);
                engine = open(&disk, "/data");
            }
            Operation::PowerLoss => {
                let after = disk.power_cut(None, &mut |_| 0);
                drop(engine);
                disk = after;
                engine = open(&disk, "/data");
            }
            Operation::Copy => {
                engine.copy(&format!("copy-{number}")).expect("copies");
                check(&open(&disk, &format!("/data/snapshots/copy-{number}")), &model, TimeRange::ALL);
            }
        }
        assert_eq!(engine.stats().reports, Vec::<String>::new());
        check(&engine, &model, TimeRange::ALL);
        if number % 3 == 1 {
            check(&engine, &model, TimeRange::new(7_000_000, 15_000_000));
        }
    }
    // A series that was deleted in part only may be listed longer, until its blocks are rewritten.
    engine.flush().and_then(|()| engine.clean_tombstones()).expect("cleans");
    check(&engine, &model, TimeRange::ALL);
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

/// Runs the case of a seed. One that fails is made smaller as long as it still fails.
fn case(seed: u64) {
    let mut seeded = Random::new(seed);
    let bytes: [u8; 32] = std::array::from_fn(|_| seeded.below(256) as u8);
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let operations = prop::collection::vec(operation(), 1..14);
    let mut tree = operations.new_tree(&mut runner).expect("operations can always be made");
    let fails = |operations: &[Operation]| catch_unwind(AssertUnwindSafe(|| run(operations))).is_err();
    let mut smallest = tree.current();
    if !fails(&smallest) {
        return;
    }
    for _ in 0..300 {
        if !tree.simplify() {
            break;
        }
        let smaller = tree.current();
        if fails(&smaller) {
            smallest = smaller;
        } else if !tree.complicate() {
            break;
        }
    }
    panic!("these operations do not do what a map does: {smallest:#?}");
}

#[test]
fn random_operations_equal_a_map() {
    let seeds = match from_env("MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_env("MODEL_CASES").unwrap_or(CASES),
    };
    println!("seeds {seeds:?}");
    for_seeds(seeds, "MODEL_SEED=SEED cargo test -p marigram-engine --test model", case);
}
