//! The series as remote write 1.0 requests with native histograms (`prometheus.Histogram`, field 4 of a
//! series, counts as floats).

use snap::raw::Encoder;
use storage_format::model::{Histogram, Labels, Samples, Span, Timestamp};
use tests_support::remote_write::{put_label, put_sample, put_varint};

/// The compressed bodies, to be sent one after the other. A series whose samples change between floats and
/// histograms comes in as many pieces, one a request, because within a request a receiver may store all
/// floats before all histograms.
pub(crate) fn requests(series: &[(Labels, Samples)]) -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for (labels, samples) in series {
        let (mut floats, mut histograms, mut piece) = (0, 0, 0);
        while floats < samples.timestamps.len() || histograms < samples.histograms.len() {
            let mut message = Vec::new();
            for (name, value) in labels {
                put_label(&mut message, name.as_bytes(), value.as_bytes());
            }
            let next_histogram = samples.histograms.get(histograms).map_or(Timestamp::MAX, |h| h.0);
            let next_float = samples.timestamps.get(floats).copied().unwrap_or(Timestamp::MAX);
            while let Some(t) = samples.timestamps.get(floats).filter(|t| **t < next_histogram) {
                put_sample(&mut message, *t, samples.values[floats]);
                floats += 1;
            }
            while let Some((t, _, h)) = samples.histograms.get(histograms).filter(|h| h.0 < next_float) {
                put_bytes(&mut message, 4, &encode(*t, h));
                histograms += 1;
            }
            if bodies.len() <= piece {
                bodies.push(Vec::new());
            }
            put_bytes(&mut bodies[piece], 1, &message);
            piece += 1;
        }
    }
    let compress = |body: &Vec<u8>| Encoder::new().compress_vec(body);
    bodies.iter().map(compress).collect::<Result<_, _>>().expect("a request is far below snappy's limit")
}

fn put_tag(out: &mut Vec<u8>, field: u64, wire: u64) {
    put_varint(out, field << 3 | wire);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_tag(out, field, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    put_tag(out, field, 1);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_tag(out, field, 0);
    put_varint(out, value);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn put_spans(out: &mut Vec<u8>, field: u64, spans: &[Span]) {
    for span in spans {
        let mut message = Vec::new();
        put_number(&mut message, 1, zigzag(i64::from(span.offset)));
        put_number(&mut message, 2, u64::from(span.length));
        put_bytes(out, field, &message);
    }
}

fn put_doubles(out: &mut Vec<u8>, field: u64, values: &[f64]) {
    if !values.is_empty() {
        let packed: Vec<u8> = values.iter().flat_map(|v| v.to_bits().to_le_bytes()).collect();
        put_bytes(out, field, &packed);
    }
}

fn encode(t: Timestamp, h: &Histogram) -> Vec<u8> {
    let mut out = Vec::new();
    put_double(&mut out, 2, h.count);
    put_double(&mut out, 3, h.sum);
    put_number(&mut out, 4, zigzag(i64::from(h.schema)));
    put_double(&mut out, 5, h.zero_threshold);
    put_double(&mut out, 7, h.zero_count);
    put_spans(&mut out, 8, &h.negative_spans);
    put_doubles(&mut out, 10, &h.negative_counts);
    put_spans(&mut out, 11, &h.positive_spans);
    put_doubles(&mut out, 13, &h.positive_counts);
    put_number(&mut out, 14, h.reset_hint as u64);
    put_number(&mut out, 15, t as u64);
    put_doubles(&mut out, 16, &h.custom_bounds);
    out
}
