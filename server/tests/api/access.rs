//! Users, tokens and roles: every route against every role, and what wrong credentials get.

use crate::support::{Reply, Server, server};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Of the password `right:pass`, with the least work factor.
fn hash() -> String {
    bcrypt::hash("right:pass", 4).expect("a hash")
}

struct Guarded {
    server: Server,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

/// A server with one user for each role, a user with all of them, and two tokens.
fn guarded() -> Guarded {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("web.yml");
    fs::write(folder.path().join("token"), "s3cret-token\n").expect("a file");
    fs::write(&file, config(&hash())).expect("a file");
    let flag = format!("--web.config.file={}", file.display());
    let server = server(&[&flag, "--web.enable-admin-api", "--web.enable-lifecycle"]);
    Guarded { server, file, _folder: folder }
}

fn config(hash: &str) -> String {
    format!(
        "basic_auth_users: {{reader: '{hash}', writer: '{hash}', admin: '{hash}', all: '{hash}', none: '{hash}'}}\n\
         user_roles: {{reader: [query], writer: [write], admin: [admin], none: []}}\n\
         bearer_tokens:\n\
         - {{name: agent, token_file: token, roles: [write]}}\n\
         - {{name: panel, token_sha256: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8, roles: [query]}}\n\
         http_server_config: {{headers: {{Strict-Transport-Security: max-age=63072000}}}}\n"
    )
}

fn basic(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

fn ask(server: &Server, method: &str, path: &str, authorization: &str) -> Reply {
    server.ask(method, path, &[authorization], b"")
}

/// Every route with the role that it takes: written down a second time, because a slip opens a door.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/", "health"),
    ("GET", "/-/healthy", "health"),
    ("GET", "/-/ready", "health"),
    ("GET", "/metrics", "health"),
    ("GET", "/version", "health"),
    ("GET", "/federate?match[]=up", "query"),
    ("GET", "/api/v1/query?query=1", "query"),
    ("POST", "/api/v1/query?query=1", "query"),
    ("GET", "/api/v1/query_range?query=1&start=0&end=1&step=1", "query"),
    ("GET", "/api/v1/query_exemplars?query=up&start=0&end=1", "query"),
    ("GET", "/api/v1/format_query?query=up", "query"),
    ("GET", "/api/v1/parse_query?query=up", "query"),
    ("GET", "/api/v1/labels", "query"),
    ("GET", "/api/v1/label/job/values", "query"),
    ("GET", "/api/v1/series?match[]=up", "query"),
    ("GET", "/api/v1/metadata", "query"),
    ("POST", "/api/v1/read", "query"),
    ("GET", "/api/v1/status/buildinfo", "query"),
    ("GET", "/api/v1/status/runtimeinfo", "query"),
    ("GET", "/api/v1/status/flags", "query"),
    ("GET", "/api/v1/status/config", "query"),
    ("GET", "/api/v1/status/tsdb", "query"),
    ("GET", "/api/v1/status/tsdb/blocks", "query"),
    ("GET", "/api/v1/status/walreplay", "query"),
    ("GET", "/api/v1/features", "query"),
    ("GET", "/api/v1/openapi.yaml", "query"),
    ("GET", "/api/v1/targets", "query"),
    ("GET", "/api/v1/targets/metadata", "query"),
    ("GET", "/api/v1/targets/relabel_steps", "query"),
    ("GET", "/api/v1/scrape_pools", "query"),
    ("GET", "/api/v1/rules", "query"),
    ("GET", "/api/v1/alerts", "query"),
    ("GET", "/api/v1/alertmanagers", "query"),
    ("GET", "/api/v1/notifications", "query"),
    ("GET", "/api/v1/notifications/live", "query"),
    ("POST", "/api/v1/write", "write"),
    ("POST", "/api/v1/otlp/v1/metrics", "write"),
    ("POST", "/v1/metrics", "write"),
    ("POST", "/otlp/v1/metrics", "write"),
    ("POST", "/opentelemetry/v1/metrics", "write"),
    ("POST", "/api/v1/admin/tsdb/flush", "admin"),
    ("POST", "/api/v1/admin/tsdb/compact", "admin"),
    ("POST", "/api/v1/admin/tsdb/snapshot", "admin"),
    ("PUT", "/api/v1/admin/tsdb/snapshot", "admin"),
    ("POST", "/api/v1/admin/tsdb/delete_series", "admin"),
    ("POST", "/api/v1/admin/tsdb/clean_tombstones", "admin"),
    ("POST", "/-/reload", "admin"),
    ("POST", "/-/quit", "admin"),
];

#[test]
fn every_route_takes_its_role() {
    let guarded = guarded();
    let server = &guarded.server;
    for (method, path, role) in ROUTES {
        assert_eq!(ask(server, method, path, "X-Nothing: 1").status, 401, "{path} without credentials");
        for (user, has) in [("reader", "query"), ("writer", "write"), ("admin", "admin"), ("none", "nothing")]
        {
            let may = *role == "health" || *role == has;
            // These end the server or never end themselves; that they are not refused is seen elsewhere.
            if may && matches!(*path, "/-/quit" | "/api/v1/notifications/live") {
                continue;
            }
            let status = ask(server, method, path, &basic(user, "right:pass")).status;
            assert_eq!(status == 403, !may, "{method} {path} by {user}: {status}");
            assert_ne!(status, 401, "{method} {path} by {user}");
        }
    }
}

/// The table above names every path of the router: one that is missing there was never thought about.
#[test]
fn the_table_of_routes_is_complete() {
    let source = include_str!("../../src/router.rs");
    let found = regex::Regex::new(r#"\.route\(\s*"([^"]+)""#).expect("an expression");
    let mut count = 0;
    for path in found.captures_iter(source).map(|found| found[1].replace("{name}", "job")) {
        count += 1;
        let known = |(_, known, _): &(&str, &str, &str)| {
            let known = known.split('?').next().unwrap_or_default();
            known == path || known.strip_prefix("/api/v1") == Some(&path)
        };
        assert!(ROUTES.iter().any(known), "{path} is not in the table");
    }
    assert!(count > 40, "the routes are written another way now: {count}");
}

/// The description of the API has every route, and no other.
#[test]
fn the_description_is_of_these_routes() {
    let description: serde_json::Value = yaml_serde::from_str(server::api::openapi::TEXT).expect("YAML");
    let paths = description["paths"].as_object().expect("paths");
    let plain = |path: &str| path.split('?').next().unwrap_or_default().replace("/job/", "/{name}/");
    for (method, path, _) in ROUTES {
        let operation = &paths.get(&plain(path)).unwrap_or_else(|| panic!("{path} is not described"))
            [method.to_lowercase()];
        assert!(operation["responses"].is_object(), "{method} {path} is not described");
    }
    for path in paths.keys() {
        assert!(ROUTES.iter().any(|(_, known, _)| plain(known) == *path), "{path} does not exist");
    }
    let text = description.to_string();
    for reference in regex::Regex::new(r##""#(/[^"]+)""##).expect("an expression").captures_iter(&text) {
        assert!(description.pointer(&reference[1]).is_some(), "{} points nowhere", &reference[1]);
    }
}

#[test]
fn wrong_credentials_are_refused_and_right_ones_are_not() {
    let guarded = guarded();
    let server = &guarded.server;
    let query = |authorization: &str| ask(server, "GET", "/api/v1/query?query=1", authorization).status;
    assert_eq!(query(&basic("reader", "right:pass")), 200);
    assert_eq!(query(&basic("all", "right:pass")), 200);
    assert_eq!(query("Authorization: Bearer password"), 200);
    assert_eq!(query("authorization: bearer password"), 200);
    assert_eq!(query("Authorization: Bearer s3cret-token"), 403);
    for wrong in [
        &basic("reader", "right"),
        &basic("reader", ""),
        &basic("reader", "right:pass:"),
        &basic("nobody", "right:pass"),
        &basic("", "right:pass"),
        // The parts of one name and password, cut elsewhere.
        &basic("reade", "rright:pass"),
        &basic("Reader", "right:pass"),
        &basic("reader", &"x".repeat(80)),
        "Authorization: Basic !!!",
        "Authorization: Basic",
        "Authorization: Basic /////w==",
        "Authorization: Bearer",
        "Authorization: Bearer passwor",
        "Authorization: Bearer password password",
        "Authorization: Digest username=\"reader\"",
        "X-Other: 1",
    ] {
        for _ in 0..2 {
            assert_eq!(query(wrong), 401, "{wrong}");
        }
    }
    let twice = server.ask(
        "GET",
        "/api/v1/query?query=1",
        &[&basic("nobody", "x"), &basic("reader", "right:pass")],
        b"",
    );
    assert_eq!(twice.status, 401);
    assert_eq!(twice.header("www-authenticate"), Some("Basic"));
    assert_eq!(query(&basic("reader", "right:pass")), 200);
}

#[test]
fn unknown_paths_say_nothing_to_strangers() {
    let guarded = guarded();
    assert_eq!(guarded.server.get("/no/such/path").status, 401);
    assert_eq!(ask(&guarded.server, "GET", "/no/such/path", &basic("none", "right:pass")).status, 404);
}

#[test]
fn headers_of_the_file_are_in_every_answer() {
    let guarded = guarded();
    let reply = guarded.server.get("/-/healthy");
    assert_eq!(reply.header("strict-transport-security"), Some("max-age=63072000"));
    assert_eq!(reply.header("x-frame-options"), Some("DENY"));
}

#[test]
fn no_secret_is_shown() {
    let guarded = guarded();
    let server = &guarded.server;
    for path in ["/api/v1/status/flags", "/api/v1/status/config", "/api/v1/status/runtimeinfo", "/metrics"] {
        let reply = ask(server, "GET", path, &basic("all", "right:pass"));
        assert_eq!(reply.status, 200);
        for secret in ["$2b$", "right:pass", "s3cret-token", "5e884898"] {
            assert!(!reply.text().contains(secret), "{secret} in {path}");
        }
    }
}

/// Asks until the answer is as it should be: the file is looked at in the background.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_new_file_holds_and_a_bad_one_does_not() {
    let guarded = guarded();
    let server = &guarded.server;
    let status = |user: &str| {
        server.app.access.reload_if_changed();
        ask(server, "GET", "/api/v1/query?query=1", &basic(user, "right:pass")).status
    };
    assert_eq!(status("reader"), 200);
    fs::write(&guarded.file, format!("basic_auth_users: {{other: '{}'}}\n", hash())).expect("a file");
    until("the new user is let in", || status("other") == 200);
    assert_eq!(status("reader"), 401);
    fs::write(&guarded.file, "basic_auth_users: {other: plain-text}\n").expect("a file");
    until("a bad file is noticed", || {
        server.app.access.reload_if_changed();
        let metrics = ask(server, "GET", "/metrics", &basic("other", "right:pass"));
        metrics.text().contains("marigram_web_config_last_reload_successful 0")
    });
    assert_eq!(status("other"), 200);
}

#[test]
fn files_with_a_slip_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("web.yml");
    let hash = hash();
    for (text, why) in [
        ("basic_auth_user: {}".to_owned(), "unknown field"),
        ("basic_auth_users: {a: secret}".to_owned(), "not a bcrypt hash"),
        (format!("basic_auth_users: {{a: '{}'}}", hash.replace("$04$", "$31$")), "work factor 31"),
        ("user_roles: {a: [query]}".to_owned(), "not in basic_auth_users"),
        (format!("basic_auth_users: {{a: '{hash}'}}\nuser_roles: {{a: [root]}}"), "unknown variant"),
        ("bearer_tokens: [{name: a, token_sha256: abc, roles: [query]}]".to_owned(), "64 hexadecimal"),
        ("bearer_tokens: [{name: a, roles: [query]}]".to_owned(), "token_file or token_sha256"),
        ("bearer_tokens: [{name: a, token_file: none, roles: [query]}]".to_owned(), "No such file"),
        ("http_server_config: {headers: {X-Other: 1}}".to_owned(), "only these can be set"),
        ("tls_server_config: {cert_file: none, key_file: none}".to_owned(), "No such file"),
        (
            "tls_server_config: {client_auth_type: RequireAndVerifyClientCert}".to_owned(),
            "cert_file is missing",
        ),
        (": :".to_owned(), "web.yml"),
    ] {
        fs::write(&file, &text).expect("a file");
        let refused = server::access::Access::open(Some(&file)).expect_err(&text);
        assert!(refused.contains(why), "{text}: {refused}");
    }
}
