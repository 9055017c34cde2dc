//! A full disk, and a log that cannot be synced: writes are refused, reads go on, nothing half-made is left,
//! and writing resumes by itself when there is room again.

use crate::support::{H, answers, append, labels, open};
use engine::io::memory::MemoryDisk;
use engine::{Engine, Error};
use std::time::{Duration, Instant};
use storage_format::model::{Samples, TimeRange};

fn try_append(engine: &Engine, series: usize, t: i64) -> Result<(), Error> {
    let mut samples = Samples::default();
    samples.push_float(t, 0, t as f64);
    engine.append(&[(labels(series), samples)]).map(drop)
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let disk = MemoryDisk::default();
    let engine = open(&disk);
    let mut acknowledged = 0;
    (0..20).for_each(|i| append(&engine, i, 1000, 0.5));
    acknowledged += 20;
    disk.set_capacity(Some(disk.used() + 300));
    let mut t = 2000;
    let refused = loop {
        match try_append(&engine, 0, t) {
            Ok(()) => acknowledged += 1,
            Err(e) => break e,
        }
        t += 1000;
    };
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
    let reads = answers(&engine.snapshot(), TimeRange::ALL).expect("reads go on");
    assert!(reads.len() >= acknowledged);
    assert!(try_append(&engine, 1, t).is_err() && engine.stats().wal_failures > 0);
    disk.set_capacity(None);
    let began = Instant::now();
    while let Err(e) = try_append(&engine, 2, t) {
        assert!(matches!(e, Error::ReadOnly { .. }), "{e}");
        assert!(began.elapsed() < Duration::from_secs(20), "writing does not resume: {e}");
        std::thread::yield_now();
    }
    let all = answers(&engine.snapshot(), TimeRange::ALL).expect("answers");
    drop(engine);
    // What was refused may be there, as its sender may have repeated it; what was taken must be.
    assert_eq!(answers(&open(&disk).snapshot(), TimeRange::ALL).expect("answers"), all);
}

#[test]
fn jobs_on_a_full_disk_leave_nothing_and_succeed_later() {
    let disk = MemoryDisk::default();
    let engine = open(&disk);
    for window in 0..3 {
        (0..40).for_each(|i| append(&engine, i, window * 2 * H + 1000 + i as i64, i as f64 / 3.0));
        if window < 2 {
            engine.flush().expect("flushes");
        }
    }
    let all = answers(&engine.snapshot(), TimeRange::ALL).expect("answers");
    type Job = fn(&Engine) -> Result<(), Error>;
    let jobs: [(&str, Job); 2] = [("flush", Engine::flush), ("merge", Engine::compact)];
    for (what, job) in jobs {
        append(&engine, 0, 60 * H, 0.5);
        engine.flush().expect("flushes");
        append(&engine, 0, 60 * H + 1000 * what.len() as i64, 0.5);
        let before = disk.files();
        let (mut failures, mut room) = (0, 0);
        loop {
            disk.set_capacity(Some(disk.used() + room));
            match job(&engine) {
                Ok(()) => break,
                Err(e) => assert!(e.to_string().contains("write"), "{what}: {e}"),
            }
            failures += 1;
            assert_eq!(disk.files(), before, "{what} with {room} bytes left something");
            let found = answers(&engine.snapshot(), TimeRange::ALL).expect("reads go on");
            assert!(all.iter().all(|(key, value)| found.get(key) == Some(value)), "{what} lost something");
            room += 150;
        }
        disk.set_capacity(None);
        assert!(failures > 1, "{what} failed {failures} times");
    }
    drop(engine);
    let found = answers(&open(&disk).snapshot(), TimeRange::ALL).expect("answers");
    assert!(all.iter().all(|(key, value)| found.get(key) == Some(value)));
}

#[test]
fn a_failed_sync_closes_the_log_for_good() {
    let disk = MemoryDisk::default();
    let engine = open(&disk);
    append(&engine, 0, 1000, 0.5);
    // The next request is one write and one sync.
    let next = disk.operations();
    disk.fail_at(next + 2..next + 3);
    let refused = try_append(&engine, 0, 2000).expect_err("the sync fails").to_string();
    assert!(refused.contains("fsync"), "{refused}");
    let after = disk.operations();
    for t in 3000..3010 {
        assert!(matches!(try_append(&engine, 0, t), Err(Error::ReadOnly { .. })));
    }
    let found = answers(&engine.snapshot(), TimeRange::ALL).expect("reads go on");
    assert!(!found.is_empty());
    assert!(engine.close().is_err());
    assert_eq!(disk.operations(), after, "the log is touched again");
    drop(engine);
    let engine = open(&disk);
    append(&engine, 0, 4000, 0.5);
}
