//! Delta temporality: added up, repeated, late, overlapping, refused, stored as it is.

use crate::fixture::*;
use engine::MetricType;
use ingest::Limits;
use ingest::otlp::{Config, DeltaMode, Note, Receipt, Receiver};
use serde_json::{Value, json};
use std::sync::Arc;

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
pub(crate) fn delta(start: i64, time: i64, v: f64) -> Value {
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

/// How often each of these was noticed.
fn noted(receipt: &Receipt) -> [u64; 4] {
    [Note::DeltaRepeated, Note::DeltaLate, Note::DeltaOverlapping, Note::DeltaInvalid]
        .map(|note| receipt.noted.count(note))
}

#[test]
fn what_becomes_of_a_delta_is_counted() {
    let f = fixture(Config::default());
    for (start, time, v, want) in [
        (0, 10, 1.0, [0, 0, 0, 0]),
        (0, 10, 1.0, [1, 0, 0, 0]),
        (10, 20, 1.0, [0, 0, 0, 0]),
        (5, 15, 1.0, [0, 1, 0, 0]),
        (15, 30, 1.0, [0, 0, 1, 0]),
        (40, 30, 1.0, [0, 0, 0, 1]),
        (20, 30, -1.0, [0, 0, 0, 1]),
    ] {
        assert_eq!(noted(&f.json(&delta(start, time, v)).unwrap()), want, "{start} {time} {v}");
    }
}

/// However many newer deltas came in between: a client that tries again is not told that a delta was lost
/// which was counted.
#[test]
fn old_repetitions_are_known_from_what_is_stored() {
    let f = fixture(Config::default());
    for i in 0..100 {
        f.json(&delta(i, i + 1, 1.0)).unwrap();
    }
    let before = f.dump();
    for i in [0, 1, 50, 98] {
        let receipt = f.json(&delta(i, i + 1, 1.0)).unwrap();
        assert_eq!((receipt.rejected, noted(&receipt)), (0, [1, 0, 0, 0]), "{i}");
    }
    assert_eq!(f.dump(), before);
}

/// A series spelled in two ways is one stream, also before anybody has seen it.
#[test]
fn two_spellings_of_a_series_are_one_stream() {
    let f = fixture(Config::default());
    let pairs =
        [&[("a", "1"), ("b", "2")][..], &[("b", "2"), ("a", "1")], &[("b", "2"), ("a", "1"), ("c", "")]];
    let points = (0..6i64).map(|i| {
        json!({"asInt": 1, "startTimeUnixNano": nanos(i), "timeUnixNano": nanos(i + 1), "attributes": attrs(pairs[i as usize % 3])})
    });
    let points: Value = points.collect();
    f.json(&request(SERVICE, json!([sum("d", 1, true, points)]))).unwrap();
    let one = json!([{"asInt": 1, "startTimeUnixNano": nanos(6), "timeUnixNano": nanos(7), "attributes": attrs(pairs[1])}]);
    f.json(&request(SERVICE, json!([sum("d", 1, true, one)]))).unwrap();
    assert_eq!(f.dump(), ["d_total{a=1,b=2,job=s} 1[0]=1 2[0]=2 3[0]=3 4[0]=4 5[0]=5 6[0]=6 7[0]=7"]);
}

/// Requests on several connections that add to their own streams and to one that all have in common.
#[test]
fn connections_at_the_same_time_lose_nothing() {
    const EACH: i64 = 200;
    let f = fixture(Config::default());
    std::thread::scope(|scope| {
        for thread in 0..4i64 {
            let f = &f;
            scope.spawn(move || {
                for i in 0..EACH {
                    let name = format!("own{thread}");
                    let own =
                        json!([{"asInt": 1, "startTimeUnixNano": nanos(i), "timeUnixNano": nanos(i + 1)}]);
                    // Of the common stream everybody sends everything: each delta is one of four repetitions.
                    let common = json!([{"asInt": 1, "timeUnixNano": nanos(i + 1)}]);
                    let metrics = json!([sum(&name, 1, true, own), sum("common", 1, true, common)]);
                    assert_eq!(f.json(&request(SERVICE, metrics)).unwrap().rejected, 0);
                }
            });
        }
    });
    let last: Vec<_> = f.dump().iter().map(|line| line.rsplit('=').next().unwrap().to_owned()).collect();
    let mut want = vec![EACH.to_string(); 5];
    // What overtook on the way to the common stream was stored once, whoever came first.
    want[0] = EACH.to_string();
    assert_eq!(last, want);
}

#[test]
fn stale_markers_do_not_add_and_do_not_end_a_stream() {
    let f = fixture(Config::default());
    f.json(&delta(0, 10, 1.0)).unwrap();
    let stale = json!([{"flags": 1, "timeUnixNano": nanos(20)}]);
    f.json(&request(SERVICE, json!([sum("d", 1, true, stale)]))).unwrap();
    // The receiver starts anew: what it knows comes from the engine, which has the marker.
    let f = Fixture { receiver: Receiver::new(Arc::clone(&f.engine), Config::default(), Limits::OTLP), ..f };
    assert_eq!(f.json(&delta(10, 30, 1.0)).unwrap().rejected, 0);
    assert_eq!(f.dump(), ["d_total{job=s} 10[0]=1 20=stale 30[0]=2"]);
}

/// Silence of an hour ends a stream, as the state of another process would.
#[test]
fn a_stream_begins_anew_after_an_hour() {
    let f = fixture(Config::default());
    let hour = 3_600_000;
    f.json(&delta(0, 10, 1.0)).unwrap();
    f.json(&delta(10, hour, 2.0)).unwrap();
    f.json(&delta(2 * hour, 2 * hour + 1, 4.0)).unwrap();
    let times = (hour, 2 * hour + 1, 2 * hour);
    assert_eq!(f.dump(), [format!("d_total{{job=s}} 10[0]=1 {}[0]=3 {}[{}]=4", times.0, times.1, times.2)]);
}

#[test]
fn bounds_that_change_begin_the_series_of_a_histogram_anew() {
    let f = fixture(Config { convert_histograms_to_nhcb: true, ..Config::default() });
    let at = |start: i64, bounds: Value| {
        let point = json!({"count": 2, "sum": 1, "bucketCounts": [1, 1], "explicitBounds": bounds, "startTimeUnixNano": nanos(start), "timeUnixNano": nanos(start + 1)});
        request(
            SERVICE,
            json!([{"name": "h", "histogram": {"aggregationTemporality": 1, "dataPoints": [point]}}]),
        )
    };
    for (start, bounds) in [(0, json!([1])), (1, json!([1])), (2, json!([2])), (3, json!([2]))] {
        assert_eq!(f.json(&at(start, bounds)).unwrap().rejected, 0);
    }
    let one = |t: &str, n: i64, s: i64, le: &str| {
        format!("{t}=(n={n} sum={s} schema=-53 zero=0@0e0 +[0:{s} 1:{s}] -[] le=[{le}])")
    };
    let samples = [
        one("1[0]", 2, 1, "1.0"),
        one("2[0]", 4, 2, "1.0"),
        one("3[2]", 2, 1, "2.0"),
        one("4[2]", 4, 2, "2.0"),
    ];
    assert_eq!(f.dump(), [format!("h{{job=s}} {}", samples.join(" "))]);
}

/// Least and greatest value are those of the interval: they do not add up.
#[test]
fn least_and_greatest_of_deltas_stay_what_they_are() {
    let f = fixture(Config { keep_histogram_min_max: true, ..Config::default() });
    for i in 0..2 {
        let point = json!({"count": 1, "sum": 1, "min": i, "max": 10 - i, "startTimeUnixNano": nanos(i), "timeUnixNano": nanos(i + 1)});
        let metric =
            json!([{"name": "h", "histogram": {"aggregationTemporality": 1, "dataPoints": [point]}}]);
        f.json(&request(SERVICE, metric.clone())).unwrap();
        assert_eq!(noted(&f.json(&request(SERVICE, metric)).unwrap()), [1, 0, 0, 0]);
    }
    assert_eq!(
        f.dump(),
        [
            "h_bucket{job=s,le=+Inf} 1[0]=1 2[0]=2",
            "h_count{job=s} 1[0]=1 2[0]=2",
            "h_max{job=s} 1=10 2=9",
            "h_min{job=s} 1=0 2=1",
            "h_sum{job=s} 1[0]=1 2[0]=2",
        ]
    );
}

/// A delta that the engine refuses is not in the total afterwards.
#[test]
fn what_the_engine_refuses_is_not_added() {
    let f = fixture(Config::default());
    f.json(&delta(0, 10, 1.0)).unwrap();
    // A stale marker stands where the next delta wants to be.
    let stale = json!([{"flags": 1, "timeUnixNano": nanos(20)}]);
    f.json(&request(SERVICE, json!([sum("d", 1, true, stale)]))).unwrap();
    assert_eq!(f.json(&delta(10, 20, 2.0)).unwrap().rejected, 1);
    assert_eq!(f.json(&delta(20, 30, 4.0)).unwrap().rejected, 0);
    assert_eq!(f.dump(), ["d_total{job=s} 10[0]=1 20=stale 30[0]=5"]);
}

/// Every kind of data in every mode: what two exports of the same delta interval length become.
#[test]
fn temporality_of_every_kind_in_every_mode() {
    let number = |v: i64| json!({"asInt": v});
    let count = |v: i64| json!({"count": v, "sum": v, "bucketCounts": [v], "zeroCount": v});
    let sum = |temporality: i64, monotonic: bool| json!({"sum": {"aggregationTemporality": temporality, "isMonotonic": monotonic}});
    let of = |name: &str, temporality: i64| json!({name: {"aggregationTemporality": temporality}});
    let native = |a: i64, b: i64| {
        let h = |n: i64| format!("(n={n} sum={n} schema=0 zero={n}@1e-128 +[] -[])");
        format!("x{{job=s}} 1[0]={} 2[1]={}", h(a), h(b))
    };
    let added = native(2, 5).replace("2[1]", "2[0]");
    let histogram = |second: i64, start: i64| {
        ["x_bucket{job=s,le=+Inf}", "x_count{job=s}", "x_sum{job=s}"]
            .map(|series| format!("{series} 1[0]=2 2[{start}]={second}"))
            .join("\n")
    };
    let (up, raw, reject) = (DeltaMode::ToCumulative, DeltaMode::Native, DeltaMode::Reject);
    let cases: Vec<(DeltaMode, Value, String)> = vec![
        (up, sum(1, true), "x_total{job=s} 1[0]=2 2[0]=5".to_owned()),
        (up, sum(1, false), "x{job=s} 1[0]=2 2[0]=5".to_owned()),
        (up, of("histogram", 1), histogram(5, 0)),
        (up, of("exponentialHistogram", 1), added),
        (up, sum(2, true), "x_total{job=s} 1[0]=2 2[1]=3".to_owned()),
        (up, sum(2, false), "x{job=s} 1[0]=2 2[1]=3".to_owned()),
        (up, of("histogram", 2), histogram(3, 1)),
        (up, of("exponentialHistogram", 2), native(2, 3)),
        (up, of("gauge", 1), "x{job=s} 1=2 2=3".to_owned()),
        (raw, sum(1, true), "x_total{job=s} 1[0]=2 2[1]=3".to_owned()),
        (raw, sum(1, false), "x{job=s} 1[0]=2 2[1]=3".to_owned()),
        (raw, of("histogram", 1), histogram(3, 1)),
        (raw, of("exponentialHistogram", 1), native(2, 3)),
        (raw, sum(2, true), "x_total{job=s} 1[0]=2 2[1]=3".to_owned()),
        (reject, sum(1, true), String::new()),
        (reject, sum(1, false), String::new()),
        (reject, of("histogram", 1), String::new()),
        (reject, of("exponentialHistogram", 1), String::new()),
        (reject, sum(2, true), "x_total{job=s} 1[0]=2 2[1]=3".to_owned()),
        (up, sum(0, true), String::new()),
        (up, of("histogram", 0), String::new()),
        (up, of("exponentialHistogram", 0), String::new()),
    ];
    for (mode, metric, want) in cases {
        let f = fixture(Config { delta: mode, ..Config::default() });
        let mut rejected = 0;
        for (i, v) in [(1, 2), (2, 3)] {
            let mut metric = metric.clone();
            let (kind, data) = metric.as_object_mut().unwrap().iter_mut().next().unwrap();
            let mut point = if kind.contains("istogram") { count(v) } else { number(v) };
            if kind == "histogram" {
                point.as_object_mut().unwrap().remove("zeroCount");
            } else {
                point.as_object_mut().unwrap().remove("bucketCounts");
            }
            let times = json!({"startTimeUnixNano": nanos(i - 1), "timeUnixNano": nanos(i)});
            point.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
            data.as_object_mut().unwrap().insert("dataPoints".to_owned(), json!([point]));
            metric.as_object_mut().unwrap().insert("name".to_owned(), json!("x"));
            rejected += f.json(&request(SERVICE, json!([metric]))).unwrap().rejected;
        }
        assert_eq!(rejected, if want.is_empty() { 2 } else { 0 }, "{mode:?} {metric}");
        assert_eq!(f.dump().join("\n"), want, "{mode:?} {metric}");
    }
}
