//! Names of metrics under the four strategies, and metadata under these names.

use crate::fixture::*;
use engine::MetricType;
use ingest::otlp::{Config, TranslationStrategy};
use serde_json::{Value, json};

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

/// A metric of each kind; what its series are called without what follows from the kind of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
    UpDown,
    Histogram,
    Exponential,
    Summary,
}

fn metric(kind: Kind, name: &str, unit: &str) -> Value {
    let value = || json!([point(json!({"asInt": 1}), &[])]);
    let count = || json!([point(json!({"count": 0, "sum": 0}), &[])]);
    let (field, data) = match kind {
        Kind::Gauge => ("gauge", json!({"dataPoints": value()})),
        Kind::Counter => {
            ("sum", json!({"dataPoints": value(), "aggregationTemporality": 2, "isMonotonic": true}))
        }
        Kind::UpDown => ("sum", json!({"dataPoints": value(), "aggregationTemporality": 2})),
        Kind::Histogram => ("histogram", json!({"dataPoints": count(), "aggregationTemporality": 2})),
        Kind::Exponential => {
            ("exponentialHistogram", json!({"dataPoints": count(), "aggregationTemporality": 2}))
        }
        Kind::Summary => ("summary", json!({"dataPoints": count()})),
    };
    json!({"name": name, "unit": unit, field: data})
}

/// Sends one metric and returns the names of its series.
fn names(strategy: TranslationStrategy, kind: Kind, name: &str, unit: &str) -> Vec<String> {
    let f = fixture(Config { translation_strategy: strategy, ..Config::default() });
    let receipt = f.json(&request(SERVICE, json!([metric(kind, name, unit)]))).unwrap();
    assert_eq!((receipt.rejected, receipt.message.as_str()), (0, ""), "{name} {unit}");
    let mut names: Vec<_> =
        f.dump().iter().map(|line| line.split('{').next().unwrap_or_default().to_owned()).collect();
    names.dedup();
    names
}

fn check_names(strategy: TranslationStrategy, cases: &[(Kind, &str, &str, &str)]) {
    for (kind, name, unit, want) in cases {
        let suffixes: &[&str] = match kind {
            Kind::Histogram => &["_bucket", "_count", "_sum"],
            Kind::Summary => &["_count", "_sum"],
            _ => &[""],
        };
        let want: Vec<_> = suffixes.iter().map(|suffix| format!("{want}{suffix}")).collect();
        assert_eq!(names(strategy, *kind, name, unit), want, "{strategy:?} {kind:?} {name} {unit}");
    }
}

#[test]
fn every_unit_has_its_word() {
    use Kind::Gauge;
    check_names(
        TranslationStrategy::UnderscoreEscapingWithSuffixes,
        &[
            (Gauge, "x", "d", "x_days"),
            (Gauge, "x", "h", "x_hours"),
            (Gauge, "x", "min", "x_minutes"),
            (Gauge, "x", "s", "x_seconds"),
            (Gauge, "x", "ms", "x_milliseconds"),
            (Gauge, "x", "us", "x_microseconds"),
            (Gauge, "x", "ns", "x_nanoseconds"),
            (Gauge, "x", "By", "x_bytes"),
            (Gauge, "x", "KiBy", "x_kibibytes"),
            (Gauge, "x", "MiBy", "x_mebibytes"),
            (Gauge, "x", "GiBy", "x_gibibytes"),
            (Gauge, "x", "TiBy", "x_tibibytes"),
            (Gauge, "x", "KBy", "x_kilobytes"),
            (Gauge, "x", "MBy", "x_megabytes"),
            (Gauge, "x", "GBy", "x_gigabytes"),
            (Gauge, "x", "TBy", "x_terabytes"),
            (Gauge, "x", "m", "x_meters"),
            (Gauge, "x", "V", "x_volts"),
            (Gauge, "x", "A", "x_amperes"),
            (Gauge, "x", "J", "x_joules"),
            (Gauge, "x", "W", "x_watts"),
            (Gauge, "x", "g", "x_grams"),
            (Gauge, "x", "Cel", "x_celsius"),
            (Gauge, "x", "Hz", "x_hertz"),
            (Gauge, "x", "%", "x_percent"),
            (Gauge, "x", "m/s", "x_meters_per_second"),
            (Gauge, "x", "By/m", "x_bytes_per_minute"),
            (Gauge, "x", "By/h", "x_bytes_per_hour"),
            (Gauge, "x", "By/d", "x_bytes_per_day"),
            (Gauge, "x", "By/w", "x_bytes_per_week"),
            (Gauge, "x", "By/mo", "x_bytes_per_month"),
            (Gauge, "x", "By/y", "x_bytes_per_year"),
            (Gauge, "x", "furlong", "x_furlong"),
            (Gauge, "x", "furlong/fortnight", "x_furlong_per_fortnight"),
            (Gauge, "x", "{packet}", "x"),
            (Gauge, "x", "By/{packet}", "x_bytes"),
            (Gauge, "x", "{packet}/s", "x_per_second"),
            (Gauge, "x", "", "x"),
        ],
    );
}

