//! What holds a query back: samples, memory, time, cancellation, places, and the size of its answer.

use engine::{Series, Snapshot};
use query::{CancelToken, EngineOptions, ErrorKind, Features, QueryEngine, QueryError, QueryParams, Value};
use std::sync::Arc;
use std::time::Duration;
use storage_format::model::{Labels, Samples, stale_nan};

fn series(labels: &[(&str, &str)], values: &[f64]) -> Series {
    let mut samples = Samples::default();
    values.iter().enumerate().for_each(|(i, v)| samples.push_float(i as i64 * 60_000, 0, *v));
    Series::from_samples(Labels::from_pairs(labels.iter().copied()), Arc::new(samples))
}

/// 100 series `m` of 60 samples, one a minute.
fn snapshot() -> Snapshot {
    Snapshot::from_series((0..100).map(|i| {
        let values: Vec<f64> = (0..60).map(|v| f64::from(v * i)).collect();
        series(&[("__name__", "m"), ("i", &i.to_string())], &values)
    }))
}

fn range(
    options: EngineOptions,
    query: &str,
    params: &QueryParams,
) -> Result<query::QueryResult, QueryError> {
    QueryEngine::new(options).range(&snapshot(), query, 0, 59 * 60_000, 60_000, params)
}

#[test]
fn too_many_samples_are_refused_but_not_those_an_aggregation_folds() {
    let options = || EngineOptions { max_samples: 1000, ..EngineOptions::default() };
    let error = range(options(), "m", &QueryParams::default()).unwrap_err();
    let text = "query processing would load too many samples into memory in query execution";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Execution, text));
    assert!(range(options(), "sum(m)", &QueryParams::default()).is_ok());
}

#[test]
fn memory_is_limited_by_query_and_altogether() {
    let small = EngineOptions { query_memory_bytes: 10_000, ..EngineOptions::default() };
    assert!(matches!(
        range(small, "m", &QueryParams::default()),
        Err(QueryError::MemoryLimit { limit: 10_000 })
    ));
    let engine = QueryEngine::new(EngineOptions { total_memory_bytes: 30_000, ..EngineOptions::default() });
    let all = |query: &str| engine.range(&snapshot(), query, 0, 59 * 60_000, 60_000, &QueryParams::default());
    assert!(matches!(all("m"), Err(QueryError::MemoryLimit { limit: 30_000 })));
    // What the refused query held was given back.
    assert!(all("sum(m)").is_ok());
}

#[test]
fn time_is_limited_and_callers_can_give_up() {
    let params = QueryParams { timeout: Some(Duration::ZERO), ..QueryParams::default() };
    let error = range(EngineOptions::default(), "m", &params).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), "query timed out in expression evaluation");
    let cancel = CancelToken::new();
    cancel.cancel();
    let params = QueryParams { cancel, ..QueryParams::default() };
    let error = range(EngineOptions::default(), "m", &params).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Canceled);
    assert_eq!(error.to_string(), "query was canceled in expression evaluation");
}

#[test]
fn absurd_subqueries_are_refused_at_once() {
    let engine = QueryEngine::new(EngineOptions::default());
    let query = "max_over_time(vector(1)[100y:1ms])";
    let error = engine.instant(&snapshot(), query, 0, &QueryParams::default()).unwrap_err();
    assert!(matches!(error, QueryError::SampleLimit));
}

#[test]
fn answers_are_cut_to_the_limit_with_a_warning() {
    let params = QueryParams { limit: 3, ..QueryParams::default() };
    let result = range(EngineOptions::default(), "m", &params).unwrap();
    assert_eq!(result.warnings, ["results truncated due to limit"]);
    assert!(matches!(result.value, Value::Matrix(series) if series.len() == 3));
}

