//! Damage to the log and to the checkpoint: it costs what it hits, and is told.

use crate::support::{Answers, Spoil, answers, append, append_histogram, files, open, try_open};
use engine::io::memory::MemoryDisk;
use storage_format::model::TimeRange;
use storage_format::wal::frame::{Found, Frames};

/// A directory whose samples are in the log alone: ten requests, the first of which defines all series.
fn in_the_log() -> (MemoryDisk, Answers) {
    let disk = MemoryDisk::default();
    let engine = open(&disk);
    let rows: Vec<_> = (0..3)
        .map(|series| {
            let mut samples = storage_format::model::Samples::default();
            samples.push_float(1000, 0, series as f64);
            (crate::support::labels(series), samples)
        })
        .collect();
    engine.append(&rows).expect("appends");
    for i in 1..8 {
        append(&engine, i % 3, 1000 + i as i64 * 1000, i as f64 / 3.0);
    }
    append_histogram(&engine, 1, 20_000, 7, 4.0);
    let all = answers(&engine.snapshot(), TimeRange::ALL).expect("answers");
    drop(engine);
    assert_eq!(all.len(), 11);
    (disk, all)
}

fn segment(disk: &MemoryDisk) -> std::path::PathBuf {
    files(disk, "wal").pop().expect("a segment")
}

#[test]
fn a_bad_record_costs_that_record_alone() {
    let (whole, all) = in_the_log();
    let path = segment(&whole);
    let mut bytes = Vec::new();
    whole.damage(&path, |b| bytes.clone_from(b));
    let mut frames = Frames::new(&bytes).expect("a header");
    let (mut records, mut lost) = (0, 0);
    loop {
        let start = frames.offset();
        let Some(found) = frames.next() else { break };
        let Found::Record { record_type, .. } = found else { panic!("whole") };
        let end = frames.offset();
        for at in [start, start + 13, start + 22, end - 1] {
            let disk = whole.fork();
            disk.damage(&path, |b| b[at] ^= 0x40);
            let engine = open(&disk);
            let found = answers(&engine.snapshot(), TimeRange::ALL).expect("answers");
            assert!(found.iter().all(|(key, value)| all.get(key) == Some(value)));
            // The first record holds three samples and the definitions, which stand in the second one again.
            let cost = if record_type != 1 {
                0
            } else if records == 0 {
                3
            } else {
                1
            };
            assert_eq!(all.len() - found.len(), cost, "record {records}, byte {at}");
            lost += cost;
            let told = engine.stats().reports;
            assert!(told.len() == 1 && told[0].contains(path.to_str().expect("a name")), "{told:?}");
            assert!(told[0].contains(&format!("byte {start}")), "{told:?}");
            let last_header = end == bytes.len() && at < start + 24;
            assert_eq!(engine.stats().wal_corruptions, u64::from(!last_header), "{told:?}");
            // The log is cleaned after a checkpoint; what is damaged stays for whoever wants to look.
            let kept = disk.files().iter().any(|f| f.starts_with("/data/damaged"));
            assert_eq!(kept, !last_header);
        }
        records += 1;
    }
    assert_eq!((records, lost), (10, 4 * 11));
}

#[test]
fn damage_to_a_segments_header_costs_nothing_and_is_told() {
    let (whole, all) = in_the_log();
    let path = segment(&whole);
    for at in 0..32 {
        let disk = whole.fork();
        disk.damage(&path, |b| b[at] ^= 0x40);
        let engine = open(&disk);
        assert_eq!(answers(&engine.snapshot(), TimeRange::ALL).expect("answers"), all);
        assert_eq!(engine.stats().wal_corruptions, 1, "byte {at}");
    }
}

#[test]
fn a_lost_segment_is_told() {
    let (whole, _) = in_the_log();
    let engine = open(&whole);
    append(&engine, 0, 90_000, 1.0);
    drop(engine);
    for path in files(&whole, "wal") {
        let disk = whole.fork();
        // The next run begins a segment of its own.
        engine::io::FileSystem::remove(&disk, &path).expect("removes");
        let engine = open(&disk);
        append(&engine, 0, 91_000, 1.0);
        drop(engine);
        let _ = open(&disk);
    }
    let (disk, _) = in_the_log();
    let first = segment(&disk);
    let mut bytes = Vec::new();
    disk.damage(&first, |b| bytes.clone_from(b));
    // As if the log had gone on in a second segment whose predecessor is gone.
    let later = first.with_file_name(format!("{:016x}.wal", 0x1000));
    let mut file = engine::io::FileSystem::create(&disk, &later).expect("creates");
    file.append(&storage_format::wal::frame::segment_header(0x1000)).expect("writes");
    let engine = open(&disk);
    let told = engine.stats().reports;
    assert!(told.iter().any(|r| r.contains("are in no file")), "{told:?}");
}

#[test]
fn a_bad_checkpoint_costs_what_it_hits_and_is_told() {
    let disk = MemoryDisk::default();
    let engine = open(&disk);
    for i in 0..6 {
        append(&engine, i % 3, 1000 + i as i64 * 1000, i as f64);
    }
    engine.close().expect("closes");
    drop(engine);
    let engine = open(&disk);
    append(&engine, 0, 50_000, 1.5);
    let all = answers(&engine.snapshot(), TimeRange::ALL).expect("answers");
    drop(engine);
    let path = files(&disk, "checkpoint").pop().expect("a checkpoint");
    let spoil: [Spoil<'_>; 4] = [
        ("a byte", &|disk| assert!(disk.damage(&path, |b| *b.iter_mut().nth_back(40).expect("bytes") ^= 1))),
        ("magic", &|disk| assert!(disk.damage(&path, |b| b[0] ^= 1))),
        ("cut", &|disk| assert!(disk.damage(&path, |b| b.truncate(60)))),
        ("missing", &|disk| engine::io::FileSystem::remove(disk, &path).expect("removes")),
    ];
    for (what, spoil) in spoil {
        let disk = disk.fork();
        spoil(&disk);
        let engine = open(&disk);
        let stats = engine.stats();
        let name = path.to_str().expect("a name");
        assert!(stats.reports.iter().any(|r| r.contains(name)), "{what}: {:?}", stats.reports);
        assert!(stats.checkpoint_corruptions > 0, "{what}");
        let found = answers(&engine.snapshot(), TimeRange::ALL).expect("answers");
        assert!(found.iter().all(|(key, value)| all.get(key) == Some(value)), "{what}");
        assert_eq!(found.len() == all.len(), what == "magic", "{what}");
        let kept = format!("/data/damaged/{}", path.file_name().and_then(|n| n.to_str()).expect("a name"));
        assert_eq!(disk.files().contains(&kept.into()), what != "missing", "{what}");
        append(&engine, 1, 60_000, 2.5);
        drop(engine);
        assert!(answers(&open(&disk).snapshot(), TimeRange::ALL).expect("answers").len() > found.len());
    }
    // Of a newer version nothing is known; it must not be thrown away.
    let newer = disk.fork();
    newer.damage(&path, |b| {
        b[7] = 2;
        let crc = crc32c::crc32c(&b[..12]);
        b[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    let before = newer.files();
    let refused = try_open(&newer).map(drop).expect_err("cannot open").to_string();
    assert!(refused.contains("unknown version") && newer.files() == before, "{refused}");
}
