//! An engine with a receiver in front of it, requests as JSON, and what is stored as one line a series.

use crate::support::Message;
use engine::{Engine, MatchOp, Matcher, Options};
use ingest::otlp::{Config, Format, Receipt, Receiver};
use ingest::{Encoding, Error, Limits};
use serde_json::{Value, json};
use std::sync::Arc;
use storage_format::model::{Histogram, Samples, TimeRange, is_stale};

/// Milliseconds to which the dumps' times are relative.
pub(crate) const T: i64 = 1_700_000_000_000;

pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) engine: Arc<Engine>,
    pub(crate) receiver: Receiver,
}

pub(crate) fn fixture(config: Config) -> Fixture {
    fixture_within(config, Limits::OTLP)
}

pub(crate) fn fixture_within(config: Config, limits: Limits) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(Engine::open(Options::new(dir.path())).unwrap());
    let receiver = Receiver::new(Arc::clone(&engine), config, limits);
    Fixture { dir, engine, receiver }
}

impl Fixture {
    pub(crate) fn json(&self, body: &Value) -> Result<Receipt, Error> {
        self.receiver.receive(Format::Json, Encoding::Identity, body.to_string().as_bytes())
    }
    pub(crate) fn protobuf(&self, body: &Message) -> Result<Receipt, Error> {
        self.receiver.receive(Format::Protobuf, Encoding::Identity, &body.0)
    }
    /// One line a series: its name, labels and samples, `time[start]=value` relative to `T`.
    pub(crate) fn dump(&self) -> Vec<String> {
        let all = Matcher::new(MatchOp::NotEqual, "__name__", "").unwrap();
        let snapshot = self.engine.snapshot();
        let mut lines: Vec<_> = snapshot.select(&[all], TimeRange::ALL).unwrap().iter().map(line).collect();
        lines.sort();
        lines
    }
}

pub(crate) fn line(series: &engine::Series) -> String {
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
pub(crate) fn native(h: &Histogram) -> String {
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

pub(crate) fn nanos(ms: i64) -> String {
    ((T + ms) * 1_000_000).to_string()
}

pub(crate) fn attrs(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(k, v)| json!({"key": k, "value": {"stringValue": v}})).collect()
}

pub(crate) fn point(value: Value, pairs: &[(&str, &str)]) -> Value {
    let mut point = json!({"timeUnixNano": nanos(0), "attributes": attrs(pairs)});
    point.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    point
}

pub(crate) fn gauge(name: &str, points: Value) -> Value {
    json!({"name": name, "gauge": {"dataPoints": points}})
}

pub(crate) fn sum(name: &str, temporality: i32, monotonic: bool, points: Value) -> Value {
    json!({"name": name, "sum": {"dataPoints": points, "aggregationTemporality": temporality, "isMonotonic": monotonic}})
}

/// A request with one resource and one scope.
pub(crate) fn request(resource: &[(&str, &str)], metrics: Value) -> Value {
    json!({"resourceMetrics": [{
        "resource": {"attributes": attrs(resource)},
        "scopeMetrics": [{
            "scope": {"name": "lib", "version": "1.2", "attributes": attrs(&[("a.b", "c")])},
            "schemaUrl": "https://x",
            "metrics": metrics,
        }],
    }]})
}

pub(crate) const SERVICE: &[(&str, &str)] = &[("service.name", "s")];

pub(crate) fn check(what: &str, config: Config, resource: &[(&str, &str)], metrics: Value, want: &[&str]) {
    let f = fixture(config);
    let receipt = f.json(&request(resource, metrics)).unwrap();
    assert_eq!((receipt.rejected, receipt.message.as_str()), (0, ""), "{what}");
    let mut want = want.to_vec();
    want.sort_unstable();
    assert_eq!(f.dump(), want, "{what}");
}
