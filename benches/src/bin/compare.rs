//! `compare`: Marigram, Prometheus and VictoriaMetrics on the same bytes, each alone in turn; prints a table
//! and writes it with all figures into the results' folder.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is this program's job")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use benches::capture::{self, INTERVAL, Target};
use benches::queries;
use benches::report::{self, Report};
use benches::run::{self, Course, Figures};
use benches::workload::Plan;
use clap::Parser;
use tests_support::peers;
use tests_support::servers::Kind;

/// Scrapes sent between the queries and the kill, at most.
const KILL_STEPS: usize = 20;

#[derive(Debug, Parser)]
#[command(about = "Marigram beside its peers on the same bytes")]
struct Options {
    /// Folder whose bin/ holds prometheus and victoria-metrics; fetched when not given
    #[arg(long)]
    peers: Option<PathBuf>,
    /// Marigram's program; built when not given
    #[arg(long)]
    marigram: Option<PathBuf>,
    /// The real capture; looked for in the shared folder when not given
    #[arg(long)]
    capture: Option<PathBuf>,
    /// Servers, in the order of the first run; the order turns from run to run
    #[arg(long, value_delimiter = ',', default_value = "prometheus,victoriametrics,marigram")]
    servers: Vec<String>,
    /// Series at a time, rounded down to whole instances
    #[arg(long, default_value_t = 60_000)]
    series: usize,
    /// Hours of data, a scrape every 15 s
    #[arg(long, default_value_t = 6.0)]
    hours: f64,
    /// Scrapes, instead of hours
    #[arg(long)]
    points: Option<usize>,
    /// Connections; each series always uses the same
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Percentage of instances replaced every ten minutes
    #[arg(long, default_value_t = 0)]
    churn: u64,
    /// Let magnitudes differ between instances, which otherwise repeat one another's gauges
    #[arg(long)]
    vary: bool,
    /// Milliseconds of jitter in either direction beside the capture's own
    #[arg(long, default_value_t = 0)]
    jitter: u64,
    /// Repetitions of each query; 0 leaves the queries out
    #[arg(long, default_value_t = 7)]
    repeat: usize,
    /// Runs; the table shows medians
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A small size that ends within a minute or two: 5,000 series, 20 minutes
    #[arg(long)]
    quick: bool,
    /// End with the queries and leave the servers' data, to profile on it; writes no results
    #[arg(long)]
    keep: bool,
    /// Folder for the results
    #[arg(long, default_value = "benches/results")]
    out: PathBuf,
    /// Folder for the servers' data; emptied
    #[arg(long, default_value = "target/bench-data")]
    work: PathBuf,
}

fn main() -> ExitCode {
    match compare(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("Marigram lost samples or gave answers that are not Prometheus's");
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn plan(options: &Options, targets: &[Target]) -> (Plan, usize) {
    let (series, steps) = if options.quick {
        (5_000, 80)
    } else {
        let hours = (options.hours * 3600.0 / INTERVAL as f64) as usize;
        (options.series, options.points.unwrap_or(hours))
    };
    let one: usize = targets.iter().map(|t| t.series.len()).sum();
    let main_steps = steps.max(1);
    let steps = main_steps + (main_steps / 4).clamp(1, KILL_STEPS);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Up to now, less a minute: the receivers refuse the future.
    let end = (i64::try_from(since.as_secs()).unwrap_or(0) / INTERVAL - 4) * INTERVAL;
    let origin = (end - i64::try_from(steps).unwrap_or(0) * INTERVAL) * 1000;
    let plan = Plan {
        instances: (series / one.max(1)).max(1),
        steps,
        origin,
        connections: options.connections.max(1),
        seed: options.seed,
        churn: options.churn,
        vary: options.vary,
        jitter: options.jitter,
    };
    (plan, main_steps)
}

fn programs(options: &Options) -> Result<Vec<(Kind, PathBuf)>, String> {
    let mut out = Vec::new();
    for name in &options.servers {
        let kind = [Kind::Marigram, Kind::Prometheus, Kind::VictoriaMetrics]
            .into_iter()
            .find(|k| k.name() == name || k.program() == name)
            .ok_or_else(|| format!("no server is called {name:?}"))?;
        let program = match kind {
            Kind::Marigram => options.marigram.clone().unwrap_or_else(peers::marigram),
            _ => {
                let given = options.peers.as_ref().map(|p| p.join("bin"));
                let bin = given.or_else(peers::peers).ok_or("no peers: give --peers DIR")?;
                bin.join(kind.program())
            }
        };
        out.push((kind, absolute(&program)?));
    }
    Ok(out)
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))
}

