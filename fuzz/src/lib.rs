//! What the fuzz targets do with their input. They assert more than that nothing panics: what a decoder
//! accepts is what a plain decoder of the same bytes finds, and nothing grows beyond its limit.
//!
//! Where it sits: called by the targets in `fuzz_targets/`, and by an ordinary test of `ingest` for every
//! file in `corpus/`. `plain` holds the messages as protobuf's own code generator would make them.

mod plain;

use ingest::remote_write::{self, RequestInfo};
use ingest::{Decoded, Encoding, Error, Limits, otlp};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, metric::Data};
use prost::Message;
use std::collections::HashMap;
use std::io::Read;
use storage_format::model::{Labels, Samples, stale_nan};

/// Timestamp and bits of the value of float samples.
type Floats = Vec<(i64, u64)>;

/// What a target does with an input.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 7] = [
    ("remote_write_v1", remote_write_v1),
    ("remote_write_v2", remote_write_v2),
    ("otlp_protobuf", otlp_protobuf),
    ("otlp_json", otlp_json),
    ("compression", compression),
    ("wal", wal),
    ("storage", storage),
];

fn floats(samples: &Samples) -> Floats {
    samples.timestamps.iter().copied().zip(samples.values.iter().map(|v| v.to_bits())).collect()
}

/// The series of a request that have float samples.
fn with_floats(decoded: Decoded) -> Vec<(Labels, Floats)> {
    let series = decoded.series.into_iter().map(|(labels, samples)| (labels, floats(&samples)));
    series.filter(|(_, floats)| !floats.is_empty()).collect()
}

fn inspect(content_type: &str, data: &[u8]) -> Result<Decoded, Error> {
    let body = snap::raw::Encoder::new().compress_vec(data).expect("inputs are short");
    let info = RequestInfo { content_type: Some(content_type), content_encoding: None };
    remote_write::inspect(info, &body, &Limits::REMOTE_WRITE)
}

/// A label set from pairs as they came, when they name a series within the limits.
fn series_of(pairs: &[(&[u8], &[u8])]) -> Option<Labels> {
    let limits = Limits::REMOTE_WRITE;
    let total: usize = pairs.iter().map(|(n, v)| n.len() + v.len()).sum();
    if pairs.len() > limits.labels || total > limits.label_set_bytes {
        return None;
    }
    let mut text = Vec::new();
    for (name, value) in pairs {
        if name.len() > limits.name_bytes || value.len() > limits.value_bytes {
            return None;
        }
        text.push((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?));
    }
    text.sort_unstable();
    if text.windows(2).any(|w| w[0].0 == w[1].0) || text.iter().any(|(name, _)| name.is_empty()) {
        return None;
    }
    let labels = Labels::from_pairs(text);
    labels.metric_name()?;
    Some(labels)
}

/// `prometheus.WriteRequest`.
pub fn remote_write_v1(data: &[u8]) {
    let Ok(decoded) = inspect("application/x-protobuf", data) else { return };
    let Ok(plain) = plain::WriteRequest::decode(data) else { return };
    let want: Vec<_> = plain
        .timeseries
        .iter()
        .filter(|series| !series.samples.is_empty())
        .filter_map(|series| {
            let pairs: Vec<_> = series.labels.iter().map(|l| (&l.name[..], &l.value[..])).collect();
            let floats = series.samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
            Some((series_of(&pairs)?, floats))
        })
        .collect();
    assert_eq!(with_floats(decoded), want);
}

/// `io.prometheus.write.v2.Request`.
pub fn remote_write_v2(data: &[u8]) {
    let Ok(decoded) = inspect("application/x-protobuf;proto=io.prometheus.write.v2.Request", data) else {
        return;
    };
    let Ok(plain) = plain::RequestV2::decode(data) else { return };
    let symbol = |r: &u64| plain.symbols.get(usize::try_from(*r).ok()?).map(Vec::as_slice);
    let want: Vec<_> = plain
        .timeseries
        .iter()
        .filter(|series| !series.samples.is_empty() && series.labels_refs.len().is_multiple_of(2))
        .filter_map(|series| {
            let texts: Option<Vec<_>> = series.labels_refs.iter().map(symbol).collect();
            let pairs: Vec<_> = texts?.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            let floats: Floats = series.samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
            Some((series_of(&pairs)?, floats))
        })
        .collect();
    assert_eq!(with_floats(decoded), want);
}

fn otlp_config() -> otlp::Config {
    otlp::Config { delta: otlp::DeltaMode::Native, ..otlp::Config::default() }
}

