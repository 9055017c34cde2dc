//! PromQL over HTTP: the whole way from parameters to JSON.

use crate::support::{Server, server};

/// Two series `m` with a sample every ten seconds: 0, 1, 2, … and the same halved; `n_total` likewise.
fn filled() -> Server {
    let server = server(&[]);
    for (name, factor) in [("a", 1.0), ("b", 0.5)] {
        let samples: Vec<_> = (0..7).map(|i| (i * 10_000, i as f64 * factor)).collect();
        server.store(&[("__name__", "m"), ("x", name)], &samples);
        server.store(&[("__name__", "n_total"), ("x", name)], &samples);
    }
    server
}

fn answers(server: &Server, path: &str, data: &str) {
    let expected = format!(r#"{{"status":"success","data":{data}}}"#);
    let reply = server.get(path);
    assert_eq!((reply.status, reply.text()), (200, expected.as_str()), "{path}");
}

#[test]
fn instant_queries_answer_in_every_type() {
    let server = filled();
    for (path, data) in [
        ("/api/v1/query?query=1%2B1&time=4", r#"{"resultType":"scalar","result":[4,"2"]}"#),
        ("/api/v1/query?query=%22x%22&time=4.5", r#"{"resultType":"string","result":[4.5,"x"]}"#),
        (
            "/api/v1/query?query=m{x=%22b%22}&time=1970-01-01T00:00:15.250Z",
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"m","x":"b"},"value":[15.250,"0.5"]}]}"#,
        ),
        (
            "/api/v1/query?query=m{x=%22b%22}[15s]&time=30",
            concat!(
                r#"{"resultType":"matrix","result":[{"metric":{"__name__":"m","x":"b"},"#,
                r#""values":[[20,"1"],[30,"1.5"]]}]}"#
            ),
        ),
        ("/api/v1/query?query=nothing&time=4", r#"{"resultType":"vector","result":[]}"#),
    ] {
        answers(&server, path, data);
    }
}

#[test]
fn range_queries_answer_by_get_and_by_form() {
    let server = filled();
    let data = concat!(
        r#"{"resultType":"matrix","result":[{"metric":{"x":"a"},"values":[[30,"0.1"],[60,"0.1"]]},"#,
        r#"{"metric":{"x":"b"},"values":[[30,"0.05"],[60,"0.05"]]}]}"#
    );
    answers(&server, "/api/v1/query_range?query=rate(n_total[30s])&start=30&end=60&step=30s", data);
    let posted = server
        .post_form("/api/v1/query_range?start=0&step=30", "query=rate(n_total%5B30s%5D)&start=30&end=60");
    assert_eq!(
        posted.json("/data/result"),
        serde_json::from_str::<serde_json::Value>(data).unwrap()["result"]
    );
}

#[test]
fn limits_and_statistics_and_notes_are_passed_on() {
    let server = filled();
    let cut = server.get("/api/v1/query?query=m&time=60&limit=1");
    assert_eq!(cut.json("/data/result").as_array().map(Vec::len), Some(1));
    assert_eq!(cut.json("/warnings"), serde_json::json!(["results truncated due to limit"]));
    let noted = server.get("/api/v1/query_range?query=rate(m[30s])&start=30&end=60&step=30&stats=all");
    assert!(noted.json("/data/stats/samples/totalQueryableSamples").as_u64().is_some_and(|n| n > 0));
    let infos = noted.json("/infos/0");
    assert!(infos.as_str().is_some_and(|i| i.contains("metric might not be a counter")), "{infos}");
    // Sorted here, because the order of an instant vector is open.
    assert_eq!(
        server.get("/api/v1/query?query=sort_desc(m)&time=60&lookback_delta=1ms").json("/data/result"),
        serde_json::json!([
            {"metric": {"__name__": "m", "x": "a"}, "value": [60, "6"]},
            {"metric": {"__name__": "m", "x": "b"}, "value": [60, "3"]},
        ])
    );
    let later = server.get("/api/v1/query?query=m&time=61&lookback_delta=500ms");
    assert_eq!(later.json("/data/result"), serde_json::json!([]));
}

