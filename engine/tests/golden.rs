//! Golden directories: what a released version wrote must open for ever, and answer what it answered then.
//!
//! `golden/<version>/data` is a data directory, `golden/<version>/answers.txt` what it must answer, a line a
//! sample. The directory of the version in the making is written anew when its format changes:
//! `GOLDEN_WRITE=0.1.0 cargo test -p marigram-engine --test golden`. Those of released versions never are.

use engine::io::{Clock, Disk};
use engine::{Engine, Exemplar, MatchOp, Matcher, Metadata, MetricType, Options};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage_format::model::{CounterResetHint, Histogram, Labels, Samples, Span, TimeRange, stale_nan};

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now_ms(&self) -> i64 {
        START + 40 * H
    }
}

const H: i64 = 3_600_000;
/// A multiple of the longest block range.
const START: i64 = 19_440 * 24 * H;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn open(path: &Path) -> Engine {
    let options = Options {
        out_of_order_window_ms: i64::MAX / 4,
        retention_ms: i64::MAX,
        shards: 2,
        ..Options::new(path)
    };
    Engine::open_with(options, Arc::new(Disk), Arc::new(FixedClock), false).expect("opens")
}

fn spans(pairs: &[(i32, u32)]) -> Vec<Span> {
    pairs.iter().map(|(offset, length)| Span { offset: *offset, length: *length }).collect()
}

/// One of the kinds of histograms.
fn histogram(kind: usize, i: i64) -> Histogram {
    let n = (i + 1) as f64;
    match kind {
        0 => Histogram {
            schema: 3,
            integer: true,
            count: 6.0 * n,
            sum: 18.4 * n,
            zero_threshold: 1e-128,
            zero_count: n,
            positive_spans: spans(&[(0, 2), (3, 1)]),
            positive_counts: vec![n, 2.0 * n, n],
            negative_spans: spans(&[(-1, 1)]),
            negative_counts: vec![n],
            ..Histogram::default()
        },
        1 => Histogram {
            schema: -2,
            reset_hint: CounterResetHint::Gauge,
            count: 1.5 * n,
            sum: -0.25,
            positive_spans: spans(&[(1, 1)]),
            positive_counts: vec![1.5 * n],
            ..Histogram::default()
        },
        _ => Histogram {
            schema: -53,
            integer: true,
            count: 3.0 * n,
            sum: n / 8.0,
            positive_spans: spans(&[(0, 3)]),
            positive_counts: vec![n, n, n],
            custom_bounds: vec![0.005, 0.25, 1.0],
            ..Histogram::default()
        },
    }
}

/// The value of a float series at its `i`-th sample; each series has its own character.
fn float(series: usize, i: i64) -> f64 {
    match series % 7 {
        0 => i as f64,
        1 => i as f64 / 10.0,
        2 => (i as f64 * 0.7).sin(),
        3 => 1e300 * (i as f64 + 0.5),
        4 if i % 5 == 4 => stale_nan(),
        4 => f64::from_bits(0x7ff8_0000_0000_0000 | i as u64),
        5 => [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY][(i % 4) as usize],
        _ => 42.0,
    }
}

/// Two minutes of samples from `at` on: 140 float series (two pages) and three of histograms.
fn append(engine: &Engine, at: i64, count: i64) {
    let mut rows = Vec::new();
    for series in 0..140 {
        let (name, n) = (format!("metric.{}", series % 3), format!("{series:03}"));
        let labels = Labels::from_pairs([("__name__", &*name), ("n", &n), ("wo\u{308}rt", "\u{fc}\"\n")]);
        let mut samples = Samples::default();
        for i in 0..count {
            let start = if series % 4 == 0 { at - 1000 } else { 0 };
            samples.push_float(at + i * 15_000 + (series as i64 % 5), start, float(series, i + at / H % 7));
        }
        rows.push((labels, samples));
    }
    for kind in 0..3 {
        let labels = Labels::from_pairs([("__name__", "sizes"), ("kind", &kind.to_string())]);
        let histograms = (0..count).map(|i| (at + i * 15_000, at - 5, histogram(kind, i))).collect();
        rows.push((labels, Samples { histograms, ..Samples::default() }));
    }
    assert_eq!(engine.append(&rows).expect("appends").rejected_count, 0);
    let exemplar = |i: i64| Exemplar {
        labels: Labels::from_pairs([("trace_id", format!("{i:032x}").as_str())]),
        value: i as f64 / 3.0,
        timestamp: at + i * 15_000,
    };
    let of_two = [0, 3].map(|row: usize| (rows[row].0.clone(), (0..count).map(exemplar).collect()));
    assert_eq!(engine.append_exemplars(&of_two).expect("appends").exemplars_stored, 2 * count as u64);
}

/// Deletes what one series has in a range.
fn delete(engine: &Engine, n: &str, range: TimeRange) {
    let matcher = Matcher::new(MatchOp::Equal, "n", n).expect("a matcher");
    engine.delete(&[vec![matcher]], range).expect("deletes");
}

