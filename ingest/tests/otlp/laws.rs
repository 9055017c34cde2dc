//! Laws of the conversions, for any input: what deltas add up to, what cumulative and delta have in common, how
//! buckets and exemplars relate. (Merging native histograms has its laws beside its code.)

use crate::fixture::*;
use engine::{MatchOp, Matcher, Series};
use ingest::otlp::Config;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use storage_format::model::{Samples, TimeRange};

/// One engine for all cases, each with a name of its own.
fn shared() -> (&'static Fixture, String) {
    static SHARED: OnceLock<Fixture> = OnceLock::new();
    static CASE: AtomicUsize = AtomicUsize::new(0);
    let fixture = SHARED.get_or_init(|| fixture(Config::default()));
    (fixture, format!("law{}", CASE.fetch_add(1, Ordering::Relaxed)))
}

fn series(f: &Fixture, name: &str) -> Vec<(Series, Samples)> {
    let matcher = Matcher::new(MatchOp::Equal, "__name__", name).unwrap();
    let found = f.engine.snapshot().select(&[matcher], TimeRange::ALL).unwrap();
    let read = |series: Series| {
        let mut samples = Samples::default();
        series.read(TimeRange::ALL, &mut samples).unwrap();
        (series, samples)
    };
    found.into_iter().map(read).collect()
}

fn send(f: &Fixture, metric: Value) -> u64 {
    f.json(&request(SERVICE, json!([metric]))).unwrap().rejected
}

fn number(start: i64, time: i64, v: u32) -> Value {
    json!({"asInt": v, "startTimeUnixNano": nanos(start), "timeUnixNano": nanos(time)})
}

/// Increments of an explicit histogram with three bounds, and of its sum.
fn increments() -> impl Strategy<Value = Vec<([u32; 4], i32)>> {
    let one = (prop::array::uniform4(0u32..1000), -1000i32..1000);
    proptest::collection::vec(one, 1..12)
}

fn explicit(start: i64, time: i64, counts: [u64; 4], sum: i64) -> Value {
    json!({
        "startTimeUnixNano": nanos(start), "timeUnixNano": nanos(time), "count": counts.iter().sum::<u64>(),
        "sum": sum, "bucketCounts": counts, "explicitBounds": [-1, 0.5, 10],
    })
}

