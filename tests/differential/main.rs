//! The query engine against a running Prometheus 3.5 on the same remote-written data: floats, classic and
//! native histograms; generated queries, instant and range, must have equal results, errors, warnings and
//! infos.
//!
//! `MARIGRAM_DIFFERENTIAL_QUERIES` says how many queries to ask, `MARIGRAM_DIFFERENTIAL_SEED` which. What
//! differs because Marigram follows 3.14 stands in [`explained`], one reason each.

mod answer;
mod data;
mod encode;
mod explained;
mod queries;
mod through;

use answer::Answer;
use engine::Engine;
use query::{EngineOptions, Features, QueryEngine, QueryParams};
use std::time::Duration;
use tests_support::http::Client;
use tests_support::peers;
use tests_support::process::free_address;
use tests_support::prom::Api;
use tests_support::remote_write;
use tests_support::rng::Rng;
use tests_support::servers::{Kind, Server};

const QUERIES: u64 = 3000;
/// Differences told; the rest is only counted.
const SHOWN_MAX: usize = 60;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn ours(engine: &Engine) -> impl Fn(&queries::Question) -> Answer {
    let snapshot = engine.snapshot();
    let features = Features { experimental_functions: true, ..Features::default() };
    let query_engine = QueryEngine::new(EngineOptions { features, ..EngineOptions::default() });
    move |question| {
        let params = QueryParams::default();
        let result = match question.range {
            None => query_engine.instant(&snapshot, &question.text, question.start, &params),
            Some((end, step)) => {
                query_engine.range(&snapshot, &question.text, question.start, end, step, &params)
            }
        };
        answer::ours(result)
    }
}

#[test]
fn answers_are_those_of_a_running_prometheus() {
    let Some(bin) = peers::peers() else { return peers::skip("differential", "no peers") };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let features = ["--enable-feature=promql-experimental-functions,native-histograms".to_owned()];
    let program = bin.join(Kind::Prometheus.program());
    let mut server =
        Server::start(Kind::Prometheus, &program, &dir.path().join("peer"), free_address(), &features);
    server.await_ready(Duration::from_secs(60));

    let series = data::series();
    let mut client = Client::new(server.addr(), Duration::from_secs(60));
    for body in encode::requests(&series) {
        let written =
            client.request("POST", "/api/v1/write", &remote_write::HEADERS, &body).expect("an answer");
        assert!(written.is_success(), "{}: {}", written.status, written.text());
    }
    let mut options = engine::Options::new(dir.path().join("ours"));
    options.retention_ms = i64::MAX;
    let engine = Engine::open(options).expect("a storage engine can be opened");
    let outcome = engine.append(&series).expect("the series can be stored");
    assert_eq!(outcome.rejected_count, 0, "{outcome:?}");

    let ask = ours(&engine);
    let mut api: Api = server.api();
    let mut rng = Rng::new(setting("MARIGRAM_DIFFERENTIAL_SEED", 1));
    let asked = setting("MARIGRAM_DIFFERENTIAL_QUERIES", QUERIES);
    let (mut differences, mut excused, mut refused) = (Vec::new(), 0, 0);
    for _ in 0..asked {
        let question = queries::question(&mut rng);
        let peer = answer::peer(&mut api, &question);
        let own = ask(&question);
        refused += u64::from(peer.error.is_some());
        let Some(difference) = peer.difference(&own) else { continue };
        match explained::reason(&question, &peer, &own) {
            Some(_) => excused += 1,
            None => differences.push(format!("{question}\n    {difference}")),
        }
    }
    println!("{asked} queries, {refused} refused by both, {excused} differences explained");
    assert!(refused * 4 < asked, "{refused} of {asked} queries were refused: the generator is broken");
    let shown = differences.iter().take(SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{} of {asked} differ:\n{shown}", differences.len());
}
