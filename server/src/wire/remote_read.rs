//! The messages of Prometheus' remote read, `prompb.ReadRequest` and `prompb.ReadResponse`.
//!
//! Source: `prompb/remote.proto` and `prompb/types.proto`. Series are written into the answer one by one, so
//! that no second form of the samples exists.

use super::chunks::chunks;
use super::protobuf::{Fields, Malformed, Value, push_bytes, push_double, push_integer, push_varint, zigzag};
use engine::{MatchOp, Matcher};
use storage_format::model::{Histogram, Labels, Samples, Span, TimeRange, Timestamp};

/// One of the questions of a request.
#[derive(Debug, Clone)]
pub struct Query {
    /// From the first to the last millisecond asked for.
    pub range: TimeRange,
    /// Which series.
    pub matchers: Vec<Matcher>,
}

/// A request.
#[derive(Debug, Clone, Default)]
pub struct ReadRequest {
    /// Its questions, each to be answered by one result.
    pub queries: Vec<Query>,
    /// The forms of answer that the client reads, the best first; empty means samples.
    pub accepted: Vec<u64>,
}

/// The form of answer that is one message with samples.
pub const SAMPLES: u64 = 0;
/// The form of answer that is a stream of messages with chunks.
pub const STREAMED_CHUNKS: u64 = 1;
/// Bytes of a message of the stream from which the next chunk goes into another one.
const FRAME_BYTES: usize = 1 << 20;

/// Reads a request.
///
/// # Errors
/// A sentence for the client.
pub fn decode(message: &[u8]) -> Result<ReadRequest, String> {
    let mut request = ReadRequest::default();
    for field in Fields::new(message) {
        match field.map_err(malformed)? {
            (1, Value::Bytes(query)) => request.queries.push(decode_query(query)?),
            (2, Value::Varint(form)) => request.accepted.push(form),
            (2, Value::Bytes(packed)) => {
                // A packed list is a run of varints; as fields they would need keys, so each gets one.
                let mut rest = packed;
                while !rest.is_empty() {
                    let end = rest.iter().position(|b| b & 0x80 == 0).ok_or(Malformed).map_err(malformed)?;
                    let keyed = [&[8], &rest[..=end]].concat();
                    for field in Fields::new(&keyed) {
                        if let (_, Value::Varint(form)) = field.map_err(malformed)? {
                            request.accepted.push(form);
                        }
                    }
                    rest = &rest[end + 1..];
                }
            }
            _ => {}
        }
    }
    Ok(request)
}

fn malformed(_: Malformed) -> String {
    "unmarshal error: malformed read request".to_owned()
}

fn decode_query(message: &[u8]) -> Result<Query, String> {
    let (mut start, mut end, mut matchers) = (0, 0, Vec::new());
    for field in Fields::new(message) {
        match field.map_err(malformed)? {
            (1, Value::Varint(ms)) => start = ms as Timestamp,
            (2, Value::Varint(ms)) => end = ms as Timestamp,
            (3, Value::Bytes(matcher)) => matchers.push(decode_matcher(matcher)?),
            _ => {}
        }
    }
    Ok(Query { range: TimeRange::closed(start, end), matchers })
}

fn decode_matcher(message: &[u8]) -> Result<Matcher, String> {
    let (mut op, mut name, mut value) = (MatchOp::Equal, "", "");
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| "matcher is not UTF-8".to_owned());
    for field in Fields::new(message) {
        match field.map_err(malformed)? {
            (1, Value::Varint(number)) => {
                op = match number {
                    0 => MatchOp::Equal,
                    1 => MatchOp::NotEqual,
                    2 => MatchOp::Regex,
                    3 => MatchOp::NotRegex,
                    _ => return Err("invalid matcher type".to_owned()),
                }
            }
            (2, Value::Bytes(bytes)) => name = text(bytes)?,
            (3, Value::Bytes(bytes)) => value = text(bytes)?,
            _ => {}
        }
    }
    Matcher::new(op, name, value).map_err(|e| e.to_string())
}

