//! The configuration file: what is wrong in it, reloads, and that relabeling rules from it are obeyed.

use crate::support::{Server, server};
use crate::writes::{V1, request, snappy};
use server::flags::Flags;
use server::state::App;
use std::path::PathBuf;

struct File {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn file(text: &str) -> File {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = File { path: folder.path().join("marigram.yml"), _folder: folder };
    file.write(text);
    file
}

impl File {
    fn write(&self, text: &str) {
        std::fs::write(&self.path, text).expect("a file can be written");
    }
    fn flag(&self) -> String {
        format!("--config.file={}", self.path.display())
    }
}

fn write(server: &Server, name: &str) {
    let now = server::observe::log::now();
    let body = snappy(&request(&[(&[("__name__", name), ("env", "test")], now, 1.0)]));
    assert_eq!(server.ask("POST", "/api/v1/write", V1, &body).status, 204);
}

fn series(server: &Server) -> serde_json::Value {
    server.get("/api/v1/series?match[]={__name__=~\".%2B\"}").json("/data")
}

#[test]
fn a_wrong_file_is_told_at_the_start() {
    let file = file("write_relabel_configs:\n- action: dorp\n");
    let flags = Flags::read(["marigram", &file.flag()]).expect("flags");
    let why = App::new(flags).expect_err("the file is wrong");
    assert!(why.contains("rule 1: unknown relabel action \"dorp\""), "{why}");
    assert!(why.contains("marigram.yml"), "{why}");
    let flags = Flags::read(["marigram", "--config.file=/nowhere/marigram.yml"]).expect("flags");
    assert!(App::new(flags).expect_err("no file").contains("/nowhere/marigram.yml"));
}

#[test]
fn a_reload_takes_a_good_file_and_leaves_a_wrong_one() {
    let file = file("write_relabel_configs:\n- {source_labels: [__name__], regex: b, action: drop}\n");
    let server = server(&[&file.flag(), "--web.enable-lifecycle"]);
    let metric = |name: &str| {
        let all = server.get("/metrics");
        let line = all.text().lines().find(|l| l.starts_with(name)).map(str::to_owned);
        line.and_then(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).expect("a metric")
    };
    let reload = || server.ask("POST", "/-/reload", &[], b"");
    write(&server, "a");
    write(&server, "b");
    assert_eq!(series(&server), serde_json::json!([{"__name__": "a", "env": "test"}]));
    assert_eq!(metric("marigram_relabel_dropped_samples_total"), 1.0);
    let first = metric("prometheus_config_last_reload_success_timestamp_seconds");

    file.write("write_relabel_configs:\n- {action: labeldrop, source_labels: [x]}\n");
    let reply = reload();
    assert_eq!(reply.status, 500);
    let text = reply.text();
    assert!(text.starts_with("failed to reload config: configuration file "), "{text}");
    assert!(text.contains("labeldrop action requires only 'regex', and no other fields"), "{text}");
    assert_eq!(metric("prometheus_config_last_reload_successful"), 0.0);
    assert_eq!(metric("prometheus_config_last_reload_success_timestamp_seconds"), first);
    assert_eq!(server.get("/api/v1/status/runtimeinfo").json("/data/reloadConfigSuccess"), false);
    write(&server, "b");
    assert_eq!(metric("marigram_relabel_dropped_samples_total"), 2.0, "the old rules hold");

    file.write("write_relabel_configs:\n- {regex: env, action: labeldrop}\n");
    assert_eq!(reload().status, 200);
    assert_eq!(metric("prometheus_config_last_reload_successful"), 1.0);
    assert!(metric("prometheus_config_last_reload_success_timestamp_seconds") >= first);
    let shown = server.get("/api/v1/status/config").json("/data/yaml");
    assert_eq!(shown, "write_relabel_configs:\n- {regex: env, action: labeldrop}\n");
    write(&server, "b");
    assert_eq!(series(&server), serde_json::json!([{"__name__": "a", "env": "test"}, {"__name__": "b"}]));
}
