//! OTLP over HTTP and gRPC: formats, status codes, and that what was acknowledged is there.

use crate::support::{Reply, Server, listen, opening_server, server};
use axum::body::Body;
use engine::{MatchOp, Matcher};
use hyper_util::rt::{TokioExecutor, TokioIo};
use server::net::Limits;
use server::serve::serve_grpc;
use std::io::Write as _;
use std::sync::Arc;
use storage_format::model::{Samples, TimeRange};
use tokio::sync::Semaphore;

const JSON: &str = "Content-Type: application/json";
const PROTOBUF: &str = "Content-Type: application/x-protobuf";
const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

fn json(points: &str) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"g","gauge":{{"dataPoints":[{points}]}}}}]}}]}}]}}"#
    )
}

fn point() -> String {
    format!(r#"{{"asInt":"7","timeUnixNano":"{}000000"}}"#, server::observe::log::now())
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128);
    [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat()
}

/// The same as protobuf.
fn protobuf() -> Vec<u8> {
    let nanos = server::observe::log::now() as u64 * 1_000_000;
    let point = [&[0x19][..], &nanos.to_le_bytes(), &[0x31], &7u64.to_le_bytes()].concat();
    let metric = [field(1, b"g"), field(5, &field(1, &point))].concat();
    field(1, &field(2, &field(2, &metric)))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).expect("memory takes it");
    writer.finish().expect("memory takes it")
}

fn post(server: &Server, path: &str, headers: &[&str], body: &[u8]) -> Reply {
    server.ask("POST", path, headers, body)
}

/// The value of the one sample of `g`.
fn stored(server: &Server) -> f64 {
    let name = Matcher::new(MatchOp::Equal, "__name__", "g").expect("a matcher");
    let snapshot = server.app.engine().expect("an open engine").snapshot();
    let series = snapshot.select(&[name], TimeRange::ALL).expect("a selection");
    let mut samples = Samples::default();
    series[0].read(TimeRange::ALL, &mut samples).expect("samples");
    samples.values[0]
}

#[test]
fn both_formats_are_stored_under_every_path() {
    for path in ["/api/v1/otlp/v1/metrics", "/v1/metrics", "/otlp/v1/metrics", "/opentelemetry/v1/metrics"] {
        for (content_type, body, answer) in
            [(JSON, json(&point()).into_bytes(), &b"{}"[..]), (PROTOBUF, protobuf(), b"")]
        {
            let server = server(&[]);
            let reply = post(&server, path, &[content_type], &body);
            assert_eq!((reply.status, reply.body.as_slice()), (200, answer), "{path}");
            assert_eq!(
                Some(reply.header("content-type").unwrap_or_default()),
                content_type.strip_prefix("Content-Type: ")
            );
            assert_eq!(stored(&server), 7.0);
        }
    }
}

#[test]
fn compressed_bodies_and_their_names() {
    let server = server(&[]);
    let reply = post(&server, "/v1/metrics", &[PROTOBUF, "Content-Encoding: gzip"], &gzip(&protobuf()));
    assert_eq!(reply.status, 200);
    assert_eq!(stored(&server), 7.0);
    for (headers, body, status) in [
        (&[PROTOBUF, "Content-Encoding: br"][..], protobuf(), 415),
        (&[PROTOBUF, "Content-Encoding: gzip"], protobuf(), 400),
        (&["Content-Type: text/plain"], protobuf(), 415),
        (&[], protobuf(), 415),
        (&[PROTOBUF], vec![0xff], 400),
        (&[JSON], b"{".to_vec(), 400),
        (&[PROTOBUF, "Content-Encoding: gzip"], gzip(&vec![0; (64 << 20) + 1]), 413),
    ] {
        assert_eq!(post(&server, "/v1/metrics", headers, &body).status, status, "{headers:?}");
    }
    assert_eq!(server.get("/v1/metrics").status, 405);
}

#[test]
fn refused_points_are_a_partial_success() {
    let server = server(&[]);
    let reply = post(&server, "/v1/metrics", &[JSON], json(&format!("{},{{}}", point())).as_bytes());
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json("/partialSuccess/rejectedDataPoints"), "1");
    assert_eq!(reply.json("/partialSuccess/errorMessage"), "metric \"g\": data point without a value");
    assert_eq!(stored(&server), 7.0);
    assert!(server.get("/metrics").text().contains("marigram_otlp_rejected_total 1"));
}

