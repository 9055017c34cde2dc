//! Relabeling rules: what each makes of labels, and that writes of all protocols obey them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use engine::{Engine, MatchOp, Matcher, Options};
use ingest::otlp::{self, Format};
use ingest::relabel::{Relabeling, Rule, RuleConfig, Rules};
use ingest::remote_write::{self, RequestInfo};
use ingest::{Encoding, Limits};
use serde_json::{Value, json};
use std::sync::Arc;
use storage_format::model::{Labels, Samples, TimeRange};
use support::{Message, message, snappy};

const T: i64 = 1_700_000_000_000;

fn rule(config: Value) -> Result<Rule, String> {
    Rule::new(&serde_json::from_value::<RuleConfig>(config).map_err(|e| e.to_string())?)
}

fn rules(configs: Value) -> Rules {
    configs.as_array().unwrap().iter().map(|config| rule(config.clone()).unwrap()).collect()
}

/// `a=1 b=2`; `-` when the series is dropped.
fn relabeled(labels: &str, configs: Value) -> String {
    let pairs = labels.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    let Some(labels) = rules(configs).apply(&Labels::from_pairs(pairs)) else { return "-".to_owned() };
    labels.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn each_action_does_what_prometheus_does() {
    let cases: Vec<(&str, Value, &str)> = vec![
        // replace: defaults, several sources, separator
        ("a=foo b=bar", json!([{"source_labels": ["a"], "target_label": "c"}]), "a=foo b=bar c=foo"),
        ("a=foo b=bar", json!([{"source_labels": ["a", "b"], "target_label": "c"}]), "a=foo b=bar c=foo;bar"),
        (
            "a=1 b=2",
            json!([{"source_labels": ["a", "b"], "separator": "", "target_label": "c"}]),
            "a=1 b=2 c=12",
        ),
        ("a=1", json!([{"source_labels": ["a", "none"], "target_label": "c"}]), "a=1 c=1;"),
        ("a=1", json!([{"target_label": "c", "replacement": "fixed"}]), "a=1 c=fixed"),
        // groups
        (
            "a=foo-42",
            json!([{"source_labels": ["a"], "regex": "(.+)-([0-9]+)", "target_label": "b", "replacement": "$2/$1"}]),
            "a=foo-42 b=42/foo",
        ),
        (
            "a=foo",
            json!([{"source_labels": ["a"], "regex": "f(?P<rest>.*)", "target_label": "b", "replacement": "${rest}x"}]),
            "a=foo b=oox",
        ),
        (
            "a=foo",
            json!([{"source_labels": ["a"], "regex": "f(.*)", "target_label": "b", "replacement": "$1x$$"}]),
            "a=foo b=$",
        ),
        (
            "a=foo",
            json!([{"source_labels": ["a"], "regex": "f(.*)", "target_label": "b", "replacement": "${1}x"}]),
            "a=foo b=oox",
        ),
        (
            "a=foo",
            json!([{"source_labels": ["a"], "regex": "(f)|(g)oo", "target_label": "b", "replacement": "[$2]"}]),
            "a=foo",
        ),
        (
            "a=foo",
            json!([{"source_labels": ["a"], "regex": "(f)oo|(g)oo", "target_label": "b", "replacement": "[$2]"}]),
            "a=foo b=[]",
        ),
        // an empty result removes the target
        ("a=foo b=1", json!([{"source_labels": ["a"], "target_label": "b", "replacement": ""}]), "a=foo"),
        ("a=foo b=1", json!([{"source_labels": ["none"], "target_label": "b"}]), "a=foo"),
        ("a=foo b=1", json!([{"source_labels": ["a"], "regex": "fo+()", "target_label": "b"}]), "a=foo"),
        // no match, no change; the whole must match, and a dot takes a newline too
        (
            "a=foo",
            json!([{"source_labels": ["a"], "regex": "fo", "target_label": "b", "replacement": "x"}]),
            "a=foo",
        ),
        (
            "a=foo",
            json!([{"source_labels": ["a"], "regex": "f|foo", "target_label": "b", "replacement": "x"}]),
            "a=foo b=x",
        ),
        (
            "a=foo",
            json!([{"source_labels": ["a"], "regex": "", "target_label": "b", "replacement": "x"}]),
            "a=foo",
        ),
        (
            "a=foo",
            json!([{"source_labels": ["none"], "regex": "", "target_label": "b", "replacement": "x"}]),
            "a=foo b=x",
        ),
        // the target may be made of groups; a name of nothing sets nothing
        (
            "a=foo",
            json!([{"source_labels": ["a"], "regex": "f(.*)", "target_label": "x_$1", "replacement": "y"}]),
            "a=foo x_oo=y",
        ),
        (
            "a=foo",
            json!([{"source_labels": ["a"], "regex": "foo(.*)", "target_label": "$1", "replacement": "y"}]),
            "a=foo",
        ),
        (
            "a=foo",
            json!([{"source_labels": ["a"], "regex": "(.*)", "target_label": "${1}.b c", "replacement": "y"}]),
            "a=foo foo.b c=y",
        ),
        ("a=foo", json!([{"source_labels": ["a"], "target_label": "a", "replacement": "$1$1"}]), "a=foofoo"),
        // later rules see what earlier ones did
        (
            "a=1",
            json!([{"source_labels": ["a"], "target_label": "b"}, {"source_labels": ["b"], "target_label": "c"}, {"regex": "a|b", "action": "labeldrop"}]),
            "c=1",
        ),
        // keep, drop
        ("a=foo b=bar", json!([{"source_labels": ["a"], "regex": "foo", "action": "keep"}]), "a=foo b=bar"),
        ("a=foo", json!([{"source_labels": ["a"], "regex": "fo", "action": "keep"}]), "-"),
        ("a=foo", json!([{"source_labels": ["a"], "regex": "f.*", "action": "drop"}]), "-"),
        ("a=foo", json!([{"source_labels": ["a"], "regex": "fo", "action": "drop"}]), "a=foo"),
        ("a=foo", json!([{"source_labels": ["none"], "action": "drop"}]), "-"),
        ("a=foo", json!([{"source_labels": ["none"], "regex": ".+", "action": "drop"}]), "a=foo"),
        ("a=foo", json!([{"source_labels": ["a"], "regex": "foo", "action": "DROP"}]), "-"),
        ("a=foo b=2", json!([{"source_labels": ["a", "b"], "regex": "foo;2", "action": "drop"}]), "-"),
        (
            "a=foo",
            json!([{"source_labels": ["a"], "regex": "foo", "action": "drop"}, {"target_label": "b", "replacement": "x"}]),
            "-",
        ),
        // keepequal, dropequal
        ("a=1 b=1", json!([{"source_labels": ["a"], "target_label": "b", "action": "keepequal"}]), "a=1 b=1"),
        ("a=1 b=2", json!([{"source_labels": ["a"], "target_label": "b", "action": "keepequal"}]), "-"),
        ("a=1 b=1", json!([{"source_labels": ["a"], "target_label": "b", "action": "dropequal"}]), "-"),
        ("a=1 b=2", json!([{"source_labels": ["a"], "target_label": "b", "action": "dropequal"}]), "a=1 b=2"),
        (
            "a=1 b=2 c=1;2",
            json!([{"source_labels": ["a", "b"], "target_label": "c", "action": "keepequal"}]),
            "a=1 b=2 c=1;2",
        ),
        // hashmod: the last eight bytes of the MD5 digest
        (
            "a=foo",
            json!([{"source_labels": ["a"], "target_label": "h", "modulus": 1000, "action": "hashmod"}]),
            "a=foo h=696",
        ),
        (
            "a=foo b=bar c=baz",
            json!([{"source_labels": ["c"], "target_label": "d", "action": "hashmod", "modulus": 1000}]),
            "a=foo b=bar c=baz d=976",
        ),
        // lowercase, uppercase
        (
            "a=FooÄ",
            json!([{"source_labels": ["a"], "target_label": "l", "action": "lowercase"}, {"source_labels": ["a"], "target_label": "u", "action": "uppercase"}]),
            "a=FooÄ l=fooä u=FOOÄ",
        ),
        (
            "a=straße",
            json!([{"source_labels": ["a"], "target_label": "a", "action": "uppercase"}]),
            "a=STRAßE",
        ),
        ("a=ΟΔΟΣ", json!([{"source_labels": ["a"], "target_label": "a", "action": "lowercase"}]), "a=οδοσ"),
        (
            "a=ᾳİ",
            json!([{"source_labels": ["a"], "target_label": "u", "action": "uppercase"}, {"source_labels": ["a"], "target_label": "l", "action": "lowercase"}]),
            "a=ᾳİ l=ᾳi u=ᾼİ",
        ),
        // labelmap: values move along; of two that meet the later one wins, in name order
        (
            "a=1 b1=x b2=y",
            json!([{"regex": "b([0-9])", "replacement": "c_$1", "action": "labelmap"}]),
            "a=1 b1=x b2=y c_1=x c_2=y",
        ),
        ("b1=x b2=y", json!([{"regex": "(b)[0-9]", "action": "labelmap"}]), "b=y b1=x b2=y"),
        (
            "a=1",
            json!([{"regex": "(a)", "replacement": "${1}a", "action": "labelmap"}, {"regex": "(a+)", "replacement": "x$1", "action": "labelmap"}]),
            "a=1 aa=1 xa=1 xaa=1",
        ),
        (
            "__meta_x=1 y=2",
            json!([{"regex": "__meta_(.+)", "action": "labelmap"}, {"regex": "__meta_.*", "action": "labeldrop"}]),
            "x=1 y=2",
        ),
        // labeldrop, labelkeep
        ("a=1 ab=2 b=3", json!([{"regex": "a", "action": "labeldrop"}]), "ab=2 b=3"),
        ("a=1 ab=2 b=3", json!([{"regex": "a.*", "action": "labelkeep"}]), "a=1 ab=2"),
        ("a=1", json!([{"regex": ".*", "action": "labeldrop"}]), "-"),
        ("a=1", json!([]), "a=1"),
    ];
    for (labels, configs, want) in cases {
        assert_eq!(relabeled(labels, configs.clone()), want, "{labels} under {configs}");
    }
}

#[test]
fn a_dot_takes_a_newline() {
    let labels = Labels::from_pairs([("a", "x\ny")]);
    let drop = rules(json!([{"source_labels": ["a"], "regex": "x.y", "action": "drop"}]));
    assert!(drop.apply(&labels).is_none());
}

#[test]
fn what_prometheus_refuses_is_refused_in_its_words() {
    let cases = [
        (json!({"action": "burn"}), r#"unknown relabel action "burn""#),
        (json!({"action": ""}), r#"unknown relabel action """#),
        (json!({}), "relabel configuration for replace action requires 'target_label' value"),
        (
            json!({"action": "hashmod", "target_label": "x"}),
            "relabel configuration for hashmod requires non-zero modulus",
        ),
        (
            json!({"action": "hashmod", "modulus": 2}),
            "relabel configuration for hashmod action requires 'target_label' value",
        ),
        (
            json!({"action": "lowercase"}),
            "relabel configuration for lowercase action requires 'target_label' value",
        ),
        (
            json!({"action": "Uppercase"}),
            "relabel configuration for uppercase action requires 'target_label' value",
        ),
        (
            json!({"action": "keepequal"}),
            "relabel configuration for keepequal action requires 'target_label' value",
        ),
        (
            json!({"action": "dropequal", "source_labels": ["a"], "target_label": "b", "regex": "x"}),
            "dropequal action requires only 'source_labels' and `target_label`, and no other fields",
        ),
        (
            json!({"action": "keepequal", "source_labels": ["a"], "target_label": "b", "replacement": "x"}),
            "keepequal action requires only 'source_labels' and `target_label`, and no other fields",
        ),
        (
            json!({"action": "labeldrop", "source_labels": ["a"], "regex": "x"}),
            "labeldrop action requires only 'regex', and no other fields",
        ),
        (
            json!({"action": "labelkeep", "regex": "x", "separator": ","}),
            "labelkeep action requires only 'regex', and no other fields",
        ),
        (
            json!({"action": "labelmap", "regex": "x", "replacement": ""}),
            r#""" is invalid 'replacement' for labelmap action"#,
        ),
        (json!({"action": "keep", "source_labels": [""]}), r#""" is not a valid label name"#),
        (
            json!({"action": "drop", "regex": "(unclosed"}),
            "error parsing regexp: missing closing ): `(unclosed`",
        ),
        (
            json!({"action": "hashmod", "modulus": 2, "target_label": "x", "regex": "a**"}),
            "error parsing regexp: invalid nested repetition operator: `**`",
        ),
    ];
    for (config, want) in cases {
        assert_eq!(rule(config.clone()).unwrap_err(), want, "{config}");
    }
    let unknown = rule(json!({"target": "x"})).unwrap_err();
    assert!(unknown.starts_with("unknown field `target`"), "{unknown}");
}

/// An engine behind both receivers, under one set of rules.
struct Fixture {
    _dir: tempfile::TempDir,
    engine: Arc<Engine>,
    relabeling: Arc<Relabeling>,
    writes: remote_write::Receiver,
    otlp: otlp::Receiver,
}

fn fixture(limits: Limits, config: otlp::Config) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(Engine::open(Options::new(dir.path())).unwrap());
    let relabeling = Arc::new(Relabeling::default());
    let writes = remote_write::Receiver::new(Arc::clone(&engine), limits.clone());
    let otlp = otlp::Receiver::new(Arc::clone(&engine), config, limits);
    Fixture {
        _dir: dir,
        engine,
        writes: writes.with_relabeling(Arc::clone(&relabeling)),
        otlp: otlp.with_relabeling(Arc::clone(&relabeling)),
        relabeling,
    }
}

fn plain() -> Fixture {
    fixture(Limits::REMOTE_WRITE, otlp::Config::default())
}

const V2: RequestInfo<'static> = RequestInfo {
    content_type: Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"),
    content_encoding: None,
};

impl Fixture {
    fn write(&self, info: RequestInfo<'_>, request: &Message) -> remote_write::Receipt {
        self.writes.receive(info, &snappy(&request.0)).unwrap()
    }
    fn export(&self, body: &Value) -> otlp::Receipt {
        self.otlp.receive(Format::Json, Encoding::Identity, body.to_string().as_bytes()).unwrap()
    }
    /// `name{label=value} time=value`, times relative to `T`.
    fn dump(&self) -> Vec<String> {
        let all = Matcher::new(MatchOp::NotEqual, "__name__", "").unwrap();
        let snapshot = self.engine.snapshot();
        let mut lines: Vec<_> = snapshot.select(&[all], TimeRange::ALL).unwrap().iter().map(line).collect();
        lines.sort();
        lines
    }
}

fn line(series: &engine::Series) -> String {
    let mut samples = Samples::default();
    series.read(TimeRange::ALL, &mut samples).unwrap();
    let labels: Vec<_> =
        series.labels().iter().filter(|l| l.0 != "__name__").map(|(n, v)| format!("{n}={v}")).collect();
    let mut out = format!("{}{{{}}}", series.labels().metric_name().unwrap(), labels.join(","));
    for (t, v) in samples.timestamps.iter().zip(&samples.values) {
        out += &format!(" {}={v}", t - T);
    }
    out
}

fn sample(value: f64, t: i64) -> Message {
    message().double(1, value).int(2, T + t)
}

/// A series of version 1: its labels as `a=1 b=2`, one sample.
fn v1(labels: &str, value: f64, t: i64) -> Message {
    let pairs = labels.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    let series = pairs.fold(message(), |m, (n, v)| m.sub(1, message().bytes(1, n).bytes(2, v)));
    series.sub(2, sample(value, t))
}

/// Requests of version 2 with one series each `(labels, value)`.
fn v2(series: &[(&str, f64)], t: i64) -> Message {
    let (mut symbols, mut all) = (vec![String::new()], message());
    for (labels, value) in series {
        let mut refs = Vec::new();
        for text in labels.split_whitespace().flat_map(|pair| pair.split('=')) {
            symbols.push(text.to_owned());
            refs.push(symbols.len() as u64 - 1);
        }
        all = all.sub(5, message().packed(1, &refs).sub(2, sample(*value, t)));
    }
    symbols.iter().fold(message(), |m, s| m.bytes(4, s)).tap(|m| m.0.extend(all.0))
}

trait Tap: Sized {
    fn tap(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}
impl Tap for Message {}

fn gauge(name: &str, attribute: &str, value: f64, t: i64) -> Value {
    let nanos = ((T + t) * 1_000_000).to_string();
    json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": name, "gauge": {"dataPoints": [
        {"timeUnixNano": nanos, "asDouble": value,
         "attributes": [{"key": "a", "value": {"stringValue": attribute}}]}]}}]}]}]})
}

