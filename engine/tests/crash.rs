//! Loss of power and `kill -9` at every moment of random workloads, on a simulated disk under the real
//! engine.
//!
//! For every recorded change of the disk and several ways in which unsynced bytes and names may be lost,
//! torn or garbled: the engine opens, everything acknowledged until then is there, nothing deleted is there,
//! nothing is there that was not submitted; and the same after a second loss of power during that recovery,
//! and after a kill whose in-flight request the sender repeats. More states:
//! `CRASH_WORKLOADS=700 cargo test --release -p marigram-engine --test crash -- --nocapture` (about 1,500
//! states each; the counts by kind are printed). `CRASH_SEED=n` runs the workload of one seed.

mod support;

use engine::io::memory::{Losses, MemoryDisk};
use engine::{Engine, Exemplar, MatchOp, Matcher};
use std::collections::{BTreeMap, BTreeSet};
use storage_format::model::{Labels, Samples, TimeRange};
use support::{Random, for_seeds, from_env, open_at};

/// Workloads run when the environment does not say how many.
const WORKLOADS: u64 = 36;
/// Ways to lose power tried at each moment.
const VARIANTS: usize = 3;
/// Series are numbered from 0.
const SERIES: usize = 6;

/// Series and timestamp.
type Key = (usize, i64);
/// Series and timestamp to value.
type Ledger = BTreeMap<Key, u64>;

/// What was asked for one sample: between `began` and `done` changes of the disk.
#[derive(Debug, Clone, Copy)]
struct Event {
    began: usize,
    done: usize,
    /// The value appended; `None` deletes.
    value: Option<u64>,
}

/// An append, as its sender would repeat it.
struct Request {
    began: usize,
    done: usize,
    rows: Vec<(Labels, Samples)>,
    sent: Vec<(Key, u64)>,
}

/// Everything that was asked of the engine, with the numbers of disk changes before and after.
#[derive(Default)]
struct History {
    events: BTreeMap<Key, Vec<Event>>,
    requests: Vec<Request>,
    /// Exemplars by their trace: series and timestamp, changes of the disk before and after.
    traces: BTreeMap<String, (Key, usize, usize)>,
    /// Deletes: when they began and were acknowledged, and what they took.
    deletes: Vec<(usize, usize, Vec<Key>)>,
    /// When, the name of a copy, and what it must hold.
    copies: Vec<(usize, String, Ledger)>,
    /// What ran from which change of the disk on.
    phases: Vec<(usize, &'static str)>,
    /// What is there while nothing fails.
    live: Ledger,
    late_ms: i64,
    now: i64,
    merges: u64,
}

impl History {
    /// What may be found of a sample after `changes` changes of the disk.
    fn allowed(events: &[Event], changes: usize) -> Vec<Option<u64>> {
        let mut allowed = vec![None];
        for event in events.iter().filter(|e| e.began < changes || e.done <= changes) {
            let mut after: Vec<_> = allowed
                .iter()
                // The first value of a timestamp holds.
                .map(|before| if event.value.is_some() { before.or(event.value) } else { None })
                .collect();
            if event.done > changes {
                after.append(&mut allowed);
            }
            after.sort_unstable();
            after.dedup();
            allowed = after;
        }
        allowed
    }

    fn phase(&self, changes: usize) -> &'static str {
        self.phases.iter().rev().find(|(began, _)| *began < changes).map_or("open", |(_, phase)| phase)
    }
}

fn open(disk: &MemoryDisk) -> Result<Engine, engine::Error> {
    open_at(disk, "/data", i64::MAX / 4)
}

fn labels(series: usize) -> Labels {
    let (n, third) = (series.to_string(), (series % 3).to_string());
    Labels::from_pairs([("__name__", "m"), ("n", &n), ("third", &third)])
}

