//! Loss of power at every moment of random workloads, on a simulated disk under the real engine.
//!
//! For every recorded change of the disk and several ways in which unsynced bytes and names may be lost,
//! torn or garbled: the engine opens, everything acknowledged until then is there, nothing is there that
//! was not submitted; and the same after a second loss of power during that recovery. More states:
//! `CRASH_WORKLOADS=5000 cargo test --release -p marigram-engine --test crash` (about 400 states each).
//! `CRASH_SEED=n` runs the workload of one seed.

use engine::io::{Clock, FileSystem, memory::MemoryDisk};
use engine::{Engine, MatchOp, Matcher, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use storage_format::model::{Labels, Samples, TimeRange};

/// Workloads run when the environment does not say how many.
const WORKLOADS: u64 = 60;
/// Ways to lose power tried at each moment.
const VARIANTS: usize = 3;

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now_ms(&self) -> i64 {
        1 << 40
    }
}

/// A small generator of random numbers: xorshift64*.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }
}

/// Series and timestamp to value.
type Ledger = BTreeMap<(usize, i64), u64>;

/// Samples with the number of disk changes after which they were acknowledged.
#[derive(Default)]
struct History {
    submitted: Ledger,
    acknowledged: Vec<(usize, Vec<(usize, i64)>)>,
}

fn open(disk: &MemoryDisk) -> Result<Engine, engine::Error> {
    let options = Options {
        out_of_order_window_ms: i64::MAX / 4,
        retention_ms: i64::MAX,
        shards: 2,
        ..Options::new("/data")
    };
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    Engine::open_with(options, fs, Arc::new(FixedClock), false)
}

fn labels(series: usize) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", &series.to_string())])
}

fn append(engine: &Engine, disk: &MemoryDisk, history: &mut History, random: &mut Random, now: &mut i64) {
    let mut rows = Vec::new();
    let mut sent = Vec::new();
    for _ in 0..1 + random.below(5) {
        let series = random.below(6);
        *now += 1 + random.below(900_000) as i64;
        let late = if random.below(4) == 0 { random.below(20_000_000) as i64 } else { 0 };
        let t = (*now - late).max(0);
        if history.submitted.contains_key(&(series, t)) {
            continue;
        }
        let value = random.below(1_000_000) as f64 / 8.0;
        history.submitted.insert((series, t), value.to_bits());
        sent.push((series, t));
        let mut samples = Samples::default();
        samples.push_float(t, 0, value);
        rows.push((labels(series), samples));
    }
    let outcome = engine.append(&rows).expect("no fault is injected here");
    assert_eq!(outcome.rejected_count, 0);
    history.acknowledged.push((disk.recorded(), sent));
}

/// Runs a random workload; the disk keeps its state after every change.
fn run(disk: &MemoryDisk, random: &mut Random) -> History {
    let (mut history, mut now) = (History::default(), 0);
    let mut engine = open(disk).expect("a new directory opens");
    for _ in 0..4 + random.below(12) {
        match random.below(12) {
            0 | 1 => engine.flush().expect("flushes"),
            2 => engine.compact().expect("compacts"),
            3 => {
                engine.close().expect("closes");
                drop(engine);
                engine = open(disk).expect("opens again");
            }
            4 => {
                drop(engine);
                engine = open(disk).expect("opens again");
            }
            _ => append(&engine, disk, &mut history, random, &mut now),
        }
    }
    history
}

fn read_all(engine: &Engine) -> Ledger {
    let matcher = Matcher::new(MatchOp::Equal, "__name__", "m").expect("matcher");
    let mut found = Ledger::new();
    for series in engine.snapshot().select(&[matcher], TimeRange::ALL).expect("selects") {
        let n = series.labels().get("n").expect("label").parse().expect("number");
        let mut samples = Samples::default();
        series.read(TimeRange::ALL, &mut samples).expect("reads");
        found.extend(samples.timestamps.iter().zip(&samples.values).map(|(t, v)| ((n, *t), v.to_bits())));
    }
    found
}

/// Everything acknowledged by `moment` is there; nothing is there that was not submitted.
fn check(engine: &Engine, history: &History, moment: usize) {
    let found = read_all(engine);
    for (sample, value) in &found {
        assert_eq!(history.submitted.get(sample), Some(value), "invented or altered: {sample:?}");
    }
    let acknowledged: BTreeSet<_> =
        history.acknowledged.iter().filter(|(at, _)| *at <= moment).flat_map(|(_, sent)| sent).collect();
    for sample in acknowledged {
        assert!(found.contains_key(sample), "acknowledged and lost: {sample:?}");
    }
}

fn crash_everywhere(seed: u64) -> usize {
    let mut random = Random::new(seed);
    let disk = MemoryDisk::default();
    disk.record();
    let history = run(&disk, &mut random);
    let mut states = 0;
    for moment in 0..disk.recorded() {
        for _ in 0..VARIANTS {
            let after = disk.power_cut(Some(moment), &mut |n| random.below(n));
            let again = after.clone();
            again.record();
            // The number of changes is the index of the state behind the last of them plus one.
            let engine = open(&again).expect("recovers");
            check(&engine, &history, moment + 1);
            states += 1;
            if random.below(4) == 0 {
                goes_on(engine, &again, &mut random);
                states += 1;
                continue;
            }
            drop(engine);
            if again.recorded() > 0 {
                let during = random.below(again.recorded());
                let twice = again.power_cut(Some(during), &mut |n| random.below(n));
                let engine = open(&twice).expect("recovers from a crash during recovery");
                check(&engine, &history, moment + 1);
                engine.flush().expect("works on");
                engine.close().expect("closes");
                drop(engine);
                check(&open(&twice).expect("opens after a clean stop"), &history, moment + 1);
                states += 2;
            }
        }
    }
    states
}

