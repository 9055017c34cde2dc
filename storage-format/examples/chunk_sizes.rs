//! Measures the chunk codecs on a real capture: bytes per sample by class of series, encode and decode time.
//!
//! `cargo run --release -p marigram-storage-format --example chunk_sizes -- \
//! [instances] [samples] [series a group] [seconds a step]`
//!
//! The capture (one JSON object a line, see [`load`]) is a template for many instances scraped every 15 s:
//! every fifth second is a step, instances differ in phase, offset and counter start values, counters go
//! on across the end of the capture. With more instances than seconds a step, or more samples than the
//! capture has steps, the same increments come again, which real targets' would not: `5 480` is free of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::Instant;
use storage_format::chunk::values::{Group, GroupEncoder};

/// One series of the capture: its labels, and its value at each second (absent seconds are `None`).
struct Template {
    labels: BTreeMap<String, String>,
    seconds: Vec<Option<f64>>,
    counter: bool,
    /// Milliseconds by which each scrape was off its second.
    jitter: Vec<i64>,
}

/// One series of a simulated instance.
struct Column {
    labels: BTreeMap<String, String>,
    values: Vec<f64>,
}

fn capture_path() -> PathBuf {
    let shared = std::env::var_os("MARIGRAM_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    shared.join("data/capture.jsonl.zst")
}

/// A shared timestamp column of a scrape every 15 s with the capture's jitter: its size, and nanoseconds a
/// sample to decode it.
fn timestamps(jitter: &[i64], samples: usize, step: usize) -> (usize, f64) {
    let column: Vec<i64> = (0..samples as i64)
        .zip(jitter.iter().step_by(step).cycle())
        .map(|(i, jitter)| 1_795_164_331_223 + i * 15_000 + jitter)
        .collect();
    let mut bytes = Vec::new();
    storage_format::chunk::timestamps::encode(&column, &mut bytes);
    let mut out = Vec::new();
    let decoding = time(samples * 1000, || {
        for _ in 0..1000 {
            out.clear();
            storage_format::chunk::timestamps::decode(&bytes, &mut out).expect("what was encoded");
            std::hint::black_box(&out);
        }
    });
    assert_eq!(out, column);
    (bytes.len(), decoding)
}

fn load() -> Vec<Template> {
    let file = std::fs::File::open(capture_path()).expect("the capture");
    let mut decoder = zstd::Decoder::new(file).expect("a zstd stream");
    decoder.window_log_max(27).expect("a window");
    let mut raw = Vec::new();
    for line in BufReader::new(decoder).lines() {
        let line: serde_json::Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let labels: BTreeMap<String, String> = line["metric"]
            .as_object()
            .expect("labels")
            .iter()
            .map(|(k, v)| (k.clone(), v.as_str().expect("a label").to_owned()))
            .collect();
        let times: Vec<i64> =
            line["timestamps"].as_array().expect("times").iter().filter_map(|t| t.as_i64()).collect();
        let values: Vec<f64> = line["values"]
            .as_array()
            .expect("values")
            .iter()
            .map(|v| v.as_f64().unwrap_or(f64::NAN))
            .collect();
        raw.push((labels, times, values));
    }
    let start = raw.iter().map(|(_, t, _)| t[0]).min().expect("series");
    let end = raw.iter().map(|(_, t, _)| t[t.len() - 1]).max().expect("series");
    let len = ((end - start) / 1000) as usize;
    raw.into_iter()
        .map(|(labels, times, values)| {
            let jitter = times.iter().map(|t| (t - times[0] + 500).rem_euclid(1000) - 500).collect();
            let mut seconds = vec![None; len];
            for (t, v) in times.into_iter().zip(values) {
                if let Some(second) = seconds.get_mut(((t - start) / 1000) as usize) {
                    *second = Some(v);
                }
            }
            let name = &labels["__name__"];
            let counter = ["_total", "_count", "_sum", "_bucket"].iter().any(|s| name.ends_with(s));
            Template { labels, seconds, counter, jitter }
        })
        .collect()
}

/// Decimal places that make `v` an integer, if there are such.
fn places(v: f64) -> Option<i32> {
    (0..=9).find(|e| {
        let m = (v * 10f64.powi(*e)).round();
        m.abs() < 9e15 && m / 10f64.powi(*e) == v
    })
}

/// `v + offset`, on decimals when the template is made of decimals, as a counter that was there longer would be.
fn shifted(v: f64, offset: f64, decimals: Option<i32>) -> f64 {
    match decimals {
        Some(e) => ((v * 10f64.powi(e)).round() + (offset * 10f64.powi(e)).round()) / 10f64.powi(e),
        None => v + offset,
    }
}

fn simulate(templates: &[Template], instances: usize, samples: usize, step: usize) -> Vec<Column> {
    let mut columns = Vec::new();
    for instance in 0..instances {
        let phase = instance % step;
        let mut seed = (instance as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for template in templates {
            let steps: Vec<Option<f64>> =
                template.seconds.iter().skip(phase).step_by(step).copied().collect();
            let offset = (instance * 7919 * 13 + instance) % steps.len();
            let (mut first, mut last, mut rise) = (None, 0.0, 0.0);
            for v in steps.iter().flatten() {
                first.get_or_insert(*v);
                rise += if *v < last { *v } else { *v - last };
                last = *v;
            }
            rise -= first.unwrap_or(0.0);
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let start = if template.counter && rise > 0.0 {
                ((seed >> 33) as f64 / 2e9 * last * 10.0).round()
            } else {
                0.0
            };
            let decimals = steps.iter().flatten().map(|v| places(*v)).try_fold(0, |a, b| b.map(|b| a.max(b)));
            let rise = if decimals.is_some() { (rise * 1e9).round() / 1e9 } else { rise };
            let values = (0..samples)
                .filter_map(|i| {
                    let at = offset + i;
                    let v = steps[at % steps.len()]?;
                    if !template.counter || rise == 0.0 {
                        return Some(v);
                    }
                    Some(shifted(v, start + rise * (at / steps.len()) as f64, decimals))
                })
                .collect::<Vec<_>>();
            let mut labels = template.labels.clone();
            labels.insert("instance".into(), format!("10.0.{}.{}:9100", instance / 250, instance % 250));
            if !values.is_empty() {
                columns.push(Column { labels, values });
            }
        }
    }
    columns.sort_by(|a, b| a.labels.iter().cmp(b.labels.iter()));
    columns
}

fn class_of(values: &[f64]) -> &'static str {
    if values.iter().all(|v| v.to_bits() == values[0].to_bits()) {
        return "constant";
    }
    let Some(e) = values.iter().map(|v| places(*v)).try_fold(0, |a, b| b.map(|b| a.max(b))) else {
        return "true doubles";
    };
    let ints: Vec<i64> = values.iter().map(|v| (v * 10f64.powi(e)).round() as i64).collect();
    let deltas: Vec<i64> = ints.windows(2).map(|w| w[1] - w[0]).collect();
    let zeros = deltas.iter().filter(|d| **d == 0).count();
    let rising = deltas.iter().all(|d| *d >= 0);
    if deltas.iter().all(|d| *d == deltas[0]) {
        "linear"
    } else if zeros * 10 > deltas.len() * 9 {
        "rarely changing"
    } else if zeros * 2 > deltas.len() {
        "bursty"
    } else {
        match (rising, e) {
            (true, 0) => "integer counters",
            (true, _) => "decimal counters",
            (false, 0) => "integer gauges",
            (false, _) => "decimal gauges",
        }
    }
}

/// Nanoseconds this thread has run on a processor (Linux), so that other work counts less.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("scheduler statistics");
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).expect("nanoseconds on a processor")
}