#[test]
fn writes_of_all_protocols_are_relabeled_and_stay_so_once_known() {
    let f = plain();
    f.relabeling.set(rules(json!([
        {"source_labels": ["a"], "regex": "secret", "action": "drop"},
        {"source_labels": ["a"], "regex": "(.+)", "target_label": "a", "replacement": "x-$1"},
    ])));
    for round in 0..3 {
        let t = round * 10;
        let request = message()
            .sub(1, v1("__name__=one a=1", 1.0, t))
            .sub(1, v1("__name__=one a=secret", 2.0, t))
            .sub(1, v1("__name__=one b=2", 3.0, t));
        let receipt = f.write(RequestInfo::default(), &request);
        assert_eq!((receipt.samples_written, receipt.rejected_count), (3, 0));
        let receipt = f.write(V2, &v2(&[("__name__=two a=secret", 1.0), ("__name__=two a=1", 2.0)], t));
        assert_eq!((receipt.samples_written, receipt.rejected_count), (2, 0));
        assert_eq!(f.export(&gauge("three", "1", 4.0, t)).rejected, 0);
        assert_eq!(f.export(&gauge("three", "secret", 5.0, t)).rejected, 0);
    }
    assert_eq!(
        f.dump(),
        [
            "one{a=x-1} 0=1 10=1 20=1",
            "one{b=2} 0=3 10=3 20=3",
            "three{a=x-1} 0=4 10=4 20=4",
            "two{a=x-1} 0=2 10=2 20=2",
        ]
    );
    assert_eq!(f.relabeling.dropped_samples(), 9);
    assert_eq!(f.relabeling.known_series(), (3, 4));
}