#[test]
fn failures_have_their_type_and_status() {
    let server = filled();
    let small = crate::support::server(&["--query.max-samples=3"]);
    let samples: Vec<_> = (0..7).map(|i| (i * 10_000, 1.0)).collect();
    small.store(&[("__name__", "m")], &samples);
    for (server, path, status, kind, error) in [
        (
            &server,
            "/api/v1/query?query=m%20%2B",
            400,
            "bad_data",
            "invalid parameter \"query\": 1:4: parse error: unexpected end of input",
        ),
        (
            &server,
            "/api/v1/query_range?query=m[1m]&start=0&end=1&step=1",
            400,
            "bad_data",
            concat!(
                "invalid parameter \"query\": invalid expression type \"range vector\" for range query, ",
                "must be Scalar or instant Vector"
            ),
        ),
        (
            &server,
            "/api/v1/query?query=label_replace(m,%22x%22,%22%22,%22%22,%22%22)&time=60",
            422,
            "execution",
            "vector cannot contain metrics with the same labelset",
        ),
        (
            &small,
            "/api/v1/query?query=m[1h]&time=60",
            422,
            "execution",
            "query processing would load too many samples into memory in query execution",
        ),
    ] {
        let reply = server.get(path);
        let expected = serde_json::json!({"status": "error", "errorType": kind, "error": error});
        assert_eq!((reply.status, reply.json("")), (status, expected), "{path}");
    }
}

#[test]
fn plans_and_operators_are_told_when_asked_for() {
    let server = filled();
    let reply = server.get("/api/v1/query?query=sum(rate(n_total[30s]))&time=60&explain=true&stats=all");
    let plan = reply.json("/data/explain");
    assert_eq!(plan[0], "aggregate sum by []", "{plan}");
    assert_eq!(plan[2], "    window 30000 ms of {__name__=\"n_total\"}", "{plan}");
    let window = reply.json("/data/stats/operators/2");
    assert_eq!((&window["series"], &window["samplesRead"]), (&2.into(), &6.into()), "{window}");
    assert!(reply.json("/data/stats/peakBytes").as_u64().is_some_and(|n| n > 0));
    assert_eq!(reply.json("/data/stats/samples/samplesFromBlocks"), 0);
    let plain = server.get("/api/v1/query?query=sum(m)&time=60&stats=1");
    assert!(!plain.text().contains("operators") && !plain.text().contains("explain"), "{}", plain.text());
}

#[test]
fn limits_are_flags_and_are_counted() {
    let server = server(&[
        "--query.max-samples=3",
        "--query.max-length=60",
        "--query.max-tokens=12",
        "--query.max-nesting=3",
        "--query.max-memory-mib=1",
    ]);
    let samples: Vec<_> = (0..7).map(|i| (i * 10_000, 1.0)).collect();
    server.store(&[("__name__", "m")], &samples);
    for (query, status, error) in [
        ("m[1m]&time=60", 422, "query processing would load too many samples into memory in query execution"),
        (
            "1111111111111111111111111111111111111111111111111111111111111",
            400,
            "invalid parameter \"query\": unknown position: parse error: query is longer than 60 bytes",
        ),
        ("1-1-1-1-1-1-1-1", 400, "query has more than 12 tokens"),
        ("((((1))))", 400, "query is nested deeper than 3 levels"),
        (
            "vector(1)[1000d:10s]&time=90000000",
            422,
            "query processing would load too many samples into memory in query execution",
        ),
    ] {
        let reply = server.get(&format!("/api/v1/query?query={query}"));
        let told = reply.json("/error");
        let told = told.as_str().unwrap_or_default();
        assert!(reply.status == status && told.contains(error), "{query}: {} {told}", reply.status);
    }
    let families = server.app.gather(None);
    let refused = families.iter().find(|f| f.name == "marigram_queries_refused_total").expect("the family");
    let of = |limit: &str| refused.samples.iter().find(|s| s.labels[0].1 == limit).map(|s| s.value);
    let counts = ["length", "tokens", "nesting", "samples", "memory"].map(of);
    assert_eq!(counts, [Some(1.0), Some(1.0), Some(1.0), Some(2.0), Some(0.0)]);
    let held = families.iter().find(|f| f.name == "marigram_query_memory_bytes").expect("the gauge");
    assert_eq!(held.samples[0].value, 0.0);
}

#[test]
fn a_query_ends_when_its_client_goes_away() {
    use std::io::Write;
    use std::sync::atomic::Ordering;
    let server = filled();
    // Far more work in a single series than the time limit allows.
    let query = "max_over_time(quantile_over_time(0.5,vector(1)[1d:1s])[20d:1s])&time=2000000";
    let mut client = server.connect();
    write!(client, "GET /api/v1/query?query={query} HTTP/1.1\r\nHost: test\r\n\r\n").expect("sent");
    while server.app.metrics.queries.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    drop(client);
    while server.app.metrics.queries.load(Ordering::SeqCst) > 0 {
        std::thread::yield_now();
    }
    let families = server.app.gather(None);
    let refused = families.iter().find(|f| f.name == "marigram_queries_refused_total").expect("the family");
    assert!(refused.samples.iter().all(|s| s.value == 0.0), "it ended because its time was over");
}
