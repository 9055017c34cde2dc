//! OTLP against an engine: what is sent as JSON or protobuf, and the series it becomes, written by hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use engine::{Engine, MatchOp, Matcher, MetricType, Options};
use ingest::otlp::{Config, DeltaMode, Format, Receipt, Receiver, TranslationStrategy, response};
use ingest::{Encoding, Error, Limits};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use storage_format::model::{Histogram, Samples, TimeRange, is_stale};
use support::{Message, message};

/// Milliseconds to which the dumps' times are relative.
const T: i64 = 1_700_000_000_000;

struct Fixture {
    dir: tempfile::TempDir,
    engine: Arc<Engine>,
    receiver: Receiver,
}

fn fixture(config: Config) -> Fixture {
    fixture_within(config, Limits::OTLP)
}

fn fixture_within(config: Config, limits: Limits) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(Engine::open(Options::new(dir.path())).unwrap());
    let receiver = Receiver::new(Arc::clone(&engine), config, limits);
    Fixture { dir, engine, receiver }
}

impl Fixture {
    fn json(&self, body: &Value) -> Result<Receipt, Error> {
        self.receiver.receive(Format::Json, Encoding::Identity, body.to_string().as_bytes())
    }
    fn protobuf(&self, body: &Message) -> Result<Receipt, Error> {
        self.receiver.receive(Format::Protobuf, Encoding::Identity, &body.0)
    }
    /// One line a series: its name, labels and samples, `time[start]=value` relative to `T`.
    fn dump(&self) -> Vec<String> {
        let all = Matcher::new(MatchOp::NotEqual, "__name__", "").unwrap();
        let snapshot = self.engine.snapshot();
        let mut lines: Vec<_> = snapshot.select(&[all], TimeRange::ALL).unwrap().iter().map(line).collect();
        lines.sort();
        lines
    }
}

fn line(series: &engine::Series) -> String {
    let mut s = Samples::default();
    series.read(TimeRange::ALL, &mut s).unwrap();
    let labels: Vec<_> =
        series.labels().iter().filter(|l| l.0 != "__name__").map(|(n, v)| format!("{n}={v}")).collect();
    let mut out = format!("{}{{{}}}", series.labels().metric_name().unwrap(), labels.join(","));
    let at = |t: i64, start: i64| match start {
        0 => format!(" {}", t - T),
        start => format!(" {}[{}]", t - T, start - T),
    };
    for (i, (t, v)) in s.timestamps.iter().zip(&s.values).enumerate() {
        let value = if is_stale(*v) { "stale".to_owned() } else { v.to_string() };
        out += &format!("{}={value}", at(*t, s.starts.get(i).copied().unwrap_or(0)));
    }
    for (t, start, h) in &s.histograms {
        out += &format!("{}={}", at(*t, *start), native(h));
    }
    out
}

/// A native histogram: count, sum, schema, zero bucket, and `index:count` of the buckets that hold some.
fn native(h: &Histogram) -> String {
    if h.is_stale() {
        return "stale".to_owned();
    }
    let side = |spans: &[storage_format::model::Span], counts: &[f64]| {
        let (mut index, mut i, mut out) = (0, 0, Vec::new());
        for span in spans {
            index += span.offset;
            for _ in 0..span.length {
                if counts[i] != 0.0 {
                    out.push(format!("{index}:{}", counts[i]));
                }
                (index, i) = (index + 1, i + 1);
            }
        }
        out.join(" ")
    };
    let custom =
        if h.custom_bounds.is_empty() { String::new() } else { format!(" le={:?}", h.custom_bounds) };
    format!(
        "(n={} sum={} schema={} zero={}@{:e} +[{}] -[{}]{custom})",
        h.count,
        h.sum,
        h.schema,
        h.zero_count,
        h.zero_threshold,
        side(&h.positive_spans, &h.positive_counts),
        side(&h.negative_spans, &h.negative_counts),
    )
}

fn nanos(ms: i64) -> String {
    ((T + ms) * 1_000_000).to_string()
}

fn attrs(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(k, v)| json!({"key": k, "value": {"stringValue": v}})).collect()
}

fn point(value: Value, pairs: &[(&str, &str)]) -> Value {
    let mut point = json!({"timeUnixNano": nanos(0), "attributes": attrs(pairs)});
    point.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    point
}

fn gauge(name: &str, points: Value) -> Value {
    json!({"name": name, "gauge": {"dataPoints": points}})
}

fn sum(name: &str, temporality: i32, monotonic: bool, points: Value) -> Value {
    json!({"name": name, "sum": {"dataPoints": points, "aggregationTemporality": temporality, "isMonotonic": monotonic}})
}

