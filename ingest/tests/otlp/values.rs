//! Numbers and attribute values: what each way to write one becomes.

use crate::fixture::*;
use ingest::otlp::Config;
use serde_json::{Value, json};

#[test]
fn numbers() {
    let one = |v: Value| json!([point(v, &[])]);
    let start = json!({"asInt": "5", "startTimeUnixNano": nanos(-9000)});
    let cases: Vec<(&str, Value, &[&str])> = vec![
        ("double", gauge("g", one(json!({"asDouble": 1.5}))), &["g{job=s} 0=1.5"]),
        ("int as text", gauge("g", one(json!({"asInt": "-7"}))), &["g{job=s} 0=-7"]),
        ("int as number", gauge("g", one(json!({"asInt": 7}))), &["g{job=s} 0=7"]),
        (
            "int beyond 2^53",
            gauge("g", one(json!({"asInt": "9223372036854775807"}))),
            &["g{job=s} 0=9223372036854776000"],
        ),
        ("double as text", gauge("g", one(json!({"asDouble": "2.5"}))), &["g{job=s} 0=2.5"]),
        ("whole double", gauge("g", one(json!({"asDouble": 3}))), &["g{job=s} 0=3"]),
        ("NaN", gauge("g", one(json!({"asDouble": "NaN"}))), &["g{job=s} 0=NaN"]),
        ("infinite", gauge("g", one(json!({"asDouble": "Infinity"}))), &["g{job=s} 0=inf"]),
        ("minus infinite", gauge("g", one(json!({"asDouble": "-Infinity"}))), &["g{job=s} 0=-inf"]),
        ("no value recorded", gauge("g", one(json!({"flags": 1}))), &["g{job=s} 0=stale"]),
        (
            "no value recorded, though there is one",
            gauge("g", one(json!({"asInt": 1, "flags": 3}))),
            &["g{job=s} 0=stale"],
        ),
        ("other flags", gauge("g", one(json!({"asInt": 1, "flags": 2}))), &["g{job=s} 0=1"]),
        ("gauge has no start", gauge("g", one(start.clone())), &["g{job=s} 0=5"]),
        ("counter", sum("c", 2, true, one(start.clone())), &["c_total{job=s} 0[-9000]=5"]),
        ("up-down counter", sum("c", 2, false, one(start)), &["c{job=s} 0[-9000]=5"]),
        (
            "submilliseconds are cut",
            gauge("g", json!([{"asInt": 1, "timeUnixNano": "1700000000000999999"}])),
            &["g{job=s} 0=1"],
        ),
        (
            "time as number",
            gauge("g", json!([{"asInt": 1, "timeUnixNano": 1_700_000_000_001_000_000u64}])),
            &["g{job=s} 1=1"],
        ),
        (
            "several points",
            gauge(
                "g",
                json!([point(json!({"asInt": 1}), &[("a", "1")]), point(json!({"asInt": 2}), &[("a", "2")])]),
            ),
            &["g{a=1,job=s} 0=1", "g{a=2,job=s} 0=2"],
        ),
        (
            "same series twice",
            gauge(
                "g",
                json!([{"asInt": 1, "timeUnixNano": nanos(0)}, {"asInt": 2, "timeUnixNano": nanos(5)}]),
            ),
            &["g{job=s} 0=1 5=2"],
        ),
        ("no points", gauge("g", json!([])), &[]),
        (
            "snake case keys",
            json!({"name": "g", "gauge": {"data_points": [{"as_int": 4, "time_unix_nano": nanos(0)}]}}),
            &["g{job=s} 0=4"],
        ),
        (
            "unknown fields",
            json!({"name": "g", "x": {"y": [1]}, "gauge": {"z": null, "dataPoints": [{"asInt": 4, "timeUnixNano": nanos(0), "q": "r"}]}}),
            &["g{job=s} 0=4"],
        ),
        (
            "nulls are absent",
            json!({"name": "g", "unit": null, "sum": null, "gauge": {"dataPoints": [{"asInt": 4, "asDouble": null, "exemplars": null, "timeUnixNano": nanos(0), "attributes": null}]}}),
            &["g{job=s} 0=4"],
        ),
    ];
    for (what, metric, want) in cases {
        check(what, Config::default(), SERVICE, json!([metric]), want);
    }
}

#[test]
fn attribute_values() {
    let cases = [
        (json!({"stringValue": "x"}), "x"),
        (json!({"boolValue": true}), "true"),
        (json!({"boolValue": false}), "false"),
        (json!({"intValue": "42"}), "42"),
        (json!({"intValue": -42}), "-42"),
        (json!({"doubleValue": 1.5}), "1.5"),
        (json!({"doubleValue": 2}), "2"),
        (json!({"doubleValue": 1e21}), "1e+21"),
        (json!({"doubleValue": "NaN"}), "NaN"),
        (json!({"bytesValue": "Zm9v"}), "Zm9v"),
        (
            json!({"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": 1}, {"boolValue": true}, {}]}}),
            r#"["a",1,true,null]"#,
        ),
        (json!({"arrayValue": {}}), "[]"),
        (json!({"arrayValue": {"values": null}}), "[]"),
        (
            json!({"kvlistValue": {"values": [{"key": "b", "value": {"doubleValue": 0.5}}, {"key": "a", "value": {"stringValue": "<\"\n"}}]}}),
            r#"{"a":"\u003c\"\n","b":0.5}"#,
        ),
        (
            json!({"kvlistValue": {"values": [{"key": "a", "value": {"arrayValue": {"values": [{"bytesValue": "Zg=="}]}}}]}}),
            r#"{"a":["Zg=="]}"#,
        ),
        (json!({"stringValue": "ünï"}), "ünï"),
    ];
    for (value, want) in cases {
        let points =
            json!([{"asInt": 1, "timeUnixNano": nanos(0), "attributes": [{"key": "k", "value": value}]}]);
        let series = format!("g{{job=s,k={want}}} 0=1");
        check(want, Config::default(), SERVICE, json!([gauge("g", points)]), &[&series]);
    }
    for value in [json!({}), json!({"stringValue": ""}), json!(null)] {
        let points =
            json!([{"asInt": 1, "timeUnixNano": nanos(0), "attributes": [{"key": "k", "value": value}]}]);
        check("empty", Config::default(), SERVICE, json!([gauge("g", points)]), &["g{job=s} 0=1"]);
    }
}
