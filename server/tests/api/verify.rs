//! `marigram verify`: the binary itself on small directories.

use engine::{Engine, Options};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;
use storage_format::model::{Labels, Samples};

fn verify(dir: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marigram"));
    command.arg("verify").arg("--storage.tsdb.path").arg(dir).args(more);
    command.output().expect("the binary can be started")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A directory with blocks, a checkpoint and a log.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let options =
        || Options { retention_ms: i64::MAX, out_of_order_window_ms: 1 << 40, ..Options::new(dir.path()) };
    let append = |engine: &Engine, t: i64| {
        let rows: Vec<_> = (0..50)
            .map(|n| {
                let mut samples = Samples::default();
                samples.push_float(t, 0, n as f64 / 3.0);
                (Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())]), samples)
            })
            .collect();
        engine.append(&rows).expect("appends");
    };
    let engine = Engine::open(options()).expect("opens");
    append(&engine, 1_700_000_000_000);
    engine.flush().expect("flushes");
    append(&engine, 1_700_000_060_000);
    engine.close().expect("closes");
    drop(engine);
    let engine = Engine::open(options()).expect("opens");
    append(&engine, 1_700_000_120_000);
    dir
}

fn files(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let changed = path.metadata().and_then(|m| m.modified()).expect("a time");
            found.insert(path.clone(), (std::fs::read(&path).expect("a file"), changed));
        }
    }
    found
}

#[test]
fn a_good_directory_is_good_and_is_not_touched() {
    let dir = directory();
    let before = files(dir.path());
    let output = verify(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).ends_with("no damage\n"), "{}", text(&output));
    for kind in ["catalog", "block", "checkpoint", "log segment"] {
        assert!(text(&output).contains(kind), "{kind}: {}", text(&output));
    }
    assert_eq!(files(dir.path()), before);
}

#[test]
fn each_planted_damage_is_named() {
    let dir = directory();
    for (path, (whole, _)) in files(dir.path()) {
        if whole.is_empty() {
            continue; // The lock.
        }
        let at = whole.len() / 2;
        let mut bad = whole.clone();
        bad[at] ^= 4;
        std::fs::write(&path, &bad).expect("written");
        let name = path.strip_prefix(dir.path()).expect("inside").to_str().expect("a name");
        let output = verify(dir.path(), &[]);
        assert_eq!(output.status.code(), Some(1), "{name}: {}", text(&output));
        let told = text(&output);
        let line = told.lines().find(|line| line.starts_with("damage: ")).expect("a line");
        assert!(line.contains(name) && line.contains("byte "), "{line}");
        let json = verify(dir.path(), &["--json"]);
        assert_eq!(json.status.code(), Some(1));
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
        let files = json["files"].as_array().expect("files");
        assert!(files.iter().any(|f| f["file"] == name && f["findings"] != serde_json::json!([])), "{json}");
        std::fs::write(&path, &whole).expect("written");
    }
    let block = files(dir.path()).into_keys().find(|p| p.extension().is_some_and(|e| e == "block"));
    std::fs::remove_file(block.expect("a block")).expect("removed");
    assert!(text(&verify(dir.path(), &[])).contains("the file is missing"));
}

#[test]
fn what_cannot_be_looked_at_is_told() {
    let dir = directory();
    let output = verify(&dir.path().join("nowhere"), &[]);
    assert_eq!(output.status.code(), Some(2));
    let engine = Engine::open(Options::new(dir.path())).expect("opens");
    let output = verify(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("in use"), "{output:?}");
    drop(engine);
    assert_eq!(verify(dir.path(), &[]).status.code(), Some(0));
}
