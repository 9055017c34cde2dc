//! The tools around a Prometheus, unmodified, against Marigram: promtool asks it, vmalert evaluates rules on
//! it and writes their results back, vmctl copies out of it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tests_support::http::Client;
use tests_support::process::{Process, free_address};
use tests_support::prom::{Api, Query};
use tests_support::servers::{Kind, Server};
use tests_support::{peers, remote_write, wait};

const LIMIT: Duration = Duration::from_secs(60);
/// Of the first sample, milliseconds; a time of this machine's clock where vmalert needs one.
const STEP: i64 = 15_000;
const COUNT: i64 = 40;

/// Starts a server with the same few series in it: counters of three instances, `STEP` apart, up to `end`.
fn filled(kind: Kind, program: &Path, dir: &TempDir, end: i64) -> Server {
    let home = dir.path().join(kind.name());
    let mut server = Server::start(kind, program, &home, free_address(), &[]);
    server.await_ready(LIMIT);
    let mut request = remote_write::Request::default();
    for (instance, slope) in [("a:1", 1), ("b:1", 2), ("c \"quoted\\\":1", 3)] {
        let samples: Vec<_> =
            (0..COUNT).map(|i| (end - (COUNT - 1 - i) * STEP, (i * slope) as f64 * 1.5)).collect();
        request.series(&[("__name__", "requests_total"), ("instance", instance), ("job", "api")], &samples);
    }
    let mut client = Client::new(server.addr(), LIMIT);
    let written = client.request("POST", "/api/v1/write", &remote_write::HEADERS, &request.take_body());
    let written = written.expect("an answer");
    assert!(written.is_success(), "{}: {}", written.status, written.text());
    server
}

/// Now, cut to whole steps, in milliseconds.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    since.as_millis() as i64 / STEP * STEP
}

/// A time in seconds as vmctl reads it.
fn rfc3339(seconds: i64) -> String {
    let printed = printed(Path::new("date"), &["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"]);
    printed.concat()
}

/// What a program prints, its lines sorted.
fn printed(program: &Path, args: &[&str]) -> Vec<String> {
    let output = Command::new(program).args(args).output().expect("a program");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {text}");
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn promtool_prints_what_it_prints_for_a_prometheus() {
    let Some(bin) = peers::peers() else { return peers::skip("promtool", "no peers") };
    let dir = tempfile::tempdir().expect("a folder");
    let end = now();
    let ours = filled(Kind::Marigram, &peers::marigram(), &dir, end);
    let theirs = filled(Kind::Prometheus, &bin.join("prometheus"), &dir, end);
    let (first, last) = ((end / 1000 - 600).to_string(), (end / 1000).to_string());
    let (from, to) = (format!("--start={first}"), format!("--end={last}"));
    let at = format!("--time={last}");
    for (command, rest) in [
        (vec!["query", "instant", &at], vec!["sum by (job) (rate(requests_total[2m]))"]),
        (vec!["query", "instant", &at], vec!["requests_total"]),
        (vec!["query", "instant", &at], vec!["1 + 1"]),
        (vec!["query", "range", &from, &to, "--step=30s"], vec!["rate(requests_total[2m])"]),
        (vec!["query", "series", "--match=requests_total", &from, &to], vec![]),
        (vec!["query", "labels", &from, &to], vec!["instance"]),
        (vec!["query", "labels", &from, &to, "--match=requests_total{instance=~\"a.*\"}"], vec!["instance"]),
    ] {
        let ask = |server: &Server| {
            let url = format!("http://{}", server.addr());
            let args: Vec<&str> =
                command.iter().copied().chain([url.as_str()]).chain(rest.iter().copied()).collect();
            printed(&bin.join("promtool"), &args)
        };
        let expected = ask(&theirs);
        assert!(!expected.is_empty(), "{command:?} prints nothing");
        assert_eq!(ask(&ours), expected, "{command:?} {rest:?}");
    }
    for check in ["healthy", "ready"] {
        let url = format!("--url=http://{}", ours.addr());
        printed(&bin.join("promtool"), &["check", check, &url]);
    }
}

#[test]
fn vmalert_reads_rules_from_and_writes_their_results_to_it() {
    let Some(bin) = peers::peers() else { return peers::skip("vmalert", "no peers") };
    let dir = tempfile::tempdir().expect("a folder");
    let server = filled(Kind::Marigram, &peers::marigram(), &dir, now());
    let rules = dir.path().join("rules.yml");
    let text = "groups:\n- name: g\n  interval: 1s\n  rules:\n\
        \x20 - {record: 'job:requests:max', expr: 'max by (job) (requests_total)'}\n\
        \x20 - {alert: High, expr: 'max(requests_total) > 100', labels: {severity: page}}\n\
        \x20 - {alert: Low, expr: 'max(requests_total) < 100'}\n";
    fs::write(&rules, text).expect("a file");
    let url = format!("http://{}", server.addr());
    let address = free_address();
    let _alerts = Process::start(
        "vmalert",
        &bin.join("vmalert"),
        &[
            format!("-httpListenAddr={address}"),
            format!("-rule={}", rules.display()),
            format!("-datasource.url={url}"),
            format!("-remoteWrite.url={url}"),
            format!("-remoteRead.url={url}"),
            "-remoteWrite.flushInterval=200ms".to_owned(),
            "-notifier.blackhole".to_owned(),
        ],
        dir.path(),
    );
    let mut api = server.api();
    let mut value = |query: &str| {
        let answer = api.ask(&Query::instant(query, now() + STEP)).ok()?;
        (answer.points() == 1).then_some(())
    };
    // 39 steps of 3 × 1.5 each.
    wait::until("the recorded series is there", LIMIT, || {
        value("job:requests:max{job=\"api\"} == 175.5").is_some()
    });
    wait::until("the alert fires", LIMIT, || {
        value("ALERTS{alertname=\"High\",alertstate=\"firing\",severity=\"page\"} == 1").is_some()
    });
    assert!(value("ALERTS{alertname=\"Low\"}").is_none());
}

#[test]
fn vmctl_copies_everything_out_of_it() {
    let Some(bin) = peers::peers() else { return peers::skip("vmctl", "no peers") };
    let dir = tempfile::tempdir().expect("a folder");
    let end = now();
    let source = filled(Kind::Marigram, &peers::marigram(), &dir, end);
    for streamed in ["false", "true"] {
        let home = dir.path().join(streamed);
        let program = bin.join("victoria-metrics");
        let mut target = Server::start(Kind::VictoriaMetrics, &program, &home, free_address(), &[]);
        target.await_ready(LIMIT);
        printed(
            &bin.join("vmctl"),
            &[
                "remote-read",
                "--s",
                "--disable-progress-bar",
                &format!("--remote-read-src-addr=http://{}", source.addr()),
                &format!("--remote-read-use-stream={streamed}"),
                &format!("--remote-read-filter-time-start={}", rfc3339(end / 1000 - 3600)),
                "--remote-read-step-interval=hour",
                &format!("--vm-addr=http://{}", target.addr()),
            ],
        );
        let mut api: Api = target.api();
        wait::until("the copied samples can be asked for", LIMIT, || {
            let question = format!("sum(count_over_time(requests_total[1h])) == {}", 3 * COUNT);
            api.ask(&Query::instant(&question, end)).is_ok_and(|answer| answer.points() == 1)
        });
    }
}