/// Nanoseconds a sample that `work` takes, over as many rounds as make a tenth of a second.
fn time(samples: usize, mut work: impl FnMut()) -> f64 {
    let started = busy();
    let mut rounds = 0.0;
    loop {
        work();
        rounds += 1.0;
        let taken = busy() - started;
        if taken > 1e8 {
            return taken / rounds / samples as f64;
        }
    }
}

fn encode(columns: &[&Column], series: usize, coded: bool) -> Vec<Vec<u8>> {
    let group = |chunk: &[&Column]| {
        let mut encoder = if coded { GroupEncoder::coded() } else { GroupEncoder::new() };
        chunk.iter().for_each(|column| encoder.push(&column.values));
        encoder.finish()
    };
    columns.chunks(series).map(group).collect()
}

fn decode(groups: &[Vec<u8>]) {
    let mut out = Vec::new();
    for bytes in groups {
        let group = Group::parse(bytes).expect("what was encoded");
        for i in 0..group.len() {
            out.clear();
            group.decode(i, &mut out).expect("what was encoded");
            std::hint::black_box(&out);
        }
    }
}

/// Microseconds to parse a group and decode one series of it that is not constant, the median.
fn single(groups: &[Vec<u8>]) -> f64 {
    let mut out = Vec::new();
    let mut times: Vec<f64> = Vec::new();
    for bytes in groups {
        let started = Instant::now();
        let group = Group::parse(bytes).expect("what was encoded");
        if let Some(i) = (0..group.len()).rev().find(|i| group.constant(*i).is_none()) {
            out.clear();
            group.decode(i, &mut out).expect("what was encoded");
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

fn samples_of(columns: &[&Column]) -> usize {
    columns.iter().map(|c| c.values.len()).sum()
}

fn verify(columns: &[&Column], groups: &[Vec<u8>], series: usize) {
    let mut out = Vec::new();
    for (chunk, bytes) in columns.chunks(series).zip(groups) {
        let group = Group::parse(bytes).expect("what was encoded");
        for (i, column) in chunk.iter().enumerate() {
            out.clear();
            group.decode(i, &mut out).expect("what was encoded");
            assert!(
                out.iter().map(|v| v.to_bits()).eq(column.values.iter().map(|v| v.to_bits())),
                "{:?}",
                column.labels
            );
        }
    }
}

#[expect(clippy::print_stdout, reason = "printing is the job")]
fn main() {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<usize>().expect("a number"));
    let (instances, samples) = (args.next().unwrap_or(59), args.next().unwrap_or(480));
    let (series, step) = (args.next().unwrap_or(64), args.next().unwrap_or(5));
    let templates = load();
    let spread: Vec<i64> = (0..3000).map(|i| (i * i * 7919) % 13).collect();
    let scraped =
        templates.iter().filter(|t| t.labels["__name__"] == "up").map(|t| (&t.labels["job"][..], &t.jitter));
    for (what, jitter) in scraped.chain([("nothing but jitter", &spread), ("no jitter", &vec![0; 3000])]) {
        let (bytes, decoding) = timestamps(jitter, samples, step);
        println!("timestamp column, {what}: {bytes} bytes, decode {decoding:.2} ns/sample");
    }
    let columns = simulate(&templates, instances, samples, step);
    let all: Vec<&Column> = columns.iter().collect();
    println!("{} series, {} samples, groups of {series}", all.len(), samples_of(&all));
    verify(&all, &encode(&all, series, false), series);

    let mut classes: BTreeMap<&str, Vec<&Column>> = BTreeMap::new();
    for column in &columns {
        classes.entry(class_of(&column.values)).or_default().push(column);
    }
    let total = samples_of(&all) as f64;
    println!(
        "class               series  of samples  B/sample  share of all B/sample  encode ns  decode ns  single µs"
    );
    for (class, columns) in classes.into_iter().chain([("all", all.clone()), ("all, coded", all)]) {
        let coded = class == "all, coded";
        let samples = samples_of(&columns);
        let groups = encode(&columns, series, coded);
        let encoding = time(samples, || drop(std::hint::black_box(encode(&columns, series, coded))));
        let decoding = time(samples, || decode(&groups));
        let bytes = groups.iter().map(Vec::len).sum::<usize>() as f64;
        let own = samples as f64;
        println!(
            "{class:18} {:7} {:10.1}% {:9.4} {:22.4} {encoding:10.1} {decoding:10.2} {:10.1}",
            columns.len(),
            own / total * 100.0,
            bytes / own,
            bytes / total,
            single(&groups)
        );
    }
}