#[test]
fn a_name_the_engine_knows_is_relabeled_all_the_same() {
    // What b becomes is what another series is called already, and the other way round.
    let f = plain();
    let both = |t| message().sub(1, v1("__name__=m x=a", 1.0, t)).sub(1, v1("__name__=m x=b", 2.0, t));
    f.write(RequestInfo::default(), &both(0));
    f.relabeling.set(rules(json!([
        {"source_labels": ["x"], "regex": "a", "target_label": "x", "replacement": "tmp"},
        {"source_labels": ["x"], "regex": "b", "target_label": "x", "replacement": "a"},
        {"source_labels": ["x"], "regex": "tmp", "target_label": "x", "replacement": "b"},
    ])));
    f.write(RequestInfo::default(), &both(10));
    f.write(RequestInfo::default(), &both(20));
    assert_eq!(f.dump(), ["m{x=a} 0=1 10=2 20=2", "m{x=b} 0=2 10=1 20=1"]);
}

#[test]
fn other_rules_hold_from_the_next_request_on() {
    let f = plain();
    let write = |t| f.write(RequestInfo::default(), &message().sub(1, v1("__name__=m x=a", 1.0, t)));
    let set = |value: &str| f.relabeling.set(rules(json!([{"target_label": "x", "replacement": value}])));
    write(0);
    set("first");
    write(10);
    set("second");
    write(20);
    f.relabeling.set(rules(json!([{"action": "drop"}])));
    write(30);
    f.relabeling.set(Rules::default());
    write(40);
    assert_eq!(f.dump(), ["m{x=a} 0=1 40=1", "m{x=first} 10=1", "m{x=second} 20=1"]);
}

