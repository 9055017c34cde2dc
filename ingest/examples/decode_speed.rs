//! Nanoseconds a sample for decoding remote write requests (2,000 series of 10 labels, one sample each) and
//! OTLP requests (the same as sums, and histograms), decompression included, engine excluded: `cargo run --release -p marigram-ingest --example decode_speed`.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a measurement prints, and stops when it cannot measure"
)]

use ingest::Encoding;
use ingest::otlp::{self, Format};
use ingest::remote_write::{RequestInfo, decode_only};
use std::hint::black_box;
use std::time::Instant;

const SERIES: usize = 2000;
const ROUNDS: usize = 300;

fn varint(into: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        into.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    into.push(n as u8);
}

fn field(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    into.push(number << 3 | 2);
    varint(into, bytes.len() as u64);
    into.extend(bytes);
}

fn pairs(i: usize) -> Vec<(String, String)> {
    let pair = |n: &str, v: String| (n.to_owned(), v);
    vec![
        pair("__name__", format!("node_cpu_frequency_metric_{}_total", i % 40)),
        pair("cluster", "production-eu-west-1".to_owned()),
        pair("cpu", format!("{}", i % 16)),
        pair("datacenter", "dc1".to_owned()),
        pair("env", "production".to_owned()),
        pair("instance", format!("10.0.{}.{}:9100", i / 200, i % 200)),
        pair("job", "node-exporter".to_owned()),
        pair("mode", "softirq".to_owned()),
        pair("region", "eu-west-1".to_owned()),
        pair("team", "infrastructure".to_owned()),
    ]
}

fn sample(i: usize) -> Vec<u8> {
    sample_at(i, 1_700_000_000_000 + i as u64 % 7)
}

fn sample_at(i: usize, timestamp: u64) -> Vec<u8> {
    let mut out = vec![0x09];
    out.extend((1.0e6 + i as f64 * 1.37).to_le_bytes());
    out.push(0x10);
    varint(&mut out, timestamp);
    out
}

fn version_1() -> Vec<u8> {
    let mut request = Vec::new();
    for i in 0..SERIES {
        let mut series = Vec::new();
        for (name, value) in pairs(i) {
            let mut label = Vec::new();
            field(&mut label, 1, name.as_bytes());
            field(&mut label, 2, value.as_bytes());
            field(&mut series, 1, &label);
        }
        field(&mut series, 2, &sample(i));
        field(&mut request, 1, &series);
    }
    request
}

fn version_2() -> Vec<u8> {
    let mut symbols = vec![String::new()];
    let mut all = Vec::new();
    for i in 0..SERIES {
        let mut refs = Vec::new();
        for text in pairs(i).into_iter().flat_map(|(n, v)| [n, v]) {
            let at = symbols.iter().position(|s| *s == text).unwrap_or_else(|| {
                symbols.push(text);
                symbols.len() - 1
            });
            varint(&mut refs, at as u64);
        }
        let mut series = Vec::new();
        field(&mut series, 1, &refs);
        field(&mut series, 2, &sample(i));
        field(&mut series, 5, &[0x08, 0x01]);
        field(&mut all, 5, &series);
    }
    let mut request = Vec::new();
    symbols.iter().for_each(|s| field(&mut request, 4, s.as_bytes()));
    request.extend(all);
    request
}

fn measure(what: &str, content_type: &str, encoding: &str, body: &[u8], raw: usize) {
    let info = RequestInfo { content_type: Some(content_type), content_encoding: Some(encoding) };
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let n = black_box(decode_only(info, black_box(body)).expect("a valid request"));
        best = best.min(begin.elapsed().as_nanos() as f64 / n as f64);
    }
    println!(
        "{what} {encoding:<6} {raw:>8} bytes, {:>7} compressed: {best:>6.1} ns/sample (best of {ROUNDS})",
        body.len()
    );
}

/// 2,000 data points of 40 monotonic sums, the attributes on the points.
fn otlp_sums() -> Vec<u8> {
    let mut scope = Vec::new();
    for metric in 0..40 {
        let mut data = Vec::new();
        for i in (metric..SERIES).step_by(40) {
            let mut point = Vec::new();
            for (name, value) in pairs(i).into_iter().skip(1) {
                attribute(&mut point, 7, &name, &value);
            }
            times(&mut point);
            point.push(0x21);
            point.extend((1.0e6 + i as f64 * 1.37).to_le_bytes());
            field(&mut data, 1, &point);
        }
        data.extend([0x10, 2, 0x18, 1]);
        otlp_metric(&mut scope, &pairs(metric)[0].1, 7, &data);
    }
    otlp_request(&scope)
}

