//! Every bit of every file of a small directory, flipped one at a time, through the real engine: the same
//! answers, or an error or report that names the file; never another answer, never a panic. And `verify`
//! finds each.

use crate::support::{Answers, H, answers, append, append_histogram, files, open, try_open};
use engine::io::{FileSystem, memory::MemoryDisk};
use engine::verify::verify;
use rayon::prelude::*;
use std::path::Path;
use std::sync::Arc;
use storage_format::model::TimeRange;

/// Two series of both kinds in a block, in the checkpoint and in the log.
fn small() -> (MemoryDisk, Answers) {
    let disk = MemoryDisk::default();
    let engine = open(&disk);
    for i in 0..4 {
        append(&engine, i % 2, 1000 + i as i64 * 1000, i as f64 / 3.0);
    }
    append_histogram(&engine, 0, 20_000, 7, 4.0);
    engine.flush().expect("flushes");
    append(&engine, 0, 3 * H, 1.5);
    append_histogram(&engine, 1, 3 * H, 0, 9.0);
    engine.close().expect("closes");
    drop(engine);
    let engine = open(&disk);
    append(&engine, 2, 3 * H + 1000, 2.5);
    append(&engine, 0, 3 * H + 2000, 0.1);
    append_histogram(&engine, 1, 3 * H + 3000, 0, 10.0);
    let all = answers(&engine.snapshot(), TimeRange::ALL).expect("answers");
    assert_eq!(all.len(), 10);
    (disk, all)
}

/// What the flip of one bit led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The same answers.
    Same,
    /// Fewer answers, and a report that names the file.
    LossTold,
    /// An error that names the file.
    Refused,
}

fn flip(disk: &MemoryDisk, path: &Path, bit: usize) -> MemoryDisk {
    let flipped = disk.fork();
    assert!(flipped.damage(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)));
    flipped
}

fn outcome(disk: &MemoryDisk, all: &Answers, path: &Path, what: &str) -> Outcome {
    let name = path.to_str().expect("a name");
    let names = |e: &engine::Error| assert!(e.to_string().contains(name), "{what}: {e}");
    let engine = match try_open(disk) {
        Ok(engine) => engine,
        Err(e) => {
            names(&e);
            return Outcome::Refused;
        }
    };
    let answered = answers(&engine.snapshot(), TimeRange::ALL);
    let told = engine.stats().reports.iter().any(|report| report.contains(name));
    match answered {
        Err(e) => {
            names(&e);
            assert!(told, "{what}: refused, but not told");
            Outcome::Refused
        }
        Ok(found) if found == *all => Outcome::Same,
        Ok(found) => {
            assert!(found.iter().all(|(key, value)| all.get(key) == Some(value)), "{what}: another answer");
            assert!(told, "{what}: fewer answers, and no word about it");
            Outcome::LossTold
        }
    }
}

fn is_found(disk: &MemoryDisk, path: &Path) -> bool {
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    let verification = verify(&fs, Path::new("/data"), &|_| {}).expect("a directory");
    let file = verification.files.iter().find(|file| file.path == path).expect("the file");
    file.findings.iter().any(|finding| finding.damage)
}

/// Flips every bit; returns how often each outcome came about (same, loss, refused).
fn flip_all(disk: &MemoryDisk, all: &Answers, path: &Path) -> [usize; 3] {
    let mut length = 0;
    assert!(disk.damage(path, |bytes| length = bytes.len()));
    assert!(!is_found(disk, path));
    let outcomes: Vec<Outcome> = (0..length * 8)
        .into_par_iter()
        .map(|bit| {
            let what = format!("{} bit {} of byte {}", path.display(), bit % 8, bit / 8);
            let flipped = flip(disk, path, bit);
            assert!(is_found(&flipped, path), "{what}: verify does not find it");
            outcome(&flipped, all, path, &what)
        })
        .collect();
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|o| wanted(o)).count();
    [count(|o| *o == Outcome::Same), count(|o| *o == Outcome::LossTold), count(|o| *o == Outcome::Refused)]
}

#[test]
fn no_bit_of_a_block_can_flip_unseen() {
    let (disk, all) = small();
    let block = files(&disk, "block").pop().expect("a block");
    let [same, loss, refused] = flip_all(&disk, &all, &block);
    assert_eq!(loss, 0);
    assert!(refused > same, "{same} flips met nobody, {refused} were refused");
}

#[test]
fn no_bit_of_log_or_checkpoint_can_flip_unseen() {
    let (disk, all) = small();
    let segment = files(&disk, "wal").pop().expect("a segment");
    let [same, loss, refused] = flip_all(&disk, &all, &segment);
    assert!(same > 0 && loss > 0 && refused == 0, "{same} {loss} {refused}");
    let checkpoint = files(&disk, "checkpoint").pop().expect("a checkpoint");
    let [_, loss, refused] = flip_all(&disk, &all, &checkpoint);
    assert!(loss > 0 && refused == 0, "{loss} {refused}");
}

#[test]
fn no_bit_of_the_catalog_can_flip_unseen() {
    let (disk, all) = small();
    let [same, loss, refused] = flip_all(&disk, &all, Path::new("/data/catalog"));
    assert!(same == 0 && loss == 0 && refused > 0);
}
