//! Runs scripts in the promqltest language against the storage engine and the query engine.
//!
//! `PROMQLTEST_DIR=DIR cargo test --release -p tests promqltest` runs every `*.test` below `DIR`; without
//! the variable the scripts that Prometheus publishes are taken from the shared folder. Each instant
//! evaluation runs again with its time moved into `@`, and as a range query.

mod annotation;
mod compare;
mod histogram;
mod load;
mod run;
mod script;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tests_support::peers;

/// Failures told of one file; the rest is only counted.
const SHOWN_MAX: usize = 400;

fn scripts_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            scripts_below(&path, found);
        } else if path.extension().is_some_and(|e| e == "test") {
            found.push(path);
        }
    }
}

/// Runs all scripts below `dir` and panics with all that failed.
#[expect(clippy::print_stdout, reason = "the table is for whoever runs the tests")]
fn run_scripts_below(dir: &Path) {
    let mut files = Vec::new();
    scripts_below(dir, &mut files);
    files.sort();
    assert!(!files.is_empty(), "there is no *.test file below {}", dir.display());
    let (mut table, mut failures) = (String::new(), String::new());
    let (mut evals, mut failed) = (0, 0);
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a script is text");
        let name = file.strip_prefix(dir).unwrap_or(file).display();
        match script::parse(&text) {
            Err(error) => {
                failed += 1;
                let _ = writeln!(failures, "{name}:{error}");
            }
            Ok(script) => {
                let outcome = run::run(&script);
                let bad = outcome.failures.len();
                let _ = writeln!(table, "{name}: {} of {} evals pass", outcome.evals - bad, outcome.evals);
                evals += outcome.evals;
                failed += bad;
                for failure in outcome.failures.iter().take(SHOWN_MAX) {
                    let _ = writeln!(failures, "{name}:{failure}");
                }
            }
        }
    }
    println!("{table}{} of {evals} evals pass", evals.saturating_sub(failed));
    assert!(failed == 0, "{failed} failures:\n{failures}");
}

#[test]
fn promqltest_scripts_pass() {
    let dir = match std::env::var_os("PROMQLTEST_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => match peers::shared() {
            Some(shared) => shared.join("oracles/promqltest"),
            None => return peers::skip("promqltest", "PROMQLTEST_DIR is not set and nothing is shared"),
        },
    };
    run_scripts_below(&dir);
}

#[test]
fn promqltest_own_cases_pass() {
    run_scripts_below(&peers::repository().join("tests/promqltest/cases"));
}
