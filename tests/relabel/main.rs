//! Relabeling against the real thing: a Prometheus sends the same samples to two Marigrams, to one under
//! `write_relabel_configs` of its own, to the other as they are, and that one relabels them by the same rules.
//! Both hold the same series and samples.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tests_support::peers;
use tests_support::process;
use tests_support::prom::{Api, Query};
use tests_support::servers::{Kind, Server};
use tests_support::wait;

const LIMIT: Duration = Duration::from_secs(60);

/// Every action at least once.
const RULES: &str = r#"write_relabel_configs:
  - {source_labels: [__name__], regex: 'go_gc_.*|.*_created', action: drop}
  - {source_labels: [__name__], regex: '(?:go|process|prometheus_(?:http|tsdb|remote|engine)|net).*|up', action: keep}
  - {source_labels: [job], target_label: same_job, action: keepequal}
  - {source_labels: [handler], target_label: skip, action: dropequal}
  - {source_labels: [job, shard, none], separator: '/', target_label: path}
  - {source_labels: [__name__, handler], target_label: part, modulus: 16, action: hashmod}
  - {source_labels: [Env], target_label: env, action: lowercase}
  - {source_labels: [job], target_label: JOB, action: Uppercase}
  - {regex: 'meta_(.+)', replacement: 'm_${1}', action: labelmap}
  - {regex: 'meta_.*', action: labeldrop}
  - {source_labels: [le], regex: '([0-9]+)(?:\.0)?', target_label: le, replacement: '$1'}
  - {source_labels: [__name__], regex: 'go_(.*)', target_label: __name__, replacement: 'golang_$1'}
  - {source_labels: [code], regex: '(\d)\d\d', target_label: 'class_${1}xx', replacement: 'yes'}
  - {source_labels: [quantile], regex: '0\.(?P<q>\d+)', target_label: quantile, replacement: 'p${q}$$'}
  - {source_labels: [url], target_label: url, replacement: ''}
  - {target_label: fixed, replacement: 'a;b'}
  - {regex: '(__name__|job|instance|le|quantile|path|part|env|JOB|m_.*|class_.*|fixed|handler|slice|queue|remote_name)', action: labelkeep}
"#;

fn write_config(dir: &Path, own: SocketAddr, targets: [SocketAddr; 2], scrapes: bool) {
    let rules: String = RULES.lines().skip(1).map(|line| format!("  {line}\n")).collect();
    let mut text = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
         remote_write:\n\
         - url: http://{}/api/v1/write\n  name: here\n  queue_config: {{batch_send_deadline: 1s}}\n  \
           write_relabel_configs:\n{rules}\
         - url: http://{}/api/v1/write\n  name: there\n  queue_config: {{batch_send_deadline: 1s}}\n",
        targets[0], targets[1]
    );
    if scrapes {
        for (job, labels) in [
            ("one", "Env: PROD, meta_team: a-b, meta_zone: z1, same_job: one, skip: /metrics, shard: '7'"),
            ("two", "Env: Prüfung, same_job: two, skip: nothing, meta_team: ''"),
            ("three", "same_job: other"),
        ] {
            let first = if job == "one" { "scrape_configs:\n" } else { "" };
            text += &format!(
                "{first}- job_name: {job}\n  static_configs: [{{targets: ['{own}'], labels: {{{labels}}}}}]\n"
            );
        }
    }
    fs::write(dir.join("prometheus.yml"), text).expect("the test's folder can be written");
}

fn marigram(dir: &Path, extra: &[String]) -> Server {
    let mut server = Server::start(Kind::Marigram, &peers::marigram(), dir, process::free_address(), extra);
    server.await_ready(LIMIT);
    server
}

#[test]
fn the_receiver_relabels_as_the_sender_would() {
    let Some(bin) = peers::peers() else { return peers::skip("relabel", "no peers") };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let rules = dir.path().join("marigram.yml");
    fs::write(&rules, RULES).expect("the test's folder can be written");
    let expected = marigram(&dir.path().join("expected"), &[]);
    let relabeling =
        marigram(&dir.path().join("relabeling"), &[format!("--config.file={}", rules.display())]);

    let (home, own) = (dir.path().join("sender"), process::free_address());
    let targets = [expected.addr(), relabeling.addr()];
    fs::create_dir_all(&home).expect("the test's folder can be written");
    write_config(&home, own, targets, true);
    let mut sender = Server::start(Kind::Prometheus, &bin.join("prometheus"), &home, own, &[]);
    sender.await_ready(LIMIT);
    let mut api = sender.api();
    wait::until("both hold a few scrapes", LIMIT, || {
        [&expected, &relabeling].iter().all(|server| {
            let newest = Query::instant("count_over_time(up{job=\"two\"}[1h]) >= 6", now());
            server.api().ask(&newest).is_ok_and(|answer| !answer.series.is_empty())
        })
    });
    write_config(&home, own, targets, false);
    let reloaded = api.post("/-/reload").expect("Prometheus can be reached");
    assert!(reloaded.is_success(), "Prometheus does not reload: {}", reloaded.text());
    // What is still on its way to one of them arrives within seconds.
    let all = Query::instant("{__name__=~\".+\"}[1h]", now() + 60_000);
    let ask = |server: &Server| server.api().ask(&all).expect("an answer");
    let (mut want, mut got) = (ask(&expected), ask(&relabeling));
    wait::poll(Duration::from_secs(20), || {
        (want, got) = (ask(&expected), ask(&relabeling));
        (all_is_sent(&mut api) && got.differences(&want, 0.0, 1).is_empty()).then_some(())
    });
    assert!(want.series.len() > 300, "only {} series", want.series.len());
    let differences = got.differences(&want, 0.0, 10);
    assert!(differences.is_empty(), "{} series:\n{}", want.series.len(), differences.join("\n"));
    let dropped = relabeling.api().metric("marigram_relabel_dropped_samples_total", &[]);
    assert!(dropped > Some(1000.0), "{dropped:?} samples were dropped");
}

fn all_is_sent(api: &mut Api) -> bool {
    ["here", "there"].iter().all(|name| {
        let part = format!("remote_name=\"{name}\"");
        let mut value = |metric: &str| {
            api.metric(&format!("prometheus_remote_storage_samples_{metric}"), &[&part]).unwrap_or(0.0)
        };
        value("failed_total") == 0.0 && value("pending") == 0.0 && value("total") > 0.0
    })
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.expect("the clock is past 1970").as_millis()).expect("the clock is sane")
}