/// `ExportMetricsServiceRequest` as protobuf.
pub fn otlp_protobuf(data: &[u8]) {
    let decoded =
        otlp::inspect(otlp::Format::Protobuf, Encoding::Identity, data, &otlp_config(), &Limits::OTLP);
    let Ok(decoded) = decoded else { return };
    let Ok(plain) = ExportMetricsServiceRequest::decode(data) else { return };
    let metrics = plain.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    let mut points: Vec<&NumberDataPoint> = Vec::new();
    for metric in metrics {
        match &metric.data {
            Some(Data::Gauge(gauge)) => points.extend(&gauge.data_points),
            Some(Data::Sum(sum)) => points.extend(&sum.data_points),
            None => {}
            // Their series are many to a point.
            Some(_) => return,
        }
    }
    let mut left: HashMap<(i64, u64), usize> = HashMap::new();
    for point in &points {
        *left.entry(number(point)).or_default() += 1;
    }
    let mut stored = 0;
    for (labels, floats) in with_floats(decoded) {
        if labels.metric_name() == Some("target_info") {
            continue;
        }
        for sample in floats {
            stored += 1;
            let count = left.get_mut(&sample).filter(|count| **count > 0);
            *count.unwrap_or_else(|| panic!("{sample:?} was not sent, or not so often")) -= 1;
        }
    }
    assert!(stored <= points.len());
}

/// The sample that a point becomes.
fn number(point: &NumberDataPoint) -> (i64, u64) {
    let value = match point.value {
        _ if point.flags & 1 == 1 => stale_nan(),
        Some(Value::AsDouble(v)) => v,
        Some(Value::AsInt(v)) => v as f64,
        None => 0.0,
    };
    ((point.time_unix_nano / 1_000_000) as i64, value.to_bits())
}

/// `ExportMetricsServiceRequest` as JSON: what is accepted is JSON.
pub fn otlp_json(data: &[u8]) {
    let decoded = otlp::inspect(otlp::Format::Json, Encoding::Identity, data, &otlp_config(), &Limits::OTLP);
    if decoded.is_ok() {
        // What is skipped because nobody knows it is not looked at as text, by neither.
        let read = serde_json::from_slice::<serde::de::IgnoredAny>(data);
        let is_json = read.as_ref().map_or_else(|e| !e.is_syntax(), |_| true);
        assert!(is_json, "{read:?}");
    }
}

/// A compressed body: the first byte chooses how.
pub fn compression(data: &[u8]) {
    const LIMIT: usize = 1 << 16;
    let Some((which, body)) = data.split_first() else { return };
    let encodings = [Encoding::Identity, Encoding::Snappy, Encoding::Zstd, Encoding::Gzip, Encoding::Deflate];
    let encoding = encodings[usize::from(*which) % encodings.len()];
    let Ok(got) = encoding.decompress(body, LIMIT) else { return };
    assert!(got.len() <= LIMIT);
    let mut want = Vec::new();
    let read = |reader: &mut dyn Read, want: &mut Vec<u8>| reader.take(LIMIT as u64 + 1).read_to_end(want);
    let done = match encoding {
        Encoding::Identity => read(&mut &body[..], &mut want).is_ok(),
        Encoding::Snappy => snap::raw::Decoder::new().decompress_vec(body).map(|v| want = v).is_ok(),
        Encoding::Zstd => zstd::Decoder::new(body).and_then(|mut d| read(&mut d, &mut want)).is_ok(),
        Encoding::Gzip => read(&mut flate2::read::MultiGzDecoder::new(body), &mut want).is_ok(),
        Encoding::Deflate => {
            // Either of the two forms.
            read(&mut flate2::read::ZlibDecoder::new(body), &mut want).is_ok() && want == got || {
                want.clear();
                read(&mut flate2::read::DeflateDecoder::new(body), &mut want).is_ok()
            }
        }
    };
    assert!(done && want == got, "{encoding:?}: {} bytes instead of {}", got.len(), want.len());
}

/// A segment of the write-ahead log, and a batch record.
pub fn wal(data: &[u8]) {
    use storage_format::wal::frame::{Found, Frames};
    use storage_format::wal::record;
    if let Ok(frames) = Frames::new(data) {
        let mut seen = 0;
        for found in frames {
            seen += match found {
                Found::Record { payload, .. } => {
                    batch(payload);
                    payload.len()
                }
                Found::Damaged { .. } => 1,
                Found::Garbage { length, .. } => length,
            };
        }
        assert!(seen <= data.len(), "more was found than is there");
    }
    batch(data);
    if let Ok(entries) = record::read_metadata(data) {
        let mut again = Vec::new();
        record::put_metadata(&entries, &mut again);
        assert_eq!(record::read_metadata(&again).ok(), Some(entries));
    }
}

