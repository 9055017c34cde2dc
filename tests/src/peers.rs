//! Where the programs are: the peers' (Prometheus, VictoriaMetrics' vmagent, node_exporter) and our own.
//!
//! Peers come from `MARIGRAM_PEERS` (a folder with `bin/`), else `get-peers` of the shared folder unpacks
//! them under `target/`. Without either, tests that need them are skipped with a note, or fail where `CI`
//! is set.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The repository's root: the parent of this crate's folder.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

/// The shared folder beside the repository (or `MARIGRAM_SHARED`), when it is there.
pub fn shared() -> Option<PathBuf> {
    let dir = match env::var_os("MARIGRAM_SHARED") {
        Some(dir) => PathBuf::from(dir),
        None => repository().parent()?.join("shared"),
    };
    dir.is_dir().then_some(dir)
}

/// Says why a test is skipped.
///
/// # Panics
/// Where `CI` is set: there nothing may be skipped.
#[expect(clippy::print_stderr, reason = "the note is for whoever runs the tests")]
pub fn skip(test: &str, why: &str) {
    assert!(env::var_os("CI").is_none(), "{test}: {why}, and CI skips nothing");
    eprintln!("{test}: skipped: {why}");
}

/// Cargo's target folder, found from the running program's own place in it.
pub fn target_dir() -> PathBuf {
    let exe = env::current_exe().expect("a running program has a path");
    exe.ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists())
        .map_or_else(|| repository().join("target"), Path::to_path_buf)
}

/// The folder of the peers' programs, fetched on first use; `None` when there is no way to get them.
///
/// # Panics
/// When fetching them fails.
pub fn peers() -> Option<PathBuf> {
    // Tests of a program run at the same time, and the first one fetches for all.
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(fetch).clone()
}

fn fetch() -> Option<PathBuf> {
    if let Some(dir) = env::var_os("MARIGRAM_PEERS") {
        return Some(PathBuf::from(dir).join("bin"));
    }
    let dir = target_dir().join("peers");
    let script = shared()?.join("peers/get-peers");
    if !script.exists() {
        return None;
    }
    let output = Command::new("sh").arg(&script).arg(&dir).output().expect("sh can be started");
    assert!(
        output.status.success(),
        "{} failed:\n{}",
        script.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Some(dir.join("bin"))
}

/// The release build of `marigram` (or `MARIGRAM_BIN`), built here when it is not fresh.
///
/// # Panics
/// When it does not build.
pub fn marigram() -> PathBuf {
    if let Some(path) = env::var_os("MARIGRAM_BIN") {
        return PathBuf::from(path);
    }
    let target = target_dir();
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--package", "marigram", "--bin", "marigram"])
        .current_dir(repository())
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "no build:\n{}", String::from_utf8_lossy(&output.stderr));
    target.join("release/marigram")
}
