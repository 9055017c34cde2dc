//! Random queries on random data: the engine must agree with a slow, obviously correct evaluator.
//!
//! Floats only; histograms are pinned by the acceptance scripts. Name removal is immediate, the server's
//! default.

mod check;
mod data;
mod functions;
mod naive;
mod queries;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::path::Path;

/// Cases run by default, always the same ones. `MARIGRAM_REFERENCE_CASES` runs so many random ones instead.
const CASES: u32 = 1500;

#[test]
fn the_engine_agrees_with_the_slow_evaluator() {
    let wanted: Option<u32> = std::env::var("MARIGRAM_REFERENCE_CASES").ok().and_then(|n| n.parse().ok());
    let config = Config { cases: wanted.unwrap_or(CASES), failure_persistence: None, ..Config::default() };
    let mut runner = match wanted {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let outcome = runner.run(&check::cases(), |case| case.check());
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// The committed inputs of the fuzz target.
#[test]
fn the_corpus_of_the_fuzz_target_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/promql_evaluation");
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is there") {
        check::check_bytes(&std::fs::read(entry.expect("an entry").path()).expect("a file"));
        inputs += 1;
    }
    assert!(inputs >= 10, "{} holds hardly anything", folder.display());
}