fn exponential(start: i64, time: i64, counts: [u64; 4], sum: i64) -> Value {
    json!({
        "startTimeUnixNano": nanos(start), "timeUnixNano": nanos(time), "count": counts.iter().sum::<u64>(),
        "sum": sum, "scale": 2, "zeroCount": counts[0],
        "positive": {"offset": 3, "bucketCounts": [counts[1], 0, 0, 0, 0, counts[2]]},
        "negative": {"offset": -1, "bucketCounts": [counts[3]]},
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Between any two samples the counter grew by the deltas accepted in between, whatever was repeated, came
    /// late or overlapped; it never falls, and every refusal is told.
    #[test]
    fn the_sum_of_deltas_is_the_difference_of_the_totals(
        steps in proptest::collection::vec((0u32..1000, -3i64..4, 0i64..3), 1..30),
    ) {
        let (f, name) = shared();
        let (mut newest, mut accepted) = (None, Vec::<(i64, u32)>::new());
        for (v, jump, overlap) in steps {
            let time = newest.unwrap_or(100) + jump;
            let start = time.min(newest.unwrap_or(time)) - overlap;
            let rejected = send(f, json!({"name": name, "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [number(start, time, v)]}}));
            let known = accepted.iter().any(|a| a.0 == time);
            let fits = newest.is_none_or(|newest| time > newest && start >= newest);
            prop_assert_eq!(rejected, u64::from(!known && !fits));
            if fits {
                accepted.push((time, v));
                newest = Some(time);
            }
        }
        let found = series(f, &format!("{name}_total"));
        prop_assert_eq!(found.len(), 1);
        let samples = &found[0].1;
        let times: Vec<_> = samples.timestamps.iter().map(|t| t - T).collect();
        prop_assert_eq!(times, accepted.iter().map(|a| a.0).collect::<Vec<_>>());
        for i in 0..accepted.len() {
            for j in i..accepted.len() {
                let between: u32 = accepted[i + 1..=j].iter().map(|a| a.1).sum();
                prop_assert_eq!(samples.values[j] - samples.values[i], f64::from(between));
            }
        }
    }

    /// What a cumulative sender says, told in differences, becomes the same series.
    #[test]
    fn cumulative_to_delta_to_cumulative_is_the_identity(increments in increments()) {
        let (f, name) = shared();
        let (mut total, mut sum) = ([0u64; 4], 0i64);
        for (i, (counts, plus)) in increments.iter().enumerate() {
            let (from, to) = (i as i64, i as i64 + 1);
            let counts = counts.map(u64::from);
            total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
            sum += i64::from(*plus);
            for (temporality, start, counts, sum) in [(1, from, counts, i64::from(*plus)), (2, 0, total, sum)] {
                for (kind, point) in [
                    ("histogram", explicit(start, to, counts, sum)),
                    ("exponentialHistogram", exponential(start, to, counts, sum)),
                    ("sum", json!({"asInt": counts[0], "startTimeUnixNano": nanos(start), "timeUnixNano": nanos(to)})),
                ] {
                    let name = format!("{name}_{kind}_{temporality}");
                    let metric = json!({"name": name, kind: {"aggregationTemporality": temporality, "isMonotonic": true, "dataPoints": [point]}});
                    prop_assert_eq!(send(f, metric), 0);
                }
            }
        }
        for suffix in ["sum_#_total", "histogram_#_bucket", "histogram_#_count", "histogram_#_sum", "exponentialHistogram_#"] {
            let of = |temporality: &str| -> Vec<String> {
                let found = series(f, &format!("{name}_{}", suffix.replace('#', temporality)));
                let mut lines: Vec<_> =
                    found.iter().map(|(s, _)| line(s).split_once('{').unwrap().1.to_owned()).collect();
                lines.sort();
                lines
            };
            prop_assert!(!of("1").is_empty());
            prop_assert_eq!(of("1"), of("2"), "{}", suffix);
        }
    }

    /// At any time the buckets rise with their bounds up to the count, and hold what was observed up to there.
    #[test]
    fn buckets_add_up(increments in increments(), delta in any::<bool>()) {
        let (f, name) = shared();
        let (mut total, mut sum) = ([0u64; 4], 0i64);
        let mut want = Vec::new();
        for (i, (counts, plus)) in increments.iter().enumerate() {
            let (from, to) = (i as i64, i as i64 + 1);
            let counts = counts.map(u64::from);
            total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
            sum += i64::from(*plus);
            want.push(total);
            let point = if delta { explicit(from, to, counts, i64::from(*plus)) } else { explicit(0, to, total, sum) };
            let temporality = if delta { 1 } else { 2 };
            prop_assert_eq!(send(f, json!({"name": name, "histogram": {"aggregationTemporality": temporality, "dataPoints": [point]}})), 0);
        }
        let mut buckets = series(f, &format!("{name}_bucket"));
        let bound = |s: &Series| s.labels().get("le").unwrap().parse::<f64>().unwrap();
        buckets.sort_by(|a, b| bound(&a.0).total_cmp(&bound(&b.0)));
        prop_assert_eq!(buckets.iter().map(|b| bound(&b.0)).collect::<Vec<_>>(), [-1.0, 0.5, 10.0, f64::INFINITY]);
        let counts = &series(f, &format!("{name}_count"))[0].1.values;
        for (at, total) in want.iter().enumerate() {
            let mut below = 0;
            for (bucket, count) in buckets.iter().zip(total) {
                below += count;
                prop_assert_eq!(bucket.1.values[at], below as f64);
            }
            prop_assert_eq!(counts[at], below as f64);
        }
    }

    /// Every exemplar is kept with the ids it came with, in the bucket its value lies in.
    #[test]
    fn exemplars_lie_in_their_bucket(
        exemplars in proptest::collection::vec((-3.0f64..20.0, any::<u128>(), any::<u64>()), 1..8),
        bounds in proptest::collection::btree_set(-2i32..15, 0..6),
    ) {
        let (f, name) = shared();
        let counts: Vec<u64> = vec![exemplars.len() as u64; bounds.len() + 1];
        let listed: Vec<_> = exemplars.iter().enumerate().map(|(i, (v, trace, span))| {
            json!({"asDouble": v, "timeUnixNano": nanos(i as i64), "traceId": format!("{trace:032x}"), "spanId": format!("{span:016x}")})
        }).collect();
        let point = json!({
            "timeUnixNano": nanos(100), "count": counts.iter().sum::<u64>(), "sum": 1, "bucketCounts": counts,
            "explicitBounds": bounds, "exemplars": listed,
        });
        prop_assert_eq!(send(f, json!({"name": name, "histogram": {"aggregationTemporality": 2, "dataPoints": [point]}})), 0);
        let matcher = Matcher::new(MatchOp::Equal, "__name__", &format!("{name}_bucket")).unwrap();
        let mut found = 0;
        for (series, kept) in f.engine.exemplars(&[vec![matcher]], TimeRange::ALL).unwrap() {
            let upper: f64 = series.get("le").unwrap().parse().unwrap();
            let lower = bounds.iter().map(|b| f64::from(*b)).filter(|b| *b < upper).fold(f64::NEG_INFINITY, f64::max);
            for exemplar in kept {
                prop_assert!(lower < exemplar.value && exemplar.value <= upper, "{} in ({lower}, {upper}]", exemplar.value);
                let sent = exemplars[(exemplar.timestamp - T) as usize];
                prop_assert_eq!(exemplar.value, sent.0);
                let ids = [format!("{:032x}", sent.1), format!("{:016x}", sent.2)];
                let kept = ["trace_id", "span_id"].map(|id| exemplar.labels.get(id).unwrap_or_default());
                prop_assert_eq!(kept, [ids[0].as_str(), ids[1].as_str()]);
                found += 1;
            }
        }
        prop_assert!(found > 0 && found <= exemplars.len());
    }
}
