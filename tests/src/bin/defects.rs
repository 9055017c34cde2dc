//! Every seeded defect of the engine is caught by the test meant for it: `cargo run -p tests --bin defects`.
//!
//! For each defect of `engine/src/defects.rs` (or those named on the command line; `--some N` takes N that
//! change from day to day) the engine is built with it and the fitting test is run, which must fail. Prints
//! a table; fails when a test stays green, or when a defect has no test.
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A test that hangs has noticed, too.
const LIMIT: Duration = Duration::from_secs(240);

const LOSS: (&str, &str) = ("crash", "nothing_acknowledged_is_lost_and_nothing_invented");
const FAULTS: (&str, &str) = ("crash", "every_operation_may_fail_once");
const MODEL: (&str, &str) = ("model", "random_operations_equal_a_map");
const READERS: (&str, &str) = ("concurrency", "a_reader_sees_whole_requests_whatever_runs_beside");

/// Each defect, and the test of the engine (target, name) that must fail with it.
const DEFECTS: &[(&str, (&str, &str))] = &[
    ("ack_before_sync", LOSS),
    ("segment_name_not_synced", LOSS),
    ("block_name_not_synced", LOSS),
    ("block_not_synced", LOSS),
    ("catalog_name_not_synced", LOSS),
    ("log_removed_early", LOSS),
    ("sources_removed_early", LOSS),
    ("replay_by_time", MODEL),
    ("position_reused", LOSS),
    ("fsync_retried", FAULTS),
    ("no_cut_back", FAULTS),
    ("held_forgotten", LOSS),
    ("failed_flush_drops", FAULTS),
    ("flush_drops_new_chunks", READERS),
    ("late_dropped_at_flush", MODEL),
    ("late_dropped_at_checkpoint", MODEL),
    ("later_duplicate_wins", MODEL),
    ("gate_not_held", READERS),
    ("blocks_before_head", READERS),
    ("blocks_after_head", READERS),
    ("series_number_reused", LOSS),
    ("payload_unchecked", LOSS),
];

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let known = match seeded(root) {
        Ok(known) => known,
        Err(why) => return complain(&why),
    };
    if let Some(without) = known.iter().find(|name| !DEFECTS.iter().any(|(d, _)| d == name)) {
        return complain(&format!("no test is named for the defect {without}"));
    }
    if let Some((unknown, _)) = DEFECTS.iter().find(|(d, _)| !known.iter().any(|name| name == d)) {
        return complain(&format!("the engine has no defect {unknown}"));
    }
    let chosen = match chosen(std::env::args().skip(1).collect()) {
        Ok(chosen) => chosen,
        Err(why) => return complain(&why),
    };
    println!("{:<28} {:<14} {:>6}  test", "defect", "", "s");
    let mut missed = 0;
    for (defect, (target, test)) in chosen {
        let began = Instant::now();
        let outcome = try_one(root, defect, target, test);
        let seconds = began.elapsed().as_secs();
        let told = match &outcome {
            Ok(how) => how,
            Err(why) => {
                missed += 1;
                why
            }
        };
        println!("{defect:<28} {told:<14} {seconds:>6}  {target}::{test}");
    }
    if missed > 0 { complain(&format!("{missed} not caught")) } else { ExitCode::SUCCESS }
}

fn complain(why: &str) -> ExitCode {
    println!("defects: {why}");
    ExitCode::FAILURE
}

/// The names of the defects in the sources.
fn seeded(root: &Path) -> Result<Vec<String>, String> {
    let read = |path: &str| fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"));
    let (engine, frames) = (read("engine/src/defects.rs")?, read("storage-format/src/wal/frame.rs")?);
    let constants =
        engine.lines().filter_map(|l| l.trim().strip_suffix("\";")?.split_once(" = \"").map(|p| p.1));
    let inline = frames.split("cfg!(defect = \"").skip(1).filter_map(|rest| rest.split('"').next());
    Ok(constants.chain(inline).map(str::to_owned).collect())
}

type Chosen = Vec<(&'static str, (&'static str, &'static str))>;

fn chosen(arguments: Vec<String>) -> Result<Chosen, String> {
    if let [flag, n] = &arguments[..]
        && flag == "--some"
    {
        let n: usize = n.parse().map_err(|e| format!("--some {n}: {e}"))?;
        let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400;
        let first = days as usize * n;
        return Ok((first..first + n).map(|i| DEFECTS[i % DEFECTS.len()]).collect());
    }
    if arguments.is_empty() {
        return Ok(DEFECTS.to_vec());
    }
    let find = |name: &String| {
        DEFECTS.iter().find(|(d, _)| d == name).copied().ok_or_else(|| format!("no defect is called {name}"))
    };
    arguments.iter().map(find).collect()
}

/// Builds with a defect and runs its test. How it was caught, or why it was not.
fn try_one(root: &Path, defect: &str, target: &str, test: &str) -> Result<&'static str, &'static str> {
    let Ok(wrapper) = wrapper(root, defect) else { return Err("NO WRAPPER") };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let command = |last: &[&str]| {
        let mut command = Command::new(&cargo);
        command.args(["test", "--quiet", "--package", "marigram-engine", "--test", target]).args(last);
        // Only what belongs to the workspace is built anew; its dependencies are those of every other build.
        command.env("RUSTC_WORKSPACE_WRAPPER", &wrapper).env("CARGO_INCREMENTAL", "0").current_dir(root);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    if !command(&["--no-run"]).status().is_ok_and(|s| s.success()) {
        return Err("DOES NOT BUILD");
    }
    let Ok(mut child) = command(&["--", "--exact", test]).spawn() else { return Err("DOES NOT RUN") };
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Err("NOT CAUGHT"),
            Ok(Some(_)) => return Ok("caught"),
            Ok(None) if began.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(50)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Ok("caught, hangs");
            }
        }
    }
}

/// A compiler that builds the defect in. One file for each: cargo tells builds apart by its path.
fn wrapper(root: &Path, defect: &str) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = root.join("target/defects");
    fs::create_dir_all(&dir)?;
    let path = dir.join(defect);
    fs::write(&path, format!("#!/bin/sh\nexec \"$@\" --cfg 'defect=\"{defect}\"'\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}