#[test]
fn series_that_become_one_follow_the_rules_for_duplicates() {
    let f = plain();
    f.relabeling.set(rules(json!([{"regex": "replica", "action": "labeldrop"}])));
    let receipt = f.write(
        RequestInfo::default(),
        &message()
            .sub(1, v1("__name__=m replica=1", 1.0, 0))
            .sub(1, v1("__name__=m replica=2", 1.0, 0))
            .sub(1, v1("__name__=m replica=3", 7.0, 0)),
    );
    assert_eq!((receipt.samples_written, receipt.rejected_count), (2, 1));
    assert!(receipt.rejected[0].starts_with("duplicate sample for timestamp for series {__name__=\"m\"}"));
    assert_eq!(f.dump(), ["m{} 0=1"]);
}

#[test]
fn limits_hold_for_the_new_labels() {
    let limits = Limits { labels: 2, value_bytes: 4, ..Limits::REMOTE_WRITE };
    let f = fixture(limits, otlp::Config::default());
    f.relabeling.set(rules(json!([
        {"regex": "trace.*", "action": "labeldrop"},
        {"source_labels": ["grow"], "regex": "(.+)", "target_label": "grow", "replacement": "$1-$1"},
        {"source_labels": ["nameless"], "regex": ".+", "target_label": "__name__", "replacement": ""},
    ])));
    let request = message()
        .sub(1, v1("__name__=m trace=far-too-long trace2=b trace3=c", 1.0, 0))
        .sub(1, v1("__name__=m grow=123", 2.0, 0))
        .sub(1, v1("__name__=m nameless=1", 3.0, 0));
    let receipt = f.write(RequestInfo::default(), &request);
    assert_eq!((receipt.samples_written, receipt.rejected_count), (1, 2));
    assert_eq!(
        receipt.rejected,
        [
            r#"label value longer than 4 bytes: {__name__="m", grow="123-123"}"#,
            r#"invalid metric name or labels, got {nameless="1"}"#,
        ]
    );
    assert_eq!(f.dump(), ["m{} 0=1"]);
    // The same again: a refusal is no outcome to be remembered as a success.
    assert_eq!(f.write(RequestInfo::default(), &request).rejected_count, 2);
}

