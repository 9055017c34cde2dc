//! Remote write 1.0 and 2.0 against an engine: what is sent is what is stored, and the receipt says so.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use engine::{Engine, Matcher, MetricType, Options};
use ingest::remote_write::{Receipt, Receiver, RequestInfo, Version, decode_only, receive};
use ingest::{Error, Limits};
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use storage_format::model::{CounterResetHint, Histogram, Labels, Samples, Span, TimeRange, stale_nan};
use support::{Message, message, snappy};

const T: i64 = 1_700_000_000_000;
const V1: RequestInfo<'static> = RequestInfo { content_type: None, content_encoding: None };
const V2: RequestInfo<'static> = RequestInfo {
    content_type: Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"),
    content_encoding: Some("snappy"),
};

struct Fixture {
    _dir: tempfile::TempDir,
    engine: Arc<Engine>,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(Engine::open(Options::new(dir.path())).unwrap());
    Fixture { _dir: dir, engine }
}

/// One engine for all cases of a test that only looks for panics.
fn shared() -> &'static Fixture {
    static SHARED: OnceLock<Fixture> = OnceLock::new();
    SHARED.get_or_init(fixture)
}

impl Fixture {
    fn send(&self, info: RequestInfo<'_>, request: &Message) -> Result<Receipt, Error> {
        receive(&self.engine, info, &snappy(&request.0))
    }
    /// All series with their samples, as text, sorted.
    fn dump(&self) -> Vec<(String, Samples)> {
        let all = Matcher::new(engine::MatchOp::NotEqual, "__name__", "").unwrap();
        let mut out: Vec<_> = self
            .engine
            .snapshot()
            .select(&[all], TimeRange::ALL)
            .unwrap()
            .iter()
            .map(|s| {
                let mut samples = Samples::default();
                s.read(TimeRange::ALL, &mut samples).unwrap();
                (s.labels().to_string(), samples)
            })
            .collect();
        out.sort_by(|a, b| a.0.cmp(&b.0));
        out
    }
    fn floats(&self) -> Vec<(String, Vec<(i64, f64)>)> {
        let pairs = |s: &Samples| s.timestamps.iter().copied().zip(s.values.iter().copied()).collect();
        self.dump().iter().map(|(l, s)| (l.clone(), pairs(s))).collect()
    }
}

