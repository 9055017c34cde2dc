//! Remote write over HTTP: headers, status codes, and that what was acknowledged is there.

use crate::support::{Server, server};

/// Labels, timestamp in milliseconds, value.
type Sample<'a> = (&'a [(&'a str, &'a str)], i64, f64);

/// A `WriteRequest` with one sample a series.
fn request(series: &[Sample<'_>]) -> Vec<u8> {
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
fn snappy(bytes: &[u8]) -> Vec<u8> {
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

const V1: &[&str] = &["Content-Type: application/x-protobuf", "Content-Encoding: snappy"];

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
    let all = server.app.write_kib.clone().try_acquire_many_owned(1024).expect("nothing is under way");
    let reply = write(&server, V1, &snappy(&request(&[])));
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    drop(all);
    assert_eq!(write(&server, V1, &snappy(&request(&[]))).status, 204);
    assert!(server.get("/metrics").text().contains("marigram_remote_write_refused_total 1"));
}