#[test]
fn what_was_noticed_is_counted_by_what_it_is() {
    let server = server(&["--otlp.keep-histogram-min-max"]);
    let now = server::observe::log::now();
    let delta = |time: i64| {
        format!(
            r#"{{"name":"d","sum":{{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{{"asInt":"1","timeUnixNano":"{time}000000"}}]}}}}"#
        )
    };
    let big = format!(
        r#"{{"name":"i","gauge":{{"dataPoints":[{{"asInt":"9007199254740993","timeUnixNano":"{now}000000"}}]}}}}"#
    );
    let range = format!(
        r#"{{"name":"h","histogram":{{"aggregationTemporality":2,"dataPoints":[{{"count":2,"sum":3,"min":1,"max":2,"timeUnixNano":"{now}000000"}}]}}}}"#
    );
    let metrics =
        [delta(now), delta(now), delta(now - 1000), big, range, r#"{"name":"e","gauge":{}}"#.to_owned()]
            .join(",");
    let body = format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metrics}]}}]}}]}}"#);
    let reply = post(&server, "/v1/metrics", &[JSON], body.as_bytes());
    assert_eq!(reply.json("/partialSuccess/rejectedDataPoints"), "1");
    let metrics = server.get("/metrics").text().to_owned();
    for (category, count) in [
        ("empty_data_points", 1),
        ("inexact_integer", 1),
        ("delta_repeated", 1),
        ("delta_late", 1),
        ("delta_invalid", 0),
    ] {
        let line = format!("marigram_otlp_warnings_total{{category=\"{category}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert!(metrics.contains("marigram_otlp_delta_streams 1\n"), "{metrics}");
    for (name, value) in [("h_min", "1"), ("h_max", "2")] {
        let found = server.get(&format!("/api/v1/query?query={name}")).json("/data/result/0/value/1");
        assert_eq!(found, value, "{name}");
    }
}

#[test]
fn errors_are_a_status_in_the_format_of_the_request() {
    let server = server(&[]);
    let reply = post(&server, "/v1/metrics", &[JSON], b"[]");
    assert_eq!((reply.status, reply.json("/code")), (400, 3.into()));
    let reply = post(&server, "/v1/metrics", &[PROTOBUF], &[0xff]);
    assert_eq!((reply.status, &reply.body[..3]), (400, &[0x08, 3, 0x12][..]));
    let opening = opening_server(&[], Limits::default());
    let reply = post(&opening, "/v1/metrics", &[JSON], b"{}");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
}

#[test]
fn exemplars_are_found_by_any_expression_over_their_series() {
    let server = server(&[]);
    let now = server::observe::log::now();
    let exemplar = format!(
        r#"{{"asDouble":0.25,"timeUnixNano":"{now}000000","traceId":"4bf92f3577b34da6a3ce929d0e0e4736"}}"#
    );
    let point = format!(r#"{{"asInt":"7","timeUnixNano":"{now}000000","exemplars":[{exemplar}]}}"#);
    assert_eq!(post(&server, "/v1/metrics", &[JSON], json(&point).as_bytes()).status, 200);
    for (query, found) in [("g", 1), ("sum(rate(g%5B5m%5D))%2B1", 1), ("other", 0)] {
        let all = server.get(&format!("/api/v1/query_exemplars?query={query}")).json("/data");
        assert_eq!(all.as_array().map(Vec::len), Some(found), "{query}");
        if found == 1 {
            assert_eq!(all[0]["seriesLabels"]["__name__"], "g");
            let one = &all[0]["exemplars"][0];
            assert_eq!(one["labels"]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(
                (&one["value"], one["timestamp"].as_f64()),
                (&"0.25".into(), Some(now as f64 / 1000.0))
            );
        }
    }
    assert_eq!(server.get("/api/v1/query_exemplars?query=g&end=1").json("/data"), serde_json::json!([]));
}

/// An answer of gRPC: status, message, details, body.
type GrpcReply = (String, String, Option<String>, Vec<u8>);

fn call(server: &Server, path: &str, encoding: Option<&str>, message: &[u8]) -> GrpcReply {
    call_as(server, None, path, encoding, message)
}

/// The same with an `authorization`.
fn call_as(
    server: &Server,
    authorization: Option<&str>,
    path: &str,
    encoding: Option<&str>,
    message: &[u8],
) -> GrpcReply {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let app = Arc::clone(&server.app);
    let mut body = vec![u8::from(encoding.is_some())];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend(message);
    runtime.block_on(async move {
        let listener = listen(&app, Arc::new(Semaphore::new(4)), Limits::default()).await;
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(serve_grpc(listener, Arc::clone(&app)));
        let stream = tokio::net::TcpStream::connect(address).await.expect("the server listens");
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("HTTP/2");
        tokio::spawn(connection);
        let mut request = hyper::Request::post(format!("http://{address}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(encoding) = encoding {
            request = request.header("grpc-encoding", encoding);
        }
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer =
            client.send_request(request.body(Body::from(body)).expect("a request")).await.expect("an answer");
        let (head, body) = answer.into_parts();
        let (mut body, mut trailers) = (Body::new(body), head.headers.clone());
        let mut bytes = Vec::new();
        while let Some(frame) =
            std::future::poll_fn(|cx| hyper::body::Body::poll_frame(std::pin::Pin::new(&mut body), cx)).await
        {
            match frame.expect("a frame").into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => trailers.extend(frame.into_trailers().expect("trailers")),
            }
        }
        serving.abort();
        let text = |name| trailers.get(name).map(|v| v.to_str().expect("text").to_owned());
        (
            text("grpc-status").expect("a status"),
            text("grpc-message").unwrap_or_default(),
            text("grpc-status-details-bin"),
            bytes,
        )
    })
}

#[test]
fn grpc_stores_and_answers() {
    let plain = protobuf();
    let zstd = zstd::encode_all(&plain[..], 1).expect("memory takes it");
    for (encoding, message) in [(None, plain.clone()), (Some("gzip"), gzip(&plain)), (Some("zstd"), zstd)] {
        let server = server(&[]);
        let (status, message, _, body) = call(&server, EXPORT, encoding, &message);
        assert_eq!((status.as_str(), message.as_str(), body), ("0", "", vec![0; 5]), "{encoding:?}");
        assert_eq!(stored(&server), 7.0);
    }
}

#[test]
fn the_configuration_file_stands_above_the_flags() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("marigram.yml");
    std::fs::write(&file, "otlp: {translation_strategy: NoTranslation}\n").expect("a file");
    let flag = format!("--config.file={}", file.display());
    let server = server(&[&flag, "--otlp.translation-strategy=UnderscoreEscapingWithSuffixes"]);
    let metric = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"a.b","gauge":{"dataPoints":[
        {"timeUnixNano":"1000000","asDouble":7}]}}]}]}]}"#;
    assert_eq!(server.ask("POST", "/v1/metrics", &[JSON], metric.as_bytes()).status, 200);
    let found = server.get("/api/v1/query?query={\"a.b\"}&time=0.001");
    assert_eq!(found.json("/data/result/0/value/1"), "7");
}

