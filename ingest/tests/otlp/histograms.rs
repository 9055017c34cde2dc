//! Explicit and exponential histograms: series, custom buckets, native histograms.

use crate::fixture::*;
use ingest::otlp::Config;
use serde_json::{Value, json};

pub(crate) fn histogram(extra: Value) -> Value {
    json!({"name": "h", "unit": "s", "histogram": {"aggregationTemporality": 2, "dataPoints": [point(extra, &[])]}})
}

#[test]
fn explicit_histograms() {
    let full = json!({"count": "7", "sum": 3.5, "bucketCounts": ["1", 2, "4"], "explicitBounds": [0.5, 10], "min": 0.1, "max": 20, "startTimeUnixNano": nanos(-5)});
    let b = |le: &str, v: &str| format!("h_seconds_bucket{{job=s,le={le}}} {v}");
    let cases = [
        (
            "full",
            full,
            vec![
                b("0.5", "0[-5]=1"),
                b("10", "0[-5]=3"),
                b("+Inf", "0[-5]=7"),
                "h_seconds_count{job=s} 0[-5]=7".into(),
                "h_seconds_sum{job=s} 0[-5]=3.5".into(),
            ],
        ),
        (
            "no sum",
            json!({"count": 1, "bucketCounts": [1, 0], "explicitBounds": [1]}),
            vec![b("1", "0=1"), b("+Inf", "0=1"), "h_seconds_count{job=s} 0=1".into()],
        ),
        (
            "no buckets",
            json!({"count": 3, "sum": 2}),
            vec![b("+Inf", "0=3"), "h_seconds_count{job=s} 0=3".into(), "h_seconds_sum{job=s} 0=2".into()],
        ),
        (
            "one bucket",
            json!({"count": 3, "bucketCounts": [3]}),
            vec![b("+Inf", "0=3"), "h_seconds_count{job=s} 0=3".into()],
        ),
        (
            "bound +Inf",
            json!({"count": 3, "bucketCounts": [1, 2, 0], "explicitBounds": [1, "Infinity"]}),
            vec![b("1", "0=1"), b("+Inf", "0=3"), "h_seconds_count{job=s} 0=3".into()],
        ),
        (
            "negative and tiny bounds",
            json!({"count": 3, "bucketCounts": [1, 1, 1], "explicitBounds": [-2.5, 1e-7]}),
            vec![
                b("-2.5", "0=1"),
                b("0.0000001", "0=2"),
                b("+Inf", "0=3"),
                "h_seconds_count{job=s} 0=3".into(),
            ],
        ),
        (
            "stale",
            json!({"flags": 1, "sum": 1, "bucketCounts": [0, 0], "explicitBounds": [1]}),
            vec![
                b("1", "0=stale"),
                b("+Inf", "0=stale"),
                "h_seconds_count{job=s} 0=stale".into(),
                "h_seconds_sum{job=s} 0=stale".into(),
            ],
        ),
    ];
    for (what, extra, want) in cases {
        check(
            what,
            Config::default(),
            SERVICE,
            json!([histogram(extra)]),
            &want.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    }
}

#[test]
fn histograms_with_custom_buckets() {
    let config = || Config { convert_histograms_to_nhcb: true, ..Config::default() };
    let cases = [
        (
            json!({"count": "7", "sum": 3.5, "bucketCounts": [1, 2, 4], "explicitBounds": [0.5, 10]}),
            "(n=7 sum=3.5 schema=-53 zero=0@0e0 +[0:1 1:2 2:4] -[] le=[0.5, 10.0])",
        ),
        (
            json!({"count": "4", "bucketCounts": [0, 0, 0, 0, 4], "explicitBounds": [1, 2, 3, 4]}),
            "(n=4 sum=0 schema=-53 zero=0@0e0 +[4:4] -[] le=[1.0, 2.0, 3.0, 4.0])",
        ),
        (
            json!({"count": "2", "bucketCounts": [1, 1, 0], "explicitBounds": [1, "Infinity"]}),
            "(n=2 sum=0 schema=-53 zero=0@0e0 +[0:1 1:1] -[] le=[1.0])",
        ),
        (json!({"count": "2"}), "(n=2 sum=0 schema=-53 zero=0@0e0 +[0:2] -[])"),
        (json!({"flags": 1}), "stale"),
    ];
    for (extra, want) in cases {
        check(want, config(), SERVICE, json!([histogram(extra)]), &[&format!("h_seconds{{job=s}} 0={want}")]);
    }
}

pub(crate) fn exponential(extra: Value) -> Value {
    json!({"name": "e", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [point(extra, &[])]}})
}