fn compare(options: Options) -> Result<bool, String> {
    let capture = match &options.capture {
        Some(path) => path.clone(),
        None => peers::shared().ok_or("no capture: give --capture FILE")?.join("data/capture.jsonl.zst"),
    };
    let targets = capture::load(&capture).map_err(|e| format!("{}: {e}", capture.display()))?;
    let mut programs = programs(&options)?;
    fs::create_dir_all(&options.work).map_err(|e| e.to_string())?;
    let work = absolute(&options.work)?;
    let mut report =
        Report { command: command(), machine: report::machine(), seed: options.seed, runs: Vec::new() };
    for number in 0..options.runs.max(1) {
        let (plan, main_steps) = plan(&options, &targets);
        let course = Course {
            plan: &plan,
            targets: &targets,
            main_steps,
            repeat: options.repeat,
            work: &work,
            keep: options.keep,
        };
        let mut runs = Vec::new();
        for (kind, program) in &programs {
            let note = |text: &str| eprintln!("run {}, {}: {text}", number + 1, kind.name());
            runs.push(run::run(&course, *kind, program, &note)?);
        }
        check(&mut runs);
        report.runs.append(&mut runs);
        programs.rotate_left(1);
    }
    let markdown = report.markdown();
    println!("{markdown}");
    if !options.keep {
        write(&options, &report, &markdown)?;
    }
    let sound =
        |f: &Figures| f.kill_lost == 0 && f.queries.iter().all(|q| q.differences.is_none() || q.right());
    Ok(report.runs.iter().filter(|f| f.server == Kind::Marigram.name()).all(sound))
}

/// Every answer beside Prometheus's of the same run; the answers are let go afterwards.
fn check(runs: &mut [Figures]) {
    let reference = runs.iter().find(|f| f.server == Kind::Prometheus.name()).map(|f| f.queries.clone());
    for run in runs {
        if let Some(reference) = &reference {
            queries::check(&mut run.queries, reference);
        }
        for query in run.queries.iter_mut().chain(&mut run.cached_queries) {
            query.answer = None;
        }
    }
}

/// The command that repeats this, without the places of this machine.
fn command() -> String {
    let mut out = "cargo run --release -p marigram-benches --".to_owned();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if ["--peers", "--marigram", "--capture", "--out", "--work"].contains(&arg.as_str()) {
            args.next();
        } else {
            out.push(' ');
            out.push_str(&arg);
        }
    }
    out
}

fn write(options: &Options, report: &Report, markdown: &str) -> Result<(), String> {
    let size = match (options.quick, options.points) {
        (true, _) => "quick".to_owned(),
        (_, Some(points)) => format!("{}x{points}points", options.series),
        (_, None) => format!("{}x{}h", options.series, options.hours),
    };
    let mut name = size;
    for (what, value) in [("churn", options.churn), ("jitter", options.jitter)] {
        if value > 0 {
            name.push_str(&format!("-{what}{value}"));
        }
    }
    if options.vary {
        name.push_str("-vary");
    }
    fs::create_dir_all(&options.out).map_err(|e| e.to_string())?;
    let json = serde_json::to_string_pretty(report).map_err(|e| e.to_string())?;
    for (ending, text) in [("md", markdown), ("json", json.as_str())] {
        let path = options.out.join(format!("{name}.{ending}"));
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}
