//! Readers beside appends, flushes, merges, checkpoints and copies, on real threads and a disk in memory.
//!
//! Every request writes the same sequence number to all series of its writer, which lie in different shards,
//! and every tenth request repeats older ones late. Whatever runs meanwhile, a reader sees of each request
//! all samples or none, of each writer a gapless beginning, never less than was acknowledged before it
//! looked, and with two selectors the same in both. `STRESS_SECONDS` lets it run longer (2 by default).

use engine::io::{Clock, FileSystem, memory::MemoryDisk};
use engine::{Engine, MatchOp, Matcher, Options, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use storage_format::model::{Labels, Samples, TimeRange};

const WRITERS: usize = 2;
const SERIES: usize = 6;
/// Milliseconds between two sequence numbers: a window of two hours holds few, so that requests cross
/// windows all the time.
const STEP: i64 = 400_000;

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now_ms(&self) -> i64 {
        1 << 45
    }
}

fn options(path: &str) -> Options {
    Options { out_of_order_window_ms: i64::MAX / 4, retention_ms: i64::MAX, shards: 3, ..Options::new(path) }
}

fn open(disk: &MemoryDisk, path: &str) -> Engine {
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    Engine::open_with(options(path), fs, Arc::new(FixedClock), false).expect("opens")
}

fn labels(writer: usize, series: usize) -> Labels {
    let (w, s) = (writer.to_string(), series.to_string());
    Labels::from_pairs([
        ("__name__", "m"),
        ("half", if series.is_multiple_of(2) { "a" } else { "b" }),
        ("s", &s),
        ("w", &w),
    ])
}

/// One request: the numbers from `first` on, `count` of them, in all series of the writer.
fn request(writer: usize, first: i64, count: i64) -> Vec<(Labels, Samples)> {
    let row = |series| {
        let mut samples = Samples::default();
        for n in first..first + count {
            samples.push_float(n * STEP, 0, n as f64);
        }
        (labels(writer, series), samples)
    };
    (0..SERIES).map(row).collect()
}

/// The numbers of each series of each writer.
type Seen = BTreeMap<(usize, usize), Vec<i64>>;

fn read(snapshot: &Snapshot, selectors: &[Vec<Matcher>]) -> Seen {
    let mut seen = Seen::new();
    for matchers in selectors {
        for series in snapshot.select(matchers, TimeRange::ALL).expect("selects") {
            let number = |name| series.labels().get(name).expect("label").parse().expect("number");
            let mut samples = Samples::default();
            series.read(TimeRange::ALL, &mut samples).expect("reads");
            let numbers = samples.timestamps.iter().zip(&samples.values).map(|(t, v)| {
                assert_eq!(*t, *v as i64 * STEP, "altered");
                *v as i64
            });
            seen.insert((number("w"), number("s")), numbers.collect());
        }
    }
    seen
}

/// Checks one view; returns how far each writer had come.
fn check(seen: &Seen, acknowledged: &[i64]) -> Vec<i64> {
    let mut ends = vec![0; WRITERS];
    for writer in 0..WRITERS {
        let of_series = |series| seen.get(&(writer, series)).map_or(&[][..], Vec::as_slice);
        let first = of_series(0);
        for series in 1..SERIES {
            let (a, b) = (first.len(), of_series(series).len());
            assert!(
                first == of_series(series),
                "torn: writer {writer} has {a} samples in series 0, {b} in {series}"
            );
        }
        assert!(first.iter().enumerate().all(|(i, n)| i as i64 == *n), "writer {writer}: a gap in {first:?}");
        ends[writer] = first.len() as i64;
        assert!(ends[writer] >= acknowledged[writer], "writer {writer}: acknowledged and not seen");
    }
    ends
}

fn matcher(name: &str, value: &str) -> Matcher {
    Matcher::new(MatchOp::Equal, name, value).expect("matcher")
}

/// What the threads share.
struct Shared {
    engine: Engine,
    stop: AtomicBool,
    acknowledged: Vec<AtomicI64>,
    views: AtomicU64,
}

impl Shared {
    fn writes(&self, writer: usize) {
        let mut next = 0;
        // Few enough to be read back within the time; then the flushes go on alone.
        while !self.stop.load(SeqCst) && next < 4000 {
            let count = 1 + next % 3;
            self.engine.append(&request(writer, next, count)).expect("memory does not fail");
            next += count;
            self.acknowledged[writer].store(next, SeqCst);
            if next.rem_euclid(10) == 0 {
                // A retry of what is there already, partly flushed and merged by now.
                self.engine.append(&request(writer, next / 2, 2)).expect("memory does not fail");
            }
        }
    }

    fn reads(&self, selectors: &[Vec<Matcher>]) {
        let fixed: Vec<_> = selectors.iter().map(|m| (m.as_slice(), TimeRange::ALL)).collect();
        let mut before = vec![0; WRITERS];
        while !self.stop.load(SeqCst) {
            let acknowledged: Vec<i64> = self.acknowledged.iter().map(|a| a.load(SeqCst)).collect();
            let snapshot = self.engine.snapshot().at_once(&fixed).expect("selects");
            let ends = check(&read(&snapshot, selectors), &acknowledged);
            for (now, before) in ends.iter().zip(&before) {
                assert!(now >= before, "a later view sees less: {now} after {before}");
            }
            before = ends;
            self.views.fetch_add(1, SeqCst);
        }
    }
}

#[test]
fn a_reader_sees_whole_requests_whatever_runs_beside() {
    let seconds = std::env::var("STRESS_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    let disk = MemoryDisk::default();
    let mut total = 0;
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        let shared = Shared {
            engine: open(&disk, &format!("/data{total}")),
            stop: AtomicBool::new(false),
            acknowledged: (0..WRITERS).map(|_| AtomicI64::new(0)).collect(),
            views: AtomicU64::new(0),
        };
        let round = (Instant::now() + Duration::from_millis(400)).min(until);
        std::thread::scope(|scope| {
            let shared = &shared;
            // Whoever panics ends the round for all.
            let guarded = |work: &dyn Fn()| {
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                shared.stop.store(true, SeqCst);
                outcome.unwrap_or_else(|cause| std::panic::resume_unwind(cause));
            };
            for writer in 0..WRITERS {
                scope.spawn(move || shared.writes(writer));
            }
            scope.spawn(move || guarded(&|| shared.reads(&[vec![matcher("__name__", "m")]])));
            scope.spawn(move || {
                guarded(&|| shared.reads(&[vec![matcher("half", "a")], vec![matcher("half", "b")]]))
            });
            scope.spawn(move || {
                guarded(&|| {
                    for n in 0.. {
                        if shared.stop.load(SeqCst) || Instant::now() >= round {
                            return;
                        }
                        shared.engine.flush().expect("flushes");
                        if n % 3 == 1 {
                            shared.engine.compact().expect("compacts");
                        }
                    }
                });
            });
        });
        total += shared.views.load(SeqCst);
        shared.engine.close().expect("closes");
    }
    println!("{total} views, each of whole requests");
    assert!(total > 20, "hardly anything was read: {total} views");
}
