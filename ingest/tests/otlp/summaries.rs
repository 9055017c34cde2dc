//! Summaries.

use crate::fixture::*;
use ingest::otlp::Config;
use serde_json::json;

#[test]
fn summaries() {
    let summary =
        |extra| json!([{"name": "s", "unit": "ms", "summary": {"dataPoints": [point(extra, &[])]}}]);
    let quantiles =
        json!([{"quantile": 0.5, "value": 2}, {"quantile": 0.99, "value": 7.5}, {"quantile": 1, "value": 8}]);
    check(
        "full",
        Config::default(),
        SERVICE,
        summary(json!({"count": 3, "sum": 12, "quantileValues": quantiles, "startTimeUnixNano": nanos(-1)})),
        &[
            "s_milliseconds{job=s,quantile=0.5} 0[-1]=2",
            "s_milliseconds{job=s,quantile=0.99} 0[-1]=7.5",
            "s_milliseconds{job=s,quantile=1} 0[-1]=8",
            "s_milliseconds_count{job=s} 0[-1]=3",
            "s_milliseconds_sum{job=s} 0[-1]=12",
        ],
    );
    check(
        "stale",
        Config::default(),
        SERVICE,
        summary(json!({"flags": 1, "quantileValues": [{"quantile": 0, "value": 1}]})),
        &[
            "s_milliseconds{job=s,quantile=0} 0=stale",
            "s_milliseconds_count{job=s} 0=stale",
            "s_milliseconds_sum{job=s} 0=stale",
        ],
    );
}
