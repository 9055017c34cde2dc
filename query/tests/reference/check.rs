//! One query on some series: what the engine answers is what the slow evaluator answers.

use crate::data::{self, Stored};
use crate::naive::{Naive, Row};
use crate::queries;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use query::{EngineOptions, Features, Point, QueryEngine, QueryError, QueryParams, Value};
use std::collections::BTreeMap;

pub(crate) type Labels = BTreeMap<String, String>;

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

/// Series, and a query over them at some steps.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    stored: Vec<Stored>,
    query: String,
    /// Seconds.
    start: i64,
    steps: i64,
    /// Seconds.
    step: i64,
}

/// Random cases.
pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let step = prop_oneof![Just(1_i64), Just(15), Just(60), Just(77), Just(300)];
    (data::stored(), queries::vector(), 0_i64..900, 1_i64..8, step)
        .prop_map(|(stored, query, start, steps, step)| Case { stored, query, start, steps, step })
}

/// Checks the case that `bytes` choose: each is a case of its own, neighbours have nothing in common.
pub(crate) fn check_bytes(bytes: &[u8]) {
    let config = Config { failure_persistence: None, ..Config::default() };
    // FNV-1a, four times from different beginnings: as many bytes as the generator's seed has.
    let hash = |begin: u64| {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ begin, step)
    };
    let seed: Vec<u8> = (0..4).flat_map(|begin| hash(begin).to_le_bytes()).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let Ok(tree) = cases().new_tree(&mut runner) else { return };
    if let Err(failure) = tree.current().check() {
        panic!("{failure}");
    }
}

impl Case {
    /// Asks the engine and the slow evaluator.
    pub(crate) fn check(&self) -> Result<(), TestCaseError> {
        check(&self.stored, &self.query, self.start * 1000, self.steps, self.step * 1000)
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