fn append(engine: &Engine, disk: &MemoryDisk, history: &mut History, random: &mut Random) {
    let (mut rows, mut sent) = (Vec::new(), Vec::new());
    // Now and then a record of several sectors.
    let count = if random.below(8) == 0 { 25 + random.below(20) } else { 1 + random.below(5) };
    for _ in 0..count {
        let series = random.below(SERIES);
        history.now += 1 + random.below(3_000_000 / count) as i64;
        let late = if random.below(4) == 0 { random.below(20_000_000) as i64 } else { 0 };
        let t = (history.now - late).max(0);
        let known = |key: &Key| history.live.contains_key(key) || sent.iter().any(|(k, _)| k == key);
        if known(&(series, t)) {
            continue;
        }
        let value = random.below(1_000_000) as f64 / 8.0;
        sent.push(((series, t), value.to_bits()));
        let mut samples = Samples::default();
        samples.push_float(t, 0, value);
        rows.push((labels(series), samples));
    }
    let began = disk.recorded();
    let outcome = engine.append(&rows).expect("no fault is injected here");
    let done = disk.recorded();
    // With a window for late samples some are refused; they must not be there then.
    assert!(outcome.rejected_count == 0 || history.late_ms < i64::MAX / 4, "{outcome:?}");
    let refused = |i: usize| outcome.rejected_entries.contains(&(i as u32));
    let kept: Vec<_> = (0..rows.len()).filter(|i| !refused(*i)).collect();
    let rows: Vec<_> = kept.iter().map(|i| rows[*i].clone()).collect();
    let sent: Vec<_> = kept.iter().map(|i| sent[*i]).collect();
    for (key, value) in &sent {
        history.events.entry(*key).or_default().push(Event { began, done, value: Some(*value) });
        history.live.insert(*key, *value);
    }
    history.requests.push(Request { began, done, rows, sent });
}

/// Appends exemplars. What is left out (of a series that is not in the head, say) is not acknowledged.
fn append_exemplars(engine: &Engine, disk: &MemoryDisk, history: &mut History, random: &mut Random) {
    for _ in 0..1 + random.below(3) {
        let (series, trace) = (random.below(SERIES), history.traces.len().to_string());
        let t = (history.now - random.below(10_000_000) as i64).max(0);
        let ids = Labels::from_pairs([("trace_id", trace.as_str())]);
        let exemplar = Exemplar { labels: ids, value: t as f64, timestamp: t };
        let began = disk.recorded();
        let outcome = engine.append_exemplars(&[(labels(series), vec![exemplar])]);
        if outcome.expect("no fault is injected here").exemplars_stored == 1 {
            history.traces.insert(trace, ((series, t), began, disk.recorded()));
        }
    }
}

/// Runs a random workload; the disk keeps its state after every change.
fn run(disk: &MemoryDisk, random: &mut Random) -> History {
    let late_ms = if random.below(3) == 0 { 3 * 3_600_000 } else { i64::MAX / 4 };
    let mut history = History { late_ms, ..History::default() };
    let reopen = || open_at(disk, "/data", late_ms).expect("opens");
    let mut engine = reopen();
    for number in 0..4 + random.below(10) {
        let mut began = disk.recorded();
        let phase = match random.below(15) {
            0 | 1 => {
                engine.flush().expect("flushes");
                "flush"
            }
            2 => {
                // Blocks whose windows lie in one range, or overlap.
                for _ in 0..2 {
                    history.phases.push((disk.recorded(), "append"));
                    append(&engine, disk, &mut history, random);
                    history.phases.push((disk.recorded(), "flush"));
                    engine.flush().expect("flushes");
                }
                began = disk.recorded();
                engine.compact().expect("compacts");
                history.merges += engine.stats().merges;
                "merge"
            }
            3 => {
                engine.close().expect("closes");
                drop(engine);
                engine = reopen();
                "close and open"
            }
            4 => {
                drop(engine);
                engine = reopen();
                "recovery"
            }
            5 => {
                let name = format!("copy-{number}");
                engine.copy(&name).expect("copies");
                history.copies.push((disk.recorded(), name, history.live.clone()));
                "copy"
            }
            6 | 7 => {
                append_exemplars(&engine, disk, &mut history, random);
                "append of exemplars"
            }
            8 => {
                delete(&engine, disk, &mut history, random);
                "delete"
            }
            9 if random.below(2) == 0 => {
                engine.clean_tombstones().expect("cleans");
                "clean tombstones"
            }
            _ => {
                append(&engine, disk, &mut history, random);
                "append"
            }
        };
        history.phases.push((began, phase));
    }
    history
}

