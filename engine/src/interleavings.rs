//! The log and the head under shuttle: threads take turns in random orders, thousands of them, and a wait
//! that nobody ends is found. `RUSTFLAGS="--cfg shuttle" cargo test -p marigram-engine --lib interleavings`;
//! `SHUTTLE_ORDERS` (1,000) says how many orders of each.

use crate::head::{Head, HeadLimits, Part};
use crate::io::{FileSystem, memory::MemoryDisk};
use crate::snapshot::read_head;
use crate::sync::{RwLock, thread};
use crate::wal::{Wal, replay::Log};
use crate::{MatchOp, Matcher, Options, WriteBatch, series_key};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use storage_format::model::labels::put_key;
use storage_format::model::{Labels, Samples, TimeRange, Timestamp};
use storage_format::wal::record;

fn in_many_orders(scenario: impl Fn() + Send + Sync + 'static) {
    let orders = std::env::var("SHUTTLE_ORDERS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let scenario = Arc::new(scenario);
    let again = Arc::clone(&scenario);
    shuttle::check_random(move || again(), orders);
    shuttle::check_pct(move || scenario(), orders, 3);
}

fn log(disk: &MemoryDisk, held: bool) -> Wal {
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    Wal::start(fs, "/wal".into(), 0, &Options::new("/data"), held).expect("threads can be started")
}

/// What the log holds after the worst loss of power.
fn durable(disk: &MemoryDisk) -> Vec<Vec<u8>> {
    let (mut found, cut) = (Vec::new(), disk.power_cut(None, &mut |_| 0));
    let mut visit = |run: &[(u8, &[u8])], _| found.extend(run.iter().map(|(_, payload)| payload.to_vec()));
    Log::read(&cut, Path::new("/wal"), 0, &mut visit).expect("reads");
    found
}

/// Two requests of a sender, each answered once it is durable.
fn send(wal: &Wal, disk: &MemoryDisk, sender: u8) {
    for n in 0..2 {
        wal.append(record::BATCH, &[sender, n]);
        let outcome = wal.ticket().wait();
        let there = durable(disk).contains(&vec![sender, n]);
        assert!(there || outcome.is_err(), "acknowledged and not durable");
    }
}

#[test]
fn what_is_acknowledged_is_durable_and_every_sender_is_answered() {
    in_many_orders(|| {
        let disk = MemoryDisk::default();
        let wal = Arc::new(log(&disk, false));
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let (wal, disk) = (Arc::clone(&wal), disk.clone());
                thread::spawn(move || send(&wal, &disk, sender))
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().expect("a sender"));
        assert_eq!(durable(&disk).len(), 4);
    });
}

#[test]
fn a_log_that_closes_answers_everybody() {
    in_many_orders(|| {
        let disk = MemoryDisk::default();
        let wal = Arc::new(log(&disk, false));
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let (wal, disk) = (Arc::clone(&wal), disk.clone());
                thread::spawn(move || send(&wal, &disk, sender))
            })
            .collect();
        let _ = wal.close();
        senders.into_iter().for_each(|sender| sender.join().expect("a sender"));
    });
}

#[test]
fn nothing_is_acknowledged_while_the_log_is_held() {
    in_many_orders(|| {
        let disk = MemoryDisk::default();
        let (wal, released) = (Arc::new(log(&disk, true)), Arc::new(AtomicBool::new(false)));
        let (sending, seen) = (Arc::clone(&wal), Arc::clone(&released));
        let sender = thread::spawn(move || {
            for n in 0..2 {
                sending.append(record::BATCH, &[n]);
                sending.ticket().wait().expect("memory does not fail");
                assert!(seen.load(SeqCst), "acknowledged too early");
            }
        });
        thread::yield_now();
        released.store(true, SeqCst);
        wal.release();
        sender.join().expect("the sender");
    });
}

/// One sample of a moment for each of four series, in whatever shards they lie.
fn request(t: Timestamp) -> (WriteBatch, Vec<Labels>) {
    let (mut batch, mut all) = (WriteBatch::default(), Vec::new());
    for n in 0..4 {
        let labels = Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())]);
        let mut key = Vec::new();
        put_key(&labels, &mut key);
        batch.timestamps.push(t);
        batch.values.push(t as f64);
        batch.end_series(series_key(&key), n, 0);
        all.push(labels);
    }
    (batch, all)
}

/// Number of samples of each series that a view shows.
type Counts = BTreeMap<String, usize>;

#[test]
fn a_selection_sees_whole_requests_while_a_flush_takes_and_publishes() {
    in_many_orders(|| {
        let options = Options::new("/data");
        let limits = HeadLimits {
            out_of_order_window_ms: i64::MAX / 4,
            future_window_ms: i64::MAX / 4,
            ..HeadLimits::of(&options)
        };
        let head = Arc::new(Head::new(2, limits));
        let wal = Arc::new(log(&MemoryDisk::default(), false));
        // What stands for the list of blocks: timestamps by series.
        let blocks: Arc<RwLock<Arc<Vec<(String, Timestamp)>>>> = Arc::default();
        let (h, w) = (Arc::clone(&head), Arc::clone(&wal));
        let writer = thread::spawn(move || {
            for t in [1, 2, 3] {
                let (batch, labels) = request(t);
                let mut resolve = |entry: &crate::SeriesEntry| Ok(labels[entry.key_offset as usize].clone());
                assert_eq!(h.append(&batch, 0, &w, &mut resolve).accepted, 4);
            }
        });
        let (h, b) = (Arc::clone(&head), Arc::clone(&blocks));
        let flusher = thread::spawn(move || {
            let taken = h.begin_flush(Part::Before(i64::MAX));
            let mut rows = Vec::new();
            for series in &taken {
                for chunk in &series.chunks {
                    rows.extend((chunk.min..=chunk.max).map(|t| (series.labels.to_string(), t)));
                }
            }
            *b.write().expect("no panics") = Arc::new(rows);
            h.end_flush();
        });
        let all = Matcher::new(MatchOp::Equal, "__name__", "m").expect("matcher");
        let mut before = 0;
        for _ in 0..2 {
            let list = || Arc::clone(&blocks.read().expect("no panics"));
            let selections = [(std::slice::from_ref(&all), TimeRange::ALL)];
            let (found, live) = head.select(&selections, list).expect("selects");
            let mut seen: BTreeMap<String, std::collections::BTreeSet<Timestamp>> = BTreeMap::new();
            for (labels, t) in live.iter() {
                seen.entry(labels.clone()).or_default().insert(*t);
            }
            for series in found.iter().flatten() {
                let times = seen.entry(series.labels.to_string()).or_default();
                let mut samples = Samples::default();
                read_head(&series.data, TimeRange::ALL, &mut samples).expect("decodes");
                times.extend(samples.timestamps);
            }
            let counts: Counts = seen.into_iter().map(|(labels, times)| (labels, times.len())).collect();
            let first = counts.values().next().copied().unwrap_or(0);
            assert!(counts.len() == 4 || counts.is_empty(), "torn: {counts:?}");
            assert!(counts.values().all(|n| *n == first), "torn: {counts:?}");
            assert!(first >= before, "a later view sees less");
            before = first;
        }
        writer.join().expect("the writer");
        flusher.join().expect("the flusher");
    });
}
