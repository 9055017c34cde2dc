//! What both sides hold: half an hour of samples, 15 seconds apart, with resets, gaps, staleness markers,
//! NaN and infinities, classic and native histograms, info metrics and unusual names.

use query::parse::{SequenceValue, parse_series_description};
use storage_format::model::{Labels, Samples, Timestamp, stale_nan};
use tests_support::rng::Rng;

/// The time of the first samples, milliseconds.
pub(crate) const START: Timestamp = 1_700_000_000_000;
/// Distance of samples, milliseconds.
pub(crate) const STEP: i64 = 15_000;
/// Samples a series without gaps has.
pub(crate) const COUNT: usize = 120;

/// Series in the notation of test scripts.
const WRITTEN: [&str; 30] = [
    r#"steady_total{job="a",instance="1"} 0+10x119"#,
    r#"steady_total{job="a",instance="2"} 100+10x50 0+10x67"#,
    r#"steady_total{job="b",instance="1"} _x10 5+3x40 _x30 200+3x37"#,
    r#"steady_total{job="b",instance="2"} 0+5x60 stale _x20 0+5x36"#,
    r#"lonely{job="a",instance="1"} _x60 42 _x59"#,
    r#"odd{job="a",instance="1",kind="nan"} 1 NaN 2 NaN 3x115"#,
    r#"odd{job="a",instance="2",kind="inf"} 1 Inf -Inf 2x20 Inf 1x94"#,
    r#"odd{job="b",instance="1",kind="zero"} 0 -0 0x117"#,
    r#"odd{job="b",instance="2",kind="huge"} 1e300 -1e300 1e308 1e308 -1e308 1e-300x113"#,
    r#"constant{job="a"} 7x119"#,
    r#"target_info{job="a",instance="1",version="v1",region="eu"} 1x119"#,
    r#"target_info{job="a",instance="2",version="v1",region="us"} 1x60 stale _x58"#,
    r#"target_info{job="b",instance="1",version="v2",region="eu"} 1x119"#,
    r#"{"utf8.metric","label.x"="y",job="a"} 1+1x119"#,
    r#"{"utf8.metric","label.x"="ü",job="b"} 2+2x119"#,
    r#"native{job="a",instance="1"} {{schema:0 sum:5 count:4 buckets:[1 2 1]}}+{{schema:0 sum:4 count:4 buckets:[1 2 1]}}x119"#,
    r#"native{job="a",instance="2"} {{schema:0 sum:5 count:5 z_bucket:1 z_bucket_w:0.001 buckets:[1 2 1]}}+{{schema:0 sum:2 count:3 z_bucket:1 z_bucket_w:0.001 buckets:[1 0 1]}}x60 {{schema:0 sum:1 count:1 z_bucket:1 z_bucket_w:0.001}}+{{schema:0 sum:2 count:3 z_bucket:1 z_bucket_w:0.001 buckets:[1 0 1]}}x57"#,
    r#"native{job="b",instance="1"} {{schema:3 sum:-3 count:6 buckets:[1 1] offset:2 n_buckets:[1 3] n_offset:1}}+{{schema:3 sum:-1 count:2 n_buckets:[1 1] n_offset:1}}x119"#,
    r#"native{job="b",instance="2"} {{schema:-1 sum:9 count:3 buckets:[1 1 1] offset:-1}}x119"#,
    r#"native_gauge{job="a"} {{schema:0 sum:5 count:4 buckets:[1 2 1] counter_reset_hint:gauge}}-{{schema:0 sum:0.1 count:0.2 buckets:[0 0.1 0.1]}}x9 {{schema:0 sum:5 count:4 buckets:[1 2 1] counter_reset_hint:gauge}}x109"#,
    r#"custom{job="a",instance="1"} {{schema:-53 sum:5 count:4 custom_values:[1 5 10] buckets:[1 2 1 0]}}+{{schema:-53 sum:3 count:3 custom_values:[1 5 10] buckets:[1 1 0 1]}}x119"#,
    r#"custom{job="a",instance="2"} {{schema:-53 sum:5 count:4 custom_values:[1 10] buckets:[1 2 1]}}+{{schema:-53 sum:3 count:2 custom_values:[1 10] buckets:[1 0 1]}}x119"#,
    r#"changing{job="a"} 1x20 {{schema:0 sum:5 count:4 buckets:[1 2 1]}}x20 3+1x30 stale _x2 {{schema:1 sum:5 count:4 buckets:[1 2 1]}}+{{schema:1 sum:1 count:1 buckets:[1]}}x40"#,
    r#"both{job="a",shape="float"} 3x119"#,
    r#"both{job="a",shape="native"} {{schema:0 sum:5 count:4 buckets:[1 2 1]}}x119"#,
    r#"left{job="a",instance="1"} 1+1x119"#,
    r#"left{job="a",instance="2"} 2+1x119"#,
    r#"left{job="b",instance="3"} 3+1x119"#,
    r#"right{job="a",instance="1",extra="x"} 10+2x119"#,
    r#"right{job="b",instance="3",extra="y"} 30-1x119"#,
];

