//! The parser against a running Prometheus 3.5: sound and broken queries get the same formatted text, or
//! the same error at the same position.
//!
//! Where the two versions differ by intent (the parser follows 3.14) a case is left out; see
//! [`differs_by_version`].

#[path = "../../query/tests/parser/generate.rs"]
mod generate;

use query::parse::{Options, parse, prettify};
use std::time::Duration;
use tests_support::http::Client;
use tests_support::peers;
use tests_support::process::free_address;
use tests_support::rng::Rng;
use tests_support::servers::{Kind, Server};

const QUERIES: usize = 20_000;

/// What is put into queries to break them, or strung together to make new ones.
const PIECES: [&str; 92] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "=~",
    "!~",
    "!=",
    "==",
    "<",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "@ 5",
    "and",
    "or",
    "unless",
    "atan2",
    "sum",
    "topk",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
    "inf",
    "NaN",
    "1",
    "5m",
    "0x1F",
    "1h30",
    "\"s\"",
    "'",
    "`r`",
    "rate",
    "foo",
    "_",
    "[5m]",
    "{a=\"b\"}",
    "offset 5m",
    "(foo)",
    "[5m:]",
    "bar(1)",
    "time()",
    "rate(foo)",
    "{a=~\"(\"}",
    "{a=~\"[z-a]\"}",
    "{a!~\"a**\"}",
    "{__name__=\"x\"}",
    "\"\\q\"",
    "\"\\x4",
    "# c\n",
    "1.5.5",
    "1e",
    "0x",
    "1_",
    "_1",
    "08",
    "077",
    "1e999",
    "5m3",
    "5s5m",
    "9999999y",
    "{}",
    "{a=\"\"}",
    "\n",
    "é",
    "\"é\"",
    "sum(foo) by",
    "-1",
    "^ 2",
    "== 1",
    "limitk(1,foo)",
    "[1w]",
    "topk(1)",
    "vector",
    "scalar(foo)",
    "((1",
    "$",
    "~",
    "!",
];

fn pick<'a>(rng: &mut Rng, list: &[&'a str]) -> &'a str {
    list[rng.between(0, list.len() as u64) as usize]
}

/// A third of the queries are sound, a third are sound ones cut or with a piece put in, a third are pieces.
fn some_query(rng: &mut Rng) -> String {
    let bytes: Vec<u8> = (0..rng.between(0, 60)).map(|_| rng.between(0, 256) as u8).collect();
    let mut query = generate::query(&bytes, generate::Dialect::Common);
    let mut cut = rng.between(0, query.len() as u64 + 1) as usize;
    while !query.is_char_boundary(cut) {
        cut -= 1;
    }
    match rng.between(0, 6) {
        0 | 1 => query,
        2 => query[..cut].to_owned(),
        3 => {
            query.insert_str(cut, pick(rng, &PIECES));
            query
        }
        _ => {
            let pieces: Vec<&str> = (0..rng.between(1, 8)).map(|_| pick(rng, &PIECES)).collect();
            pieces.join(" ")
        }
    }
}

/// Whether 3.5 and 3.14 treat a query or an error differently, and how.
fn differs_by_version(query: &str, peer: &str) -> bool {
    // 3.5 prints no matching without labels, and names in `on` and `ignoring` without quotes.
    let names = ["on", "ignoring", "group_"].iter().any(|word| query.contains(word));
    let unusual = query.contains("\"b") || query.contains('é') || query.contains(':');
    let matching = query.contains("ignoring () group") || (names && unusual);
    // Between brackets only durations without arithmetic are known, and errors tell of the colon.
    let durations = peer.contains("number or duration") || peer.contains("unexpected colon");
    // A number inside the parser stands for `@` in the text.
    let at = peer.contains("<Item ");
    // Both have functions of those names only since 3.6 (`start()`, `end()`, `step()`, `range()`).
    let functions = query.contains("start") || query.contains("end") || query.contains("without");
    // A defect of 3.5: its parser panics, offsets that are no number are taken, powers of infinity get a sign.
    let defect = peer == "unexpected error" || query.contains("NaN") || query.to_lowercase().contains("inf");
    matching || durations || at || functions || defect
}

#[test]
fn formatting_and_errors_are_those_of_a_running_prometheus() {
    let Some(bin) = peers::peers() else { return peers::skip("parser against Prometheus", "no peers") };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let features = ["--enable-feature=promql-experimental-functions".to_owned()];
    let program = bin.join(Kind::Prometheus.program());
    let mut server = Server::start(Kind::Prometheus, &program, dir.path(), free_address(), &features);
    server.await_ready(Duration::from_secs(60));
    let mut client = Client::new(server.addr(), Duration::from_secs(30));
    let options = Options { experimental_functions: true, duration_expressions: false, ..Options::default() };
    let mut rng = Rng::new(42);
    let (mut compared, mut differences) = (0, Vec::new());
    for _ in 0..QUERIES {
        let query = some_query(&mut rng);
        let response = client.post_form("/api/v1/format_query", &[("query", &query)]).expect("an answer");
        let answer: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
        let peer = match answer["data"].as_str() {
            Some(formatted) => formatted.to_owned(),
            None => {
                answer["error"].as_str().expect("an error").replacen("invalid parameter \"query\": ", "", 1)
            }
        };
        if differs_by_version(&query, &peer) {
            continue;
        }
        compared += 1;
        let ours = parse(&query, &options).map_or_else(|e| e.to_string(), |expr| prettify(&expr));
        if ours != peer {
            differences.push(format!("{query:?}\n  peer: {peer:?}\n  ours: {ours:?}"));
        }
    }
    assert!(compared > QUERIES / 2, "only {compared} queries were compared");
    assert!(
        differences.is_empty(),
        "{} of {compared} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}
