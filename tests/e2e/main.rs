//! End to end with software nobody here wrote: a real Prometheus and a real vmagent write to Marigram while
//! it is killed and started again, and its answers equal Prometheus's own - from the head, from flushed
//! blocks, and after a clean restart.
//!
//! `MARIGRAM_E2E_STANDIN=1` puts a second Prometheus in Marigram's place, which proves the scene itself.

mod queries;
mod scene;

use std::env;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use queries::Times;
use scene::Scene;
use serde_json::Value;
use tests_support::answer::{Answer, show};
use tests_support::peers;
use tests_support::process::{self, Process};
use tests_support::prom::{Api, Query};
use tests_support::servers::{Kind, Server};

/// How far a computed value may be off; raw samples must have the same bits.
const RELATIVE: f64 = 1e-9;
const LIMIT: Duration = Duration::from_secs(60);

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_millis()).expect("the clock is not in the far future")
}

fn target(bin: &Path, dir: &Path) -> Server {
    let addr = process::free_address();
    let (kind, program) = if env::var_os("MARIGRAM_E2E_STANDIN").is_some() {
        (Kind::Prometheus, bin.join("prometheus"))
    } else {
        (Kind::Marigram, peers::marigram())
    };
    Server::start(kind, &program, &dir.join("target"), addr, &[])
}

/// Collects what differs, over all comparisons of one state of the target.
struct Findings {
    state: &'static str,
    compared: usize,
    text: String,
}

impl Findings {
    fn new(state: &'static str) -> Self {
        Self { state, compared: 0, text: String::new() }
    }

    fn add(&mut self, what: &str, differences: &[String]) {
        self.compared += 1;
        if !differences.is_empty() {
            let _ = writeln!(self.text, "{what}\n    {}", differences.join("\n    "));
        }
    }

    #[expect(clippy::print_stderr, reason = "the figures are for whoever reads the test's output")]
    fn conclude(self) {
        assert!(
            self.text.is_empty(),
            "{}: the target's answers differ from Prometheus's:\n{}",
            self.state,
            self.text
        );
        eprintln!("{}: {} comparisons, all alike", self.state, self.compared);
    }
}

fn compare_queries(found: &mut Findings, reference: &mut Api, target: &mut Api, times: Times) {
    for text in queries::all() {
        let mut seen = 0;
        for query in queries::evaluations(text, times) {
            let what = format!("{text}  ({query:?})");
            match (reference.ask(&query), target.ask(&query)) {
                (Err(e), _) => found.add(&what, &[format!("Prometheus refuses it: {e}")]),
                (_, Err(e)) => found.add(&what, &[e]),
                (Ok(want), Ok(got)) => {
                    seen += want.points();
                    let mut differences = got.differences(&want, RELATIVE, 5);
                    differences.extend(got.odd_number);
                    found.add(&what, &differences);
                }
            }
        }
        if seen == 0 {
            found.add(text, &["finds nothing at any time, so it proves nothing".to_owned()]);
        }
    }
}

fn compare_refusals(found: &mut Findings, reference: &mut Api, target: &mut Api, times: Times) {
    for text in queries::refused() {
        for query in
            [Query::instant(text, times.end), Query::range(text, times.end - 60_000, times.end, 15_000)]
        {
            let Err(want) = reference.ask(&query) else { panic!("Prometheus takes {text}") };
            let differences = match target.ask(&query) {
                Err(got) if without_examples(&got) == without_examples(&want) => Vec::new(),
                Err(got) => vec![got, format!("instead of {want}")],
                Ok(_) => vec![format!("an answer instead of {want}")],
            };
            found.add(&format!("{text}  ({query:?})"), &differences);
        }
    }
}

/// An error text without the two series it names: which two depends on the order they are stored in.
fn without_examples(text: &str) -> &str {
    text.split(" of the operation: [").next().unwrap_or_default()
}

/// Every raw sample, both ways, bit for bit.
fn compare_samples(found: &mut Findings, reference: &mut Api, target: &mut Api, times: Times) -> usize {
    let mut samples = 0;
    for job in ["node", "prometheus", "vm_node", "vm_prometheus"] {
        let query = Query::instant(&format!("{{job={job:?}}}[1h]"), times.end + 60_000);
        let want = reference.ask(&query).unwrap_or_else(|e| panic!("Prometheus on {query:?}: {e}"));
        samples += want.points();
        let what = format!("raw samples of {job}");
        match target.ask(&query) {
            Ok(got) => found.add(&what, &sample_differences(&got, &want)),
            Err(e) => found.add(&what, &[e]),
        }
    }
    samples
}

