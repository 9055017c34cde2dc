//! Remote write over HTTP: headers, status codes, and that what was acknowledged is there.

use crate::support::{Server, server};

/// Labels, timestamp in milliseconds, value.
pub(crate) type Sample<'a> = (&'a [(&'a str, &'a str)], i64, f64);

/// A `WriteRequest` with one sample a series.
pub(crate) fn request(series: &[Sample<'_>]) -> Vec<u8> {
    let mut request = Vec::new();
    for (labels, timestamp, value) in series {
        let mut one = Vec::new();
        for (name, text) in *labels {
            let label = [field(1, name.as_bytes()), field(2, text.as_bytes())].concat();
            one.extend(field(1, &label));
        }
        let mut sample = vec![0x09];
        sample.extend(value.to_le_bytes());
        sample.push(0x10);
        sample.extend(varint(*timestamp as u64));
        one.extend(field(2, &sample));
        request.extend(field(1, &one));
    }
    request
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat()
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// Snappy's block format with literals only.
pub(crate) fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = varint(bytes.len() as u64);
    for literal in bytes.chunks(60) {
        out.push((literal.len() as u8 - 1) << 2);
        out.extend_from_slice(literal);
    }
    out
}

fn write(server: &Server, headers: &[&str], body: &[u8]) -> crate::support::Reply {
    server.ask("POST", "/api/v1/write", headers, body)
}

pub(crate) const V1: &[&str] = &["Content-Type: application/x-protobuf", "Content-Encoding: snappy"];

#[test]
fn an_acknowledged_sample_is_there() {
    let server = server(&[]);
    let now = server::observe::log::now();
    let body = snappy(&request(&[(&[("__name__", "m"), ("a", "b")], now, 1.5)]));
    let reply = write(&server, V1, &body);
    assert_eq!((reply.status, reply.text()), (204, ""));
    assert_eq!(reply.header("x-prometheus-remote-write-samples-written"), None);
    let found = server.get("/api/v1/series?match[]=m");
    assert_eq!(found.text(), r#"{"status":"success","data":[{"__name__":"m","a":"b"}]}"#);
    let newest = server.get("/federate?match[]=m");
    assert!(newest.text().ends_with(&format!("m{{a=\"b\",instance=\"\"}} 1.5 {now}\n")), "{}", newest.text());
    let counted = r#"marigram_remote_write_samples_total{protocol_version="1.0"} 1"#;
    assert!(server.get("/metrics").text().contains(counted));
}

#[test]
fn one_bad_series_does_not_cost_the_others() {
    let server = server(&[]);
    let now = server::observe::log::now();
    let body = snappy(&request(&[(&[("__name__", "good")], now, 1.0), (&[("a", "nameless")], now, 1.0)]));
    let reply = write(&server, V1, &body);
    assert_eq!(reply.status, 400);
    assert!(!reply.text().trim().is_empty());
    let names = server.get("/api/v1/label/__name__/values");
    assert_eq!(names.text(), r#"{"status":"success","data":["good"]}"#);
}

#[test]
fn what_nobody_reads_is_told_apart_from_what_is_broken() {
    let server = server(&[]);
    let good = snappy(&request(&[]));
    for (headers, body, status) in [
        (&["Content-Type: application/json"][..], &good[..], 415),
        (&["Content-Type: application/x-protobuf;proto=other"], &good, 415),
        (&["Content-Encoding: br"], &good, 415),
        (&[], b"\xff\xff\xff\xff\xff\xff", 400),
        // Declares four gigabytes.
        (&[], b"\xff\xff\xff\xff\x0f\x00x", 400),
        (&[], &snappy(b"no protobuf")[..], 400),
    ] {
        assert_eq!(write(&server, headers, body).status, status, "{headers:?}");
    }
}

#[test]
fn version_2_answers_with_counts_also_when_it_refuses() {
    let server = server(&[]);
    let headers = ["Content-Type: application/x-protobuf;proto=io.prometheus.write.v2.Request"];
    let reply = write(&server, &headers, b"\xff\xff\xff\xff\xff\xff");
    assert_eq!(reply.status, 400);
    for what in ["samples", "histograms", "exemplars"] {
        let name = format!("x-prometheus-remote-write-{what}-written");
        assert_eq!(reply.header(&name), Some("0"), "{name}");
    }
}

#[test]
fn overload_asks_the_sender_to_come_back() {
    let server = server(&["--web.max-inflight-write-mib=1", "--web.write-queue-timeout=10ms"]);
    let all = server.app.decode_kib.free.clone().try_acquire_many_owned(512).expect("nothing is under way");
    let reply = write(&server, V1, &snappy(&request(&[])));
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    drop(all);
    assert_eq!(write(&server, V1, &snappy(&request(&[]))).status, 204);
    assert!(server.get("/metrics").text().contains("marigram_remote_write_refused_total 1"));
}

#[test]
fn messages_that_are_not_accepted_are_answered_415() {
    let server =
        server(&["--web.remote-write-receiver.accepted-protobuf-messages=io.prometheus.write.v2.Request"]);
    let reply = write(&server, V1, b"");
    assert_eq!(reply.status, 415);
    assert_eq!(
        reply.text().trim(),
        "prometheus.WriteRequest protobuf message is not accepted by this server; only accepts \
         io.prometheus.write.v2.Request"
    );
    let v2 = "Content-Type: application/x-protobuf;proto=io.prometheus.write.v2.Request";
    assert_eq!(write(&server, &[v2], &snappy(b"")).status, 204);
}

#[test]
fn limits_of_series_refuse_new_ones_only() {
    let server = server(&["--storage.series.max-per-metric=2", "--storage.series.max-new-per-second=1"]);
    let now = server::observe::log::now();
    let names: Vec<String> = (0..3).map(|i| i.to_string()).collect();
    let of = |name: &'static str, i: usize| [("__name__", name), ("i", names[i].as_str())];
    let (a, b, c) = (of("m", 0), of("m", 1), of("m", 2));
    let body = |t| snappy(&request(&[(&a, t, 1.0), (&b, t, 1.0), (&c, t, 1.0)]));
    for round in 0..2 {
        let reply = write(&server, V1, &body(now + round));
        assert_eq!(reply.status, 400);
        // Which of the three came first is the shards' matter.
        let text = "limit of 2 active series of metric \"m\" reached for series {__name__=\"m\", i=\"";
        assert!(reply.text().starts_with(text), "{}", reply.text());
    }
    assert_eq!(
        server.get("/api/v1/query?query=count(count_over_time(m[1m])==2)").json("/data/result/0/value/1"),
        "2"
    );
    // Ten at once, and those that time brings meanwhile.
    let many: Vec<String> = (0..300).map(|i| format!("n{i}")).collect();
    let many: Vec<_> = many.iter().map(|name| [("__name__", name.as_str())]).collect();
    let many: Vec<Sample<'_>> = many.iter().map(|labels| (&labels[..], now, 1.0)).collect();
    let reply = write(&server, V1, &snappy(&request(&many)));
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert!(reply.text().starts_with("limit of 1 new series a second reached for series {__name__=\"n"));
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains("reason=\"metric_series_limit\"} 2"), "{}", metrics.text());
    assert!(!metrics.text().contains("reason=\"new_series_rate\"} 0"), "{}", metrics.text());
}

#[test]
fn a_body_larger_than_its_share_of_memory_is_taken_all_the_same() {
    let server = server(&["--web.max-inflight-write-mib=1", "--web.write-queue-timeout=100ms"]);
    let now = server::observe::log::now();
    // Random digits, so that no compression helps: literals only.
    let names: Vec<String> =
        (0..12_000u64).map(|i| format!("m{:016x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let series: Vec<_> = names.iter().map(|name| [("__name__", name.as_str())]).collect();
    let series: Vec<Sample<'_>> = series.iter().map(|labels| (&labels[..], now, 1.0)).collect();
    let body = snappy(&request(&series));
    assert!(body.len() > 512 << 10, "{} bytes", body.len());
    assert_eq!(write(&server, V1, &body).status, 204);
}