#[test]
fn histograms_starts_and_exemplars_go_with_their_series() {
    let f = plain();
    f.relabeling.set(rules(json!([
        {"source_labels": ["a"], "regex": "gone", "action": "drop"},
        {"target_label": "via", "replacement": "rules"},
    ])));
    let histogram = |t: i64| message().int(1, 2).double(3, 4.0).sint(4, 0).int(6, 2).int(15, T + t);
    let exemplar = |id: &str, t: i64| {
        message().sub(1, message().bytes(1, "trace_id").bytes(2, id)).double(2, 1.0).int(3, T + t)
    };
    let request = message()
        .sub(1, v1("__name__=h a=gone", 9.0, 0).sub(4, histogram(5)).sub(3, exemplar("lost", 0)))
        .sub(1, v1("__name__=h a=kept", 1.0, 0).sub(3, exemplar("found", 0)))
        .sub(1, v1("__name__=h a=gone2", 2.0, 0).sub(4, histogram(7)));
    let receipt = f.write(RequestInfo::default(), &request);
    assert_eq!(
        (
            receipt.samples_written,
            receipt.histograms_written,
            receipt.exemplars_written,
            receipt.rejected_count
        ),
        (3, 2, 1, 0)
    );
    assert_eq!(f.dump(), ["h{a=gone2,via=rules} 0=2", "h{a=kept,via=rules} 0=1"]);
    let name = Matcher::new(MatchOp::Equal, "__name__", "h").unwrap();
    let found = f.engine.exemplars(&[vec![name]], TimeRange::ALL).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0.to_string(), r#"{__name__="h", a="kept", via="rules"}"#);
}

