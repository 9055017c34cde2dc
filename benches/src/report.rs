//! The result as a Markdown table and as JSON: medians over the runs, one column a server.

use std::fmt::Write as _;
use std::fs::read_to_string;

use serde::Serialize;

use crate::queries::{Timed, median};
use crate::run::Figures;

/// Everything of one invocation.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The command that repeats it.
    pub command: String,
    /// Processor, cores, memory and kernel.
    pub machine: String,
    /// The seed of the workload.
    pub seed: u64,
    /// All runs, in the order they were made.
    pub runs: Vec<Figures>,
}

/// Processor, cores, memory and kernel in one line.
pub fn machine() -> String {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let lines = |key: &'static str| {
        let values = cpu.lines().filter(move |l| l.starts_with(key));
        values.filter_map(|l| Some(l.split_once(':')?.1.trim().to_owned()))
    };
    let model = lines("model name").next().unwrap_or_else(|| "unknown processor".to_owned());
    let cores = lines("processor").count();
    let memory = read_to_string("/proc/meminfo").unwrap_or_default();
    let memory: u64 = memory
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, {} GiB, Linux {}", memory >> 20, kernel.trim())
}

struct Table<'a> {
    servers: Vec<&'static str>,
    runs: &'a [Figures],
    text: String,
}

impl Table<'_> {
    /// The median of a figure over a server's runs.
    fn of(&self, server: &str, figure: &dyn Fn(&Figures) -> f64) -> f64 {
        let values: Vec<f64> = self.runs.iter().filter(|f| f.server == server).map(figure).collect();
        median(&values)
    }

    fn head(&mut self, first: &str) {
        let names = self.servers.join(" | ");
        let rule = "---:|".repeat(self.servers.len());
        let _ = writeln!(self.text, "\n| {first} | {names} |\n|---|{rule}");
    }

    fn row(&mut self, name: &str, show: &dyn Fn(f64) -> String, figure: &dyn Fn(&Figures) -> f64) {
        let cells: Vec<String> = self.servers.iter().map(|s| show(self.of(s, figure))).collect();
        let _ = writeln!(self.text, "| {name} | {} |", cells.join(" | "));
    }
}

fn mib(bytes: f64) -> String {
    format!("{:.0} MiB", bytes / f64::from(1 << 20))
}

fn fixed(digits: usize) -> impl Fn(f64) -> String {
    move |v| format!("{v:.digits$}")
}

