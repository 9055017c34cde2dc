//! Parameters: where they stand, what they may say, and the exact refusals.

use crate::support::{Server, server};

fn refused(server: &Server, path: &str, error: &str) {
    let reply = server.get(path);
    let expected = serde_json::json!({"status": "error", "errorType": "bad_data", "error": error});
    assert_eq!((reply.status, reply.json("")), (400, expected), "{path}");
}

#[test]
fn wrong_parameters_are_told_in_prometheus_words() {
    let server = server(&[]);
    for (path, error) in [
        (
            "/api/v1/query?query=1&time=soon",
            r#"invalid parameter "time": invalid time value for 'time': cannot parse "soon" to a valid timestamp"#,
        ),
        (
            "/api/v1/query?query=1&timeout=x",
            r#"invalid parameter "timeout": cannot parse "x" to a valid duration"#,
        ),
        ("/api/v1/query?query=1&limit=-1", r#"invalid parameter "limit": limit must be non-negative"#),
        (
            "/api/v1/query?query=1&limit=x",
            r#"invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax"#,
        ),
        (
            "/api/v1/query_range?query=1&end=1&step=1",
            r#"invalid parameter "start": cannot parse "" to a valid timestamp"#,
        ),
        (
            "/api/v1/query_range?query=1&start=2&end=1&step=1",
            r#"invalid parameter "end": end timestamp must not be before start time"#,
        ),
        (
            "/api/v1/query_range?query=1&start=1&end=2&step=0",
            concat!(
                r#"invalid parameter "step": zero or negative query resolution step widths are not accepted. "#,
                "Try a positive integer"
            ),
        ),
        (
            "/api/v1/query_range?query=1&start=1&end=2&step=1e20",
            r#"invalid parameter "step": cannot parse "1e20" to a valid duration. It overflows int64"#,
        ),
        (
            "/api/v1/query_range?query=1&start=0&end=11001&step=1",
            concat!(
                "exceeded maximum resolution of 11,000 points per timeseries. ",
                "Try decreasing the query resolution (?step=XX)"
            ),
        ),
        (
            "/api/v1/labels?start=x",
            r#"invalid parameter "start": invalid time value for 'start': cannot parse "x" to a valid timestamp"#,
        ),
        ("/api/v1/labels?match[]=%7B%7D", "match[] must contain at least one non-empty matcher"),
        ("/api/v1/label/a/values?match[]=up%7B", "1:4: parse error: unexpected end of input inside braces"),
        (
            "/api/v1/query?query=1&lookback_delta=x",
            r#"error parsing lookback delta duration: cannot parse "x" to a valid duration"#,
        ),
        ("/api/v1/query_exemplars?query=up%7B", "1:4: parse error: unexpected end of input inside braces"),
        ("/api/v1/rules?type=x", r#"invalid parameter "type": not supported value "x""#),
        ("/api/v1/series", "no match[] parameter provided"),
        (
            "/api/v1/series?match[]=%7B%7D",
            r#"invalid parameter "match[]": match[] must contain at least one non-empty matcher"#,
        ),
        (
            "/api/v1/series?match[]=up%7B",
            r#"invalid parameter "match[]": 1:4: parse error: unexpected end of input inside braces"#,
        ),
        ("/api/v1/label/U__/values", r#"invalid label name: """#),
        ("/api/v1/metadata?limit=x", "limit must be a number"),
        ("/api/v1/metadata?limit_per_metric=x", "limit_per_metric must be a number"),
        ("/api/v1/status/tsdb?limit=0", "limit must be a positive number"),
    ] {
        refused(&server, path, error);
    }
}

#[test]
fn form_and_url_are_merged_and_the_form_comes_first() {
    let server = server(&[]);
    for name in ["a", "b", "c"] {
        server.store(&[("__name__", name), ("x", "1")], &[(1000, 1.0)]);
    }
    let reply = server.post_form("/api/v1/series?match[]=a&limit=0", "match%5B%5D=b&limit=1");
    assert_eq!(
        reply.text(),
        concat!(
            r#"{"status":"success","data":[{"__name__":"a","x":"1"}],"#,
            r#""warnings":["results truncated due to limit"]}"#
        )
    );
    let reply = server.post_form("/api/v1/labels?match[]=a", "");
    assert_eq!(reply.text(), r#"{"status":"success","data":["__name__","x"]}"#);
    let reply = server.ask("POST", "/api/v1/labels", &["Content-Type: text/plain"], b"limit=x");
    assert_eq!(reply.status, 200, "a body that is no form is not read");
}

#[test]
fn unescaped_quotes_and_brackets_in_urls_are_read_as_prometheus_reads_them() {
    let server = server(&[]);
    server.store(&[("__name__", "a"), ("x", "<1>")], &[(1000, 1.0)]);
    let reply = server.get(r#"/api/v1/series?match[]=a{x="<1>"}"#);
    assert_eq!(reply.text(), r#"{"status":"success","data":[{"__name__":"a","x":"<1>"}]}"#);
}

#[test]
fn times_choose_and_limits_cut() {
    let server = server(&[]);
    server.store(&[("__name__", "old"), ("old", "1")], &[(1_000_000, 1.0)]);
    server.store(&[("__name__", "new"), ("new", "1")], &[(1_600_000, 1.0)]);
    for (path, expected) in [
        ("/api/v1/label/__name__/values", r#"{"status":"success","data":["new","old"]}"#),
        (
            "/api/v1/label/__name__/values?limit=1",
            r#"{"status":"success","data":["new"],"warnings":["results truncated due to limit"]}"#,
        ),
        ("/api/v1/label/__name__/values?limit=2", r#"{"status":"success","data":["new","old"]}"#),
        (
            "/api/v1/label/__name__/values?match[]=%7Bold%3D%221%22%7D&match[]=nothing",
            r#"{"status":"success","data":["old"]}"#,
        ),
        ("/api/v1/label/missing/values", r#"{"status":"success","data":[]}"#),
        ("/api/v1/labels", r#"{"status":"success","data":["__name__","new","old"]}"#),
        ("/api/v1/series?match[]=missing", r#"{"status":"success","data":[]}"#),
    ] {
        assert_eq!(server.get(path).text(), expected, "{path}");
    }
}

#[test]
fn escaped_label_names_find_their_values() {
    let server = server(&[]);
    server.store(&[("__name__", "a"), ("http.path", "/x")], &[(1000, 1.0)]);
    let expected = r#"{"status":"success","data":["/x"]}"#;
    assert_eq!(server.get("/api/v1/label/U__http_2e_path/values").text(), expected);
    assert_eq!(server.get("/api/v1/label/http.path/values").text(), expected);
    assert_eq!(server.get("/api/v1/label/%FF/values").status, 400);
}