/// Deletes one series in three, or all, over a random range or all time.
fn delete(engine: &Engine, disk: &MemoryDisk, history: &mut History, random: &mut Random) {
    let rest = (random.below(4) > 0).then(|| random.below(3));
    let from = random.below(history.now as usize + 1) as i64;
    let range = match random.below(3) {
        0 => TimeRange::ALL,
        _ => TimeRange::closed(from, from + random.below(8_000_000) as i64),
    };
    let third = |rest: usize| Matcher::new(MatchOp::Equal, "third", &rest.to_string()).expect("matcher");
    let began = disk.recorded();
    engine.delete(&[rest.map(third).into_iter().collect()], range).expect("no fault is injected here");
    let done = disk.recorded();
    let meant = |(n, t): &Key| rest.is_none_or(|rest| n % 3 == rest) && range.contains(*t);
    let gone: Vec<Key> = history.live.keys().copied().filter(meant).collect();
    for key in &gone {
        history.events.entry(*key).or_default().push(Event { began, done, value: None });
        history.live.remove(key);
    }
    history.deletes.push((began, done, gone));
    // Exemplars of a series go when nothing else is left of it in a block.
    for ((n, _), _, done) in history.traces.values_mut() {
        if rest.is_none_or(|rest| *n % 3 == rest) {
            *done = usize::MAX;
        }
    }
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

/// What was acknowledged within the first `changes` changes of the disk is there, and nothing is there that
/// was not submitted or that was deleted by then.
fn check(engine: &Engine, history: &History, changes: usize) {
    let found = read_all(engine);
    for (key, value) in &found {
        let events = history.events.get(key).map_or(&[][..], Vec::as_slice);
        let allowed = History::allowed(events, changes);
        assert!(
            allowed.contains(&Some(*value)),
            "invented, altered or deleted: {key:?}, {events:?} at {changes}"
        );
    }
    for (key, events) in history.events.iter().filter(|(key, _)| !found.contains_key(key)) {
        let allowed = History::allowed(events, changes);
        assert!(allowed.contains(&None), "acknowledged and lost: {key:?}, {events:?} at {changes}");
    }
    for (_, _, keys) in history.deletes.iter().filter(|(began, done, _)| *began < changes && changes < *done)
    {
        let left = keys.iter().filter(|key| found.contains_key(key)).count();
        assert!(left == 0 || left == keys.len(), "a delete was done by half at {changes}");
    }
    check_exemplars(engine, history, changes);
}

fn check_exemplars(engine: &Engine, history: &History, changes: usize) {
    let matcher = Matcher::new(MatchOp::Equal, "__name__", "m").expect("matcher");
    let mut found = BTreeSet::new();
    for (labels, exemplars) in engine.exemplars(&[vec![matcher]], TimeRange::ALL).expect("reads") {
        let series = labels.get("n").expect("label").parse().expect("number");
        for e in exemplars {
            let trace = e.labels.get("trace_id").expect("label").to_owned();
            let submitted = history.traces.get(&trace).filter(|(_, began, _)| *began < changes);
            assert_eq!(submitted.map(|s| s.0), Some((series, e.timestamp)), "invented: {trace} at {changes}");
            assert!(found.insert(trace), "answered twice");
        }
    }
    for (trace, (key, _, done)) in &history.traces {
        assert!(*done > changes || found.contains(trace), "exemplar lost: {trace} of {key:?} at {changes}");
    }
}

/// Numbers of crash states by what ran, by what followed and by what was lost.
type Counts = BTreeMap<String, u64>;

fn count(counts: &mut Counts, what: &str, n: u64) {
    *counts.entry(what.to_owned()).or_default() += n;
}

fn count_losses(counts: &mut Counts, losses: Losses) {
    for (what, n) in losses.kinds() {
        count(counts, &format!("lost: {what}"), u64::from(n > 0));
    }
}

fn crash_everywhere(seed: u64) -> Counts {
    let (mut random, disk, mut counts) = (Random::new(seed), MemoryDisk::default(), Counts::new());
    disk.record();
    let history = run(&disk, &mut random);
    count(&mut counts, "merges in the workloads", history.merges);
    for changes in 1..=disk.recorded() {
        for _ in 0..VARIANTS {
            let after = disk.power_cut(Some(changes - 1), &mut |n| random.below(n));
            count(&mut counts, &format!("power lost during: {}", history.phase(changes)), 1);
            count_losses(&mut counts, after.losses());
            let again = after.clone();
            again.record();
            let engine = open(&again).expect("recovers");
            check(&engine, &history, changes);
            if random.below(4) == 0 {
                goes_on(engine, &again, &mut random);
                count(&mut counts, "then: power lost again after new samples", 1);
                continue;
            }
            drop(engine);
            check_copies(&again, &history, changes, &mut random, &mut counts);
            if again.recorded() > 0 {
                let during = random.below(again.recorded());
                let twice = again.power_cut(Some(during), &mut |n| random.below(n));
                count_losses(&mut counts, twice.losses());
                let engine = open(&twice).expect("recovers from a crash during recovery");
                check(&engine, &history, changes);
                engine.flush().expect("works on");
                engine.close().expect("closes");
                drop(engine);
                check(&open(&twice).expect("opens after a clean stop"), &history, changes);
                count(&mut counts, "then: power lost during that recovery", 1);
                count(&mut counts, "then: flushed and closed", 1);
            }
        }
        if random.below(2) == 0 {
            killed_and_repeated(&disk, &history, changes, &mut random);
            count(&mut counts, &format!("killed during: {}", history.phase(changes)), 1);
            count(&mut counts, "then: power lost after the repeated request", 1);
        }
    }
    counts
}

/// The process is killed: what it wrote is in the page cache, synced or not. The sender repeats the request
/// it has no answer to; once that is acknowledged, no loss of power may take it away.
fn killed_and_repeated(disk: &MemoryDisk, history: &History, changes: usize, random: &mut Random) {
    let killed = disk.kill(Some(changes - 1));
    killed.record();
    let engine = open(&killed).expect("recovers from a kill");
    check(&engine, history, changes);
    let in_flight = history.requests.iter().find(|r| r.began < changes && changes < r.done);
    if let Some(request) = in_flight {
        engine.append(&request.rows).expect("a repeated request is taken");
    }
    // Half of the time nothing survives but what was synced.
    let strict = random.below(2) == 0;
    let after = killed.power_cut(None, &mut |n| if strict { 0 } else { random.below(n) });
    drop(engine);
    let found = read_all(&open(&after).expect("recovers"));
    for (key, value) in in_flight.iter().flat_map(|r| &r.sent) {
        assert_eq!(found.get(key), Some(value), "repeated, acknowledged and lost: {key:?} at {changes}");
    }
    // And once more in the middle of the recovery from the kill.
    let during = random.below(killed.recorded().max(1));
    let after = killed.power_cut(Some(during), &mut |n| random.below(n));
    check(&open(&after).expect("recovers"), history, changes);
}

/// Copies that were there before the crash hold what they held, to the bit.
fn check_copies(
    disk: &MemoryDisk,
    history: &History,
    changes: usize,
    random: &mut Random,
    counts: &mut Counts,
) {
    let done: Vec<_> = history.copies.iter().filter(|(done, ..)| *done <= changes).collect();
    if done.is_empty() || random.below(4) != 0 {
        return;
    }
    let (_, name, expected) = done[random.below(done.len())];
    let copy = open_at(disk, &format!("/data/snapshots/{name}"), i64::MAX / 4).expect("a copy opens");
    assert_eq!(&read_all(&copy), expected, "copy {name} at {changes}");
    count(counts, "then: a copy opened", 1);
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
    let seeds = match from_env("CRASH_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..from_env("CRASH_WORKLOADS").unwrap_or(WORKLOADS) + 1,
    };
    let repeat = "CRASH_SEED=SEED cargo test -p marigram-engine --test crash";
    let mut counts = Counts::new();
    for (what, n) in for_seeds(seeds.clone(), repeat, crash_everywhere).into_iter().flatten() {
        count(&mut counts, &what, n);
    }
    let states: u64 = counts
        .iter()
        .filter(|(what, _)| !what.starts_with("lost") && !what.contains("workloads"))
        .map(|c| c.1)
        .sum();
    println!("{states} crash states of {} workloads", seeds.end - seeds.start);
    counts.iter().for_each(|(what, n)| println!("{n:>9} {what}"));
    if seeds.end - seeds.start < WORKLOADS {
        return;
    }
    assert!(states >= 20_000, "{states} states");
    let phases = ["append", "flush", "merge", "close and open", "recovery", "copy"];
    let during =
        phases.iter().flat_map(|p| [format!("power lost during: {p}"), format!("killed during: {p}")]);
    let lost = Losses::default().kinds().map(|(what, _)| format!("lost: {what}"));
    for what in during.chain(lost) {
        let n = counts.get(&what).copied().unwrap_or(0);
        assert!(n >= 5, "the generator hardly covers a kind of crash: {n} of {what}");
    }
}

#[test]
fn every_operation_may_fail_once() {
    let kinds = for_seeds(1..13, "look for the seed in the test", |seed| {
        let (total, _) = fail_once(seed, usize::MAX, 0);
        let mut kinds = BTreeMap::new();
        for n in 1..=total {
            // A second failure right behind finds what is done about the first.
            for times in [1, 2] {
                if let (_, Some(kind)) = fail_once(seed, n, times) {
                    *kinds.entry(kind).or_insert(0) += 1;
                }
            }
        }
        kinds
    });
    let mut sum = BTreeMap::new();
    for (kind, n) in kinds.into_iter().flatten() {
        *sum.entry(kind).or_insert(0) += n;
    }
    println!("failures injected: {sum:?}");
    for kind in ["append", "create", "create directory", "link", "remove", "rename", "sync", "sync directory"]
    {
        assert!(sum.get(kind).is_some_and(|n| *n > 10), "no {kind} failed: {sum:?}");
    }
    assert!(sum.contains_key("truncate"), "no cut after a failed write failed: {sum:?}");
}

/// A workload during which the `n`-th operation on the disk fails (and those behind it, `times` in all):
/// errors are reported, what was acknowledged is there after a restart. Returns how many operations there were, and what failed last.
fn fail_once(seed: u64, n: usize, times: usize) -> (usize, Option<&'static str>) {
    let disk = MemoryDisk::default();
    disk.fail_at(n..n.saturating_add(times));
    let mut random = Random::new(seed);
    let opened = || open(&disk).or_else(|_| open(&disk)).or_else(|_| open(&disk));
    let (mut submitted, mut acknowledged) = (Ledger::new(), Vec::new());
    // What each failed delete may have taken.
    let mut doubtful: Vec<Vec<Key>> = Vec::new();
    let mut engine = opened().expect("opens when the disk works again");
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
            std::thread::sleep(std::time::Duration::from_millis(1));
            outcome = engine.append(&row);
        }
        match outcome {
            Ok(outcome) if outcome.accepted == 1 => acknowledged.push((series, t)),
            Ok(outcome) => assert_eq!(outcome.rejected_count, 1),
            Err(e) => assert!(matches!(e, engine::Error::ReadOnly { .. }), "{e}"),
        }
        let _ = match i % 6 {
            2 => {
                let third = Matcher::new(MatchOp::Equal, "third", "1").expect("matcher");
                let deleted = engine.delete(&[vec![third]], TimeRange::ALL);
                let (gone, kept) = acknowledged.into_iter().partition(|(n, _)| n % 3 == 1);
                acknowledged = kept;
                if deleted.is_ok() {
                    doubtful.clear();
                    submitted.retain(|(n, _), _| n % 3 != 1);
                } else {
                    doubtful.push(gone);
                }
                deleted
            }
            3 => engine.flush(),
            4 => engine.compact(),
            5 => engine.copy(&format!("copy-{i}")),
            _ => Ok(()),
        };
        if i == 9 {
            let _ = engine.close();
            drop(engine);
            engine = opened().expect("opens when the disk works again");
        }
    }
    drop(engine);
    let (operations, failed) = (disk.operations(), disk.failed());
    let after = disk.power_cut(None, &mut |n| random.below(n));
    let found = read_all(&open(&after).expect("recovers"));
    for (sample, value) in &found {
        assert_eq!(submitted.get(sample), Some(value), "seed {seed}, operation {n}: invented {sample:?}");
    }
    for sample in &acknowledged {
        assert!(found.contains_key(sample), "seed {seed}, operation {n}: acknowledged and lost: {sample:?}");
    }
    for samples in &doubtful {
        let left = samples.iter().filter(|sample| found.contains_key(sample)).count();
        assert!(left == 0 || left == samples.len(), "seed {seed}, operation {n}: a delete was done by half");
    }
    (operations, failed)
}

#[test]
fn a_copy_holds_what_was_acknowledged_and_opens() {
    let disk = MemoryDisk::default();
    let (mut random, mut history) = (Random::new(7), History { late_ms: i64::MAX / 4, ..History::default() });
    let engine = open(&disk).expect("opens");
    for i in 0..30 {
        append(&engine, &disk, &mut history, &mut random);
        if i == 12 {
            engine.flush().expect("flushes");
        }
    }
    engine.copy("first-1").expect("copies");
    let before = read_all(&engine);
    append(&engine, &disk, &mut history, &mut random);
    engine.flush().expect("flushes");
    assert!(engine.copy("../out").is_err() && engine.copy("").is_err());
    let copy = open_at(&disk, "/data/snapshots/first-1", i64::MAX / 4).expect("opens beside its source");
    assert_eq!(read_all(&copy), before);
    assert!(!before.is_empty());
}