/// A request with one resource and one scope.
fn request(resource: &[(&str, &str)], metrics: Value) -> Value {
    json!({"resourceMetrics": [{
        "resource": {"attributes": attrs(resource)},
        "scopeMetrics": [{
            "scope": {"name": "lib", "version": "1.2", "attributes": attrs(&[("a.b", "c")])},
            "schemaUrl": "https://x",
            "metrics": metrics,
        }],
    }]})
}

const SERVICE: &[(&str, &str)] = &[("service.name", "s")];

fn check(what: &str, config: Config, resource: &[(&str, &str)], metrics: Value, want: &[&str]) {
    let f = fixture(config);
    let receipt = f.json(&request(resource, metrics)).unwrap();
    assert_eq!((receipt.rejected, receipt.message.as_str()), (0, ""), "{what}");
    let mut want = want.to_vec();
    want.sort_unstable();
    assert_eq!(f.dump(), want, "{what}");
}

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

#[test]
fn label_sets() {
    let d = Config::default;
    let promote = |keys: &[&str]| Config {
        promote_resource_attributes: keys.iter().map(|k| (*k).to_owned()).collect(),
        ..d()
    };
    let all = Config { promote_all_resource_attributes: true, ..d() };
    let all_but = Config {
        promote_all_resource_attributes: true,
        ignore_resource_attributes: vec!["host.name".to_owned()],
        ..d()
    };
    let scope = Config { promote_scope_metadata: true, ..d() };
    let utf8 = Config { translation_strategy: TranslationStrategy::NoTranslation, ..d() };
    let typed = Config { type_and_unit_labels: true, ..d() };
    let keep = Config { label_name_underscore_sanitization: false, ..d() };
    let collapse = Config { label_name_preserve_multiple_underscores: false, ..d() };
    type Pairs = &'static [(&'static str, &'static str)];
    let cases: Vec<(&str, Config, Pairs, Pairs, &str)> = vec![
        ("dots", d(), SERVICE, &[("http.method", "GET")], "{http_method=GET,job=s}"),
        ("digit first", d(), SERVICE, &[("1st", "x")], "{job=s,key_1st=x}"),
        ("underscore first", d(), SERVICE, &[("_x", "y")], "{job=s,key_x=y}"),
        ("underscore first, kept", keep, SERVICE, &[("_x", "y")], "{_x=y,job=s}"),
        ("runs kept", d(), SERVICE, &[("a..b", "y")], "{a__b=y,job=s}"),
        ("runs collapsed", collapse, SERVICE, &[("a..b", "y")], "{a_b=y,job=s}"),
        (
            "collision, keys in order",
            d(),
            SERVICE,
            &[("a_b", "2"), ("a.b", "1"), ("a/b", "3")],
            "{a_b=1;3;2,job=s}",
        ),
        (
            "no collision in UTF-8",
            utf8.clone(),
            SERVICE,
            &[("a_b", "2"), ("a.b", "1")],
            "{a.b=1,a_b=2,job=s}",
        ),
        ("name is dropped", d(), SERVICE, &[("__name__", "evil")], "{job=s}"),
        ("empty value is dropped", d(), SERVICE, &[("a", "")], "{job=s}"),
        ("job with namespace", d(), &[("service.name", "s"), ("service.namespace", "n")], &[], "{job=n/s}"),
        ("namespace alone is no job", d(), &[("service.namespace", "n")], &[], "{}"),
        ("instance", d(), &[("service.name", "s"), ("service.instance.id", "i")], &[], "{instance=i,job=s}"),
        ("instance alone", d(), &[("service.instance.id", "i")], &[], "{instance=i}"),
        ("no resource", d(), &[], &[("a", "b")], "{a=b}"),
        (
            "job overwrites",
            d(),
            &[("service.name", "s"), ("service.instance.id", "i")],
            &[("job", "x"), ("instance", "y")],
            "{instance=i,job=s}",
        ),
        ("attribute job without service", d(), &[], &[("job", "x")], "{job=x}"),
        (
            "promoted",
            promote(&["host.name"]),
            &[("service.name", "s"), ("host.name", "h"), ("os", "l")],
            &[],
            "{host_name=h,job=s}",
        ),
        ("promoted, absent", promote(&["host.name"]), SERVICE, &[], "{job=s}"),
        (
            "promoted, point wins",
            promote(&["host.name"]),
            &[("service.name", "s"), ("host.name", "h")],
            &[("host.name", "p")],
            "{host_name=p,job=s}",
        ),
        (
            "promoted, empty point loses",
            promote(&["host.name"]),
            &[("service.name", "s"), ("host.name", "h")],
            &[("host.name", "")],
            "{host_name=h,job=s}",
        ),
        ("promoted identity", promote(&["service.name"]), SERVICE, &[], "{job=s,service_name=s}"),
        (
            "all promoted",
            all,
            &[("service.name", "s"), ("host.name", "h")],
            &[],
            "{host_name=h,job=s,service_name=s}",
        ),
        ("all but", all_but, &[("service.name", "s"), ("host.name", "h")], &[], "{job=s,service_name=s}"),
        (
            "scope",
            scope.clone(),
            SERVICE,
            &[],
            "{job=s,otel_scope_a_b=c,otel_scope_name=lib,otel_scope_schema_url=https://x,otel_scope_version=1.2}",
        ),
        (
            "scope overwrites",
            scope,
            SERVICE,
            &[("otel_scope_name", "x")],
            "{job=s,otel_scope_a_b=c,otel_scope_name=lib,otel_scope_schema_url=https://x,otel_scope_version=1.2}",
        ),
        (
            "UTF-8",
            utf8,
            SERVICE,
            &[("http.method", "GET"), ("größe", "1")],
            "{größe=1,http.method=GET,job=s}",
        ),
        ("type and unit", typed, SERVICE, &[("__type__", "x")], "{__type__=gauge,job=s}"),
    ];
    for (what, config, resource, pairs, want) in cases {
        let f = fixture(config);
        f.json(&request(resource, json!([gauge("g", json!([point(json!({"asInt": 1}), pairs)]))]))).unwrap();
        let got: Vec<_> = f.dump().into_iter().filter(|l| l.starts_with("g{")).collect();
        assert_eq!(got, [format!("g{want} 0=1")], "{what}");
    }
}