/// 200 data points of histograms with 14 bounds, which are 17 samples each.
fn otlp_histograms() -> Vec<u8> {
    let mut data = Vec::new();
    for i in 0..200 {
        let mut point = Vec::new();
        for (name, value) in pairs(i).into_iter().skip(1) {
            attribute(&mut point, 9, &name, &value);
        }
        times(&mut point);
        point.push(0x21);
        point.extend(150u64.to_le_bytes());
        point.push(0x29);
        point.extend(77.5f64.to_le_bytes());
        let counts: Vec<u8> = [10u64; 15].iter().flat_map(|c| c.to_le_bytes()).collect();
        let bounds: Vec<u8> = (0..14).flat_map(|b| f64::from(b).to_le_bytes()).collect();
        field(&mut point, 6, &counts);
        field(&mut point, 7, &bounds);
        field(&mut data, 1, &point);
    }
    data.extend([0x10, 2]);
    let mut scope = Vec::new();
    otlp_metric(&mut scope, "http.server.request.duration", 9, &data);
    otlp_request(&scope)
}

fn attribute(into: &mut Vec<u8>, number: u8, name: &str, value: &str) {
    let (mut any, mut pair) = (Vec::new(), Vec::new());
    field(&mut any, 1, value.as_bytes());
    field(&mut pair, 1, name.as_bytes());
    field(&mut pair, 2, &any);
    field(into, number, &pair);
}

fn times(into: &mut Vec<u8>) {
    for (tag, ms) in [(0x11, 1_600_000_000_000u64), (0x19, 1_700_000_000_000)] {
        into.push(tag);
        into.extend((ms * 1_000_000).to_le_bytes());
    }
}

fn otlp_metric(scope: &mut Vec<u8>, name: &str, number: u8, data: &[u8]) {
    let mut metric = Vec::new();
    field(&mut metric, 1, name.as_bytes());
    field(&mut metric, 3, b"s");
    field(&mut metric, number, data);
    field(scope, 2, &metric);
}

fn otlp_request(scope: &[u8]) -> Vec<u8> {
    let (mut resource, mut all, mut request) = (Vec::new(), Vec::new(), Vec::new());
    attribute(&mut resource, 1, "service.name", "checkout");
    attribute(&mut resource, 1, "host.name", "node-17");
    field(&mut all, 1, &resource);
    field(&mut all, 2, scope);
    field(&mut request, 1, &all);
    request
}

fn measure_otlp(what: &str, format: Format, encoding: Encoding, body: &[u8]) {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let n = black_box(otlp::decode_only(format, encoding, black_box(body)).expect("a valid request"));
        best = best.min(begin.elapsed().as_nanos() as f64 / n as f64);
    }
    println!("{what} {encoding:?} {:>7} bytes: {best:>6.1} ns/sample (best of {ROUNDS})", body.len());
}

fn main() {
    for (what, request) in [("OTLP sums", otlp_sums()), ("OTLP histograms", otlp_histograms())] {
        measure_otlp(what, Format::Protobuf, Encoding::Identity, &request);
        let zstd = zstd::encode_all(&request[..], 1).expect("fits");
        measure_otlp(what, Format::Protobuf, Encoding::Zstd, &zstd);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &request).expect("fits");
        measure_otlp(what, Format::Protobuf, Encoding::Gzip, &gzip.finish().expect("fits"));
    }
    let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    for (what, content_type, request) in
        [("1.0", "application/x-protobuf", version_1()), ("2.0", v2, version_2())]
    {
        let snappy = snap::raw::Encoder::new().compress_vec(&request).expect("fits");
        measure(what, content_type, "snappy", &snappy, request.len());
        let zstd = zstd::encode_all(&request[..], 1).expect("fits");
        measure(what, content_type, "zstd", &zstd, request.len());
        let mut plain = Vec::new();
        // Stored, not compressed: what is left is decoding and one copy.
        snappy_literal(&request, &mut plain);
        measure(what, content_type, "snappy", &plain, request.len());
    }
}

fn snappy_literal(bytes: &[u8], into: &mut Vec<u8>) {
    varint(into, bytes.len() as u64);
    into.push(63 << 2);
    into.extend((bytes.len() as u32 - 1).to_le_bytes());
    into.extend(bytes);
}
