//! Remote read over HTTP: what a Prometheus asks, and the samples it gets.

use crate::support::{Server, server};
use server::wire::protobuf::{Fields, Value, push_bytes, push_integer};

/// A request for the series with `name="value"` from `start` to `end`, in milliseconds.
fn request(matcher: (u64, &str, &str), start: i64, end: i64, accepted: &[u64]) -> Vec<u8> {
    let (mut one, mut query, mut request) = (Vec::new(), Vec::new(), Vec::new());
    push_integer(&mut one, 1, matcher.0);
    push_bytes(&mut one, 2, matcher.1.as_bytes());
    push_bytes(&mut one, 3, matcher.2.as_bytes());
    push_integer(&mut query, 1, start as u64);
    push_integer(&mut query, 2, end as u64);
    push_bytes(&mut query, 3, &one);
    push_bytes(&mut request, 1, &query);
    let accepted: Vec<u8> = accepted.iter().map(|form| *form as u8).collect();
    push_bytes(&mut request, 2, &accepted);
    request
}

fn read(server: &Server, request: &[u8]) -> crate::support::Reply {
    let body = snap::raw::Encoder::new().compress_vec(request).expect("a short body");
    server.ask("POST", "/api/v1/read", &["Content-Encoding: snappy"], &body)
}

/// Labels as `name=value`, and samples.
type Series = (Vec<String>, Vec<(i64, f64)>);

/// Each series of an answer with one result.
fn series(reply: &crate::support::Reply) -> Vec<Series> {
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let body = snap::raw::Decoder::new().decompress_vec(&reply.body).expect("snappy");
    let results = messages(&body, 1);
    let [result] = results.as_slice() else { panic!("one result, not {}", results.len()) };
    let one = |series: &Vec<u8>| {
        let text = |label: Vec<u8>| {
            let parts = Fields::new(&label).map(|field| match field.expect("a label") {
                (_, Value::Bytes(text)) => String::from_utf8(text.to_vec()).expect("UTF-8"),
                other => panic!("{other:?}"),
            });
            parts.collect::<Vec<_>>().join("=")
        };
        let sample = |sample: Vec<u8>| {
            let (mut timestamp, mut value) = (0, 0.0);
            for field in Fields::new(&sample) {
                match field.expect("a sample") {
                    (1, Value::Fixed64(bits)) => value = f64::from_bits(bits),
                    (2, Value::Varint(ms)) => timestamp = ms as i64,
                    other => panic!("{other:?}"),
                }
            }
            (timestamp, value)
        };
        let labels = messages(series, 1).into_iter().map(text).collect();
        (labels, messages(series, 2).into_iter().map(sample).collect())
    };
    messages(result, 1).iter().map(one).collect()
}

fn messages(message: &[u8], number: u64) -> Vec<Vec<u8>> {
    let fields = Fields::new(message).map(|field| field.expect("a message"));
    let wanted = fields.filter_map(|(n, value)| match value {
        Value::Bytes(bytes) if n == number => Some(bytes.to_vec()),
        _ => None,
    });
    wanted.collect()
}

#[test]
fn samples_of_the_closed_range_come_sorted_by_labels() {
    let server = server(&[]);
    for x in ["2", "1"] {
        server.store(&[("__name__", "m"), ("x", x)], &[(-5, 0.5), (10, 1.0), (20, 2.0), (30, 3.0)]);
    }
    server.store(&[("__name__", "n"), ("x", "1")], &[(10, 1.0)]);
    let labels = |x: &str| vec!["__name__=m".to_owned(), format!("x={x}")];
    let all = read(&server, &request((0, "__name__", "m"), 10, 20, &[]));
    let samples = vec![(10, 1.0), (20, 2.0)];
    assert_eq!(series(&all), [(labels("1"), samples.clone()), (labels("2"), samples)]);
    assert_eq!(all.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(all.header("content-encoding"), Some("snappy"));
    let before = read(&server, &request((2, "__name__", "m|x"), i64::MIN, 0, &[0, 1]));
    assert_eq!(series(&before).len(), 2);
    assert_eq!(series(&before)[0].1, [(-5, 0.5)]);
    assert!(series(&read(&server, &request((0, "__name__", "m"), 11, 19, &[]))).is_empty());
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let server = server(&["--storage.remote.read-sample-limit=3"]);
    server.store(&[("__name__", "m")], &[(10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0)]);
    for (body, error) in [
        (request((0, "__name__", "m"), 0, 99, &[]), "exceeded sample limit (3)"),
        (
            request((0, "__name__", "m"), 0, 9, &[7]),
            "server does not support any of the requested response types",
        ),
        (request((7, "__name__", "m"), 0, 9, &[]), "invalid matcher type"),
        (b"\x0a\xff".to_vec(), "unmarshal error"),
    ] {
        let reply = read(&server, &body);
        assert_eq!(reply.status, 400);
        assert!(reply.text().starts_with(error), "{}", reply.text());
    }
    assert_eq!(read(&server, &request((0, "__name__", "m"), 0, 30, &[])).status, 200);
    assert_eq!(server.ask("POST", "/api/v1/read", &[], b"\xff\xff\xff\xff\x0fx").status, 400);
    assert_eq!(server.get("/api/v1/read").status, 405);
}

#[test]
fn chunks_are_streamed_to_clients_that_read_them() {
    let server = server(&[]);
    let samples: Vec<_> = (0..200).map(|i| (i * 15_000, i as f64)).collect();
    for x in ["2", "1"] {
        server.store(&[("__name__", "m"), ("x", x)], &samples);
    }
    let reply = read(&server, &request((0, "__name__", "m"), 0, 1 << 40, &[1, 0]));
    assert_eq!(reply.status, 200);
    let content_type = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    assert_eq!(reply.header("content-type"), Some(content_type));
    let mut frames = Vec::new();
    let mut rest = &reply.body[..];
    while !rest.is_empty() {
        let digits = rest.iter().position(|byte| byte & 0x80 == 0).expect("a length") + 1;
        let length = rest[..digits].iter().rev().fold(0, |n, byte| n << 7 | usize::from(byte & 0x7f));
        let (sum, message) = rest[digits..][..4 + length].split_at(4);
        assert_eq!(sum, crc32c::crc32c(message).to_be_bytes());
        frames.push(message.to_vec());
        rest = &rest[digits + 4 + length..];
    }
    // A frame a series, of chunks of 120 and of 80 samples; what is in them a Prometheus reads in other tests.
    assert_eq!(frames.len(), 2);
    for (frame, x) in frames.iter().zip(["1", "2"]) {
        let series = &messages(frame, 1)[0];
        assert!(messages(series, 1)[1].ends_with(x.as_bytes()));
        let chunks = messages(series, 2);
        let counts: Vec<_> = chunks.iter().map(|chunk| messages(chunk, 4)[0][..2].to_vec()).collect();
        assert_eq!(counts, [[0, 120], [0, 80]]);
    }
}