#[test]
fn nameless_scopes_add_nothing() {
    let f = fixture(Config { promote_scope_metadata: true, ..Config::default() });
    let metrics = json!([gauge("g", json!([point(json!({"asInt": 1}), &[])]))]);
    let scope = json!({"version": "1", "attributes": attrs(&[("a", "b")])});
    f.json(&json!({"resourceMetrics": [{"scopeMetrics": [{"scope": scope, "metrics": metrics}]}]})).unwrap();
    assert_eq!(f.dump(), ["g{} 0=1"]);
}

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

fn histogram(extra: Value) -> Value {
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

fn exponential(extra: Value) -> Value {
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

#[test]
fn target_info() {
    let at =
        |ms: &[i64]| -> Value { ms.iter().map(|t| json!({"asInt": 1, "timeUnixNano": nanos(*t)})).collect() };
    type Pairs = &'static [(&'static str, &'static str)];
    let full: Pairs = &[
        ("service.name", "s"),
        ("service.instance.id", "i"),
        ("service.namespace", "n"),
        ("host.name", "h"),
    ];
    let keep = Config { keep_identifying_resource_attributes: true, ..Config::default() };
    let promote = Config { promote_resource_attributes: vec!["host.name".to_owned()], ..Config::default() };
    type Case = (&'static str, Config, Pairs, &'static [i64], Option<&'static str>);
    let cases: Vec<Case> = vec![
        ("usual", Config::default(), full, &[0], Some("{host_name=h,instance=i,job=n/s} 0=1")),
        (
            "identity kept",
            keep,
            full,
            &[0],
            Some(
                "{host_name=h,instance=i,job=n/s,service_instance_id=i,service_name=s,service_namespace=n} 0=1",
            ),
        ),
        ("nothing but identity", Config::default(), SERVICE, &[0], None),
        ("no identity", Config::default(), &[("host.name", "h")], &[0], None),
        (
            "instance only",
            Config::default(),
            &[("service.instance.id", "i"), ("a", "b")],
            &[0],
            Some("{a=b,instance=i} 0=1"),
        ),
        ("no points", Config::default(), full, &[], None),
        ("promotion does not matter", promote, full, &[0], Some("{host_name=h,instance=i,job=n/s} 0=1")),
        (
            "short span",
            Config::default(),
            full,
            &[0, 1000],
            Some("{host_name=h,instance=i,job=n/s} 0=1 1000=1"),
        ),
        (
            "long span",
            Config::default(),
            full,
            &[0, 310_000],
            Some("{host_name=h,instance=i,job=n/s} 0=1 150000=1 300000=1 310000=1"),
        ),
        (
            "span that ends on a step",
            Config::default(),
            full,
            &[0, 300_000],
            Some("{host_name=h,instance=i,job=n/s} 0=1 150000=1 300000=1"),
        ),
        ("points in any order", Config::default(), full, &[5, 3], None),
    ];
    for (what, config, resource, times, want) in cases {
        let f = fixture(config);
        if what == "points in any order" {
            // Two series, so that the order is not one of samples.
            let metrics = json!([gauge("a", at(&[5])), gauge("b", at(&[3]))]);
            f.json(&request(resource, metrics)).unwrap();
            assert!(f.dump().contains(&"target_info{host_name=h,instance=i,job=n/s} 3=1 5=1".to_owned()));
            continue;
        }
        f.json(&request(resource, json!([gauge("g", at(times))]))).unwrap();
        let got: Vec<_> =
            f.dump().into_iter().filter_map(|l| l.strip_prefix("target_info").map(str::to_owned)).collect();
        assert_eq!(got, want.into_iter().collect::<Vec<_>>(), "{what}");
    }
}

#[test]
fn a_wrong_clock_does_not_ask_for_millions() {
    let f = fixture(Config::default());
    let points = json!([{"asInt": 1, "timeUnixNano": "1000000"}, {"asInt": 1, "timeUnixNano": nanos(0)}]);
    f.json(&request(&[("service.name", "s"), ("a", "b")], json!([gauge("g", points)]))).unwrap();
    assert!(f.dump().iter().map(String::len).sum::<usize>() < 100_000);
}

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

#[test]
fn delta_as_configured() {
    let metric = |start, time, v: i64| {
        json!([sum(
            "d",
            1,
            true,
            json!([{"asInt": v, "startTimeUnixNano": nanos(start), "timeUnixNano": nanos(time)}])
        )])
    };
    let f = fixture(Config { delta: DeltaMode::Reject, ..Config::default() });
    let receipt = f.json(&request(SERVICE, metric(0, 10, 1))).unwrap();
    assert_eq!(receipt.rejected, 1);
    assert_eq!(
        receipt.message,
        r#"metric "d" has delta temporality, which this server is configured to refuse"#
    );
    let f = fixture(Config { delta: DeltaMode::Native, ..Config::default() });
    f.json(&request(SERVICE, metric(0, 10, 1))).unwrap();
    f.json(&request(SERVICE, metric(10, 20, 2))).unwrap();
    assert_eq!(f.dump(), ["d_total{job=s} 10[0]=1 20[10]=2"]);
    assert_eq!(f.engine.metadata()["d_total"][0].metric_type, MetricType::Unknown);
}

/// A delta point of the counter `d`.
fn delta(start: i64, time: i64, v: f64) -> Value {
    let point = json!({"asDouble": v, "startTimeUnixNano": nanos(start), "timeUnixNano": nanos(time)});
    request(SERVICE, json!([sum("d", 1, true, json!([point]))]))
}

#[test]
fn deltas_are_added_up() {
    let f = fixture(Config::default());
    for (start, time, v) in [(0, 10, 1.0), (10, 20, 2.5), (20, 30, 0.0), (45, 50, 4.0)] {
        assert_eq!(f.json(&delta(start, time, v)).unwrap().rejected, 0);
    }
    assert_eq!(f.dump(), ["d_total{job=s} 10[0]=1 20[0]=3.5 30[0]=3.5 50[0]=7.5"]);
    assert_eq!(f.engine.metadata()["d_total"][0].metric_type, MetricType::Counter);
    let f = fixture(Config::default());
    let points = json!(
        [1, 2, 3].map(|i| json!({"asInt": i, "startTimeUnixNano": nanos(i - 1), "timeUnixNano": nanos(i)}))
    );
    f.json(&request(SERVICE, json!([sum("up", 1, false, points)]))).unwrap();
    assert_eq!(f.dump(), ["up{job=s} 1[0]=1 2[0]=3 3[0]=6"]);
}

#[test]
fn repeated_late_overlapping_and_impossible_deltas() {
    let f = fixture(Config::default());
    for (start, time, v) in [(0, 10, 1.0), (10, 20, 2.0), (20, 30, 4.0)] {
        f.json(&delta(start, time, v)).unwrap();
    }
    let want = ["d_total{job=s} 10[0]=1 20[0]=3 30[0]=7"];
    for (start, time, v) in [(20, 30, 4.0), (0, 10, 1.0), (10, 20, 2.0)] {
        let receipt = f.json(&delta(start, time, v)).unwrap();
        assert_eq!((receipt.rejected, receipt.message.as_str()), (0, ""), "a repetition is a success");
    }
    for (start, time, v, why) in [
        (5, 15, 1.0, "delta older than the newest one of its stream"),
        (25, 40, 1.0, "delta that overlaps the one before"),
        (0, 40, 1.0, "delta that overlaps the one before"),
        (50, 40, 1.0, "delta that ends before it starts"),
        (30, 40, -1.0, "delta that is negative or not a number"),
    ] {
        let receipt = f.json(&delta(start, time, v)).unwrap();
        assert_eq!((receipt.rejected, receipt.message), (1, format!("metric \"d\": {why}")));
    }
    assert_eq!(f.dump(), want);
    let stale = json!({"flags": 1, "timeUnixNano": nanos(40)});
    f.json(&request(SERVICE, json!([sum("d", 1, true, json!([stale]))]))).unwrap();
    f.json(&delta(40, 50, 1.0)).unwrap();
    assert_eq!(f.dump(), ["d_total{job=s} 10[0]=1 20[0]=3 30[0]=7 40=stale 50[0]=8"]);
}

#[test]
fn deltas_go_on_after_a_restart() {
    let f = fixture(Config::default());
    f.json(&delta(0, 10, 1.0)).unwrap().ticket.wait().unwrap();
    f.json(&delta(10, 20, 2.0)).unwrap().ticket.wait().unwrap();
    let Fixture { dir, engine, receiver } = f;
    engine.close().unwrap();
    drop((engine, receiver));
    let engine = Arc::new(Engine::open(Options::new(dir.path())).unwrap());
    let receiver = Receiver::new(Arc::clone(&engine), Config::default(), Limits::OTLP);
    let f = Fixture { dir, engine, receiver };
    assert_eq!(f.json(&delta(10, 20, 2.0)).unwrap().rejected, 0);
    assert_eq!(f.json(&delta(5, 15, 2.0)).unwrap().rejected, 1);
    f.json(&delta(20, 30, 4.0)).unwrap();
    assert_eq!(f.dump(), ["d_total{job=s} 10[0]=1 20[0]=3 30[0]=7"]);
}

/// Copies a data directory as a crash leaves it: what was acknowledged is there, nothing was closed.
fn crash_image(from: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let to = tempfile::tempdir().unwrap();
    copy(from, to.path());
    to
}

#[test]
fn acknowledged_deltas_count_once_across_crashes() {
    let mut f = fixture(Config::default());
    let mut want = String::new();
    for i in 1..=6 {
        f.json(&delta(i * 10 - 10, i * 10, i as f64)).unwrap().ticket.wait().unwrap();
        want += &format!(" {}[0]={}", i * 10, i * (i + 1) / 2);
        // The client did not hear of it and sends it again, to a server that crashed meanwhile.
        let dir = crash_image(f.dir.path());
        let engine = Arc::new(Engine::open(Options::new(dir.path())).unwrap());
        let receiver = Receiver::new(Arc::clone(&engine), Config::default(), Limits::OTLP);
        f = Fixture { dir, engine, receiver };
        for repeated in [i, i - 1].into_iter().filter(|r| *r > 0) {
            let receipt = f.json(&delta(repeated * 10 - 10, repeated * 10, repeated as f64)).unwrap();
            assert_eq!(receipt.rejected, 0);
        }
    }
    assert_eq!(f.dump(), [format!("d_total{{job=s}}{want}")]);
}

#[test]
fn delta_histograms_are_added_up() {
    let f = fixture(Config::default());
    let at = |start: i64, time: i64, mut extra: Value| {
        let times = json!({"startTimeUnixNano": nanos(start), "timeUnixNano": nanos(time)});
        extra.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
        extra
    };
    let explicit = |point: Value| {
        request(
            SERVICE,
            json!([{"name": "h", "histogram": {"aggregationTemporality": 1, "dataPoints": [point]}}]),
        )
    };
    let native = |point: Value| {
        request(
            SERVICE,
            json!([{"name": "e", "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [point]}}]),
        )
    };
    f.json(&explicit(at(
        0,
        10,
        json!({"count": 3, "sum": 2.5, "bucketCounts": [1, 2], "explicitBounds": [1]}),
    )))
    .unwrap();
    f.json(&explicit(at(
        10,
        20,
        json!({"count": 1, "sum": -0.5, "bucketCounts": [1, 0], "explicitBounds": [1]}),
    )))
    .unwrap();
    let side = |offset: i64, counts: &[u64]| json!({"offset": offset, "bucketCounts": counts});
    f.json(&native(at(0, 10, json!({"count": 3, "sum": 2, "scale": 1, "positive": side(0, &[1, 2])}))))
        .unwrap();
    f.json(&native(at(
        10,
        20,
        json!({"count": 6, "sum": 1, "scale": 0, "zeroCount": 1, "positive": side(0, &[5])}),
    )))
    .unwrap();
    assert_eq!(
        f.dump(),
        [
            "e{job=s} 10[0]=(n=3 sum=2 schema=1 zero=0@1e-128 +[1:1 2:2] -[]) 20[0]=(n=9 sum=3 schema=0 zero=1@1e-128 +[1:8] -[])",
            "h_bucket{job=s,le=+Inf} 10[0]=3 20[0]=4",
            "h_bucket{job=s,le=1} 10[0]=1 20[0]=2",
            "h_count{job=s} 10[0]=3 20[0]=4",
            "h_sum{job=s} 10[0]=2.5 20[0]=2",
        ]
    );
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

#[test]
fn json_that_is_refused_says_where() {
    let f = fixture(Config::default());
    let metric = |m: &str| format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{m}]}}]}}]}}"#);
    let bodies = [
        String::new(),
        "[]".to_owned(),
        "{".to_owned(),
        "{}x".to_owned(),
        "null".to_owned(),
        r#"{"resourceMetrics": {}}"#.to_owned(),
        r#"{"resourceMetrics": [null]}x"#.to_owned(),
        metric(r#"{"sum":"NaN"}"#),
        metric(r#"{"sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"}}"#),
        metric(r#"{"sum":{"isMonotonic":"true"}}"#),
        metric(r#"{"sum":{"isMonotonic":1}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"asInt":"x"}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"asInt":1.5}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"asInt":"9223372036854775808"}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"asDouble":"nan"}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"asDouble":1e400}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"timeUnixNano":-1}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"flags":4294967296}]}}"#),
        metric(r#"{"histogram":{"dataPoints":[{"explicitBounds":[null]}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"exemplars":[{"traceId":"xyz"}]}]}}"#),
        metric(r#"{"name":7}"#),
        metric(r#"{"name":"\ud800"}"#),
        metric(&format!(
            r#"{{"gauge":{{"dataPoints":[{{"attributes":[{{"value":{}{}}}]}}]}}}}"#,
            r#"{"arrayValue":{"values":["#.repeat(100),
            "]}}".repeat(100)
        )),
    ];
    for body in bodies {
        let got = f.receiver.receive(Format::Json, Encoding::Identity, body.as_bytes());
        assert!(matches!(&got, Err(Error::BadJson(why)) if why.contains("line 1")), "{body}: {got:?}");
    }
    for fine in ["{}", r#"{"resourceMetrics":null}"#, r#"{"resourceMetrics":[]}"#, r#"{"x":[[[]]]}"#, " {} "]
    {
        assert!(f.receiver.receive(Format::Json, Encoding::Identity, fine.as_bytes()).is_ok(), "{fine}");
    }
}

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

#[test]
fn answers_in_the_format_of_the_request() {
    let f = fixture(Config::default());
    let full = f.json(&request(SERVICE, json!([]))).unwrap();
    assert_eq!(response::success(Format::Json, &full), b"{}");
    assert_eq!(response::success(Format::Protobuf, &full), b"");
    let partial = f.json(&request(SERVICE, json!([gauge("g", json!([{}]))]))).unwrap();
    let text = String::from_utf8(response::success(Format::Json, &partial)).unwrap();
    assert_eq!(
        text,
        r#"{"partialSuccess":{"errorMessage":"metric \"g\": data point without a value","rejectedDataPoints":"1"}}"#
    );
    let bytes = response::success(Format::Protobuf, &partial);
    assert_eq!(
        bytes,
        message().sub(1, message().int(1, 1).bytes(2, "metric \"g\": data point without a value")).0
    );
    assert_eq!(response::status(Format::Protobuf, 3, "no"), message().int(1, 3).bytes(2, "no").0);
    assert_eq!(response::status(Format::Json, 3, "no"), br#"{"code":3,"message":"no"}"#);
}

/// The rich request of the decoders' robustness tests, in both formats.
fn rich() -> (Value, Message) {
    let resource = &[("service.name", "s"), ("host.name", "h")];
    let json = request(
        resource,
        json!([
            gauge("g", json!([point(json!({"asDouble": 1.5}), &[("a.b", "c")])])),
            sum("c", 2, true, json!([point(json!({"asInt": "5", "startTimeUnixNano": nanos(-9)}), &[("x", "y"), ("z", "w")])])),
            histogram(json!({"count": "7", "sum": 3.5, "bucketCounts": [1, 2, 4], "explicitBounds": [0.5, 10]})),
            exponential(json!({"count": 7, "sum": 9, "scale": 3, "zeroCount": 1, "positive": {"offset": 2, "bucketCounts": [1, 0, 2]}, "negative": {"offset": -4, "bucketCounts": [3]}})),
            {"name": "s", "summary": {"dataPoints": [point(json!({"count": 3, "sum": 12, "quantileValues": [{"quantile": 0.5, "value": 2}]}), &[])]}},
        ]),
    );
    let kv = |k: &str, v: &str| message().bytes(1, k).sub(2, message().bytes(1, v));
    let time = (T * 1_000_000) as u64;
    let p = |attributes: u32, pairs: &[(&str, &str)]| {
        pairs.iter().fold(message(), |m, (k, v)| m.sub(attributes, kv(k, v))).fixed(3, time)
    };
    let resource = resource.iter().fold(message(), |m, (k, v)| m.sub(1, kv(k, v)));
    let scope = message().bytes(1, "lib").bytes(2, "1.2").sub(3, kv("a.b", "c"));
    let metric = |name: &str, unit: &str, number: u32, data: Message| {
        message().bytes(1, name).bytes(3, unit).sub(number, data)
    };
    let protobuf = message().sub(
        1,
        message().sub(1, resource).sub(
            2,
            message()
                .sub(1, scope)
                .sub(2, metric("g", "", 5, message().sub(1, p(7, &[("a.b", "c")]).double(4, 1.5))))
                .sub(
                    2,
                    metric(
                        "c",
                        "",
                        7,
                        message()
                            .sub(
                                1,
                                p(7, &[("x", "y"), ("z", "w")])
                                    .fixed(6, 5)
                                    .fixed(2, ((T - 9) * 1_000_000) as u64),
                            )
                            .int(2, 2)
                            .int(3, 1),
                    ),
                )
                .sub(
                    2,
                    metric(
                        "h",
                        "s",
                        9,
                        message()
                            .sub(
                                1,
                                p(9, &[])
                                    .fixed(4, 7)
                                    .double(5, 3.5)
                                    .packed_fixed(6, &[1, 2, 4])
                                    .packed_doubles(7, &[0.5, 10.0]),
                            )
                            .int(2, 2),
                    ),
                )
                .sub(
                    2,
                    metric(
                        "e",
                        "",
                        10,
                        message()
                            .sub(
                                1,
                                p(1, &[])
                                    .fixed(4, 7)
                                    .double(5, 9.0)
                                    .sint(6, 3)
                                    .fixed(7, 1)
                                    .sub(8, message().sint(1, 2).packed(2, &[1, 0, 2]))
                                    .sub(9, message().sint(1, -4).packed(2, &[3])),
                            )
                            .int(2, 2),
                    ),
                )
                .sub(
                    2,
                    metric(
                        "s",
                        "",
                        11,
                        message().sub(
                            1,
                            p(7, &[])
                                .fixed(4, 3)
                                .double(5, 12.0)
                                .sub(6, message().double(1, 0.5).double(2, 2.0)),
                        ),
                    ),
                )
                .bytes(3, "https://x"),
        ),
    );
    (json, protobuf)
}

#[test]
fn both_formats_and_all_encodings_mean_the_same() {
    use std::io::Write;
    let (json, protobuf) = rich();
    let f = fixture(Config::default());
    assert_eq!(f.json(&json).unwrap().rejected, 0);
    let want = f.dump();
    assert_eq!(want.len(), 12);
    let zlib = |bytes: &[u8]| {
        let mut w = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        w.write_all(bytes).unwrap();
        w.finish().unwrap()
    };
    let gzip = |bytes: &[u8]| {
        let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        w.write_all(bytes).unwrap();
        w.finish().unwrap()
    };
    for (format, bytes) in [(Format::Protobuf, protobuf.0), (Format::Json, json.to_string().into_bytes())] {
        for (encoding, body) in [
            (Encoding::Identity, bytes.clone()),
            (Encoding::Gzip, gzip(&bytes)),
            (Encoding::Deflate, zlib(&bytes)),
            (Encoding::Zstd, zstd::encode_all(&bytes[..], 1).unwrap()),
            (Encoding::Snappy, support::snappy(&bytes)),
        ] {
            let f = fixture(Config::default());
            let receipt = f.receiver.receive(format, encoding, &body).unwrap();
            assert_eq!(
                (receipt.rejected, receipt.points, f.dump()),
                (0, 5, want.clone()),
                "{format:?} {encoding:?}"
            );
        }
    }
}

#[test]
fn fields_in_any_order_mean_the_same() {
    let point = |m: Message| m.fixed(3, (T * 1_000_000) as u64);
    let kv = |k: &str| message().bytes(1, k).sub(2, message().bytes(1, "v"));
    let metric = message()
        .sub(
            7,
            message()
                .int(3, 1)
                .int(2, 2)
                .sub(1, point(message().sub(7, kv("a")).fixed(6, 5).sub(7, kv("b")))),
        )
        .bytes(1, "c");
    let resource = message().sub(1, message().bytes(1, "service.name").sub(2, message().bytes(1, "s")));
    let body = message().sub(1, message().sub(2, message().sub(2, metric)).sub(1, resource));
    let f = fixture(Config::default());
    f.protobuf(&body).unwrap();
    f.protobuf(&body).unwrap();
    assert_eq!(f.dump().len(), 1);
    assert!(f.dump()[0].starts_with("c_total{a=v,b=v,job=s} 0=5"));
}

#[test]
fn bombs_end_at_the_budget() {
    let limits = Limits { series: 1000, elements: 10_000, body_bytes: 8 << 20, ..Limits::OTLP };
    let f = fixture_within(Config::default(), limits);
    let repeat = |bytes: &[u8]| bytes.repeat(1 << 20);
    let cases = [
        repeat(&[0x0a, 0x00]),
        message().bytes(1, repeat(&[0x12, 0x00])).0,
        message().sub(1, message().bytes(2, repeat(&[0x12, 0x00]))).0,
        message().sub(1, message().sub(2, message().sub(2, message().bytes(5, repeat(&[0x0a, 0x00]))))).0,
        message()
            .sub(
                1,
                message().sub(
                    2,
                    message().sub(
                        2,
                        message().sub(9, message().int(2, 2).sub(1, message().bytes(6, repeat(&[0; 2])))),
                    ),
                ),
            )
            .0,
        message()
            .sub(
                1,
                message()
                    .sub(2, message().sub(2, message().sub(11, message().bytes(1, repeat(&[0x32, 0x00]))))),
            )
            .0,
    ];
    for (i, body) in cases.into_iter().enumerate() {
        let got = f.receiver.receive(Format::Protobuf, Encoding::Identity, &body);
        assert!(matches!(got, Err(Error::TooLarge { .. })), "case {i}: {got:?}");
    }
    let json = format!(r#"{{"resourceMetrics":[{}{{}}]}}"#, "{},".repeat(2 << 20));
    assert!(matches!(
        f.receiver.receive(Format::Json, Encoding::Identity, json.as_bytes()),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn deep_attributes_are_refused_and_do_not_overflow() {
    let mut value = message().bytes(1, "x");
    for _ in 0..5_000 {
        value = message().sub(5, message().sub(1, value));
    }
    let point =
        message().fixed(3, (T * 1_000_000) as u64).fixed(6, 1).sub(7, message().bytes(1, "k").sub(2, value));
    let metric = message().bytes(1, "g").sub(5, message().sub(1, point));
    let f = fixture(Config::default());
    let receipt = f.protobuf(&message().sub(1, message().sub(2, message().sub(2, metric)))).unwrap();
    assert_eq!(receipt.rejected, 1);
    assert!(receipt.message.contains("nested too deep"), "{}", receipt.message);
}

#[test]
fn truncated_anywhere_never_panics() {
    let f = shared();
    let (json, protobuf) = rich();
    for cut in 0..protobuf.0.len() {
        let _ = f.receiver.receive(Format::Protobuf, Encoding::Identity, &protobuf.0[..cut]);
    }
    let json = json.to_string();
    for cut in 0..json.len() {
        let got = f.receiver.receive(Format::Json, Encoding::Identity, &json.as_bytes()[..cut]);
        assert!(matches!(got, Err(Error::BadJson(_))), "cut at {cut}");
    }
}

/// One engine for all cases of a test that only looks for panics.
fn shared() -> &'static Fixture {
    static SHARED: OnceLock<Fixture> = OnceLock::new();
    SHARED.get_or_init(|| {
        fixture(Config {
            promote_all_resource_attributes: true,
            promote_scope_metadata: true,
            ..Config::default()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Whatever is repeated and however often the receiver starts anew, every delta counts once.
    #[test]
    fn every_delta_counts_once(deltas in proptest::collection::vec((0u32..1000, 0u8..4, any::<bool>()), 1..20)) {
        static ENGINE: OnceLock<Fixture> = OnceLock::new();
        static CASE: AtomicUsize = AtomicUsize::new(0);
        let f = ENGINE.get_or_init(|| fixture(Config::default()));
        let name = format!("p{}", CASE.fetch_add(1, Ordering::Relaxed));
        let mut receiver = Receiver::new(Arc::clone(&f.engine), Config::default(), Limits::OTLP);
        let (mut total, mut want) = (0.0, String::new());
        for (i, (v, repeats, restart)) in deltas.iter().enumerate() {
            let i = i as i64;
            let point = json!({"asInt": v, "startTimeUnixNano": nanos(i), "timeUnixNano": nanos(i + 1)});
            let body = request(SERVICE, json!([sum(&name, 1, true, json!([point]))])).to_string();
            for _ in 0..=*repeats {
                let receipt = receiver.receive(Format::Json, Encoding::Identity, body.as_bytes()).unwrap();
                prop_assert_eq!(receipt.rejected, 0);
            }
            total += f64::from(*v);
            want += &format!(" {}[0]={total}", i + 1);
            if *restart {
                receiver = Receiver::new(Arc::clone(&f.engine), Config::default(), Limits::OTLP);
            }
        }
        let matcher = Matcher::new(MatchOp::Equal, "__name__", &format!("{name}_total")).unwrap();
        let found = f.engine.snapshot().select(&[matcher], TimeRange::ALL).unwrap();
        prop_assert_eq!(line(&found[0]), format!("{name}_total{{job=s}}{want}"));
    }

    #[test]
    fn no_body_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = shared().receiver.receive(Format::Protobuf, Encoding::Identity, &bytes);
        let _ = shared().receiver.receive(Format::Json, Encoding::Identity, &bytes);
    }

    #[test]
    fn no_damage_panics(
        as_json in any::<bool>(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0u8..3), 1..6),
    ) {
        static RICH: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
        let (json, protobuf) = RICH.get_or_init(|| {
            let (json, protobuf) = rich();
            (json.to_string().into_bytes(), protobuf.0)
        });
        let (format, mut bytes) = if as_json { (Format::Json, json.clone()) } else { (Format::Protobuf, protobuf.clone()) };
        for (at, with, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = with,
                1 => bytes.insert(at, with),
                _ => drop(bytes.remove(at)),
            }
        }
        let _ = shared().receiver.receive(format, Encoding::Identity, &bytes);
    }
}
