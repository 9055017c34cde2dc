//! Endpoints that change something: off unless enabled, never by GET, never for foreign pages.

use crate::support::server;

#[test]
fn admin_endpoints_need_their_flag_and_post() {
    let flush = "/api/v1/admin/tsdb/flush";
    let off = server(&[]);
    let reply = off.ask("POST", flush, &[], b"");
    assert_eq!(reply.status, 403);
    assert_eq!(reply.json("/error"), "admin APIs disabled");
    let on = server(&["--web.enable-admin-api"]);
    assert_eq!(on.get(flush).status, 405);
    assert_eq!(on.ask("POST", flush, &[], b"").status, 204);
    assert_eq!(on.ask("PUT", flush, &[], b"").status, 204);
    assert_eq!(on.ask("POST", "/api/v1/admin/tsdb/compact", &[], b"").status, 204);
}

#[test]
fn a_flush_is_answered_when_the_head_stands_in_blocks() {
    let server = server(&["--web.enable-admin-api"]);
    server.store(&[("__name__", "m")], &[(1000, 1.0), (2000, 2.0)]);
    let blocks = || server.get("/api/v1/status/tsdb/blocks").json("/data/blocks");
    assert_eq!(blocks(), serde_json::json!([]));
    assert_eq!(server.ask("POST", "/api/v1/admin/tsdb/flush", &[], b"").status, 204);
    let block = &blocks()[0];
    assert_eq!((&block["minTime"], &block["maxTime"]), (&1000.into(), &2001.into()));
    assert_eq!(block["stats"]["numSamples"], 2);
    assert_eq!(server.get("/api/v1/query?query=m&time=2").json("/data/result/0/value/1"), "2");
}

#[test]
fn lifecycle_endpoints_need_their_flag_and_post() {
    let off = server(&[]);
    assert_eq!(off.ask("POST", "/-/quit", &[], b"").status, 403);
    assert_eq!(off.ask("POST", "/-/reload", &[], b"").status, 403);
    assert!(!off.app.stop.is_raised());
    let on = server(&["--web.enable-lifecycle"]);
    assert_eq!(on.get("/-/quit").status, 405);
    assert_eq!(on.ask("PUT", "/-/reload", &[], b"").status, 200);
    assert_eq!(on.ask("POST", "/-/quit", &[], b"").status, 200);
    assert!(on.app.stop.is_raised());
}

#[test]
fn pages_of_foreign_sites_change_nothing() {
    let server = server(&["--web.enable-lifecycle", "--web.enable-admin-api"]);
    let foreign = ["Sec-Fetch-Site: cross-site", "Origin: http://evil.example"];
    for path in ["/-/quit", "/api/v1/admin/tsdb/flush", "/api/v1/write"] {
        assert_eq!(server.ask("POST", path, &foreign, b"x").status, 403, "{path}");
    }
    assert!(!server.app.stop.is_raised());
    assert_eq!(server.ask("POST", "/-/reload", &["Sec-Fetch-Site: same-origin"], b"").status, 200);
}

#[test]
fn wrong_methods_and_paths_are_refused() {
    let server = server(&["--web.enable-admin-api"]);
    for (method, path, status) in [
        ("DELETE", "/api/v1/series", 405),
        ("POST", "/api/v1/label/a/values", 405),
        ("GET", "/api/v1/write", 405),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/../../etc/passwd", 404),
        ("GET", "/api/v1/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "//api/v1/labels", 404),
        ("HEAD", "/-/ready", 200),
    ] {
        assert_eq!(server.ask(method, path, &[], b"").status, status, "{method} {path}");
    }
}
