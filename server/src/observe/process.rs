//! What the operating system knows about this process: processor time, memory, open files.
//!
//! From `/proc/self` (Linux); where that does not exist the families are left out.

use super::family::Families;
use std::fs;

/// Clock ticks a second in `/proc`: fixed at 100 for user space on every Linux architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds the `process_*` families.
pub(super) fn collect(families: &mut Families, started_seconds: f64) {
    families.gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        started_seconds,
    );
    if let Ok(stat) = fs::read_to_string("/proc/self/stat") {
        // The second field is the program's name in parentheses and may hold spaces.
        let fields: Vec<f64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect())
            .unwrap_or_default();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0.0);
        let seconds = (field(14) + field(15)) / TICKS_PER_SECOND;
        families.add(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            super::family::Kind::Counter,
            vec![(Vec::new(), seconds)],
        );
        families.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", field(23));
        families.gauge("process_threads", "Number of operating system threads.", field(20));
    }
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let kib = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        if let Some(rss) = kib("VmRSS:") {
            families.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", rss * 1024.0);
        }
        if let Some(peak) = kib("VmHWM:") {
            families.gauge(
                "process_resident_memory_max_bytes",
                "Largest resident memory size so far in bytes.",
                peak * 1024.0,
            );
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        families.gauge("process_open_fds", "Number of open file descriptors.", open.count() as f64);
    }
    if let Ok(limits) = fs::read_to_string("/proc/self/limits") {
        let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"));
        if let Some(max) = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()) {
            families.gauge("process_max_fds", "Maximum number of open file descriptors.", max);
        }
    }
}
