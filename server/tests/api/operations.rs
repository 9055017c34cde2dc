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

/// Statuses and bodies are those of Prometheus 3.5.
#[test]
fn deletes_are_checked_as_prometheus_checks_them() {
    let server = server(&["--web.enable-admin-api"]);
    let delete = "/api/v1/admin/tsdb/delete_series";
    let refused = |form: &str| {
        let reply = server.post_form(delete, form);
        assert_eq!((reply.status, reply.json("/errorType")), (400, "bad_data".into()), "{form}");
        reply.json("/error").as_str().expect("a text").to_owned()
    };
    assert_eq!(refused(""), "no match[] parameter provided");
    assert_eq!(
        refused("match[]="),
        "invalid parameter \"match[]\": unknown position: parse error: unexpected end of input"
    );
    assert_eq!(
        refused("match[]=up&match[]=x{"),
        "invalid parameter \"match[]\": 1:3: parse error: unexpected end of input inside braces"
    );
    assert_eq!(
        refused("match[]=up[5m]"),
        "invalid parameter \"match[]\": 1:3: parse error: unexpected \"[\""
    );
    for name in ["start", "end"] {
        let why = format!("invalid time value for '{name}': cannot parse \"x\" to a valid timestamp");
        assert_eq!(refused(&format!("match[]=up&{name}=x")), format!("invalid parameter \"{name}\": {why}"));
    }
    for accepted in ["match[]=nothing", "match[]=up&start=20&end=10", "match[]=up&match[]=go_info"] {
        let reply = server.post_form(delete, accepted);
        assert_eq!((reply.status, reply.text()), (204, ""), "{accepted}");
    }
    assert_eq!(server.ask("PUT", &format!("{delete}?match[]=nothing"), &[], b"").status, 204);
    assert_eq!(server.get(&format!("{delete}?match[]=nothing")).status, 405);
    assert_eq!(server.post_form("/api/v1/admin/tsdb/clean_tombstones", "").status, 204);
}

#[test]
fn deleted_samples_are_gone_at_once_and_for_good() {
    let server = server(&["--web.enable-admin-api", "--storage.tsdb.out-of-order-time-window=1h"]);
    let post = |path: &str, form: &str| {
        let reply = server.post_form(&format!("/api/v1/admin/tsdb/{path}"), form);
        assert_eq!((reply.status, reply.text()), (204, ""), "{path} {form}");
    };
    let count = |query: &str| {
        let reply = server.get(&format!("/api/v1/query?query=sum(count_over_time({query}[1h]))&time=900"));
        reply
            .json("/data/result")
            .pointer("/0/value/1")
            .map_or(0, |n| n.as_str().and_then(|n| n.parse::<u32>().ok()).expect("a number"))
    };
    let samples: Vec<_> = (1..=10).map(|n| (n * 60_000, n as f64)).collect();
    for job in ["a", "b"] {
        server.store(&[("__name__", "m"), ("job", job)], &samples);
    }
    post("flush", "");
    for job in ["a", "b"] {
        server.store(&[("__name__", "m"), ("job", job)], &[(660_000, 11.0)]);
    }
    assert_eq!(count("m"), 22);
    // Both ends are inside.
    post("delete_series", "match[]=m{job=%22a%22}&start=120&end=240");
    assert_eq!((count("m{job=%22a%22}"), count("m{job=%22b%22}")), (8, 11));
    // What comes after a delete stays, late as it is, with another value as well.
    server.store(&[("__name__", "m"), ("job", "a")], &[(120_000, 7.0)]);
    assert_eq!(count("m{job=%22a%22}"), 9);
    post("delete_series", "match[]=m{job=%22b%22}");
    assert_eq!((count("m{job=%22a%22}"), count("m{job=%22b%22}")), (9, 0));
    assert_eq!(server.get("/api/v1/label/job/values").json("/data"), serde_json::json!(["a"]));
    assert_eq!(server.get("/api/v1/series?match[]=m").json("/data/0/job"), "a");
    let metric = |name: &str| {
        let reply = server.get("/metrics");
        let line = reply.text().lines().find(|line| line.starts_with(&format!("{name} "))).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(metric("marigram_tombstone_selectors"), "marigram_tombstone_selectors 2");
    post("clean_tombstones", "");
    assert_eq!(metric("marigram_tombstone_selectors"), "marigram_tombstone_selectors 0");
    assert_eq!(metric("marigram_deletes_total"), "marigram_deletes_total 2");
    let blocks = server.get("/api/v1/status/tsdb/blocks");
    assert_eq!(blocks.json("/data/blocks/0/stats/numSamples"), 7);
    assert_eq!((count("m{job=%22a%22}"), count("m{job=%22b%22}")), (9, 0));
    // Also when the newest sample was deleted after it left the head, an equal one is a new one.
    post("flush", "");
    post("delete_series", "match[]={}");
    assert_eq!(count("m"), 0);
    server.store(&[("__name__", "m"), ("job", "a")], &[(660_000, 11.0)]);
    assert_eq!(count("m"), 1);
}