#[test]
fn names_with_escapes_and_suffixes() {
    use Kind::{Counter, Exponential, Gauge, Histogram, Summary, UpDown};
    check_names(
        TranslationStrategy::UnderscoreEscapingWithSuffixes,
        &[
            // A unit or type that is a word of the name already.
            (Gauge, "http_request_seconds", "s", "http_request_seconds"),
            (Gauge, "wait.seconds.sum", "s", "wait_seconds_sum"),
            (Counter, "system.io", "By/s", "system_io_bytes_per_second_total"),
            (Counter, "total.requests", "", "requests_total"),
            (Counter, "a.total.b", "", "a_b_total"),
            (Counter, "cpu_seconds_total", "s", "cpu_seconds_total"),
            (Gauge, "requests_total", "", "requests_total"),
            // The unit 1 is a ratio of gauges alone.
            (Gauge, "x", "1", "x_ratio"),
            (Gauge, "usage_ratio", "1", "usage_ratio"),
            (Gauge, "ratio.usage", "1", "usage_ratio"),
            (UpDown, "x", "1", "x"),
            (Counter, "x", "1", "x_total"),
            // Kinds of data.
            (UpDown, "queue.length", "By", "queue_length_bytes"),
            (Histogram, "latency", "ms", "latency_milliseconds"),
            (Exponential, "latency", "ms", "latency_milliseconds"),
            (Summary, "latency", "s", "latency_seconds"),
            (Histogram, "items", "1", "items"),
            // Characters.
            (Gauge, "9lives", "", "_9lives"),
            (Gauge, "a..b", "", "a_b"),
            (Gauge, "a__b", "", "a_b"),
            (Gauge, "_a", "", "a"),
            (Gauge, "a_", "", "a"),
            (Gauge, "a:b", "", "a:b"),
            (Gauge, "a b", "", "a_b"),
            (Gauge, "ü.b", "", "b"),
        ],
    );
}

#[test]
fn names_under_the_other_strategies() {
    use Kind::{Counter, Gauge, Histogram};
    check_names(
        TranslationStrategy::UnderscoreEscapingWithoutSuffixes,
        &[
            (Counter, "a.b", "By", "a_b"),
            (Gauge, "x", "1", "x"),
            (Gauge, "a..b", "", "a_b"),
            (Gauge, "a__b", "", "a__b"),
            (Gauge, "_a_", "", "_a_"),
            (Gauge, "9a", "", "_9a"),
            (Histogram, "a.b", "s", "a_b"),
        ],
    );
    check_names(
        TranslationStrategy::NoUtf8EscapingWithSuffixes,
        &[
            (Gauge, "a.b", "By", "a.b_bytes"),
            (Counter, "a.b", "s", "a.b_seconds_total"),
            (Gauge, "a.b.bytes", "By", "a.b.bytes"),
            (Gauge, "größe", "m", "größe_meters"),
            (Gauge, "x", "1", "x_ratio"),
            (Gauge, "x_ratio", "1", "x_ratio"),
            (Counter, "x", "1/s", "x_per_second_total"),
            (Counter, "x_total", "", "x_total"),
            (Histogram, "a.b", "s", "a.b_seconds"),
        ],
    );
    check_names(
        TranslationStrategy::NoTranslation,
        &[
            (Counter, "a.b", "By", "a.b"),
            (Gauge, "größe", "m", "größe"),
            (Gauge, "9a", "", "9a"),
            (Gauge, "x", "1", "x"),
            (Histogram, "a b", "s", "a b"),
        ],
    );
}

#[test]
fn types_and_units_as_labels() {
    use Kind::{Counter, Exponential, Gauge, Histogram, Summary, UpDown};
    for (kind, unit, want) in [
        (Gauge, "By", "__type__=gauge,__unit__=bytes,job=s"),
        (Gauge, "", "__type__=gauge,job=s"),
        (Gauge, "1", "__type__=gauge,job=s"),
        (Gauge, "{x}", "__type__=gauge,job=s"),
        (Counter, "By/s", "__type__=counter,__unit__=bytes_per_second,job=s"),
        (UpDown, "s", "__type__=gauge,__unit__=seconds,job=s"),
        (Histogram, "s", "__type__=histogram,__unit__=seconds,job=s"),
        (Exponential, "s", "__type__=histogram,__unit__=seconds,job=s"),
        (Summary, "ms", "__type__=summary,__unit__=milliseconds,job=s"),
    ] {
        let f = fixture(Config { type_and_unit_labels: true, ..Config::default() });
        f.json(&request(SERVICE, json!([metric(kind, "x", unit)]))).unwrap();
        let dump = f.dump();
        assert!(!dump.is_empty());
        for line in dump {
            let labels = line.split(['{', '}']).nth(1).unwrap_or_default();
            assert_eq!(labels.replace(",le=+Inf", ""), want, "{kind:?} {unit}");
        }
    }
}