#[test]
fn deltas_are_added_up_under_their_new_labels() {
    let config = otlp::Config { delta: otlp::DeltaMode::ToCumulative, ..otlp::Config::default() };
    let f = fixture(Limits::OTLP, config);
    f.relabeling.set(rules(json!([
        {"source_labels": ["a"], "regex": "gone", "action": "drop"},
        {"target_label": "via", "replacement": "rules"},
    ])));
    let sum = |attribute: &str, value: f64, start: i64, t: i64| {
        let nanos = |t: i64| ((T + t) * 1_000_000).to_string();
        json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "sum": {
            "aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [
            {"startTimeUnixNano": nanos(start), "timeUnixNano": nanos(t), "asDouble": value,
             "attributes": [{"key": "a", "value": {"stringValue": attribute}}]}]}}]}]}]})
    };
    for i in 0..3 {
        f.export(&sum("kept", 2.0, i * 10, i * 10 + 10));
        f.export(&sum("gone", 2.0, i * 10, i * 10 + 10));
    }
    // Another process takes over: the totals are those of the series under its new name.
    let otlp = otlp::Receiver::new(
        Arc::clone(&f.engine),
        otlp::Config { delta: otlp::DeltaMode::ToCumulative, ..otlp::Config::default() },
        Limits::OTLP,
    )
    .with_relabeling(Arc::clone(&f.relabeling));
    let body = sum("kept", 2.0, 30, 40).to_string();
    otlp.receive(Format::Json, Encoding::Identity, body.as_bytes()).unwrap();
    assert_eq!(f.dump(), ["m_total{a=kept,via=rules} 10=2 20=4 30=6 40=8"]);
}
