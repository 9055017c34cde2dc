//! Names of metrics under the four strategies, and metadata under these names.

use crate::fixture::*;
use engine::MetricType;
use ingest::otlp::{Config, TranslationStrategy};
use serde_json::json;

#[test]
fn the_four_strategies() {
    let metric = json!({"name": "http.requests", "unit": "By/s", "sum": {
        "dataPoints": [point(json!({"asInt": 1}), &[("http.method", "GET")])], "aggregationTemporality": 2, "isMonotonic": true}});
    for (name, want) in [
        ("UnderscoreEscapingWithSuffixes", "http_requests_bytes_per_second_total{http_method=GET,job=s} 0=1"),
        ("NoUTF8EscapingWithSuffixes", "http.requests_bytes_per_second_total{http.method=GET,job=s} 0=1"),
        ("UnderscoreEscapingWithoutSuffixes", "http_requests{http_method=GET,job=s} 0=1"),
        ("NoTranslation", "http.requests{http.method=GET,job=s} 0=1"),
    ] {
        let config = Config {
            translation_strategy: TranslationStrategy::from_name(name).unwrap(),
            ..Config::default()
        };
        check(name, config, SERVICE, json!([metric]), &[want]);
    }
}

#[test]
fn metadata_by_translated_name() {
    let f = fixture(Config::default());
    let p = || json!([point(json!({"asInt": 1}), &[])]);
    let metrics = json!([
        {"name": "a.b", "unit": "By", "description": "Help.", "sum": {"dataPoints": p(), "aggregationTemporality": 2, "isMonotonic": true}},
        {"name": "g", "gauge": {"dataPoints": p()}},
        {"name": "n", "sum": {"dataPoints": p(), "aggregationTemporality": 2}},
        {"name": "s", "summary": {"dataPoints": []}},
        {"name": "h", "histogram": {"dataPoints": [], "aggregationTemporality": 2}},
        {"name": "e", "exponentialHistogram": {"dataPoints": [], "aggregationTemporality": 2}},
    ]);
    f.json(&request(SERVICE, metrics)).unwrap();
    let known = f.engine.metadata();
    let got: Vec<_> = known
        .iter()
        .map(|(n, m)| (n.as_str(), m[0].metric_type, m[0].unit.as_str(), m[0].help.as_str()))
        .collect();
    assert_eq!(
        got,
        [
            ("a_b_bytes_total", MetricType::Counter, "bytes", "Help."),
            ("e", MetricType::Histogram, "", ""),
            ("g", MetricType::Gauge, "", ""),
            ("h", MetricType::Histogram, "", ""),
            ("n", MetricType::Gauge, "", ""),
            ("s", MetricType::Summary, "", ""),
        ]
    );
}
