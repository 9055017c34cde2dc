//! What is refused: counted in data points, told in words, and nothing else with it.

use crate::fixture::*;
use crate::histograms::{exponential, histogram};
use ingest::otlp::Config;
use serde_json::json;

#[test]
fn refused_points_are_counted_and_the_rest_is_stored() {
    let good = || gauge("good", json!([point(json!({"asInt": 1}), &[])]));
    let two = json!([point(json!({"asInt": 1}), &[("a", "1")]), point(json!({"asInt": 1}), &[("a", "2")])]);
    let cases = [
        (sum("c", 0, true, two.clone()), 2, r#"metric "c" has no aggregation temporality"#),
        (sum("c", 7, true, two.clone()), 2, r#"metric "c" has no aggregation temporality"#),
        (
            json!({"name": "h", "histogram": {"dataPoints": [{}, {}, {}]}}),
            3,
            r#"metric "h" has no aggregation temporality"#,
        ),
        (
            json!({"name": "@@", "gauge": {"dataPoints": two}}),
            2,
            r#"normalization for metric "@@" resulted in empty name"#,
        ),
        (gauge("g", json!([point(json!({}), &[])])), 1, r#"metric "g": data point without a value"#),
        (
            gauge("g", json!([point(json!({"asDouble": null}), &[])])),
            1,
            r#"metric "g": data point without a value"#,
        ),
        (
            gauge("g", json!([point(json!({"asInt": 1}), &[("öö", "x")])])),
            1,
            r#"normalization for label name "öö" resulted in invalid name "__""#,
        ),
        (
            histogram(json!({"count": 1, "bucketCounts": [1, 0, 0], "explicitBounds": [1]})),
            1,
            r#"metric "h": histogram with 3 bucket counts and 1 bounds"#,
        ),
        (
            histogram(json!({"count": 1, "bucketCounts": [1, 0, 0], "explicitBounds": [2, 1]})),
            1,
            r#"metric "h": histogram bounds must be in strictly increasing order"#,
        ),
        (
            histogram(json!({"count": 1, "bucketCounts": [1, 0], "explicitBounds": ["NaN"]})),
            1,
            r#"metric "h": histogram bounds must be in strictly increasing order"#,
        ),
        (
            histogram(json!({"count": 1, "bucketCounts": [1, 1], "explicitBounds": [1]})),
            1,
            r#"metric "h": histogram buckets hold more than its count of 1"#,
        ),
        (
            exponential(json!({"count": 1, "scale": -5})),
            1,
            r#"metric "e": cannot convert exponential to native histogram: scale must be >= -4, was -5"#,
        ),
        (
            exponential(json!({"count": 9, "sum": 1, "positive": {"bucketCounts": [1]}})),
            1,
            r#"metric "e": 1 observations found in buckets, but the Count field is 9"#,
        ),
        (
            exponential(json!({"count": 1, "sum": "NaN", "positive": {"bucketCounts": [2]}})),
            1,
            r#"metric "e": 2 observations found in buckets, but the Count field is 1"#,
        ),
        (
            exponential(json!({"count": 2, "positive": {"offset": 2_147_483_647, "bucketCounts": [1, 1]}})),
            1,
            r#"metric "e": "#,
        ),
    ];
    for (bad, rejected, message) in cases {
        let f = fixture(Config::default());
        let receipt = f.json(&request(SERVICE, json!([bad, good()]))).unwrap();
        assert_eq!((receipt.rejected, receipt.points), (rejected, rejected + 1), "{message}");
        assert!(receipt.message.starts_with(message), "{} / {message}", receipt.message);
        assert_eq!(f.dump(), ["good{job=s} 0=1"], "{message}");
    }
}

#[test]
fn what_the_engine_refuses_is_counted_in_points() {
    let f = fixture(Config::default());
    let resource = &[("service.name", "s"), ("host.name", "h")];
    let two = |v: i64| {
        let h = json!({"count": v, "sum": v, "bucketCounts": [v, 0], "explicitBounds": [1]});
        json!([gauge("g", json!([point(json!({"asInt": v}), &[])])), histogram(h)])
    };
    assert_eq!(f.json(&request(resource, two(1))).unwrap().rejected, 0);
    // The same again is a repetition; other values at the same time are two points, not five samples.
    assert_eq!(f.json(&request(resource, two(1))).unwrap().rejected, 0);
    let receipt = f.json(&request(resource, two(2))).unwrap();
    assert_eq!((receipt.rejected, receipt.points), (2, 2));
    assert!(
        receipt.message.contains("duplicate sample for timestamp for series {__name__="),
        "{}",
        receipt.message
    );
}
