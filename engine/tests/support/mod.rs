//! What the tests of the engine share: random numbers, a clock that stands, the directory, reading back.

use engine::io::{Clock, FileSystem, memory::MemoryDisk};
use engine::{Engine, Options};
use std::sync::Arc;

/// A clock that stands, past all samples.
#[derive(Debug)]
pub(crate) struct FixedClock;

impl Clock for FixedClock {
    fn now_ms(&self) -> i64 {
        1 << 40
    }
}

/// A small generator of random numbers: xorshift64*.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }
}

/// A number from the environment.
pub(crate) fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Opens a directory of the disk without background work, on few shards, with nothing beyond the retention.
pub(crate) fn open_at(disk: &MemoryDisk, path: &str, window_ms: i64) -> Result<Engine, engine::Error> {
    let options = Options {
        out_of_order_window_ms: window_ms,
        retention_ms: i64::MAX,
        shards: 2,
        // Small enough that segments are closed and begun within a test.
        wal_segment_bytes: 512,
        ..Options::new(path)
    };
    let fs: Arc<dyn FileSystem> = Arc::new(disk.clone());
    Engine::open_with(options, fs, Arc::new(FixedClock), false)
}

/// Runs `one` for every seed, on all cores. Stops at the first failure and prints how to repeat it.
pub(crate) fn for_seeds<T: Send>(
    seeds: std::ops::Range<u64>,
    repeat: &str,
    one: impl Fn(u64) -> T + Sync,
) -> Vec<T> {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let work = || {
        let mut done = Vec::new();
        loop {
            let seed = next.fetch_add(1, SeqCst);
            if seed >= seeds.end || failed.load(SeqCst) {
                return done;
            }
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one(seed))) {
                Ok(outcome) => done.push(outcome),
                Err(_) => {
                    failed.store(true, SeqCst);
                    panic!(
                        "failed with seed {seed}, again: {}",
                        repeat.replace("=SEED", &format!("={seed}"))
                    );
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = running.into_iter().map(|thread| thread.join());
        let outcomes: Vec<_> = joined.collect();
        outcomes
            .into_iter()
            .flat_map(|o| o.unwrap_or_else(|cause| std::panic::resume_unwind(cause)))
            .collect()
    })
}