#[test]
fn exponential_histograms() {
    let side = |offset: i64, counts: &[u64]| json!({"offset": offset, "bucketCounts": counts});
    let cases = [
        (
            json!({"count": 7, "sum": 9, "scale": 3, "zeroCount": 1, "positive": side(2, &[1, 0, 2]), "negative": side(-4, &[3])}),
            "(n=7 sum=9 schema=3 zero=1@1e-128 +[3:1 5:2] -[-3:3])",
        ),
        (json!({"count": 0}), "(n=0 sum=0 schema=0 zero=0@1e-128 +[] -[])"),
        (
            json!({"count": 1, "zeroCount": 1, "zeroThreshold": 0.25}),
            "(n=1 sum=0 schema=0 zero=1@2.5e-1 +[] -[])",
        ),
        (
            json!({"count": 3, "scale": -4, "positive": side(0, &[1, 2])}),
            "(n=3 sum=0 schema=-4 zero=0@1e-128 +[1:1 2:2] -[])",
        ),
        (
            json!({"count": 10, "scale": 9, "positive": side(0, &[1, 2, 3, 4])}),
            "(n=10 sum=0 schema=8 zero=0@1e-128 +[1:3 2:7] -[])",
        ),
        (
            json!({"count": 10, "scale": 10, "positive": side(-3, &[1, 2, 3, 4])}),
            "(n=10 sum=0 schema=8 zero=0@1e-128 +[0:6 1:4] -[])",
        ),
        (
            json!({"count": 2, "scale": 20, "positive": side(4096, &[1, 1])}),
            "(n=2 sum=0 schema=8 zero=0@1e-128 +[2:2] -[])",
        ),
        (
            json!({"count": 2, "positive": side(0, &[1, 0, 0, 0, 0, 0, 1])}),
            "(n=2 sum=0 schema=0 zero=0@1e-128 +[1:1 7:1] -[])",
        ),
        (
            json!({"count": 5, "positive": {"bucketCounts": ["2", "3"]}}),
            "(n=5 sum=0 schema=0 zero=0@1e-128 +[1:2 2:3] -[])",
        ),
        (json!({"count": 5, "flags": 1}), "stale"),
        (
            json!({"count": 2, "sum": "NaN", "positive": side(0, &[1])}),
            "(n=2 sum=NaN schema=0 zero=0@1e-128 +[1:1] -[])",
        ),
    ];
    for (extra, want) in cases {
        check(
            want,
            Config::default(),
            SERVICE,
            json!([exponential(extra)]),
            &[&format!("e{{job=s}} 0={want}")],
        );
    }
}

/// Least and greatest value are kept on request, as gauges of their own; they have no start.
#[test]
fn least_and_greatest_values() {
    let keep = || Config { keep_histogram_min_max: true, ..Config::default() };
    let start = nanos(-5);
    let both = json!({"count": 2, "sum": 3, "min": 1, "max": 2, "startTimeUnixNano": start});
    let classic = ["h_seconds_bucket{job=s,le=+Inf}", "h_seconds_count{job=s}", "h_seconds_sum{job=s}"];
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        ("both", histogram(both.clone()), vec!["h_seconds_max{job=s} 0=2", "h_seconds_min{job=s} 0=1"]),
        ("neither", histogram(json!({"count": 2, "sum": 3})), vec![]),
        (
            "only the greatest",
            histogram(json!({"count": 2, "sum": 3, "max": 2})),
            vec!["h_seconds_max{job=s} 0=2"],
        ),
        (
            "zero is a value",
            histogram(json!({"count": 1, "sum": 0, "min": 0})),
            vec!["h_seconds_min{job=s} 0=0"],
        ),
        (
            "negative",
            histogram(json!({"count": 1, "sum": -1, "min": -1.5})),
            vec!["h_seconds_min{job=s} 0=-1.5"],
        ),
        (
            "stale",
            histogram(json!({"flags": 1, "sum": 0})),
            vec!["h_seconds_max{job=s} 0=stale", "h_seconds_min{job=s} 0=stale"],
        ),
        (
            "exponential",
            exponential(json!({"count": 1, "sum": 2, "zeroCount": 1, "min": 0, "max": 2})),
            vec!["e_max{job=s} 0=2", "e_min{job=s} 0=0"],
        ),
    ];
    for (what, metric, want) in cases {
        let f = fixture(keep());
        f.json(&request(SERVICE, json!([metric]))).unwrap();
        let others = |line: &String| !classic.iter().any(|c| line.starts_with(c)) && !line.starts_with("e{");
        let got: Vec<_> = f.dump().into_iter().filter(others).collect();
        assert_eq!(got, want, "{what}");
        // Without the option there are none.
        let f = fixture(Config::default());
        f.json(&request(SERVICE, json!([metric]))).unwrap();
        assert!(f.dump().iter().all(|line| !line.contains("_min") && !line.contains("_max")), "{what}");
    }
    let custom = Config { convert_histograms_to_nhcb: true, ..keep() };
    let f = fixture(custom);
    f.json(&request(SERVICE, json!([histogram(both)]))).unwrap();
    assert_eq!(f.dump()[..2], ["h_seconds_max{job=s} 0=2", "h_seconds_min{job=s} 0=1"]);
}
