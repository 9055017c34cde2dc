//! One server through the whole course: load, queries, kill, restart, disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use tests_support::process::free_address;
use tests_support::prom::Query;
use tests_support::servers::{Kind, Server};

use crate::capture::Target;
use crate::disk::{self, Sizes};
use crate::load;
use crate::queries::{self, Timed};
use crate::usage::{self, Watch};
use crate::workload::Plan;

const READY: Duration = Duration::from_secs(600);
const SETTLE: Duration = Duration::from_secs(120);

/// Everything measured on one server in one run.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// The server.
    pub server: &'static str,
    /// What the server says of its version.
    pub version: String,
    /// Samples acknowledged before the queries.
    pub samples: u64,
    /// Series that were live at the end of the load.
    pub series: u64,
    /// Wall seconds of the load.
    pub wall: f64,
    /// The server's CPU seconds until the last acknowledgement.
    pub cpu: f64,
    /// The same until it had come to rest: merges and compactions included.
    pub cpu_at_rest: f64,
    /// The senders' CPU seconds.
    pub sender_cpu: f64,
    /// Requests sent again after 429 or 5xx.
    pub retries: u64,
    /// Compressed bytes sent.
    pub wire_bytes: u64,
    /// Median, 99th percentile and maximum of the answer times of requests, in seconds.
    pub latency: [f64; 3],
    /// Peak resident memory, mapped files included, in bytes.
    pub peak_rss: u64,
    /// Peak anonymous resident memory in bytes.
    pub peak_anon: u64,
    /// Resident and anonymous memory at rest after the load, in bytes.
    pub rest_rss: u64,
    /// See [`Figures::rest_rss`].
    pub rest_anon: u64,
    /// Seconds from the start to readiness after `kill -9`.
    pub ready_after_kill: f64,
    /// Seconds from the start to the first answered query after `kill -9`.
    pub answer_after_kill: f64,
    /// Samples acknowledged before the kill (stale markers not counted), and how many of them are missing.
    pub kill_checked: u64,
    /// See [`Figures::kill_checked`].
    pub kill_lost: i64,
    /// Seconds that SIGTERM takes.
    pub stop: f64,
    /// Seconds from the start to readiness after a clean stop.
    pub ready_after_stop: f64,
    /// Bytes on disk in the lasting form.
    pub disk: Sizes,
    /// Samples on disk when it was measured.
    pub disk_samples: u64,
    /// Samples acknowledged before the queries by step, stale markers not counted.
    #[serde(skip)]
    pub by_step: Vec<u64>,
    /// The queries.
    pub queries: Vec<Timed>,
    /// The queries with the server's result cache on (VictoriaMetrics alone has one).
    pub cached_queries: Vec<Timed>,
}

/// What to do and where.
#[derive(Debug)]
pub struct Course<'a> {
    /// The load. The steps behind [`Course::main_steps`] are sent just before the kill.
    pub plan: &'a Plan,
    /// The capture.
    pub targets: &'a [Target],
    /// Steps sent before the queries.
    pub main_steps: usize,
    /// How often each query is asked; 0 leaves the queries out.
    pub repeat: usize,
    /// Where the servers keep their data; removed afterwards.
    pub work: &'a Path,
    /// End with the queries, and leave the data where it is.
    pub keep: bool,
}

fn version(server: &Server) -> String {
    if server.kind() == Kind::VictoriaMetrics {
        let metrics = server.api().get("/metrics").map(|r| r.text()).unwrap_or_default();
        let line = metrics.lines().find(|l| l.starts_with("vm_app_version"));
        let version = line.and_then(|l| l.split('"').nth(1)).filter(|v| !v.is_empty());
        return version.unwrap_or("(the build does not say its version)").to_owned();
    }
    let info = server.api().data("/api/v1/status/buildinfo").unwrap_or_default();
    info["version"].as_str().unwrap_or("unknown").to_owned()
}

fn own_cpu() -> Duration {
    usage::cpu(std::process::id())
}

/// Takes a server through the course.
///
/// # Errors
/// When the server refuses something; what is measured until then is lost.
pub fn run(course: &Course<'_>, kind: Kind, program: &Path, note: &dyn Fn(&str)) -> Result<Figures, String> {
    let dir: PathBuf = course.work.join(kind.name());
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let mut server = Server::start(kind, program, &dir, free_address(), &[]);
    server.await_ready(READY);
    let mut figures = load_phase(course, &mut server, note)?;
    if course.repeat > 0 {
        query_phase(course, &server, &mut figures, note);
    }
    if course.keep {
        server.stop(READY);
        let end = course.plan.step_end(course.main_steps - 1);
        note(&format!("kept in {}; the data ends at {end} ms", dir.display()));
        return Ok(figures);
    }
    kill_phase(course, &mut server, &mut figures, note)?;
    stop_phase(&mut server, &mut figures, note);

    note("disk");
    figures.disk = disk::measure(&server, SETTLE * 5)?;
    drop(server);
    fs::remove_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    Ok(figures)
}

