//! Random queries on random data: the engine must agree with a slow, obviously correct evaluator.
//!
//! Floats only; histograms are pinned by the acceptance scripts. Name removal is immediate, the server's
//! default.

mod data;
mod functions;
mod naive;
mod queries;

use data::Stored;
use naive::{Naive, Row};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use query::{EngineOptions, Features, Point, QueryEngine, QueryError, QueryParams, Value};
use std::collections::BTreeMap;

type Labels = BTreeMap<String, String>;

fn engine() -> QueryEngine {
    QueryEngine::new(EngineOptions {
        features: Features { experimental_functions: true, ..Features::default() },
        ..EngineOptions::default()
    })
}

fn close(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

/// Equal label sets with close values; order does not matter.
fn same(mut expected: Vec<Row>, mut got: Vec<Row>) -> bool {
    expected.sort_by(|a, b| a.labels.cmp(&b.labels));
    got.sort_by(|a, b| a.labels.cmp(&b.labels));
    expected.len() == got.len()
        && expected.iter().zip(&got).all(|(a, b)| a.labels == b.labels && close(a.value, b.value))
}

fn labels(labels: &storage_format::model::Labels) -> Labels {
    labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// What the engine answers at one time.
fn at(value: &Value, t: i64) -> Vec<Row> {
    match value {
        Value::Scalar { value, .. } => vec![Row { labels: Labels::new(), value: *value }],
        Value::Vector(samples) => samples
            .iter()
            .map(|s| match &s.point {
                Point::Float(value) => Row { labels: labels(&s.labels), value: *value },
                Point::Histogram(_) => panic!("there are no histograms"),
            })
            .collect(),
        Value::Matrix(series) => series
            .iter()
            .filter_map(|s| {
                let i = s.timestamps.iter().position(|x| *x == t)?;
                Some(Row { labels: labels(&s.labels), value: s.values[i] })
            })
            .collect(),
        Value::String { .. } => panic!("there are no strings"),
    }
}

fn check(stored: &[Stored], query: &str, start: i64, steps: i64, step: i64) -> Result<(), TestCaseError> {
    let snapshot = data::snapshot(stored);
    let expr = query::parse::parse(query, &query::parse::Options::all_features())
        .map_err(|e| TestCaseError::fail(format!("{query}: {e}")))?;
    let end = start + (steps - 1) * step;
    let answer: Result<_, QueryError> = if steps == 1 {
        engine().instant(&snapshot, query, start, &QueryParams::default())
    } else {
        engine().range(&snapshot, query, start, end, step, &QueryParams::default())
    };
    let mut naive_failed = None;
    for i in 0..steps {
        let t = start + i * step;
        let naive = Naive { stored, lookback: 300_000, start, end };
        match (naive.eval(&expr, t), &answer) {
            (Err(error), _) => naive_failed = Some(error),
            (Ok(expected), Ok(answer)) => {
                let got = at(&answer.value, t);
                prop_assert!(
                    same(expected.clone(), got.clone()),
                    "{query} at {t}\nexpected {expected:?}\ngot      {got:?}"
                );
            }
            (Ok(_), Err(_)) => {}
        }
    }
    match (&answer, naive_failed) {
        (Ok(_), Some(error)) => prop_assert!(false, "{query}: expected the error {error}, got an answer"),
        // A subquery is evaluated once for all steps, also at instants that no step looks at.
        (Err(_), None) if query.contains(':') => {}
        (Err(error), None) => prop_assert!(false, "{query}: unexpected error {error}"),
        _ => {}
    }
    Ok(())
}

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
    let step = prop_oneof![Just(1_i64), Just(15), Just(60), Just(77), Just(300)];
    let cases = (data::stored(), queries::vector(), 0_i64..900, 1_i64..8, step);
    let outcome = runner.run(&cases, |(stored, query, start, steps, step)| {
        check(&stored, &query, start * 1000, steps, step * 1000)
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
