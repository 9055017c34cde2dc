//! What single endpoints answer, and the headers around every answer.

use crate::support::{opening_server, server};
use server::net::Limits;
use server::observe::self_scrape;
use std::io::Read;
use storage_format::model::{Labels, Samples};

#[test]
fn endpoints_without_a_thing_behind_them_are_empty_and_valid() {
    let server = server(&[]);
    for (path, data) in [
        ("rules", r#"{"groups":[]}"#),
        ("alerts", r#"{"alerts":[]}"#),
        ("targets", r#"{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{}}"#),
        ("alertmanagers", r#"{"activeAlertmanagers":[],"droppedAlertmanagers":[]}"#),
        ("scrape_pools", r#"{"scrapePools":[]}"#),
        ("targets/metadata", "[]"),
        ("notifications", "[]"),
        ("metadata", "{}"),
        // What Grafana probes with: milliseconds where seconds are meant, the year 55840.
        ("query_exemplars?query=test&start=1700000000000&end=1700000900000", "[]"),
    ] {
        let expected = format!(r#"{{"status":"success","data":{data}}}"#);
        assert_eq!(server.get(&format!("/api/v1/{path}")).text(), expected, "{path}");
    }
}

#[test]
fn grafana_takes_the_server_for_prometheus() {
    let server = server(&[]);
    let reply = server.get("/api/v1/status/buildinfo");
    let version = reply.json("/data/version");
    assert!(version.as_str().is_some_and(|v| v.starts_with("3.")), "{version}");
    // With "features" it would be taken for Mimir.
    assert!(reply.json("/data").get("features").is_none());
}

#[test]
fn status_pages_tell_the_flags_and_the_retention() {
    let server = server(&["--storage.tsdb.retention.time=90d"]);
    let flags = server.get("/api/v1/status/flags").json("/data");
    assert_eq!(flags["storage.tsdb.retention.time"], "90d");
    assert_eq!(flags["query.lookback-delta"], "5m");
    assert_eq!(server.get("/api/v1/status/runtimeinfo").json("/data/storageRetention"), "90d");
}

#[test]
fn cardinality_names_the_largest_first() {
    let server = server(&[]);
    server.store(&[("__name__", "a"), ("x", "1")], &[(1000, 1.0)]);
    server.store(&[("__name__", "a"), ("x", "22")], &[(1000, 1.0)]);
    server.store(&[("__name__", "b"), ("x", "22")], &[(1000, 1.0)]);
    let data = server.get("/api/v1/status/tsdb?limit=1").json("/data");
    assert_eq!(data["headStats"]["numSeries"], 3);
    assert_eq!(data["headStats"]["numLabelPairs"], 4);
    assert_eq!(data["seriesCountByMetricName"], serde_json::json!([{"name": "a", "value": 2}]));
    assert_eq!(data["labelValueCountByLabelName"], serde_json::json!([{"name": "__name__", "value": 2}]));
    assert_eq!(data["memoryInBytesByLabelName"], serde_json::json!([{"name": "x", "value": 5}]));
    assert_eq!(data["seriesCountByLabelValuePair"], serde_json::json!([{"name": "__name__=a", "value": 2}]));
}

#[test]
fn own_metrics_are_shown_stored_and_explained() {
    let server = server(&[]);
    self_scrape::scrape(&server.app, "here:9090");
    let reply = server.get("/api/v1/series?match[]=up");
    let up = r#"{"__name__":"up","instance":"here:9090","job":"marigram"}"#;
    assert_eq!(reply.text(), format!(r#"{{"status":"success","data":[{up}]}}"#));
    let up = server.get("/api/v1/query?query=sum(up)").json("/data/result/0/value/1");
    assert_eq!(up, "1", "the first query answers");
    let kind = server.get("/api/v1/metadata?metric=prometheus_http_requests_total").json("/data");
    assert_eq!(kind["prometheus_http_requests_total"], serde_json::Value::Null);
    let kind = server.get("/api/v1/metadata?metric=process_cpu_seconds_total").json("/data");
    assert_eq!(kind["process_cpu_seconds_total"][0]["type"], "counter");

    let metrics = server.get("/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let counted = r#"prometheus_http_requests_total{code="200",handler="/api/v1/series"} 1"#;
    assert!(metrics.text().contains(counted), "{}", metrics.text());
    let open = server.ask("GET", "/metrics", &["Accept: application/openmetrics-text"], b"");
    assert_eq!(
        open.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(open.text().ends_with("# EOF\n"));
}

#[test]
fn federation_gives_the_newest_sample_as_text() {
    let server = server(&[]);
    let now = server::observe::log::now();
    let stale = storage_format::model::stale_nan();
    server.store(&[("__name__", "b"), ("instance", "i")], &[(now - 2000, 1.0), (now - 1000, 2.5)]);
    server.store(&[("__name__", "a:b"), ("x", "\"\n")], &[(now - 1000, f64::INFINITY)]);
    server.store(&[("__name__", "http.c")], &[(now - 1000, 3.0)]);
    server.store(&[("__name__", "gone")], &[(now - 2000, 1.0), (now - 1000, stale)]);
    server.store(&[("__name__", "old")], &[(now - 400_000, 1.0)]);
    let reply = server.get("/federate?match[]=%7B__name__=~%22.%2B%22%7D&match[]=b");
    let t = now - 1000;
    assert_eq!(
        reply.text(),
        format!(
            "# TYPE a:b untyped\na:b{{x=\"\\\"\\n\",instance=\"\"}} +Inf {t}\n\
             # TYPE b untyped\nb{{instance=\"i\"}} 2.5 {t}\n\
             # TYPE \"http.c\" untyped\n{{\"http.c\",instance=\"\"}} 3 {t}\n"
        )
    );
}

#[test]
fn before_the_engine_is_open_only_health_answers() {
    let server = opening_server(&[], Limits::default());
    assert_eq!(server.get("/-/healthy").status, 200);
    assert_eq!(server.get("/metrics").status, 200);
    assert_eq!(server.get("/api/v1/status/walreplay").status, 200);
    let ready = server.get("/-/ready");
    assert_eq!((ready.status, ready.header("x-prometheus-stopping")), (503, Some("false")));
    for path in ["/api/v1/query?query=1", "/api/v1/labels", "/api/v1/status/tsdb", "/federate?match[]=a"] {
        let reply = server.get(path);
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{path}");
        assert_eq!(reply.json("/errorType"), "unavailable");
    }
    assert_eq!(server.ask("POST", "/api/v1/write", &[], b"x").status, 503);
}

#[test]
fn long_answers_are_compressed_for_those_who_read_gzip() {
    let server = server(&[]);
    let mut sample = Samples::default();
    sample.push_float(1000, 0, 1.0);
    let names: Vec<_> = (10_000..30_000).map(|i| format!("a_metric_with_a_long_name_{i}")).collect();
    let rows: Vec<_> =
        names.iter().map(|name| (Labels::from_pairs([("__name__", name)]), sample.clone())).collect();
    server.app.engine().unwrap().append(&rows).unwrap();
    let plain = server.get("/api/v1/label/__name__/values");
    assert_eq!(plain.header("transfer-encoding"), Some("chunked"), "it is sent while it is written");
    assert_eq!(plain.json("/data"), serde_json::json!(names));
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.header("vary"), Some("Accept-Encoding, Origin"));
    let zipped =
        server.ask("GET", "/api/v1/label/__name__/values", &["Accept-Encoding: zstd, gzip, br"], b"");
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert!(zipped.body.len() < plain.body.len() / 2);
    let mut unzipped = Vec::new();
    flate2::read::GzDecoder::new(zipped.body.as_slice()).read_to_end(&mut unzipped).unwrap();
    assert_eq!(unzipped, plain.body);
}

#[test]
fn other_origins_are_admitted_only_by_the_flag() {
    let page = "Origin: http://a.example";
    let closed = server(&[]).ask("GET", "/api/v1/labels", &[page], b"");
    assert_eq!(closed.header("access-control-allow-origin"), None);
    let open = server(&["--web.cors.origin=.*"]).ask("OPTIONS", "/api/v1/labels", &[page], b"");
    assert_eq!((open.status, open.header("access-control-allow-origin")), (204, Some("*")));
    let some = server(&["--web.cors.origin=http://(a|b)[.]example"]);
    let a = some.ask("GET", "/api/v1/labels", &[page], b"");
    assert_eq!(a.header("access-control-allow-origin"), Some("http://a.example"));
    let c = some.ask("GET", "/api/v1/labels", &["Origin: http://a.example.org"], b"");
    assert_eq!(c.header("access-control-allow-origin"), None);
    for header in ["x-content-type-options", "x-frame-options"] {
        assert!(c.header(header).is_some(), "{header}");
    }
}

#[test]
fn everything_stands_under_the_route_prefix() {
    let server = server(&["--web.external-url=http://proxy/metrics-db/"]);
    assert_eq!(server.get("/metrics-db/-/healthy").status, 200);
    assert_eq!(server.get("/metrics-db/api/v1/labels").status, 200);
    assert_eq!(server.get("/api/v1/labels").status, 404);
    let counted = r#"prometheus_http_requests_total{code="200",handler="/api/v1/labels"} 1"#;
    assert!(server.get("/metrics-db/metrics").text().contains(counted));
}

#[test]
fn queries_are_formatted_and_shown_as_trees() {
    let server = server(&[]);
    let formatted = server.get("/api/v1/format_query?query=sum(up)by(job)");
    assert_eq!(formatted.text(), r#"{"status":"success","data":"sum by (job) (up)"}"#);
    let parsed = server.post_form("/api/v1/parse_query", "query=-up%7Ba%3D%22b%22%7D").json("/data");
    assert_eq!((&parsed["type"], &parsed["op"]), (&"unaryExpr".into(), &"-".into()));
    assert_eq!(parsed["expr"]["matchers"][0], serde_json::json!({"name": "a", "value": "b", "type": "="}));
    assert_eq!(parsed["expr"]["startOrEnd"], serde_json::Value::Null);
    let wrong = server.get("/api/v1/parse_query?query=up%7B");
    assert_eq!(wrong.status, 400);
    assert_eq!(
        wrong.json("/error"),
        r#"invalid parameter "query": 1:4: parse error: unexpected end of input inside braces"#
    );
}

#[test]
fn exemplars_are_those_of_the_selected_series() {
    let server = server(&[]);
    let engine = server.app.engine().unwrap();
    for (name, timestamp, value) in [("b", 1500, 0.5), ("a", 2000, 1e-7), ("a", 3000, 2.0), ("c", 2000, 1.0)]
    {
        let labels = Labels::from_pairs([("__name__", name)]);
        let trace = Labels::from_pairs([("trace_id", "x")]);
        let mut samples = Samples::default();
        samples.push_float(timestamp, 0, 1.0);
        engine.append(&[(labels.clone(), samples)]).unwrap();
        let exemplar = engine::Exemplar { labels: trace, value, timestamp };
        assert_eq!(engine.append_exemplars(&[(labels, vec![exemplar])]).unwrap().exemplars_stored, 1);
    }
    let reply = server.get("/api/v1/query_exemplars?query=rate(a%5B1m%5D)%2Bb&start=1&end=2");
    assert_eq!(
        reply.text(),
        concat!(
            r#"{"status":"success","data":["#,
            r#"{"seriesLabels":{"__name__":"a"},"exemplars":[{"labels":{"trace_id":"x"},"value":"1e-07","timestamp":2}]},"#,
            r#"{"seriesLabels":{"__name__":"b"},"exemplars":[{"labels":{"trace_id":"x"},"value":"0.5","timestamp":1.500}]}"#,
            r#"]}"#
        )
    );
    assert_eq!(server.get("/api/v1/query_exemplars?query=1").status, 204);
    assert_eq!(
        server.get("/api/v1/query_exemplars?query=nothing").text(),
        r#"{"status":"success","data":[]}"#
    );
}