#[test]
fn names_go_at_once_or_at_the_end() {
    let snapshot = Snapshot::from_series([
        series(&[("__name__", "a"), ("x", "1")], &[1.0, 2.0]),
        series(&[("__name__", "b"), ("x", "1")], &[1.0, 2.0]),
    ]);
    let run = |delayed: bool, query: &str| {
        let features = Features { delayed_name_removal: delayed, ..Features::default() };
        let engine = QueryEngine::new(EngineOptions { features, ..EngineOptions::default() });
        engine.instant(&snapshot, query, 60_000, &QueryParams::default())
    };
    let both = r#"label_replace(rate({__name__=~"a|b"}[5m]), "from", "$1", "__name__", "(.*)")"#;
    let error = run(false, both).unwrap_err();
    assert_eq!(error.to_string(), "vector cannot contain metrics with the same labelset");
    let Value::Vector(samples) = run(true, both).unwrap().value else { panic!("no vector") };
    let mut labels: Vec<String> = samples.iter().map(|s| s.labels.to_string()).collect();
    labels.sort();
    assert_eq!(labels, [r#"{from="a", x="1"}"#, r#"{from="b", x="1"}"#]);
}

#[test]
fn only_the_marker_is_stale() {
    let other_nan = f64::from_bits(0x7ff8_0000_0000_0001);
    let snapshot = Snapshot::from_series([
        series(&[("__name__", "gone")], &[1.0, stale_nan()]),
        series(&[("__name__", "odd")], &[1.0, other_nan]),
    ]);
    let engine = QueryEngine::new(EngineOptions::default());
    let count = |query: &str| {
        let result = engine.instant(&snapshot, query, 60_000, &QueryParams::default()).unwrap();
        match result.value {
            Value::Vector(samples) => samples.len(),
            _ => panic!("no vector"),
        }
    };
    assert_eq!((count("gone"), count("odd")), (0, 1));
    assert_eq!((count("last_over_time(gone[5m])"), count("last_over_time(odd[5m])")), (1, 1));
}

#[test]
fn stats_count_samples_and_tell_the_plan() {
    let params = QueryParams { per_step_stats: true, explain: true, ..QueryParams::default() };
    let stats = range(EngineOptions::default(), "sum(rate(m[2m]))", &params).unwrap().stats;
    assert_eq!(stats.samples_read, 6000);
    // One sample in the first window, two in all others, of 100 series.
    assert_eq!(stats.total_queryable_samples, 100 + 59 * 200);
    assert_eq!(stats.samples_per_step.len(), 60);
    assert_eq!(stats.samples_per_step[1], (60_000, 200));
    let plan = stats.plan.unwrap();
    assert!(plan.starts_with("aggregate sum by []\n  call rate\n    window 120000 ms of"), "{plan}");
}

#[test]
fn repeated_aggregations_are_read_once() {
    let query = "sum(m) / (sum(m) + sum(m offset 1m))";
    let stats = range(EngineOptions::default(), query, &QueryParams::default()).unwrap().stats;
    // 60 samples of 100 series for `sum(m)`, one less for what lies a minute back.
    assert_eq!(stats.samples_read, 6000 + 5900);
}

#[test]
fn operators_tell_what_they_did() {
    let params = QueryParams { operator_stats: true, ..QueryParams::default() };
    let stats = range(EngineOptions::default(), "sum by (i) (rate(m[2m])) > 3", &params).unwrap().stats;
    let told: Vec<(usize, &str, u64, u64)> = stats
        .operators
        .iter()
        .map(|o| (o.depth, o.operator.split(' ').next().unwrap(), o.series, o.samples_read))
        .collect();
    assert_eq!(
        told,
        [
            (0, "binary", 100, 0),
            (1, "aggregate", 100, 0),
            (2, "call", 100, 0),
            (3, "window", 100, 6000),
            (1, "number", 0, 0)
        ]
    );
    let busy: Duration = stats.operators.iter().map(|o| o.busy).sum();
    let cores = std::thread::available_parallelism().unwrap().get() as u32;
    assert!(busy > Duration::ZERO && busy <= stats.total * (cores + 1), "{busy:?} in {:?}", stats.total);
    assert!(stats.operators.iter().all(|o| o.depth == 1 && o.series == 0 || o.busy > Duration::ZERO));
    // The columns of 100 groups over 60 steps stay until the answer is made.
    assert!(stats.operators[1].peak_bytes >= 100 * 60 * 8, "{:?}", stats.operators);
    let silent = range(EngineOptions::default(), "m", &QueryParams::default()).unwrap().stats;
    assert!(silent.operators.is_empty() && silent.samples_from_blocks == 0);
}

#[test]
fn an_answer_counts_until_it_is_dropped() {
    let engine = QueryEngine::new(EngineOptions::default());
    let ask = || engine.range(&snapshot(), "m", 0, 59 * 60_000, 60_000, &QueryParams::default()).unwrap();
    let (one, two) = (ask(), ask());
    assert!(engine.memory_held() >= 2 * 100 * 60 * 8, "{}", engine.memory_held());
    drop(one);
    assert!(engine.memory_held() >= 100 * 60 * 8);
    drop(two);
    assert_eq!(engine.memory_held(), 0);
}

#[test]
fn errors_name_the_limit_that_was_met() {
    let parse = query::parse::Options { length_max: 40, tokens_max: 12, depth_max: 4, ..Default::default() };
    let engine = QueryEngine::new(EngineOptions {
        max_samples: 50,
        query_memory_bytes: 100_000,
        parse,
        ..EngineOptions::default()
    });
    let limit = |query: &str| {
        let params = QueryParams::default();
        engine.range(&snapshot(), query, 0, 59 * 60_000, 60_000, &params).unwrap_err().limit()
    };
    assert_eq!(limit("m{i=\"0123456789012345678901234567890123456789\"}"), Some("length"));
    assert_eq!(limit("1+1+1+1+1+1+1+1"), Some("tokens"));
    assert_eq!(limit("((((((m))))))"), Some("nesting"));
    assert_eq!(limit("m"), Some("samples"));
    assert_eq!(limit("m{"), None);
}

#[test]
fn aggregations_hold_memory_for_groups_and_steps_not_for_series() {
    let mut samples = Samples::default();
    (0..120).for_each(|i| samples.push_float(i * 60_000, 0, (i * i) as f64));
    let samples = Arc::new(samples);
    let peak = |series: usize, query: &str| {
        let snapshot = Snapshot::from_series((0..series).map(|i| {
            let (group, i) = ((i % 10).to_string(), i.to_string());
            let labels = [("__name__", "m"), ("g", group.as_str()), ("i", i.as_str())];
            Series::from_samples(Labels::from_pairs(labels), Arc::clone(&samples))
        }));
        let engine = QueryEngine::new(EngineOptions::default());
        let result = engine.range(&snapshot, query, 0, 119 * 60_000, 60_000, &QueryParams::default());
        result.unwrap().stats.peak_bytes
    };
    for query in ["sum by (g) (rate(m[5m]))", "avg by (g) (m) / count by (g) (m)", "max(m)"] {
        // 32 chunks of at most ten groups over 120 steps of 32 bytes, and what is made of them.
        assert!(peak(10_000, query) < 3 << 20, "{query}: {}", peak(10_000, query));
    }
}