fn load_phase(course: &Course<'_>, server: &mut Server, note: &dyn Fn(&str)) -> Result<Figures, String> {
    let (plan, pid) = (course.plan, server.process().pid());
    note("load");
    let watch = Watch::start(pid);
    let (before, own_before) = (usage::cpu(pid), own_cpu());
    let sent = load::send(plan, course.targets, server.addr(), 0, course.main_steps)?;
    let cpu = (usage::cpu(pid) - before).as_secs_f64();
    let sender_cpu = (own_cpu() - own_before).as_secs_f64();
    note(&format!(
        "{} samples in {:.1} s, {cpu:.1} CPU s ({:.3} M/CPU s), senders {sender_cpu:.1} CPU s",
        sent.samples,
        sent.wall.as_secs_f64(),
        sent.samples as f64 / cpu / 1e6
    ));
    if server.kind() == Kind::VictoriaMetrics {
        // What was written becomes visible some seconds later; this hands it to queries at once.
        server.api().get("/internal/force_flush").map_err(|e| e.to_string())?;
    }
    usage::settle(pid, SETTLE);
    let seconds = |d: Duration| d.as_secs_f64();
    Ok(Figures {
        server: server.kind().name(),
        version: version(server),
        samples: sent.samples,
        series: sent.by_step.last().copied().unwrap_or(0),
        wall: sent.wall.as_secs_f64(),
        cpu,
        cpu_at_rest: (usage::cpu(pid) - before).as_secs_f64(),
        sender_cpu,
        retries: sent.retries,
        wire_bytes: sent.bytes,
        latency: [0.5, 0.99, 1.0].map(|share| seconds(sent.latency(share))),
        peak_rss: usage::memory(pid, "VmHWM"),
        peak_anon: watch.peak_anon(),
        rest_rss: usage::memory(pid, "VmRSS"),
        rest_anon: usage::memory(pid, "RssAnon"),
        ready_after_kill: 0.0,
        answer_after_kill: 0.0,
        kill_checked: 0,
        kill_lost: 0,
        stop: 0.0,
        ready_after_stop: 0.0,
        disk: Sizes::default(),
        disk_samples: 0,
        by_step: sent.by_step,
        queries: Vec::new(),
        cached_queries: Vec::new(),
    })
}

fn query_phase(course: &Course<'_>, server: &Server, figures: &mut Figures, note: &dyn Fn(&str)) {
    note("queries");
    let end = course.plan.step_end(course.main_steps - 1);
    let span = end - course.plan.origin;
    figures.queries = queries::time_all(server, end, span, course.repeat, false);
    if server.kind() == Kind::VictoriaMetrics {
        figures.cached_queries = queries::time_all(server, end, span, course.repeat, true);
    }
}

/// A few more minutes of data and, at the last acknowledgement, `kill -9`.
fn kill_phase(
    course: &Course<'_>,
    server: &mut Server,
    figures: &mut Figures,
    note: &dyn Fn(&str),
) -> Result<(), String> {
    let plan = course.plan;
    note("kill -9");
    let last = load::send(plan, course.targets, server.addr(), course.main_steps, plan.steps)?;
    server.kill();
    let start = Instant::now();
    server.start_again();
    server.await_ready(READY);
    figures.ready_after_kill = start.elapsed().as_secs_f64();
    let mut api = server.api();
    let end = plan.step_end(course.main_steps - 1);
    let probe = Query::instant("count(up)", end);
    while api.ask(&probe).is_err() {
        if start.elapsed() > READY {
            return Err("no answer after the restart".to_owned());
        }
    }
    figures.answer_after_kill = start.elapsed().as_secs_f64();

    let sent: u64 = figures.by_step.iter().chain(&last.by_step[course.main_steps..]).sum();
    let found = queries::count_samples(server, plan, 0, plan.steps)?;
    figures.kill_checked = sent;
    figures.kill_lost = i64::try_from(sent).unwrap_or(i64::MAX) - i64::try_from(found).unwrap_or(i64::MAX);
    figures.disk_samples = found;
    note(&format!(
        "ready {:.2} s after kill -9; of {sent} acknowledged samples {} are lost",
        figures.ready_after_kill, figures.kill_lost
    ));
    Ok(())
}

fn stop_phase(server: &mut Server, figures: &mut Figures, note: &dyn Fn(&str)) {
    note("clean stop");
    let start = Instant::now();
    server.stop(READY);
    figures.stop = start.elapsed().as_secs_f64();
    let start = Instant::now();
    server.start_again();
    server.await_ready(READY);
    figures.ready_after_stop = start.elapsed().as_secs_f64();
}