/// A batch record written again says the same.
fn batch(payload: &[u8]) {
    use storage_format::label_table::LabelTable;
    use storage_format::wal::record::{BatchBuilder, BatchVisitor, visit_batch};
    #[derive(Default)]
    struct Said {
        told: Vec<(u64, i64, i64, Vec<u8>)>,
        again: BatchBuilder,
    }
    impl BatchVisitor for Said {
        fn define(&mut self, id: u64, table: &LabelTable<'_>, set: &[u32]) {
            let mut key = Vec::new();
            table.put_key(set, &mut key);
            self.told.push((id, 0, 0, key));
            self.again.define(id, set, |pair| table.pair(pair));
        }
        fn float(&mut self, id: u64, timestamp: i64, start: i64, value: f64) {
            self.told.push((id, timestamp, start, value.to_bits().to_be_bytes().to_vec()));
            self.again.float(id, timestamp, start, value);
        }
        fn histogram(&mut self, id: u64, timestamp: i64, start: i64, chunk: &[u8]) {
            self.told.push((id, timestamp, start, chunk.to_vec()));
            self.again.histogram(id, timestamp, start, chunk);
        }
    }
    let mut first = Said::default();
    if visit_batch(payload, &mut first).is_err() {
        return;
    }
    let (mut bytes, mut second) = (Vec::new(), Said::default());
    first.again.finish(&mut bytes);
    visit_batch(&bytes, &mut second).expect("what was written can be read");
    assert_eq!(first.told, second.told);
}

/// Chunks, and what files hold: the first byte chooses what is read.
pub fn storage(data: &[u8]) {
    use storage_format::{block, catalog, checkpoint, chunk, head_chunk};
    let Some((which, bytes)) = data.split_first() else { return };
    let mut samples = Samples::default();
    match which % 8 {
        0 => {
            let count = bytes.first().map_or(0, |n| usize::from(*n));
            let _ = head_chunk::decode(bytes.get(1..).unwrap_or_default(), count, &mut samples);
            assert!(samples.timestamps.len() <= count);
        }
        1 => {
            let read = chunk::histogram::decode(bytes, &mut samples.histograms);
            let histograms = &samples.histograms;
            if read.is_ok() && !histograms.is_empty() && histograms.is_sorted_by_key(|h| h.0) {
                let (mut again, mut read) = (Vec::new(), Vec::new());
                chunk::histogram::encode(&samples.histograms, &mut again);
                chunk::histogram::decode(&again, &mut read).expect("what was written can be read");
                assert_eq!(format!("{read:?}"), format!("{:?}", samples.histograms));
            }
        }
        2 => {
            let read = chunk::timestamps::decode(bytes, &mut samples.timestamps);
            // Only what is in order was ever written.
            if read.is_ok() && samples.timestamps.is_sorted() {
                let (mut again, mut read) = (Vec::new(), Vec::new());
                chunk::timestamps::encode(&samples.timestamps, &mut again);
                chunk::timestamps::decode(&again, &mut read).expect("what was written can be read");
                assert_eq!(read, samples.timestamps);
            }
        }
        3 => {
            if let Ok(footer) = block::read_footer(bytes) {
                let _ = block::BlockView::new(bytes, &footer);
            }
            let _ = block::slices(bytes);
        }
        4 => {
            if let Ok(page) = block::PageView::read(bytes, 2) {
                for series in 0..page.len() {
                    let _ = page.pairs(series);
                }
            }
        }
        5 => {
            if let Ok(slice) = block::SliceView::read(bytes, 3) {
                for series in 0..3 {
                    let _ = (slice.column(series), slice.starts(series), slice.histograms(series).is_ok());
                }
                let _ = slice.group().is_ok();
            }
        }
        6 => {
            if let Ok(read) = catalog::Catalog::decode(bytes) {
                let again = catalog::Catalog::decode(&read.encode()).expect("what was written can be read");
                assert_eq!(format!("{again:?}"), format!("{read:?}"));
            }
        }
        _ => {
            let (mut groups, mut set) = (checkpoint::SeriesReader::new(bytes), Vec::new());
            while let Ok(true) = groups.next_group() {
                while let Ok(Some(_)) = groups.next_series(&mut set) {
                    let _ = groups.table().labels(&set);
                    set.clear();
                }
            }
            let _ = checkpoint::frames(bytes, &mut Vec::new());
        }
    }
}
