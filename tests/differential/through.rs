//! A Prometheus that has nothing of its own and reads through Marigram answers as one that has the data:
//! remote read, streamed, with floats and histograms.

use crate::{answer, data, encode, queries};
use std::fs;
use std::time::Duration;
use tests_support::http::Client;
use tests_support::process::free_address;
use tests_support::rng::Rng;
use tests_support::servers::{Kind, Server};
use tests_support::{peers, remote_write};

const QUERIES: u64 = 200;
const START: Duration = Duration::from_secs(60);

#[test]
fn a_prometheus_reads_through_marigram() {
    let Some(bin) = peers::peers() else { return peers::skip("through", "no peers") };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let program = bin.join(Kind::Prometheus.program());
    let features = ["--enable-feature=promql-experimental-functions,native-histograms".to_owned()];
    let start = |kind: Kind, name: &str, extra: &[String]| {
        let program = if kind == Kind::Marigram { peers::marigram() } else { program.clone() };
        let mut server = Server::start(kind, &program, &dir.path().join(name), free_address(), extra);
        server.await_ready(START);
        server
    };
    let forever = ["--storage.tsdb.retention.time=0".to_owned()];
    let marigram = start(Kind::Marigram, "marigram", &forever);
    let reference = start(Kind::Prometheus, "reference", &features);
    let series = data::series();
    for server in [&marigram, &reference] {
        let mut client = Client::new(server.addr(), START);
        for body in encode::requests(&series) {
            let written =
                client.request("POST", "/api/v1/write", &remote_write::HEADERS, &body).expect("an answer");
            assert!(written.is_success(), "{}: {}", written.status, written.text());
        }
    }
    let config =
        format!("remote_read: [{{url: 'http://{}/api/v1/read', read_recent: true}}]\n", marigram.addr());
    fs::create_dir_all(dir.path().join("reader")).expect("a folder");
    fs::write(dir.path().join("reader/prometheus.yml"), config).expect("a file");
    let reader = start(Kind::Prometheus, "reader", &features);

    let (mut through, mut direct) = (reader.api(), reference.api());
    let mut rng = Rng::new(2);
    let mut points = 0;
    for _ in 0..QUERIES {
        let question = queries::question(&mut rng);
        let expected = answer::peer(&mut direct, &question);
        let found = answer::peer(&mut through, &question);
        points += expected.series.values().map(Vec::len).sum::<usize>();
        let difference = expected.difference(&found);
        assert_eq!(difference, None, "{question}");
    }
    assert!(points > 1_000, "the queries asked for nothing: {points} points");
    let streamed = marigram
        .api()
        .metric("prometheus_http_requests_total", &["handler=\"/api/v1/read\"", "code=\"200\""]);
    assert!(streamed.is_some_and(|reads| reads >= 100.0), "nobody read through Marigram: {streamed:?}");
}