#[test]
fn grpc_asks_who_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("web.yml");
    // SHA-256 of "password" and of "secret".
    let text = "bearer_tokens:\n\
        - {name: a, token_sha256: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8, roles: [write]}\n\
        - {name: b, token_sha256: 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b, roles: [query]}\n";
    std::fs::write(&file, text).expect("a file");
    let server = server(&[&format!("--web.config.file={}", file.display())]);
    let status = |authorization| call_as(&server, authorization, EXPORT, None, &protobuf()).0;
    assert_eq!(status(None), "16");
    assert_eq!(status(Some("Bearer wrong")), "16");
    assert_eq!(status(Some("Bearer secret")), "7");
    assert_eq!(status(Some("Bearer password")), "0");
    assert_eq!(stored(&server), 7.0);
}

#[test]
fn grpc_refuses_with_the_codes_clients_understand() {
    let server = server(&[]);
    assert_eq!(call(&server, EXPORT, None, &[0xff]).0, "3");
    assert_eq!(call(&server, EXPORT, Some("gzip"), &gzip(&vec![0; (64 << 20) + 1])).0, "8");
    assert_eq!(call(&server, "/x.Y/Z", None, &[]).0, "12");
    assert_eq!(call(&server, EXPORT, Some("br"), &[]).0, "12");
    let opening = opening_server(&[], Limits::default());
    let (status, _, details, _) = call(&opening, EXPORT, None, &protobuf());
    assert_eq!(status, "14");
    assert!(details.is_some(), "a delay is told");
}

#[test]
fn grpc_tells_partial_success() {
    let server = server(&[]);
    let metric = [field(1, b"g"), field(5, &field(1, &[]))].concat();
    let (status, _, _, body) = call(&server, EXPORT, None, &field(1, &field(2, &field(2, &metric))));
    assert_eq!(status, "0");
    assert_eq!(&body[5..9], &[0x0a, body.len() as u8 - 7, 0x08, 1]);
}

#[test]
fn the_size_of_answers_is_bounded() {
    let server = server(&[]);
    let body = json(&vec!["{}"; 10_000].join(","));
    let reply = post(&server, "/v1/metrics", &[JSON], body.as_bytes());
    assert!(reply.body.len() < 8192 && reply.json("/partialSuccess/rejectedDataPoints") == "10000");
}
