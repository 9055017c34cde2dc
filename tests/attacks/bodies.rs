//! Hostile bodies, and how each must be answered.

use std::io::Write;
use tests_support::remote_write::{HEADERS, put_varint};

pub(crate) struct Attack {
    pub(crate) what: &'static str,
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
    pub(crate) status: &'static [u16],
}

const WRITE: &str = "/api/v1/write";
const OTLP: &str = "/api/v1/otlp/v1/metrics";
const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const V2: (&str, &str) = ("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request");
/// Decompressed size of structures: just under remote write's limit.
const LARGE: usize = 31 << 20;

fn snappy(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).expect("far below snappy's limit")
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("memory does not fail");
    encoder.finish().expect("memory does not fail")
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).expect("memory does not fail");
    encoder.finish().expect("memory does not fail")
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 1).expect("memory does not fail")
}

/// A field with the bytes of a message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    put_varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

fn write(what: &'static str, body: Vec<u8>) -> Attack {
    Attack { what, path: WRITE, headers: HEADERS.to_vec(), body, status: &[400] }
}

fn encoded(what: &'static str, path: &'static str, encoding: &'static str, body: Vec<u8>) -> Attack {
    Attack { what, path, headers: vec![PROTOBUF, ("Content-Encoding", encoding)], body, status: &[400, 413] }
}

fn json(what: &'static str, body: String) -> Attack {
    Attack { what, path: OTLP, headers: vec![JSON], body: body.into_bytes(), status: &[400, 413] }
}

/// An attribute value nested so deep.
fn nested(depth: usize) -> Vec<u8> {
    let mut value = field(1, b"x");
    for _ in 0..depth {
        value = field(5, &field(1, &value));
    }
    let attribute = [field(1, b"a"), field(2, &value)].concat();
    let point = [field(7, &attribute), vec![0x19, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    let metric = [field(1, b"m"), field(5, &field(1, &point))].concat();
    field(1, &field(2, &field(2, &metric)))
}

pub(crate) fn all() -> Vec<Attack> {
    let pairs = |tag: u8| [tag, 0].repeat(LARGE / 2);
    let zeros = vec![0; 256 << 20];
    let v2 = |what, body: &[u8]| Attack { headers: vec![V2], ..write(what, snappy(body)) };
    let mut all = vec![
        // Lengths that lie.
        write("snappy that declares 4 GiB", vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]),
        write("snappy that declares 30 MiB", vec![0x80, 0x80, 0x80, 0x0f, 0, 0]),
        write("framed snappy", b"\xff\x06\x00\x00sNaPpY\x01\x05\x00\x00\0\0\0\0x".to_vec()),
        write("snappy of 256 MiB", snappy(&zeros)),
        encoded("gzip of 256 MiB to remote write", WRITE, "gzip", gzip(&zeros)),
        encoded("zstd of 256 MiB to remote write", WRITE, "zstd", zstd(&zeros)),
        encoded("gzip of 256 MiB to OTLP", OTLP, "gzip", gzip(&zeros)),
        encoded("zstd of 256 MiB to OTLP", OTLP, "zstd", zstd(&zeros)),
        encoded("zlib of 256 MiB to OTLP", OTLP, "deflate", zlib(&zeros)),
        encoded("snappy of 256 MiB to OTLP", OTLP, "snappy", snappy(&zeros)),
        // Two bytes an element.
        write("empty series", snappy(&pairs(0x0a))),
        write("empty metadata", snappy(&pairs(0x1a))),
        write("empty samples", snappy(&field(1, &pairs(0x12)))),
        write("empty exemplars", snappy(&field(1, &pairs(0x1a)))),
        write("empty histograms", snappy(&field(1, &pairs(0x22)))),
        write("a histogram of empty spans", snappy(&field(1, &field(4, &pairs(0x5a))))),
        write("a histogram of zeros", snappy(&field(1, &field(4, &field(12, &zeros[..LARGE]))))),
        v2("empty symbols", &pairs(0x22)),
        v2("empty series of version 2", &pairs(0x2a)),
        v2("empty samples of version 2", &field(5, &pairs(0x12))),
        encoded("empty data points", OTLP, "zstd", {
            let gauge = field(5, &pairs(0x0a));
            zstd(&field(1, &field(2, &field(2, &[field(1, b"m"), gauge].concat()))))
        }),
        encoded("a summary of empty quantiles", OTLP, "zstd", {
            let point = field(1, &pairs(0x32));
            zstd(&field(1, &field(2, &field(2, &[field(1, b"m"), field(11, &point)].concat()))))
        }),
        // No text.
        write("a name that is no text", {
            let label = [field(1, b"__name__"), field(2, b"\xff\xfe")].concat();
            let sample = [&[0x09][..], &[0; 8], &[0x10, 1]].concat();
            snappy(&field(1, &[field(1, &label), field(2, &sample)].concat()))
        }),
        json("JSON of open brackets", "[".repeat(8 << 20)),
        json("JSON of open objects", "{\"a\":".repeat(1 << 20)),
        json("JSON nested in an attribute", {
            let open = "{\"arrayValue\":{\"values\":[".repeat(200_000);
            format!(
                "{{\"resourceMetrics\":[{{\"resource\":{{\"attributes\":[{{\"key\":\"a\",\"value\":{open}"
            )
        }),
        json("JSON that ends early", "{\"resourceMetrics\":[{\"scopeMetrics\":[{".to_owned()),
    ];
    // A series of nothing but labels brings no sample, and of nothing nobody wants to hear.
    all.push(Attack { status: &[204, 400], ..write("empty labels", snappy(&field(1, &pairs(0x0a)))) });
    let nested = encoded("attributes nested 5,000 deep", OTLP, "identity", nested(5_000));
    // Refused whole, or the point is left out.
    all.push(Attack { status: &[200, 400], ..nested });
    all
}