fn label(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Message {
    message().bytes(1, name).bytes(2, value)
}

fn labels(pairs: &[(&str, &str)]) -> Message {
    pairs.iter().fold(message(), |m, (n, v)| m.sub(1, label(n, v)))
}

fn sample(value: f64, timestamp: i64) -> Message {
    message().double(1, value).int(2, timestamp)
}

fn up(job: &str) -> Message {
    labels(&[("__name__", "up"), ("job", job)])
}

/// An integer histogram: counts 2 and 3 in buckets 1 and 2, one in zero.
fn histogram(count: i64) -> Message {
    message()
        .int(1, count)
        .double(3, 12.5)
        .sint(4, 3)
        .double(5, 0.001)
        .int(6, 1)
        .sub(11, message().sint(1, 1).int(2, 2))
        .packed_sint(12, &[2, 1])
        .int(14, 2)
        .int(15, T)
}

fn histogram_value() -> Histogram {
    Histogram {
        reset_hint: CounterResetHint::NotCounterReset,
        schema: 3,
        integer: true,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 6.0,
        sum: 12.5,
        positive_spans: vec![Span { offset: 1, length: 2 }],
        positive_counts: vec![2.0, 3.0],
        ..Histogram::default()
    }
}

#[test]
fn v1_stores_series_and_samples() {
    let f = fixture();
    let request = message()
        .sub(1, up("a").sub(2, sample(1.5, T)).sub(2, sample(2.5, T + 1000)))
        .sub(1, up("b").sub(2, message().int(2, T))) // proto3 leaves a zero out
        .sub(1, up("c").sub(2, message().double(1, stale_nan()).int(2, T)));
    let receipt = f.send(V1, &request).unwrap();
    assert_eq!((receipt.version, receipt.samples_written, receipt.rejected.len()), (Version::V1, 4, 0));
    receipt.ticket.wait().unwrap();
    let got = f.floats();
    assert_eq!(got[0], (r#"{__name__="up", job="a"}"#.to_owned(), vec![(T, 1.5), (T + 1000, 2.5)]));
    assert_eq!(got[1], (r#"{__name__="up", job="b"}"#.to_owned(), vec![(T, 0.0)]));
    assert_eq!(got[2].1[0].1.to_bits(), stale_nan().to_bits());
}

#[test]
fn v1_accepts_every_legal_encoding_of_a_series() {
    let want = vec![(r#"{__name__="up", job="a"}"#.to_owned(), vec![(T, 1.0)])];
    let name = || label("__name__", "up");
    let job = || label("job", "a");
    let cases = [
        ("unsorted", message().sub(1, job()).sub(1, name()).sub(2, sample(1.0, T))),
        ("sample first", message().sub(2, sample(1.0, T)).sub(1, name()).sub(1, job())),
        ("labels apart", message().sub(1, name()).sub(2, sample(1.0, T)).sub(1, job())),
        ("empty value", up("a").sub(1, label("x", "")).sub(2, sample(1.0, T))),
        ("unknown fields", up("a").int(9, 7).fixed(10, 1).bytes(11, b"x").sub(2, sample(1.0, T).int(7, 1))),
        ("swapped sample fields", up("a").sub(2, message().int(2, T).double(1, 1.0))),
        (
            "value before name",
            message()
                .sub(1, message().bytes(2, "up").bytes(1, "__name__"))
                .sub(1, job())
                .sub(2, sample(1.0, T)),
        ),
    ];
    for (what, series) in cases {
        let f = fixture();
        let receipt = f.send(V1, &message().sub(1, series)).unwrap();
        assert_eq!(receipt.rejected, [""; 0], "{what}");
        assert_eq!(f.floats(), want, "{what}");
    }
}

#[test]
fn v1_long_labels_take_the_two_byte_length() {
    let f = fixture();
    let long = "x".repeat(300);
    let series = labels(&[("__name__", "up"), ("long", &long)]).sub(2, sample(1.0, T));
    f.send(V1, &message().sub(1, series)).unwrap();
    assert_eq!(f.floats()[0].0, format!(r#"{{__name__="up", long="{long}"}}"#));
}

#[test]
fn one_bad_series_never_costs_the_others() {
    let f = fixture();
    let request = message()
        .sub(1, labels(&[("job", "nameless")]).sub(2, sample(1.0, T)))
        .sub(1, labels(&[("__name__", "twice"), ("a", "1"), ("a", "2")]).sub(2, sample(1.0, T)))
        .sub(1, message().sub(1, label("__name__", b"\xff\xfe")).sub(2, sample(1.0, T)))
        .sub(1, labels(&[("__name__", "empty"), ("", "2")]).sub(2, sample(1.0, T)))
        .sub(1, up("good").sub(2, sample(1.0, T)));
    let receipt = f.send(V1, &request).unwrap();
    assert_eq!((receipt.samples_written, receipt.rejected_count), (1, 4));
    // The engine names them in the order of its shards.
    let mut rejected = receipt.rejected;
    rejected.sort();
    assert_eq!(
        rejected,
        [
            r#"invalid labels for series, labels {__name__="twice", a="1", a="2"}, duplicated label a"#,
            r#"invalid metric name or labels, got {__name__="empty", ="2"}"#,
            "invalid metric name or labels, got {__name__=\"\u{fffd}\u{fffd}\"}",
            r#"invalid metric name or labels, got {job="nameless"}"#,
        ]
    );
    assert_eq!(f.floats().len(), 1);
}

#[test]
fn v1_series_without_samples_are_ignored() {
    let f = fixture();
    let receipt = f.send(V1, &message().sub(1, up("a")).sub(1, message())).unwrap();
    assert_eq!((receipt.samples_written, receipt.rejected.len()), (0, 0));
    assert!(f.dump().is_empty());
    assert_eq!(f.send(V1, &message()).unwrap().samples_written, 0);
}

#[test]
fn both_versions_store_native_histograms() {
    for (info, request) in [
        (V1, message().sub(1, up("a").sub(4, histogram(6)))),
        (
            V2,
            v2(&["", "__name__", "up", "job", "a"])
                .sub(5, message().packed(1, &[1, 2, 3, 4]).sub(3, histogram(6).int(17, T - 5000))),
        ),
    ] {
        let f = fixture();
        let receipt = f.send(info, &request).unwrap();
        assert_eq!((receipt.histograms_written, receipt.samples_written), (1, 0));
        let start = if info.content_type.is_some() { T - 5000 } else { 0 };
        assert_eq!(f.dump()[0].1.histograms, [(T, start, histogram_value())]);
    }
}

#[test]
fn float_stale_fine_and_custom_histograms() {
    let f = fixture();
    let float = message()
        .double(2, 7.5)
        .double(3, 1.0)
        .sint(4, -4)
        .double(7, 0.5)
        .sub(8, message().sint(1, -3).int(2, 1))
        .packed_doubles(10, &[3.0])
        .sub(11, message().sint(1, 0).int(2, 2))
        .packed_doubles(13, &[1.5, 2.5])
        .int(14, 3)
        .int(15, T);
    let custom = message()
        .int(1, 6)
        .double(3, 9.0)
        .sint(4, -53)
        .sub(11, message().sint(1, 0).int(2, 3))
        .packed_sint(12, &[1, 1, 1])
        .packed_doubles(16, &[0.5, 1.0])
        .int(15, T + 1);
    let stale = message().int(1, 0).double(3, stale_nan()).int(15, T + 2);
    // Schema 9 with buckets 0..=3: (0), (1, 2), (3) of schema 8.
    let fine = message()
        .int(1, 10)
        .double(3, 1.0)
        .sint(4, 9)
        .sub(11, message().sint(1, 0).int(2, 4))
        .packed_sint(12, &[1, 1, 1, 1])
        .int(15, T + 3);
    let series = up("a").sub(4, float).sub(4, custom).sub(4, stale).sub(4, fine);
    assert_eq!(f.send(V1, &message().sub(1, series)).unwrap().rejected, [""; 0]);
    let got = f.dump()[0].1.histograms.clone();
    assert_eq!(
        got[0].2,
        Histogram {
            reset_hint: CounterResetHint::Gauge,
            schema: -4,
            count: 7.5,
            sum: 1.0,
            zero_count: 0.5,
            negative_spans: vec![Span { offset: -3, length: 1 }],
            negative_counts: vec![3.0],
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_counts: vec![1.5, 2.5],
            ..Histogram::default()
        }
    );
    assert_eq!((got[1].2.schema, got[1].2.custom_bounds.as_slice()), (-53, &[0.5, 1.0][..]));
    assert_eq!(got[1].2.positive_counts, [1.0, 2.0, 3.0]);
    assert!(got[2].2.is_stale());
    assert_eq!((got[3].2.schema, got[3].2.positive_counts.as_slice()), (8, &[1.0, 5.0, 4.0][..]));
    assert_eq!(got[3].2.positive_spans, [Span { offset: 0, length: 3 }]);
}

#[test]
fn a_bad_histogram_is_refused_alone_and_named() {
    let spans = |offset, length| message().sint(1, offset).int(2, length);
    let exponential = || message().int(1, 1).sint(4, 0).int(15, T);
    let custom = || message().int(1, 3).sint(4, -53).int(15, T);
    let cases = [
        (
            histogram(7),
            "6 observations found in buckets, but the Count field is 7: histogram's observation count should equal",
        ),
        (
            exponential().sub(11, spans(0, 2)).packed_sint(12, &[1]),
            "positive side: spans need 2 buckets, have 1 buckets",
        ),
        (
            exponential().sub(8, spans(0, 1)).sub(8, spans(-1, 1)).packed_sint(9, &[1, -1]),
            "negative side: span number 2 with offset -1",
        ),
        (
            exponential().sub(11, spans(0, 2)).packed_sint(12, &[2, -3]),
            "positive side: bucket number 2 has observation count of -1",
        ),
        (message().int(1, 0).sint(4, -5).int(15, T), "invalid histogram schema -5"),
        (message().int(1, 0).sint(4, 53).int(15, T), "invalid histogram schema 53"),
        (
            exponential().packed_doubles(16, &[1.0]),
            "histogram with exponential schema must not have custom bounds",
        ),
        (
            custom().packed_doubles(16, &[1.0, 1.0]),
            "custom buckets: histogram custom bounds must be in strictly increasing order",
        ),
        (
            custom().packed_doubles(16, &[1.0, f64::INFINITY]),
            "custom buckets: histogram custom bounds must be finite",
        ),
        (custom().packed_doubles(16, &[f64::NAN]), "custom buckets: histogram custom bounds must be finite"),
        (
            custom().packed_doubles(16, &[1.0]).sub(11, spans(0, 3)).packed_sint(12, &[1, 0, 0]),
            "custom buckets: histogram custom bounds are too few",
        ),
        (custom().int(6, 3), "custom buckets: must have zero count of 0"),
        (custom().double(5, 1.0), "custom buckets: must have zero threshold of 0"),
        (custom().sub(8, spans(0, 1)).packed_sint(9, &[3]), "custom buckets: must not have negative buckets"),
        (
            exponential().sub(11, spans(i64::from(i32::MAX), 1)).packed_sint(12, &[1]),
            "positive side: histogram bucket index overflows",
        ),
        (exponential().double(5, f64::NAN), "histogram has a zero threshold of NaN"),
    ];
    for (bad, want) in cases {
        let f = fixture();
        let request = message()
            .sub(1, up("a").sub(4, bad).sub(2, sample(1.0, T + 1)))
            .sub(1, up("b").sub(4, histogram(6)));
        let receipt = f.send(V1, &request).unwrap();
        assert_eq!(
            (receipt.samples_written, receipt.histograms_written, receipt.rejected_count),
            (1, 1, 1),
            "{want}"
        );
        assert!(receipt.rejected[0].starts_with(want), "{} / {want}", receipt.rejected[0]);
        assert!(
            receipt.rejected[0]
                .ends_with(&format!("for series {{__name__=\"up\", job=\"a\"}} at timestamp {T}"))
        );
    }
}

#[test]
fn v1_metadata_is_kept() {
    let f = fixture();
    let metadata =
        message().int(1, 1).bytes(2, "http_requests_total").bytes(4, "Requests.").bytes(5, "requests");
    f.send(V1, &message().sub(3, metadata)).unwrap();
    let known = f.engine.metadata();
    let entry = &known["http_requests_total"][0];
    assert_eq!(
        (entry.metric_type, entry.unit.as_str(), entry.help.as_str()),
        (MetricType::Counter, "requests", "Requests.")
    );
}

fn v2(symbols: &[&str]) -> Message {
    symbols.iter().fold(message(), |m, s| m.bytes(4, s))
}

#[test]
fn v2_stores_series_samples_starts_and_metadata() {
    let f = fixture();
    let request = v2(&["", "__name__", "x_total", "job", "a", "Help.", "seconds"]).sub(
        5,
        message()
            .packed(1, &[3, 4, 1, 2])
            .sub(2, sample(1.0, T))
            .sub(2, sample(2.0, T + 1).int(3, T - 9))
            .sub(5, message().int(1, 1).int(3, 5).int(4, 6)),
    );
    let receipt = f.send(V2, &request).unwrap();
    assert_eq!((receipt.version, receipt.samples_written, receipt.rejected.len()), (Version::V2, 2, 0));
    let got = f.dump();
    assert_eq!(got[0].0, r#"{__name__="x_total", job="a"}"#);
    assert_eq!((got[0].1.values.as_slice(), got[0].1.starts.as_slice()), (&[1.0, 2.0][..], &[0, T - 9][..]));
    let known = f.engine.metadata();
    let entry = &known["x_total"][0];
    assert_eq!(
        (entry.metric_type, entry.unit.as_str(), entry.help.as_str()),
        (MetricType::Counter, "seconds", "Help.")
    );
}

#[test]
fn v2_encodings_that_mean_the_same() {
    let symbols = || v2(&["", "__name__", "up", "job", "a"]);
    let want = vec![(r#"{__name__="up", job="a"}"#.to_owned(), vec![(T, 1.0)])];
    let cases = [
        ("packed", symbols().sub(5, message().packed(1, &[1, 2, 3, 4]).sub(2, sample(1.0, T)))),
        (
            "single",
            symbols().sub(5, message().int(1, 1).int(1, 2).int(1, 3).int(1, 4).sub(2, sample(1.0, T))),
        ),
        (
            "in two runs",
            symbols().sub(5, message().packed(1, &[1, 2]).sub(2, sample(1.0, T)).packed(1, &[3, 4])),
        ),
        (
            "symbols last",
            message()
                .sub(5, message().packed(1, &[1, 2, 3, 4]).sub(2, sample(1.0, T)))
                .bytes(4, "")
                .bytes(4, "__name__")
                .bytes(4, "up")
                .bytes(4, "job")
                .bytes(4, "a"),
        ),
    ];
    for (what, request) in cases {
        let f = fixture();
        assert_eq!(f.send(V2, &request).unwrap().rejected, [""; 0], "{what}");
        assert_eq!(f.floats(), want, "{what}");
    }
}

#[test]
fn v2_refuses_series_one_by_one_and_counts_exactly() {
    let f = fixture();
    let request = v2(&["", "__name__", "up", "job", "a"])
        .sub(5, message().packed(1, &[1, 2, 3]).sub(2, sample(1.0, T)))
        .sub(5, message().packed(1, &[1, 99]).sub(2, sample(1.0, T)).sub(2, sample(2.0, T + 1)))
        .sub(5, message().packed(1, &[1, 2, 3, 4]).sub(2, sample(3.0, T)))
        .sub(5, message().packed(1, &[1, 2]))
        .sub(5, message().packed(1, &[3, 4]).sub(2, sample(1.0, T)));
    let receipt = f.send(V2, &request).unwrap();
    assert_eq!((receipt.samples_written, receipt.histograms_written, receipt.rejected_count), (1, 0, 4));
    assert_eq!(
        receipt.rejected,
        [
            "parsing labels for series: invalid labelRefs length 3",
            "parsing labels for series: labelRefs 1 = 99 outside of symbols table (size 5)",
            r#"TimeSeries must contain at least one sample or histogram for series {__name__="up"}"#,
            r#"invalid metric name or labels, got {job="a"}"#,
        ]
    );
    assert_eq!(f.floats(), [(r#"{__name__="up", job="a"}"#.to_owned(), vec![(T, 3.0)])]);
}

#[test]
fn all_ways_to_name_a_series_lead_to_one() {
    let f = fixture();
    let receiver = Receiver::new(Arc::clone(&f.engine), Limits::REMOTE_WRITE);
    let table = |symbols: &[&str], refs: &[u64], t: i64| {
        v2(symbols).sub(5, message().packed(1, refs).sub(2, sample(1.0, t)))
    };
    for round in 0..3 {
        let t = T + round * 10;
        let requests = [
            (V1, message().sub(1, up("a").sub(2, sample(1.0, t)))),
            (V2, table(&["", "__name__", "up", "job", "a"], &[1, 2, 3, 4], t + 1)),
            (V2, table(&["", "a", "job", "up", "__name__"], &[4, 3, 2, 1], t + 2)),
            (V2, table(&["", "a", "job", "up", "__name__"], &[2, 1, 4, 3], t + 3)),
            (
                V1,
                message().sub(
                    1,
                    message()
                        .sub(1, label("job", "a"))
                        .sub(1, label("__name__", "up"))
                        .sub(2, sample(1.0, t + 4)),
                ),
            ),
        ];
        for (info, request) in requests {
            assert_eq!(receiver.receive(info, &snappy(&request.0)).unwrap().samples_written, 1);
        }
    }
    let got = f.floats();
    assert_eq!((got.len(), got[0].1.len()), (1, 15));
}

#[test]
fn v2_symbols_must_start_with_the_empty_string() {
    let f = fixture();
    let request = v2(&["__name__", "up"]).sub(5, message().packed(1, &[0, 1]).sub(2, sample(1.0, T)));
    assert!(matches!(f.send(V2, &request), Err(Error::BadPayload { .. })));
}

#[test]
fn other_encodings_carry_the_same_message() {
    use std::io::Write;
    let request = message().sub(1, up("a").sub(2, sample(1.0, T)));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&request.0).unwrap();
    for (name, body) in
        [("zstd", zstd::encode_all(&request.0[..], 1).unwrap()), ("gzip", gzip.finish().unwrap())]
    {
        let f = fixture();
        let info = RequestInfo { content_type: Some("application/x-protobuf"), content_encoding: Some(name) };
        assert_eq!(receive(&f.engine, info, &body).unwrap().samples_written, 1, "{name}");
        assert_eq!(f.floats().len(), 1);
    }
}

#[test]
fn structural_bombs_end_at_the_budget() {
    let f = fixture();
    let limits = Limits { series: 1000, elements: 10_000, ..Limits::REMOTE_WRITE };
    let receiver = Receiver::new(Arc::clone(&f.engine), limits);
    let repeat = |bytes: &[u8], n: usize| bytes.repeat(n);
    let cases = [
        (V1, repeat(&[0x0a, 0x00], 1 << 20)),
        (V1, message().bytes(1, repeat(&[0x12, 0x00], 1 << 20)).0),
        (V1, message().bytes(1, repeat(&[0x1a, 0x00], 1 << 20)).0),
        (V1, message().bytes(1, repeat(&[0x22, 0x00], 1 << 20)).0),
        (V1, repeat(&[0x1a, 0x00], 1 << 20)),
        (V1, message().sub(1, up("a").sub(4, message().int(1, 1).bytes(12, repeat(&[0], 1 << 20)))).0),
        (
            V1,
            message()
                .sub(1, up("a").sub(4, message().int(1, 1).0.into_message(repeat(&[0x5a, 0x00], 1 << 20))))
                .0,
        ),
        (V2, repeat(&[0x22, 0x00], 1 << 20)),
        (V2, [vec![0x22, 0x00], repeat(&[0x2a, 0x00], 1 << 20)].concat()),
    ];
    for (i, (info, body)) in cases.into_iter().enumerate() {
        let got = receiver.receive(info, &snappy(&body));
        assert!(matches!(got, Err(Error::TooLarge { .. })), "case {i}: {got:?}");
    }
}

trait IntoMessage {
    fn into_message(self, more: Vec<u8>) -> Message;
}

impl IntoMessage for Vec<u8> {
    fn into_message(mut self, more: Vec<u8>) -> Message {
        self.extend(more);
        Message(self)
    }
}

#[test]
fn exemplars_are_kept_with_their_series() {
    let exemplar = |labels: Message, t: i64| labels.double(2, 0.5).int(3, t);
    let id = || labels(&[("trace_id", "abc")]);
    let one = message()
        .sub(1, up("a").sub(2, sample(1.0, T)).sub(3, exemplar(id(), T)).sub(3, exemplar(id(), T)))
        .sub(1, up("none").sub(3, exemplar(id(), T)))
        .sub(1, labels(&[("job", "bad")]).sub(2, sample(1.0, T)).sub(3, exemplar(id(), T)));
    let two = v2(&["", "__name__", "up", "job", "a", "trace_id", "abc"])
        .sub(
            5,
            message()
                .packed(1, &[1, 2, 3, 4])
                .sub(2, sample(1.0, T))
                .sub(4, exemplar(message().packed(1, &[5, 6]), T)),
        )
        .sub(
            5,
            message()
                .packed(1, &[1, 2, 99, 4])
                .sub(2, sample(1.0, T))
                .sub(4, exemplar(message().packed(1, &[5, 6]), T)),
        );
    for (info, request, written) in [(V1, one, 2), (V2, two, 1)] {
        let f = fixture();
        assert_eq!(f.send(info, &request).unwrap().exemplars_written, written);
        let all = vec![Matcher::new(engine::MatchOp::NotEqual, "__name__", "").unwrap()];
        let got = f.engine.exemplars(&[all], TimeRange::ALL).unwrap();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].0.to_string(), r#"{__name__="up", job="a"}"#);
        let want =
            engine::Exemplar { labels: Labels::from_pairs([("trace_id", "abc")]), value: 0.5, timestamp: T };
        assert_eq!(got[0].1, [want]);
    }
    let f = fixture();
    let bad = v2(&["", "__name__", "up"]).sub(
        5,
        message().packed(1, &[1, 2]).sub(2, sample(1.0, T)).sub(4, exemplar(message().packed(1, &[7, 7]), T)),
    );
    let receipt = f.send(V2, &bad).unwrap();
    assert_eq!((receipt.samples_written, receipt.exemplars_written), (1, 0));
    assert_eq!(receipt.rejected, ["exemplar: parsing labels for series: invalid labelRefs"]);
}

/// Prometheus sends each exemplar as a series of its own, without samples.
#[test]
fn exemplars_without_samples_find_their_series() {
    let id = labels(&[("trace_id", "abc")]).double(2, 0.5).int(3, T);
    let one = [
        message().sub(1, up("a").sub(3, id.clone())),
        message().sub(1, up("a").sub(2, sample(1.0, T))).sub(1, up("a").sub(3, id.clone())),
        message().sub(1, up("a").sub(3, id.clone())).sub(1, up("unknown").sub(3, id)),
    ];
    let symbols = ["", "__name__", "up", "job", "a", "trace_id", "abc", "unknown"];
    let series = |job: u64| message().packed(1, &[1, 2, 3, job]);
    let id = || message().packed(1, &[5, 6]).double(2, 0.5).int(3, T);
    let two = [
        v2(&symbols).sub(5, series(4).sub(4, id())),
        v2(&symbols).sub(5, series(4).sub(2, sample(1.0, T))).sub(5, series(4).sub(4, id())),
        v2(&symbols).sub(5, series(4).sub(4, id())).sub(5, series(7).sub(4, id())),
    ];
    for (info, requests) in [(V1, one), (V2, two)] {
        let f = fixture();
        // Not there yet; there; there already, and one that is not. Nobody is told of any fault.
        for (request, written) in requests.iter().zip([0, 1, 1]) {
            let receipt = f.send(info, request).unwrap();
            assert_eq!((receipt.exemplars_written, receipt.rejected_count), (written, 0));
            assert_eq!(receipt.rejected, Vec::<String>::new());
        }
        let all = vec![Matcher::new(engine::MatchOp::NotEqual, "__name__", "").unwrap()];
        let got = f.engine.exemplars(&[all], TimeRange::ALL).unwrap();
        assert_eq!(got.len(), 1);
        assert_eq!((got[0].0.get("job"), got[0].1.len()), (Some("a"), 1));
        assert_eq!(f.engine.stats().head_series, 1, "exemplars make no series");
    }
}

/// A request of each version with everything in it.
fn rich() -> [(RequestInfo<'static>, Message); 2] {
    let exemplar = |refs: Message| refs.double(2, 1.0).int(3, T);
    let one = message()
        .sub(
            1,
            up("a")
                .sub(2, sample(1.5, T))
                .sub(2, sample(2.5, T + 1))
                .sub(3, exemplar(labels(&[("trace_id", "x")]))),
        )
        .sub(1, up("b").sub(4, histogram(6)))
        .sub(3, message().int(1, 1).bytes(2, "up").bytes(4, "Help."));
    let two = v2(&["", "__name__", "up", "job", "a", "b", "Help.", "trace_id"])
        .sub(
            5,
            message()
                .packed(1, &[1, 2, 3, 4])
                .sub(2, sample(1.5, T))
                .sub(2, sample(2.5, T + 1).int(3, T - 1)),
        )
        .sub(
            5,
            message()
                .packed(1, &[1, 2, 3, 5])
                .sub(3, histogram(6))
                .sub(4, exemplar(message().packed(1, &[7, 4])))
                .sub(5, message().int(1, 2).int(3, 6)),
        );
    [(V1, one), (V2, two)]
}

#[test]
fn truncated_anywhere_is_refused_or_whole() {
    for (info, request) in rich() {
        for cut in 0..request.0.len() {
            // Cut between fields of the outer message the rest is a shorter, valid request.
            if let Err(e) = decode_only(info, &snappy(&request.0[..cut])) {
                assert!(matches!(e, Error::BadPayload { offset, .. } if offset <= cut), "{e:?} at {cut}");
            }
        }
        let body = snappy(&request.0);
        for cut in 0..body.len() {
            assert!(decode_only(info, &body[..cut]).is_err(), "compressed body cut at {cut}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_body_panics(two in any::<bool>(), bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let info = if two { V2 } else { V1 };
        let _ = decode_only(info, &bytes);
        let _ = receive(&shared().engine, info, &snappy(&bytes));
    }

    #[test]
    fn no_damage_panics(
        two in any::<bool>(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0u8..3), 1..6),
    ) {
        let (info, request) = rich()[usize::from(two)].clone();
        let mut bytes = request.0;
        for (at, with, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = with,
                1 => bytes.insert(at, with),
                _ => drop(bytes.remove(at)),
            }
        }
        let _ = receive(&shared().engine, info, &snappy(&bytes));
    }

    #[test]
    fn versions_and_orders_agree(
        pairs in proptest::collection::btree_map("[a-z]{1,6}", "[a-z]{1,6}", 0..6),
        values in proptest::collection::vec(any::<f64>(), 1..5),
        two in any::<bool>(),
    ) {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        static CASE: AtomicUsize = AtomicUsize::new(0);
        let metric = format!("m{}", CASE.fetch_add(1, Ordering::Relaxed));
        pairs.push(("__name__".into(), metric));
        let samples: Vec<_> = values.iter().enumerate().map(|(i, v)| (T + i as i64, *v)).collect();
        let mut symbols = vec![String::new()];
        let (mut one, mut refs) = (message(), Vec::new());
        for (n, v) in &pairs {
            one = one.sub(1, label(n, v));
            refs.extend([symbols.len() as u64, symbols.len() as u64 + 1]);
            symbols.extend([n.clone(), v.clone()]);
        }
        let mut second = message().packed(1, &refs);
        for (t, v) in &samples {
            one = one.sub(2, sample(*v, *t));
            second = second.sub(2, sample(*v, *t));
        }
        static ENGINE: OnceLock<Fixture> = OnceLock::new();
        let f = ENGINE.get_or_init(fixture);
        if two {
            let table = symbols.iter().fold(message(), |m, s| m.bytes(4, s));
            f.send(V2, &table.sub(5, second)).unwrap();
        } else {
            f.send(V1, &message().sub(1, one)).unwrap();
        }
        pairs.sort();
        let name = Labels::from_pairs(pairs).to_string();
        let mut got = f.floats();
        got.retain(|g| g.0 == name);
        prop_assert_eq!(got.len(), 1);
        let bits = |s: &[(i64, f64)]| s.iter().map(|(t, v)| (*t, v.to_bits())).collect::<Vec<_>>();
        prop_assert_eq!(bits(&got[0].1), bits(&samples));
    }
}

#[test]
fn v2_metadata_becomes_labels_when_asked_for() {
    let f = fixture();
    let receiver = Receiver::new(Arc::clone(&f.engine), Limits::REMOTE_WRITE).with_type_and_unit_labels(true);
    let symbols = ["", "__name__", "m", "__type__", "mine", "__unit__", "seconds", "bytes"];
    let series = |refs: &[u64], kind: i64, unit: i64, value: f64, t: i64| {
        let metadata = message().int(1, kind).int(4, unit);
        message().packed(1, refs).sub(2, sample(value, t)).sub(5, metadata)
    };
    for round in 0..2 {
        let t = T + round;
        let request = v2(&symbols)
            .sub(5, series(&[1, 2], 1, 6, 1.0, t))
            .sub(5, series(&[1, 2], 2, 7, 2.0, t))
            .sub(5, series(&[1, 2, 3, 4, 5, 6], 0, 7, 3.0, t))
            .sub(5, series(&[1, 2, 3, 4], 0, 0, 4.0, t))
            .sub(5, series(&[1, 2], 0, 0, 5.0, t));
        let receipt = receiver.receive(V2, &snappy(&request.0)).unwrap();
        assert_eq!((receipt.samples_written, receipt.rejected.len()), (5, 0), "{:?}", receipt.rejected);
    }
    let got: Vec<_> = f.floats().into_iter().map(|(labels, samples)| (labels, samples[1].1)).collect();
    let want = [
        (r#"{__name__="m", __type__="counter", __unit__="seconds"}"#, 1.0),
        (r#"{__name__="m", __type__="gauge", __unit__="bytes"}"#, 2.0),
        (r#"{__name__="m", __type__="mine"}"#, 4.0),
        (r#"{__name__="m", __unit__="bytes"}"#, 3.0),
        (r#"{__name__="m"}"#, 5.0),
    ];
    assert_eq!(got, want.map(|(labels, value)| (labels.to_owned(), value)));
}