/// A recovered engine takes new samples; they survive the next loss of power.
fn goes_on(engine: Engine, disk: &MemoryDisk, random: &mut Random) {
    let mut samples = Samples::default();
    samples.push_float(1 << 35, 0, 0.5);
    engine.append(&[(labels(99), samples)]).expect("takes samples");
    drop(engine);
    let after = disk.power_cut(None, &mut |n| random.below(n));
    let found = read_all(&open(&after).expect("recovers again"));
    assert_eq!(found.get(&(99, 1 << 35)), Some(&0.5f64.to_bits()), "acknowledged after a recovery and lost");
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_invented() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seeds = match number("CRASH_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("CRASH_WORKLOADS").unwrap_or(WORKLOADS) + 1,
    };
    let mut states = 0;
    for seed in seeds.clone() {
        let outcome = std::panic::catch_unwind(|| crash_everywhere(seed));
        states += outcome.unwrap_or_else(|cause| {
            eprintln!("failed: CRASH_SEED={seed} cargo test -p marigram-engine --test crash");
            std::panic::resume_unwind(cause)
        });
    }
    println!("{states} crash states of {} workloads", seeds.count());
}

#[test]
fn every_operation_may_fail_once() {
    for seed in 1..=12 {
        let total = {
            let disk = MemoryDisk::default();
            run(&disk, &mut Random::new(seed));
            disk.operations()
        };
        for n in 1..=total {
            fail_once(seed, n);
        }
    }
}

/// A workload during which the `n`-th operation on the disk fails: errors are reported, what was
/// acknowledged is there after a restart.
fn fail_once(seed: u64, n: usize) {
    let disk = MemoryDisk::default();
    disk.fail_at(n);
    let mut random = Random::new(seed);
    let (mut submitted, mut acknowledged) = (Ledger::new(), BTreeSet::new());
    let mut engine = open(&disk).or_else(|_| open(&disk)).expect("opens at the second try");
    for i in 0..4 + random.below(11) as i64 {
        let mut samples = Samples::default();
        let (series, t, value) = (random.below(4), i * 700_000, i as f64);
        samples.push_float(t, 0, value);
        submitted.insert((series, t), value.to_bits());
        let row = [(labels(series), samples)];
        let mut outcome = engine.append(&row);
        // A failed write is tried again by the log; writes are taken again once it has succeeded.
        let began = std::time::Instant::now();
        let again = |e: &engine::Error| e.to_string().contains("cannot be written");
        while seed == 1 && outcome.as_ref().is_err_and(again) && began.elapsed().as_millis() < 2000 {
            std::thread::yield_now();
            outcome = engine.append(&row);
        }
        match outcome {
            Ok(outcome) if outcome.accepted == 1 => {
                acknowledged.insert((series, t));
            }
            Ok(outcome) => assert_eq!(outcome.rejected_count, 1),
            Err(e) => assert!(matches!(e, engine::Error::ReadOnly { .. }), "{e}"),
        }
        let _ = match i % 5 {
            3 => engine.flush(),
            4 => engine.compact(),
            _ => Ok(()),
        };
        if i == 9 {
            let _ = engine.close();
            drop(engine);
            engine = open(&disk).or_else(|_| open(&disk)).expect("opens at the second try");
        }
    }
    drop(engine);
    let after = disk.power_cut(None, &mut |n| random.below(n));
    let found = read_all(&open(&after).expect("recovers"));
    for (sample, value) in &found {
        assert_eq!(submitted.get(sample), Some(value), "seed {seed}, operation {n}: invented {sample:?}");
    }
    for sample in &acknowledged {
        assert!(found.contains_key(sample), "seed {seed}, operation {n}: acknowledged and lost: {sample:?}");
    }
}

#[test]
fn a_copy_holds_what_was_acknowledged_and_opens() {
    let disk = MemoryDisk::default();
    let (mut random, mut history, mut now) = (Random::new(7), History::default(), 0);
    let engine = open(&disk).expect("opens");
    for i in 0..30 {
        append(&engine, &disk, &mut history, &mut random, &mut now);
        if i == 12 {
            engine.flush().expect("flushes");
        }
    }
    engine.copy("first-1").expect("copies");
    let before = read_all(&engine);
    append(&engine, &disk, &mut history, &mut random, &mut now);
    engine.flush().expect("flushes");
    assert!(engine.copy("../out").is_err() && engine.copy("").is_err());
    drop(engine);
    let options = Options { retention_ms: i64::MAX, ..Options::new("/data/snapshots/first-1") };
    let copy = Engine::open_with(options, Arc::new(disk), Arc::new(FixedClock), false).expect("a copy opens");
    assert_eq!(read_all(&copy), before);
    assert!(!before.is_empty());
}
