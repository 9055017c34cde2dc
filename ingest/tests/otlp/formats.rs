//! Protobuf and JSON, their encodings, their errors and the answers in them.

use crate::fixture::*;
use crate::histograms::{exponential, histogram};
use crate::support::{Message, message, snappy};
use ingest::otlp::{Config, Format, response};
use ingest::{Encoding, Error};
use serde_json::{Value, json};

#[test]
fn json_that_is_refused_says_where() {
    let f = fixture(Config::default());
    let metric = |m: &str| format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{m}]}}]}}]}}"#);
    let bodies = [
        String::new(),
        "[]".to_owned(),
        "{".to_owned(),
        "{}x".to_owned(),
        "null".to_owned(),
        r#"{"resourceMetrics": {}}"#.to_owned(),
        r#"{"resourceMetrics": [null]}x"#.to_owned(),
        metric(r#"{"sum":"NaN"}"#),
        metric(r#"{"sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"}}"#),
        metric(r#"{"sum":{"isMonotonic":"true"}}"#),
        metric(r#"{"sum":{"isMonotonic":1}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"asInt":"x"}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"asInt":1.5}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"asInt":"9223372036854775808"}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"asDouble":"nan"}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"asDouble":1e400}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"timeUnixNano":-1}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"flags":4294967296}]}}"#),
        metric(r#"{"histogram":{"dataPoints":[{"explicitBounds":[null]}]}}"#),
        metric(r#"{"gauge":{"dataPoints":[{"exemplars":[{"traceId":"xyz"}]}]}}"#),
        metric(r#"{"name":7}"#),
        metric(r#"{"name":"\ud800"}"#),
        metric(&format!(
            r#"{{"gauge":{{"dataPoints":[{{"attributes":[{{"value":{}{}}}]}}]}}}}"#,
            r#"{"arrayValue":{"values":["#.repeat(100),
            "]}}".repeat(100)
        )),
    ];
    for body in bodies {
        let got = f.receiver.receive(Format::Json, Encoding::Identity, body.as_bytes());
        assert!(matches!(&got, Err(Error::BadJson(why)) if why.contains("line 1")), "{body}: {got:?}");
    }
    for fine in ["{}", r#"{"resourceMetrics":null}"#, r#"{"resourceMetrics":[]}"#, r#"{"x":[[[]]]}"#, " {} "]
    {
        assert!(f.receiver.receive(Format::Json, Encoding::Identity, fine.as_bytes()).is_ok(), "{fine}");
    }
}

#[test]
fn answers_in_the_format_of_the_request() {
    let f = fixture(Config::default());
    let full = f.json(&request(SERVICE, json!([]))).unwrap();
    assert_eq!(response::success(Format::Json, &full), b"{}");
    assert_eq!(response::success(Format::Protobuf, &full), b"");
    let partial = f.json(&request(SERVICE, json!([gauge("g", json!([{}]))]))).unwrap();
    let text = String::from_utf8(response::success(Format::Json, &partial)).unwrap();
    assert_eq!(
        text,
        r#"{"partialSuccess":{"errorMessage":"metric \"g\": data point without a value","rejectedDataPoints":"1"}}"#
    );
    let bytes = response::success(Format::Protobuf, &partial);
    assert_eq!(
        bytes,
        message().sub(1, message().int(1, 1).bytes(2, "metric \"g\": data point without a value")).0
    );
    assert_eq!(response::status(Format::Protobuf, 3, "no"), message().int(1, 3).bytes(2, "no").0);
    assert_eq!(response::status(Format::Json, 3, "no"), br#"{"code":3,"message":"no"}"#);
}

/// The rich request of the decoders' robustness tests, in both formats.
pub(crate) fn rich() -> (Value, Message) {
    let resource = &[("service.name", "s"), ("host.name", "h")];
    let json = request(
        resource,
        json!([
            gauge("g", json!([point(json!({"asDouble": 1.5}), &[("a.b", "c")])])),
            sum("c", 2, true, json!([point(json!({"asInt": "5", "startTimeUnixNano": nanos(-9)}), &[("x", "y"), ("z", "w")])])),
            histogram(json!({"count": "7", "sum": 3.5, "bucketCounts": [1, 2, 4], "explicitBounds": [0.5, 10]})),
            exponential(json!({"count": 7, "sum": 9, "scale": 3, "zeroCount": 1, "positive": {"offset": 2, "bucketCounts": [1, 0, 2]}, "negative": {"offset": -4, "bucketCounts": [3]}})),
            {"name": "s", "summary": {"dataPoints": [point(json!({"count": 3, "sum": 12, "quantileValues": [{"quantile": 0.5, "value": 2}]}), &[])]}},
        ]),
    );
    let kv = |k: &str, v: &str| message().bytes(1, k).sub(2, message().bytes(1, v));
    let time = (T * 1_000_000) as u64;
    let p = |attributes: u32, pairs: &[(&str, &str)]| {
        pairs.iter().fold(message(), |m, (k, v)| m.sub(attributes, kv(k, v))).fixed(3, time)
    };
    let resource = resource.iter().fold(message(), |m, (k, v)| m.sub(1, kv(k, v)));
    let scope = message().bytes(1, "lib").bytes(2, "1.2").sub(3, kv("a.b", "c"));
    let metric = |name: &str, unit: &str, number: u32, data: Message| {
        message().bytes(1, name).bytes(3, unit).sub(number, data)
    };
    let protobuf = message().sub(
        1,
        message().sub(1, resource).sub(
            2,
            message()
                .sub(1, scope)
                .sub(2, metric("g", "", 5, message().sub(1, p(7, &[("a.b", "c")]).double(4, 1.5))))
                .sub(
                    2,
                    metric(
                        "c",
                        "",
                        7,
                        message()
                            .sub(
                                1,
                                p(7, &[("x", "y"), ("z", "w")])
                                    .fixed(6, 5)
                                    .fixed(2, ((T - 9) * 1_000_000) as u64),
                            )
                            .int(2, 2)
                            .int(3, 1),
                    ),
                )
                .sub(
                    2,
                    metric(
                        "h",
                        "s",
                        9,
                        message()
                            .sub(
                                1,
                                p(9, &[])
                                    .fixed(4, 7)
                                    .double(5, 3.5)
                                    .packed_fixed(6, &[1, 2, 4])
                                    .packed_doubles(7, &[0.5, 10.0]),
                            )
                            .int(2, 2),
                    ),
                )
                .sub(
                    2,
                    metric(
                        "e",
                        "",
                        10,
                        message()
                            .sub(
                                1,
                                p(1, &[])
                                    .fixed(4, 7)
                                    .double(5, 9.0)
                                    .sint(6, 3)
                                    .fixed(7, 1)
                                    .sub(8, message().sint(1, 2).packed(2, &[1, 0, 2]))
                                    .sub(9, message().sint(1, -4).packed(2, &[3])),
                            )
                            .int(2, 2),
                    ),
                )
                .sub(
                    2,
                    metric(
                        "s",
                        "",
                        11,
                        message().sub(
                            1,
                            p(7, &[])
                                .fixed(4, 3)
                                .double(5, 12.0)
                                .sub(6, message().double(1, 0.5).double(2, 2.0)),
                        ),
                    ),
                )
                .bytes(3, "https://x"),
        ),
    );
    (json, protobuf)
}

#[test]
fn both_formats_and_all_encodings_mean_the_same() {
    use std::io::Write;
    let (json, protobuf) = rich();
    let f = fixture(Config::default());
    assert_eq!(f.json(&json).unwrap().rejected, 0);
    let want = f.dump();
    assert_eq!(want.len(), 12);
    let zlib = |bytes: &[u8]| {
        let mut w = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        w.write_all(bytes).unwrap();
        w.finish().unwrap()
    };
    let gzip = |bytes: &[u8]| {
        let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        w.write_all(bytes).unwrap();
        w.finish().unwrap()
    };
    for (format, bytes) in [(Format::Protobuf, protobuf.0), (Format::Json, json.to_string().into_bytes())] {
        for (encoding, body) in [
            (Encoding::Identity, bytes.clone()),
            (Encoding::Gzip, gzip(&bytes)),
            (Encoding::Deflate, zlib(&bytes)),
            (Encoding::Zstd, zstd::encode_all(&bytes[..], 1).unwrap()),
            (Encoding::Snappy, snappy(&bytes)),
        ] {
            let f = fixture(Config::default());
            let receipt = f.receiver.receive(format, encoding, &body).unwrap();
            assert_eq!(
                (receipt.rejected, receipt.points, f.dump()),
                (0, 5, want.clone()),
                "{format:?} {encoding:?}"
            );
        }
    }
}

#[test]
fn fields_in_any_order_mean_the_same() {
    let point = |m: Message| m.fixed(3, (T * 1_000_000) as u64);
    let kv = |k: &str| message().bytes(1, k).sub(2, message().bytes(1, "v"));
    let metric = message()
        .sub(
            7,
            message()
                .int(3, 1)
                .int(2, 2)
                .sub(1, point(message().sub(7, kv("a")).fixed(6, 5).sub(7, kv("b")))),
        )
        .bytes(1, "c");
    let resource = message().sub(1, message().bytes(1, "service.name").sub(2, message().bytes(1, "s")));
    let body = message().sub(1, message().sub(2, message().sub(2, metric)).sub(1, resource));
    let f = fixture(Config::default());
    f.protobuf(&body).unwrap();
    f.protobuf(&body).unwrap();
    assert_eq!(f.dump().len(), 1);
    assert!(f.dump()[0].starts_with("c_total{a=v,b=v,job=s} 0=5"));
}
