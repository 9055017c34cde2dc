//! What a server process uses, read from `/proc`: CPU time of all its threads, resident memory and its peaks.

use std::fs::read_to_string;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// CPU time a process has used, user and system, threads that ended included; zero when it is gone.
pub fn cpu(pid: u32) -> Duration {
    let text = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name stands in parentheses and may hold spaces; the fields after it are counted from 3.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field =
        |n: usize| rest.split_whitespace().nth(n - 3).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
    let ticks = (field(14) + field(15)) as f64;
    Duration::from_secs_f64(ticks / rustix::param::clock_ticks_per_second() as f64)
}

/// A figure of `/proc/PID/status` in bytes (`VmHWM`, `VmRSS`, `RssAnon`); zero when there is none.
pub fn memory(pid: u32, what: &str) -> u64 {
    let text = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(what)?.strip_prefix(':'));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Lets the peak of resident memory (`VmHWM`) begin anew; what is resident now.
pub fn forget_peak(pid: u32) -> u64 {
    // Where the kernel refuses it the old peak stays, and no growth is seen.
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
    memory(pid, "VmRSS")
}

/// Waits until the process has used less than a twentieth of a core for eight seconds, at most for `limit`:
/// longer than any of the servers waits before it writes what it has in memory.
pub fn settle(pid: u32, limit: Duration) {
    let deadline = Instant::now() + limit;
    let window = Duration::from_secs(8);
    while Instant::now() < deadline {
        let before = cpu(pid);
        thread::sleep(window);
        if cpu(pid) - before < window / 20 {
            return;
        }
    }
}

/// Follows a process and keeps the peak of its anonymous memory, which the kernel does not.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts looking, every 100 ms.
    pub fn start(pid: u32) -> Self {
        let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, highest) = (Arc::clone(&stop), Arc::clone(&peak));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                highest.fetch_max(memory(pid, "RssAnon"), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(100));
            }
        });
        Self { stop, peak, thread: Some(thread) }
    }

    /// The highest anonymous resident memory seen so far, in bytes.
    pub fn peak_anon(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic; there would be nothing to do about it either.
            let _ = thread.join();
        }
    }
}
