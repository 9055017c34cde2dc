//! Exemplars: ids, labels, and the bucket they belong to.

use crate::fixture::*;
use crate::histograms::histogram;
use engine::{MatchOp, Matcher};
use ingest::otlp::Config;
use serde_json::{Value, json};
use storage_format::model::TimeRange;

#[test]
fn ids_and_exemplars_are_read() {
    let exemplars = json!([{"asDouble": 1.5, "timeUnixNano": nanos(0), "spanId": "00f067aa0ba902b7", "traceId": "4BF92F3577B34DA6A3CE929D0E0E4736", "filteredAttributes": attrs(&[("a", "b")])}, {"asInt": "3"}]);
    check(
        "exemplars",
        Config::default(),
        SERVICE,
        json!([gauge("g", json!([point(json!({"asInt": 1, "exemplars": exemplars}), &[])]))]),
        &["g{job=s} 0=1"],
    );
}

#[test]
fn exemplars_go_to_the_bucket_of_their_value() {
    let f = fixture(Config::default());
    let e = |v: f64, ms: i64, attributes: Value| json!({"asDouble": v, "timeUnixNano": nanos(ms), "spanId": "00f067aa0ba902b7", "traceId": "4BF92F3577B34DA6A3CE929D0E0E4736", "filteredAttributes": attributes});
    let long = "x".repeat(100);
    let exemplars = json!([
        e(0.5, 1, attrs(&[("user.id", "7")])),
        e(1.0, 2, json!([])),
        e(1.5, 3, attrs(&[("too.long", &long)])),
        e(99.0, 4, json!([])),
        {"asInt": "2", "timeUnixNano": nanos(5)},
        {"timeUnixNano": nanos(6)},
    ]);
    let h = json!({"count": 4, "sum": 1, "bucketCounts": [2, 1, 1], "explicitBounds": [1, 2], "exemplars": exemplars});
    let receipt = f.json(&request(SERVICE, json!([histogram(h)]))).unwrap();
    assert_eq!((receipt.rejected, receipt.message.as_str()), (0, "exemplar without a value"));
    let all = vec![Matcher::new(MatchOp::NotEqual, "__name__", "").unwrap()];
    let got: Vec<_> = f
        .engine
        .exemplars(&[all], TimeRange::ALL)
        .unwrap()
        .into_iter()
        .flat_map(|(series, all)| {
            let le = series.get("le").unwrap().to_owned();
            all.into_iter().map(move |e| (le.clone(), e.value, e.timestamp - T, e.labels.to_string()))
        })
        .collect();
    let ids = r#"{span_id="00f067aa0ba902b7", trace_id="4bf92f3577b34da6a3ce929d0e0e4736"}"#;
    let want = [
        ("+Inf", 99.0, 4, ids),
        (
            "1",
            0.5,
            1,
            r#"{span_id="00f067aa0ba902b7", trace_id="4bf92f3577b34da6a3ce929d0e0e4736", user_id="7"}"#,
        ),
        ("1", 1.0, 2, ids),
        ("2", 1.5, 3, ids),
        ("2", 2.0, 5, "{}"),
    ];
    assert_eq!(got, want.map(|(le, v, t, l)| (le.to_owned(), v, t, l.to_owned())));
}