/// All series.
pub(crate) fn series() -> Vec<(Labels, Samples)> {
    let mut series: Vec<_> = WRITTEN.iter().map(|text| written(text)).collect();
    requests(&mut series);
    latencies(&mut series);
    wandering(&mut series);
    series
}

fn written(text: &str) -> (Labels, Samples) {
    let description = parse_series_description(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let mut samples = Samples::default();
    for (i, value) in description.values.into_iter().take(COUNT).enumerate() {
        let t = START + STEP * i as i64;
        match value {
            SequenceValue::Float(value) => samples.push_float(t, 0, value),
            SequenceValue::Histogram { histogram, .. } => samples.histograms.push((t, 0, *histogram)),
            SequenceValue::Omitted | SequenceValue::Start(_) => {}
        }
    }
    (description.labels, samples)
}

/// Request counters by method, code and handler, each with its own pace and resets.
fn requests(series: &mut Vec<(Labels, Samples)>) {
    let mut rng = Rng::new(5);
    for method in ["get", "post"] {
        for code in ["200", "404", "500"] {
            for handler in ["/", "/api"] {
                let labels = Labels::from_pairs([
                    ("__name__", "requests_total"),
                    ("method", method),
                    ("code", code),
                    ("handler", handler),
                ]);
                let (mut samples, mut value) = (Samples::default(), 0);
                for i in 0..COUNT {
                    value = if rng.between(0, 60) == 0 { 0 } else { value + rng.between(0, 20) };
                    samples.push_float(START + STEP * i as i64, 0, value as f64);
                }
                series.push((labels, samples));
            }
        }
    }
}

/// Classic histograms.
fn latencies(series: &mut Vec<(Labels, Samples)>) {
    let mut rng = Rng::new(6);
    let bounds = ["0.1", "0.5", "1", "5", "+Inf"];
    for instance in ["1", "2"] {
        let mut columns = vec![Samples::default(); bounds.len()];
        let (mut counts, mut total, mut sum) = ([0_u64; 5], Samples::default(), Samples::default());
        for i in 0..COUNT {
            let t = START + STEP * i as i64;
            counts.iter_mut().for_each(|count| *count += rng.between(0, 9));
            let mut cumulative = 0;
            for (column, count) in columns.iter_mut().zip(counts) {
                cumulative += count;
                column.push_float(t, 0, cumulative as f64);
            }
            total.push_float(t, 0, cumulative as f64);
            sum.push_float(t, 0, cumulative as f64 * 0.7);
        }
        let labels =
            |name: &str| Labels::from_pairs([("__name__", name), ("job", "a"), ("instance", instance)]);
        for (bound, column) in bounds.iter().zip(columns) {
            let mut builder = labels("latency_bucket").to_builder();
            builder.set("le", bound);
            series.push((builder.build(), column));
        }
        series.push((labels("latency_count"), total));
        series.push((labels("latency_sum"), sum));
    }
}

/// Gauges with fractions, gaps and now and then a staleness marker.
fn wandering(series: &mut Vec<(Labels, Samples)>) {
    let mut rng = Rng::new(7);
    for (job, instance) in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("b", "3")] {
        let labels = Labels::from_pairs([("__name__", "wander"), ("job", job), ("instance", instance)]);
        let (mut samples, mut value) = (Samples::default(), 50.0);
        for i in 0..COUNT {
            value += (rng.between(0, 2001) as f64 - 1000.0) / 128.0;
            // Scrapes are seldom on time.
            let t = START + STEP * i as i64 + rng.between(0, 400) as i64 - 200;
            match rng.between(0, 40) {
                0 => {}
                1 => samples.push_float(t, 0, stale_nan()),
                _ => samples.push_float(t, 0, value),
            }
        }
        series.push((labels, samples));
    }
}