fn duration(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

impl Report {
    /// The report in Markdown.
    pub fn markdown(&self) -> String {
        let mut servers = Vec::new();
        for run in &self.runs {
            if !servers.contains(&run.server) {
                servers.push(run.server);
            }
        }
        servers.sort_unstable();
        let mut table = Table { servers, runs: &self.runs, text: String::new() };
        let _ = writeln!(table.text, "{}\n\n    {}\n", self.machine, self.command);
        for server in &table.servers {
            let version = self.runs.iter().find(|f| f.server == *server).map_or("", |f| f.version.as_str());
            let _ = writeln!(table.text, "- {server} {version}");
        }
        figures(&mut table);
        times(&mut table);
        let mut text = table.text;
        text.push_str(&self.wrong_answers());
        text
    }

    fn wrong_answers(&self) -> String {
        let mut text = String::new();
        for run in &self.runs {
            for query in run.queries.iter().filter(|q| !q.right()) {
                let first = query.differences.iter().flatten().next().map_or("no answer to compare", |d| d);
                let line = format!("- {}, {}: {first}\n", run.server, query.name);
                if !text.contains(&line) {
                    text.push_str(&line);
                }
            }
        }
        if text.is_empty() { text } else { format!("\nAnswers that are not Prometheus's:\n\n{text}") }
    }
}

fn figures(t: &mut Table<'_>) {
    t.head("figure");
    t.row("samples, millions", &fixed(2), &|f| f.samples as f64 / 1e6);
    t.row("live series at the end", &fixed(0), &|f| f.series as f64);
    t.row("million samples a CPU second", &fixed(3), &|f| f.samples as f64 / f.cpu / 1e6);
    t.row("the same, until at rest", &fixed(3), &|f| f.samples as f64 / f.cpu_at_rest / 1e6);
    t.row("million samples a wall second", &fixed(3), &|f| f.samples as f64 / f.wall / 1e6);
    t.row("senders' CPU seconds", &fixed(1), &|f| f.sender_cpu);
    t.row("requests sent again", &fixed(0), &|f| f.retries as f64);
    t.row("request, median", &duration, &|f| f.latency[0]);
    t.row("request, 99 %", &duration, &|f| f.latency[1]);
    t.row("request, longest", &duration, &|f| f.latency[2]);
    t.row("peak resident memory", &mib, &|f| f.peak_rss as f64);
    t.row("peak anonymous memory", &mib, &|f| f.peak_anon as f64);
    t.row("resident memory at rest", &mib, &|f| f.rest_rss as f64);
    t.row("peak resident bytes a series", &fixed(0), &|f| f.peak_rss as f64 / f.series as f64);
    t.row("bytes a sample on disk", &fixed(3), &|f| f.disk.lasting() as f64 / f.disk_samples as f64);
    t.row("... data", &fixed(3), &|f| f.disk.data as f64 / f.disk_samples as f64);
    t.row("... index", &fixed(3), &|f| f.disk.index as f64 / f.disk_samples as f64);
    t.row("... other", &fixed(3), &|f| f.disk.other as f64 / f.disk_samples as f64);
    t.row("log beside it", &mib, &|f| f.disk.log as f64);
    t.row("ready after kill -9", &duration, &|f| f.ready_after_kill);
    t.row("first answer after kill -9", &duration, &|f| f.answer_after_kill);
    t.row("acknowledged before the kill, millions", &fixed(2), &|f| f.kill_checked as f64 / 1e6);
    t.row("... of them lost, millions", &fixed(2), &|f| f.kill_lost as f64 / 1e6);
    t.row("clean stop", &duration, &|f| f.stop);
    t.row("ready after a clean stop", &duration, &|f| f.ready_after_stop);
}

fn times(t: &mut Table<'_>) {
    let names: Vec<String> = t
        .runs
        .iter()
        .find(|f| !f.queries.is_empty())
        .map_or_else(Vec::new, |f| f.queries.iter().map(|q| q.name.clone()).collect());
    if names.is_empty() {
        return;
    }
    t.head("query: median / longest / CPU / growth of resident memory");
    for (at, name) in names.iter().enumerate() {
        let cell = |server: &&'static str| {
            let of = |figure: &dyn Fn(&Timed) -> f64| {
                t.of(server, &|f| f.queries.get(at).map_or(f64::NAN, figure))
            };
            let runs = || t.runs.iter().filter(|f| f.server == *server);
            let right = runs().all(|f| f.queries.get(at).is_some_and(Timed::right));
            let times = [of(&Timed::median), of(&Timed::max), of(&|q| q.cpu_seconds)].map(duration);
            let grown = format!("{:.1} MiB", of(&|q| q.peak_bytes as f64) / f64::from(1 << 20));
            format!("{} / {grown}{}", times.join(" / "), if right { "" } else { " (another answer)" })
        };
        let cells: Vec<String> = t.servers.iter().map(cell).collect();
        let _ = writeln!(t.text, "| {name} | {} |", cells.join(" | "));
    }
    cached(t, &names);
}

/// VictoriaMetrics' times with its result cache on: dashboards repeat their queries.
fn cached(t: &mut Table<'_>, names: &[String]) {
    let runs: Vec<&Figures> = t.runs.iter().filter(|f| !f.cached_queries.is_empty()).collect();
    if runs.is_empty() {
        return;
    }
    let _ = writeln!(t.text, "\n| query, result cache on | victoriametrics, median |\n|---|---:|");
    for (at, name) in names.iter().enumerate() {
        let values: Vec<f64> =
            runs.iter().filter_map(|f| f.cached_queries.get(at)).map(Timed::median).collect();
        let _ = writeln!(t.text, "| {name} | {} |", duration(median(&values)));
    }
}
