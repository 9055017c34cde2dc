//! Bench: how long the engine takes to open after its process was killed, and how much memory that needs.
//!
//! `cargo run --release -p marigram-engine --example restart -- [SERIES] [POINTS] [DIR]`
//!
//! A child process appends POINTS samples to each of SERIES series of ten labels and ends without closing
//! the engine; further children open the directory, five times, each on a copy.
#![expect(clippy::print_stdout, reason = "printing is this program's job")]

use engine::{Engine, Options, WriteBatch, series_key};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use storage_format::model::Labels;
use storage_format::model::labels::put_key;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const RUNS: usize = 5;
/// Series of a request, as a Prometheus sends them.
const REQUEST: usize = 2_000;
/// Series of an instance.
const METRICS: usize = 1_000;
const INTERVAL: i64 = 15_000;

fn labels(n: usize) -> Labels {
    let (instance, metric) = (n / METRICS, n % METRICS);
    let values = [
        ("__name__", format!("node_subsystem_measured_{:03}_total", metric / 4)),
        ("cluster", "production-1".to_owned()),
        ("cpu", format!("{}", metric % 4)),
        ("datacenter", format!("dc{}", instance % 3)),
        ("device", format!("device{}", metric % 7)),
        ("env", "production".to_owned()),
        ("instance", format!("host-{instance:05}.example.org:9100")),
        ("job", "node".to_owned()),
        ("mode", ["idle", "user", "system", "iowait"][metric % 4].to_owned()),
        ("rack", format!("r{:02}", instance % 50)),
    ];
    Labels::from_pairs(values.iter().map(|(n, v)| (*n, v.as_str())))
}

/// A figure of this process's memory in MiB.
fn memory(what: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(what)?.strip_prefix(':'));
    line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn fill(dir: &Path, series: usize, points: usize) -> Outcome<()> {
    let options = Options { retention_ms: i64::MAX, ..Options::new(dir) };
    let engine = Engine::open(options)?;
    let mut key = Vec::new();
    let keys: Vec<u128> = (0..series)
        .map(|n| {
            key.clear();
            put_key(&labels(n), &mut key);
            series_key(&key)
        })
        .collect();
    let mut batch = WriteBatch::default();
    let from = 1_700_000_000_000 - points as i64 * INTERVAL;
    let mut ticket = None;
    for point in 0..points {
        for first in (0..series).step_by(REQUEST) {
            batch.clear();
            for (n, key) in keys.iter().enumerate().take(series.min(first + REQUEST)).skip(first) {
                batch.timestamps.push(from + point as i64 * INTERVAL + (n / METRICS) as i64 % INTERVAL);
                batch.values.push((n % 13 * point) as f64);
                batch.end_series(*key, n as u32, 0);
            }
            let (outcome, wait) =
                engine.append_batch(&batch, &mut |entry| Ok(labels(entry.key_offset as usize)))?;
            assert_eq!(outcome.rejected_count, 0);
            // One request is on its way while the next is made.
            if let Some(before) = ticket.replace(wait) {
                before.wait()?;
            }
        }
    }
    if let Some(last) = ticket {
        last.wait()?;
    }
    println!("filled: {:.0} MiB resident, {:.0} MiB at most", memory("VmRSS"), memory("VmHWM"));
    std::process::exit(0)
}

fn open(dir: &Path) -> Outcome<()> {
    let start = Instant::now();
    let engine = Engine::open(Options { retention_ms: i64::MAX, ..Options::new(dir) })?;
    let ready = start.elapsed();
    let stats = engine.stats();
    println!(
        "ready in {:.3} s: {} series, {} samples in the head, {} blocks; {:.0} MiB resident \
         ({:.0} anonymous), {:.0} MiB at most",
        ready.as_secs_f64(),
        stats.head_series,
        stats.head_samples,
        stats.blocks,
        memory("VmRSS"),
        memory("RssAnon"),
        memory("VmHWM"),
    );
    assert!(stats.reports.is_empty(), "{:?}", stats.reports);
    std::process::exit(0)
}

fn child(verb: &str, dir: &Path, sizes: [usize; 2]) -> Outcome<()> {
    let mut command = Command::new(std::env::current_exe()?);
    let status = command.arg(verb).arg(dir).args(sizes.map(|n| n.to_string())).status()?;
    if status.success() { Ok(()) } else { Err(format!("{verb}: {status}").into()) }
}

/// Copies a directory.
fn copy(from: &Path, to: &Path) -> Outcome<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| args.get(at).map_or(Ok(default), |text| text.parse());
    match args.first().map(String::as_str) {
        Some("fill") => return fill(Path::new(&args[1]), number(2, 0)?, number(3, 0)?),
        Some("open") => return open(Path::new(&args[1])),
        _ => {}
    }
    let sizes = [number(0, 1_000_000)?, number(1, 10)?];
    let scratch = tempfile::tempdir()?;
    let dir = args.get(2).map_or(scratch.path().join("data"), PathBuf::from);
    if !dir.exists() {
        child("fill", &dir, sizes)?;
    }
    for run in 0..RUNS {
        let copied = scratch.path().join(run.to_string());
        copy(&dir, &copied)?;
        child("open", &copied, sizes)?;
        std::fs::remove_dir_all(&copied)?;
    }
    Ok(())
}
