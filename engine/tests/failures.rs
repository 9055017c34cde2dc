//! What happens when something fails that is no loss of data: nobody waits for ever, nothing is begun anew
//! over data that is there.

mod support;

use engine::io::{File, FileSystem, Mapping, memory::MemoryDisk};
use engine::{Engine, Error, Options};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage_format::model::{Labels, Samples};
use support::{FixedClock, for_seeds, from_env, open_at};

const WINDOW: i64 = i64::MAX / 4;

fn row(t: i64) -> [(Labels, Samples); 1] {
    let mut samples = Samples::default();
    samples.push_float(t, 0, 1.0);
    [(Labels::from_pairs([("__name__", "m")]), samples)]
}

/// A disk on which the log's thread meets a defect.
#[derive(Debug)]
struct Panics(MemoryDisk);

impl FileSystem for Panics {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        assert!(path.extension().is_none_or(|e| e != "wal"), "a defect that this test wants");
        self.0.create(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }
    fn map(&self, path: &Path) -> io::Result<Mapping> {
        self.0.map(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.hard_link(from, to)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn size(&self, path: &Path) -> io::Result<u64> {
        self.0.size(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.0.lock(path)
    }
    fn lock_shared(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        self.0.lock_shared(path)
    }
}

#[test]
fn a_defect_in_the_logs_thread_refuses_writes_and_leaves_nobody_waiting() {
    let fs: Arc<dyn FileSystem> = Arc::new(Panics(MemoryDisk::default()));
    let engine = Engine::open_with(Options::new("/data"), fs, Arc::new(FixedClock), false).expect("opens");
    let (told, answer) = std::sync::mpsc::channel();
    let engine = Arc::new(engine);
    let appending = Arc::clone(&engine);
    std::thread::spawn(move || told.send(appending.append(&row(1)).map(|o| o.accepted)));
    let outcome = answer.recv_timeout(Duration::from_secs(20)).expect("an answer");
    assert!(matches!(outcome, Err(Error::ReadOnly { .. })), "{outcome:?}");
    assert!(matches!(engine.append(&row(2)), Err(Error::ReadOnly { .. })));
    assert!(engine.close().is_err(), "what was handed over is not in the log");
}

#[test]
fn while_a_recovered_head_cannot_be_written_down_writes_are_refused_and_do_not_wait() {
    let disk = MemoryDisk::default();
    let engine = open_at(&disk, "/data", WINDOW).expect("opens");
    engine.append(&row(1)).expect("memory does not fail");
    let killed = disk.kill(None);
    let mut refused = 0;
    for n in 1..40 {
        let disk = killed.kill(None);
        disk.fail_at(n..n + 1);
        let options = Options { out_of_order_window_ms: WINDOW, ..Options::new("/data") };
        let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
        // With its background thread, which tries again after seconds.
        let Ok(engine) = Engine::open_with(options, fs, Arc::new(FixedClock), true) else { continue };
        let began = Instant::now();
        let outcome = engine.append(&row(2));
        assert!(began.elapsed() < Duration::from_secs(3), "operation {n}: waited {:?}", began.elapsed());
        assert!(matches!(outcome, Ok(_) | Err(Error::ReadOnly { .. })), "{outcome:?}");
        refused += u32::from(outcome.is_err_and(|e| e.to_string().contains("recovered head")));
    }
    assert!(refused >= 5, "the checkpoint hardly failed: {refused} times");
}

#[test]
fn a_directory_whose_catalog_is_gone_is_not_begun_anew() {
    for flushed in [false, true] {
        let disk = MemoryDisk::default();
        let engine = open_at(&disk, "/data", WINDOW).expect("opens");
        engine.append(&row(1)).expect("memory does not fail");
        if flushed {
            engine.flush().expect("flushes");
        }
        engine.close().expect("closes");
        drop(engine);
        disk.remove(Path::new("/data/catalog")).expect("is there");
        let outcome = open_at(&disk, "/data", WINDOW);
        assert!(matches!(outcome, Err(Error::Io { .. })), "flushed {flushed}: {outcome:?}");
    }
}

#[test]
fn missing_parents_of_the_directory_are_made() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("some/where/data");
    let engine = Engine::open(Options::new(&path)).expect("opens");
    engine.append(&row(1)).expect("stores");
    engine.close().expect("closes");
    assert!(path.join("catalog").exists());
}

#[test]
fn seeds_run_once_each() {
    let mut seeds = for_seeds(3..40, "", |seed| seed);
    seeds.sort_unstable();
    assert_eq!(seeds, (3..40).collect::<Vec<_>>());
    assert_eq!(from_env("a name that nobody sets"), None);
    assert!(support::Random::new(1).below(3) < 3);
}