/// Appends one series to a stream as frames: length, CRC-32C, a `ChunkedReadResponse`.
pub fn push_frames(out: &mut Vec<u8>, query: usize, labels: &Labels, samples: &Samples) {
    let mut head = Vec::with_capacity(256);
    push_labels(&mut head, labels);
    let mut series = head.clone();
    chunks(samples, |chunk| {
        let mut piece = Vec::with_capacity(chunk.bytes.len() + 32);
        push_integer(&mut piece, 1, chunk.first as u64);
        push_integer(&mut piece, 2, chunk.last as u64);
        push_integer(&mut piece, 3, chunk.encoding);
        push_bytes(&mut piece, 4, &chunk.bytes);
        push_bytes(&mut series, 2, &piece);
        if series.len() >= FRAME_BYTES {
            push_frame(out, query, &series);
            series.clone_from(&head);
        }
    });
    if series.len() > head.len() {
        push_frame(out, query, &series);
    }
}

fn push_frame(out: &mut Vec<u8>, query: usize, series: &[u8]) {
    let mut message = Vec::with_capacity(series.len() + 16);
    push_bytes(&mut message, 1, series);
    push_integer(&mut message, 2, query as u64);
    push_varint(out, message.len() as u64);
    out.extend_from_slice(&crc32c::crc32c(&message).to_be_bytes());
    out.extend_from_slice(&message);
}

fn push_labels(out: &mut Vec<u8>, labels: &Labels) {
    let mut piece = Vec::with_capacity(64);
    for (name, value) in labels {
        piece.clear();
        push_bytes(&mut piece, 1, name.as_bytes());
        push_bytes(&mut piece, 2, value.as_bytes());
        push_bytes(out, 1, &piece);
    }
}

/// Appends a series to a `QueryResult`. `scratch` is overwritten.
pub fn push_series(out: &mut Vec<u8>, labels: &Labels, samples: &Samples, scratch: &mut Vec<u8>) {
    scratch.clear();
    push_labels(scratch, labels);
    let mut piece = Vec::with_capacity(64);
    for (timestamp, value) in samples.timestamps.iter().zip(&samples.values) {
        piece.clear();
        push_double(&mut piece, 1, *value);
        push_integer(&mut piece, 2, *timestamp as u64);
        push_bytes(scratch, 2, &piece);
    }
    for (timestamp, _, histogram) in &samples.histograms {
        piece.clear();
        push_histogram(&mut piece, *timestamp, histogram);
        push_bytes(scratch, 4, &piece);
    }
    push_bytes(out, 1, scratch);
}

fn push_histogram(out: &mut Vec<u8>, timestamp: Timestamp, histogram: &Histogram) {
    let (count, zero_count) = (histogram.count, histogram.zero_count);
    if histogram.integer {
        push_integer(out, 1, count as u64);
    } else {
        push_double(out, 2, count);
    }
    push_double(out, 3, histogram.sum);
    push_integer(out, 4, zigzag(i64::from(histogram.schema)));
    push_double(out, 5, histogram.zero_threshold);
    if histogram.integer {
        push_integer(out, 6, zero_count as u64);
    } else {
        push_double(out, 7, zero_count);
    }
    for (first, spans, counts) in [
        (8, &histogram.negative_spans, &histogram.negative_counts),
        (11, &histogram.positive_spans, &histogram.positive_counts),
    ] {
        push_spans(out, first, spans);
        if histogram.integer {
            push_deltas(out, first + 1, counts);
        } else {
            push_doubles(out, first + 2, counts);
        }
    }
    push_integer(out, 14, histogram.reset_hint as u64);
    push_integer(out, 15, timestamp as u64);
    push_doubles(out, 16, &histogram.custom_bounds);
}

fn push_spans(out: &mut Vec<u8>, number: u64, spans: &[Span]) {
    for span in spans {
        let mut piece = Vec::with_capacity(12);
        push_integer(&mut piece, 1, zigzag(i64::from(span.offset)));
        push_integer(&mut piece, 2, u64::from(span.length));
        push_bytes(out, number, &piece);
    }
}

/// Whole counts, packed, each as the difference to the one before.
fn push_deltas(out: &mut Vec<u8>, number: u64, counts: &[f64]) {
    if counts.is_empty() {
        return;
    }
    let (mut packed, mut previous) = (Vec::with_capacity(counts.len() * 2), 0);
    for count in counts {
        let count = *count as i64;
        push_varint(&mut packed, zigzag(count.wrapping_sub(previous)));
        previous = count;
    }
    push_bytes(out, number, &packed);
}

fn push_doubles(out: &mut Vec<u8>, number: u64, values: &[f64]) {
    if !values.is_empty() {
        let packed: Vec<u8> = values.iter().flat_map(|v| v.to_bits().to_le_bytes()).collect();
        push_bytes(out, number, &packed);
    }
}