/// Like [`Answer::differences`], but says for each series which samples are lost and which are invented.
fn sample_differences(got: &Answer, want: &Answer) -> Vec<String> {
    let mut out = got.differences(want, 0.0, 5);
    for (labels, points) in &want.series {
        let Some(have) = got.series.get(labels) else { continue };
        let lost: Vec<i64> =
            points.iter().map(|p| p.0).filter(|t| have.binary_search_by_key(t, |p| p.0).is_err()).collect();
        if !lost.is_empty() && out.len() < 8 {
            out.push(format!("{}: {} samples lost, from {} on", show(labels), lost.len(), lost[0]));
        }
    }
    out
}

fn compare_metadata(found: &mut Findings, reference: &mut Api, target: &mut Api, times: Times) {
    let range = format!("start={}&end={}", times.start / 1000 - 60, times.end / 1000 + 60);
    let node = "match%5B%5D=%7Bjob%3D%22node%22%7D";
    let paths = [
        format!("/api/v1/labels?{range}"),
        format!("/api/v1/labels?{range}&{node}"),
        format!("/api/v1/label/__name__/values?{range}"),
        format!("/api/v1/label/__name__/values?{range}&{node}"),
        format!("/api/v1/label/job/values?{range}"),
        format!("/api/v1/label/le/values?{range}"),
        format!("/api/v1/label/mode/values?{range}&{node}"),
        format!("/api/v1/series?{range}&match%5B%5D=up"),
        format!("/api/v1/series?{range}&{node}"),
    ];
    for path in paths {
        let want = reference.data(&path).unwrap_or_else(|e| panic!("Prometheus on {path}: {e}"));
        let differences = match target.data(&path) {
            Ok(got) => list_differences(&got, &want),
            Err(e) => vec![e],
        };
        found.add(&path, &differences);
    }
}

fn list_differences(got: &Value, want: &Value) -> Vec<String> {
    let list = |v: &Value| -> Vec<String> {
        let mut items: Vec<String> = v.as_array().into_iter().flatten().map(Value::to_string).collect();
        if items.iter().any(|i| i.starts_with('{')) {
            items.sort();
        }
        items
    };
    let (got, want) = (list(got), list(want));
    if got == want {
        return Vec::new();
    }
    let missing = want.iter().filter(|i| !got.contains(i)).map(|i| format!("missing {i}"));
    let extra = got.iter().filter(|i| !want.contains(i)).map(|i| format!("unexpected {i}"));
    let mut out: Vec<String> = missing.chain(extra).take(5).collect();
    if out.is_empty() {
        out.push("the same items in another order".to_owned());
    }
    out
}

fn compare(state: &'static str, scene: &Scene, target: &Server, times: Times) -> usize {
    let mut found = Findings::new(state);
    let (mut reference, mut api) = (scene.reference(), target.api());
    let samples = compare_samples(&mut found, &mut reference, &mut api, times);
    compare_metadata(&mut found, &mut reference, &mut api, times);
    compare_queries(&mut found, &mut reference, &mut api, times);
    compare_refusals(&mut found, &mut reference, &mut api, times);
    found.conclude();
    samples
}

/// A second start on the folder in use must fail and say so in one line.
fn second_start_fails(target: &Server, dir: &Path) {
    let addr = process::free_address();
    let args = [
        format!("--web.listen-address={addr}"),
        format!("--storage.tsdb.path={}", target.dir().join("data").display()),
    ];
    let mut second = Process::start("second", &peers::marigram(), &args, dir);
    let status = second.wait(LIMIT);
    let log = second.log_tail();
    assert!(!status.success(), "a second start on a folder in use succeeded:\n{log}");
    assert_eq!(log.lines().count(), 1, "a second start on a folder in use says one line, not:\n{log}");
}

#[test]
fn real_peers_get_prometheus_answers_through_a_kill_a_flush_and_a_restart() {
    let Some(bin) = peers::peers() else {
        return peers::skip(
            "e2e",
            "no peers (set MARIGRAM_PEERS, or put the shared folder beside the repository)",
        );
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let start = now();
    let mut target = target(&bin, dir.path());
    target.await_ready(LIMIT);
    let mut scene = Scene::start(&bin, dir.path(), target.addr());

    scene.await_scrapes(25);
    let kill = now();
    target.kill();
    scene.await_outage_felt();
    target.start_again();
    target.await_ready(LIMIT);

    scene.await_scrapes(60);
    let end = now();
    scene.settle();
    let times = Times { start, kill, end };
    let samples = compare("after kill -9", &scene, &target, times);
    assert!(samples > 100_000, "only {samples} samples were compared");

    if target.kind() == Kind::Marigram {
        second_start_fails(&target, dir.path());
        let flushed = target.api().post("/api/v1/admin/tsdb/flush").expect("the target can be reached");
        assert!(flushed.is_success(), "flush: {} {}", flushed.status, flushed.text());
        compare("after a flush to blocks", &scene, &target, times);
    }
    let status = target.stop(LIMIT);
    assert!(status.success(), "a clean stop ends with {status}; its log:\n{}", target.process().log_tail());
    target.start_again();
    target.await_ready(LIMIT);
    compare("after a clean restart", &scene, &target, times);
}
