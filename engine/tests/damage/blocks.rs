//! Blocks that are damaged, cut, swapped or gone.

use crate::support::{Answers, H, Spoil, answers, append, every, files, open, try_open};
use engine::io::memory::MemoryDisk;
use storage_format::model::TimeRange;

/// Three blocks of one window each, 200 series (two pages).
fn three_blocks() -> (MemoryDisk, Answers) {
    let disk = MemoryDisk::default();
    let engine = open(&disk);
    for window in 0..3 {
        for series in 0..200 {
            append(&engine, series, window * 2 * H + 1000, (window * 1000) as f64 + series as f64 / 7.0);
            append(&engine, series, window * 2 * H + 9000, series as f64);
        }
        engine.flush().expect("flushes");
    }
    let all = answers(&engine.snapshot(), TimeRange::ALL).expect("answers");
    assert_eq!(all.len(), 1200);
    engine.close().expect("closes");
    (disk, all)
}

fn window(n: i64) -> TimeRange {
    TimeRange::new(n * 2 * H, (n + 1) * 2 * H)
}

fn of_window(all: &Answers, n: i64) -> Answers {
    all.iter().filter(|((_, t), _)| window(n).contains(*t)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Damages that spoil a whole block: its name in the error, the others answer, merges go around it.
#[test]
fn a_bad_block_is_set_aside_and_the_others_answer() {
    let (whole, all) = three_blocks();
    let blocks = files(&whole, "block");
    let spoil: [Spoil<'_>; 6] = [
        ("footer", &|disk| assert!(disk.damage(&blocks[1], |b| *b.last_mut().expect("bytes") ^= 1))),
        ("magic", &|disk| assert!(disk.damage(&blocks[1], |b| b[0] = b'X'))),
        ("version", &|disk| assert!(disk.damage(&blocks[1], |b| b[7] = 99))),
        ("length", &|disk| assert!(disk.damage(&blocks[1], |b| b.truncate(b.len() / 2)))),
        ("empty", &|disk| assert!(disk.damage(&blocks[1], Vec::clear))),
        ("another block", &|disk| {
            let mut other = Vec::new();
            disk.damage(&blocks[2], |b| other.clone_from(b));
            disk.damage(&blocks[1], |b| *b = other);
        }),
    ];
    for (what, spoil) in spoil {
        let disk = whole.fork();
        spoil(&disk);
        check_set_aside(what, &disk, &all, &blocks[1]);
        assert!(disk.files().contains(&blocks[1]), "{what}: the file is kept");
    }
    let disk = whole.fork();
    engine::io::FileSystem::remove(&disk, &blocks[1]).expect("removes");
    check_set_aside("missing", &disk, &all, &blocks[1]);
}

fn check_set_aside(what: &str, disk: &MemoryDisk, all: &Answers, path: &std::path::Path) {
    let name = path.to_str().expect("a name");
    let engine = open(disk);
    let told = engine.stats().reports;
    assert!(told.iter().any(|report| report.contains(name)), "{what}: opening tells of it: {told:?}");
    assert_eq!(engine.stats().damaged_blocks, 1, "{what}");
    assert_eq!(engine.damaged_blocks()[0].path, path, "{what}");
    for n in [0, 2] {
        let found = answers(&engine.snapshot(), window(n)).expect("the others answer");
        assert!(found == of_window(all, n), "{what}");
    }
    for range in [window(1), TimeRange::ALL] {
        let refused = answers(&engine.snapshot(), range).expect_err("what touches it fails").to_string();
        assert!(refused.contains(name), "{what}: {refused}");
    }
    let partial = engine.snapshot().partial();
    let found = answers(&partial, TimeRange::ALL).expect("a partial answer");
    assert_eq!(found.len(), 800, "{what}: what is whole is there");
    assert!(found.iter().all(|(key, value)| all.get(key) == Some(value)), "{what}: nothing else is");
    assert!(partial.warnings().len() == 1 && partial.warnings()[0].contains(name), "{what}");
    for names in [
        engine.snapshot().label_names(&[], TimeRange::ALL, 0),
        engine.snapshot().label_values("n", &[], TimeRange::ALL, 0),
        engine.snapshot().label_names(&[vec![every()]], TimeRange::ALL, 0),
    ] {
        assert!(names.expect_err("fails").to_string().contains(name), "{what}");
    }
    assert!(engine.snapshot().series(&[vec![every()]], TimeRange::ALL, 0).is_err());
    let partial = engine.snapshot().partial();
    assert_eq!(partial.label_values("n", &[], TimeRange::ALL, 0).expect("partial").len(), 200, "{what}");
    assert_eq!(partial.warnings().len(), 1, "{what}");
    // The merge of the two others is due once there are later samples; it must leave this one alone.
    append(&engine, 0, 50 * H, 1.0);
    engine.compact().expect("merges what it can");
    engine.flush().expect("flushes");
    assert_eq!(engine.blocks().iter().filter(|b| b.level > 1).count(), 1, "{what}: the whole ones merge");
    assert_eq!(engine.stats().merges, 1, "{what}: once");
    for n in [0, 2] {
        let found = answers(&engine.snapshot(), window(n)).expect("the others answer");
        assert!(found == of_window(all, n), "{what}: the merge lost something");
    }
}

/// Damage inside of a block costs the pages or slices that it hits.
#[test]
fn damage_inside_of_a_block_costs_what_it_hits() {
    let (whole, all) = three_blocks();
    let path = &files(&whole, "block")[1];
    let mut length = 0;
    whole.damage(path, |bytes| length = bytes.len());
    let (mut hit, mut least_left) = (0, usize::MAX);
    for at in (16..length - 168).step_by(97) {
        let disk = whole.fork();
        disk.damage(path, |bytes| bytes[at] ^= 0x10);
        let engine = open(&disk);
        assert_eq!(engine.stats().reports, Vec::<String>::new(), "nothing is read at opening");
        let Err(refused) = answers(&engine.snapshot(), TimeRange::ALL) else { continue };
        hit += 1;
        let refused = refused.to_string();
        assert!(refused.contains(path.to_str().expect("a name")) && refused.contains("at byte"), "{refused}");
        assert_eq!(engine.stats().reports, [refused], "what was met is told");
        let partial = engine.snapshot().partial();
        let found = answers(&partial, TimeRange::ALL).expect("a partial answer");
        assert!(found.len() >= 800 && found.len() < 1200 && !partial.warnings().is_empty());
        assert!(found.iter().all(|(key, value)| all.get(key) == Some(value)), "nothing else is there");
        least_left = least_left.min(found.len());
        // A merge that meets it leaves the block alone from then on.
        append(&engine, 0, 50 * H, 1.0);
        engine.compact().expect("merges what it can");
        assert!(engine.blocks().iter().any(|b| b.min < 2 * H && b.level == 2), "the whole ones are merged");
        assert!(disk.files().contains(path));
    }
    assert!(hit > 10, "{hit} damages were met");
    assert_eq!(least_left, 800);
}

/// Damage that only a merge meets: the merge fails once, names it, and then goes around it.
#[test]
fn a_merge_that_meets_damage_does_not_spin() {
    let (whole, _) = three_blocks();
    let path = &files(&whole, "block")[0];
    whole.damage(path, |bytes| bytes[40] ^= 1);
    let engine = open(&whole);
    append(&engine, 0, 50 * H, 1.0);
    let failed = engine.compact().expect_err("the merge meets the damage").to_string();
    assert!(failed.contains(path.to_str().expect("a name")), "{failed}");
    engine.compact().expect("the next one goes around it");
    assert_eq!((engine.stats().merges, engine.stats().damaged_blocks), (1, 1));
    assert!(files(&whole, "tmp").is_empty(), "nothing half-made is left");
}

/// A catalog that is damaged is the one file without which nothing is known.
#[test]
fn a_bad_catalog_is_named() {
    let (disk, _) = three_blocks();
    let path = std::path::Path::new("/data/catalog");
    disk.damage(path, |bytes| bytes[20] ^= 1);
    let refused = try_open(&disk).map(drop).expect_err("cannot open").to_string();
    assert!(refused.contains("/data/catalog") && refused.contains("checksum"), "{refused}");
}