/// Makes a directory with all that this version writes: blocks of two levels, deletes in the catalog and in the
/// log, exemplars, a checkpoint, a log behind it.
fn write(path: &Path) {
    let engine = open(path);
    let entry = Metadata { metric_type: MetricType::Gauge, unit: "s".into(), help: "Of gold.".into() };
    engine.set_metadata(&[("metric.0".into(), entry)]).expect("metadata");
    for window in [0, 1, 2, 6] {
        append(&engine, START + window * 2 * H + 60_000, 8);
        engine.flush().expect("flushes");
    }
    engine.compact().expect("merges");
    let levels: BTreeSet<u32> = engine.blocks().iter().map(|block| block.level).collect();
    assert_eq!(levels, BTreeSet::from([1, 2]));
    // Of this delete the catalog tells, of the one below the log.
    delete(&engine, "007", TimeRange::new(START, START + 3 * H));
    append(&engine, START + 14 * H, 5);
    // Late ones among them.
    append(&engine, START + 13 * H, 3);
    engine.close().expect("closes");
    drop(engine);
    let engine = open(path);
    append(&engine, START + 15 * H, 4);
    delete(&engine, "011", TimeRange::new(START + 4 * H, START + 15 * H));
    drop(engine);
    fs::remove_file(path.join("lock")).expect("a lock file");
}

/// All answers, a line a sample.
fn answers(engine: &Engine) -> String {
    let all = Matcher::new(MatchOp::Regex, "__name__", ".+").expect("a matcher");
    let mut lines = Vec::new();
    for series in engine.snapshot().select(&[all], TimeRange::ALL).expect("selects") {
        let mut samples = Samples::default();
        series.read(TimeRange::ALL, &mut samples).expect("reads");
        let labels = series.labels();
        for (i, (t, v)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
            let start = samples.starts.get(i).copied().unwrap_or(0);
            lines.push(format!("{labels} {t} since {start} = {:016x}", v.to_bits()));
        }
        for (t, start, h) in &samples.histograms {
            let run = |spans: &[Span]| {
                spans.iter().map(|s| format!("{}+{} ", s.offset, s.length)).collect::<String>()
            };
            lines.push(format!(
                "{labels} {t} since {start} = schema {} integer {} hint {} count {} sum {} zero {} at {} \
                 positive {}{:?} negative {}{:?} bounds {:?}",
                h.schema,
                h.integer,
                h.reset_hint as u8,
                h.count,
                h.sum,
                h.zero_count,
                h.zero_threshold,
                run(&h.positive_spans),
                h.positive_counts,
                run(&h.negative_spans),
                h.negative_counts,
                h.custom_bounds
            ));
        }
    }
    let all = Matcher::new(MatchOp::Regex, "__name__", ".+").expect("a matcher");
    for (labels, exemplars) in engine.exemplars(&[vec![all]], TimeRange::ALL).expect("reads") {
        lines.extend(
            exemplars.iter().map(|e| {
                format!("exemplar {labels} {} = {:016x} {}", e.timestamp, e.value.to_bits(), e.labels)
            }),
        );
    }
    for (name, entries) in engine.metadata() {
        lines.extend(
            entries.iter().map(|m| format!("metadata {name} {:?} {:?} {:?}", m.metric_type, m.unit, m.help)),
        );
    }
    lines.sort();
    lines.join("\n") + "\n"
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

#[test]
fn directories_of_every_version_answer_what_they_did() {
    if let Ok(version) = std::env::var("GOLDEN_WRITE") {
        let folder = golden().join(version);
        let _ = fs::remove_dir_all(&folder);
        write(&folder.join("data"));
        let dir = tempfile::tempdir().expect("a temporary folder");
        copy(&folder.join("data"), dir.path());
        fs::write(folder.join("answers.txt"), answers(&open(dir.path()))).expect("written");
    }
    let mut versions = 0;
    for entry in fs::read_dir(golden()).expect("golden directories") {
        let folder = entry.expect("an entry").path();
        let expected = fs::read_to_string(folder.join("answers.txt")).expect("a list of answers");
        assert!(expected.lines().count() > 100);
        let dir = tempfile::tempdir().expect("a temporary folder");
        copy(&folder.join("data"), dir.path());
        let engine = open(dir.path());
        assert_eq!(engine.stats().reports, Vec::<String>::new(), "{}", folder.display());
        let found = answers(&engine);
        for (found, expected) in found.lines().zip(expected.lines()) {
            assert_eq!(found, expected, "{}", folder.display());
        }
        assert_eq!(found.len(), expected.len(), "{}", folder.display());
        // It goes on being used: what it holds survives being written down by this version.
        engine.flush().expect("flushes");
        engine.compact().expect("merges");
        drop(engine);
        assert!(answers(&open(dir.path())) == expected, "{}: rewritten", folder.display());
        versions += 1;
    }
    assert!(versions > 0);
}
