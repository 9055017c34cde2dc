//! Slow, silent, greedy and vanishing clients.

use crate::support::{opening_server, read_reply, server};
use server::net::Limits;
use std::io::{Read, Write};
use std::time::Duration;

fn short() -> Limits {
    let soon = Duration::from_millis(50);
    Limits { head: soon, idle: soon, body: soon, ..Limits::default() }
}

/// Reads until the server closes the connection; the client's own timeout would be an error.
fn closed(mut stream: std::net::TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    let ended = stream.read_to_end(&mut read);
    ended.unwrap_or_else(|e| panic!("{e} instead of an end after {:?}", String::from_utf8_lossy(&read)));
    read
}

#[test]
fn silent_and_slow_clients_give_their_place_back() {
    let server = opening_server(&[], short());
    assert!(closed(server.connect()).is_empty(), "a client that never speaks");
    let mut slow = server.connect();
    slow.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: te").unwrap();
    assert!(closed(slow).is_empty(), "a client that stops within the head");
    let mut idle = server.connect();
    idle.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    assert!(closed(idle).starts_with(b"HTTP/1.1 200"), "a client that keeps the connection for nothing");
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let server = server(&["--web.read-timeout=50ms"]);
    let mut slow = server.connect();
    slow.write_all(
        b"POST /api/v1/labels HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-www-form-urlencoded\r\n\
          Content-Length: 100\r\nConnection: close\r\n\r\nmatch",
    )
    .unwrap();
    let reply = read_reply(slow);
    assert_eq!((reply.status, reply.json("/error")), (400, "request body did not arrive in time".into()));
}

#[test]
fn bodies_above_the_limit_are_refused_before_they_are_read() {
    let server = server(&[]);
    let form = "Content-Type: application/x-www-form-urlencoded";
    for head in [
        format!("POST /api/v1/labels HTTP/1.1\r\nHost: t\r\n{form}\r\nContent-Length: 1073741824\r\n\r\n"),
        "POST /api/v1/write HTTP/1.1\r\nHost: t\r\nContent-Length: 1073741824\r\n\r\n".to_owned(),
    ] {
        assert_eq!(server.raw(head.as_bytes()).status, 413);
    }
}

#[test]
fn heads_above_the_limit_are_refused() {
    let server = server(&[]);
    let long = format!("X-Long: {}", "x".repeat(80 * 1024));
    assert_eq!(server.ask("GET", "/-/healthy", &[&long], b"").status, 431);
    let many: Vec<String> = (0..200).map(|i| format!("X-{i}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(server.ask("GET", "/-/healthy", &many, b"").status, 431);
}

#[test]
fn idle_connections_make_room_for_new_ones() {
    let for_ever = Duration::from_secs(3600);
    let limits = Limits { connections: 2, head: for_ever, idle: for_ever, ..Limits::default() };
    let server = opening_server(&[], limits);
    let silent = server.connect();
    let mut idle = server.connect();
    idle.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    assert_eq!(server.get("/-/healthy").status, 200, "an idle connection made room");
    let more = [server.connect(), server.connect(), server.connect()];
    assert_eq!(server.get("/-/healthy").status, 200);
    drop((silent, idle, more));
}

#[test]
fn a_connection_serves_many_requests() {
    let server = server(&[]);
    let mut stream = server.connect();
    let quoted = br#"GET /api/v1/series?match[]={a="1"} HTTP/1.1"#;
    for _ in 0..3 {
        stream.write_all(quoted).unwrap();
        stream.write_all(b"\r\nHost: test\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(br#""data":[]}"#) {
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
fn bytes_that_are_no_http_close_the_connection() {
    let server = server(&[]);
    for junk in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
    {
        let mut stream = server.connect();
        stream.write_all(junk).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = closed(stream);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 505")
        );
    }
    assert_eq!(server.get("/-/healthy").status, 200);
}

#[test]
fn stopping_answers_what_is_under_way_and_waits_for_nobody_else() {
    let for_ever = Duration::from_secs(3600);
    let server = opening_server(&[], Limits { head: for_ever, idle: for_ever, ..Limits::default() });
    let silent = server.connect();
    let mut begun = server.connect();
    begun.write_all(b"GET /-/healthy HTTP/1.1\r\n").unwrap();
    assert_eq!(server.get("/-/healthy").status, 200, "both were accepted before");
    server.app.stop.raise();
    assert!(closed(silent).is_empty());
    assert!(closed(begun).is_empty());
}
