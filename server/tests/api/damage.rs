//! Damaged blocks over HTTP: an error that names the file, or a partial answer with a warning, as asked for.

use super::support::{Reply, Server, server};
use std::path::PathBuf;

/// A server with one good block, one damaged block, and a sample in the head.
fn damaged() -> (Server, PathBuf) {
    let server =
        server(&["--storage.tsdb.out-of-order-time-window=10000d", "--storage.tsdb.retention.time=0"]);
    let engine = server.app.engine().expect("open");
    let mut known = Vec::new();
    for (at, name) in [(1_700_000_000_000, "good"), (1_700_010_000_000, "bad")] {
        server.store(&[("__name__", "m"), ("of", name)], &[(at, 1.0), (at + 1000, 2.0)]);
        engine.flush().expect("flushes");
        known = engine.blocks();
    }
    server.store(&[("__name__", "m"), ("of", "head")], &[(1_700_010_001_000, 3.0)]);
    let number = known.iter().find(|b| b.min == 1_700_010_000_000).expect("flushed").number;
    let path = server.app.flags.path.join("blocks").join(format!("{number:016x}.block"));
    // Written in place: the server has it mapped, as with a disk that goes bad.
    let mut bytes = std::fs::read(&path).expect("a block");
    bytes[16..].iter_mut().take(60).for_each(|b| *b ^= 1);
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a block");
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).expect("written");
    (server, path)
}

fn is_refused(reply: &Reply, path: &std::path::Path) {
    assert_eq!(reply.status, 500, "{}", reply.text());
    assert_eq!(reply.json("/errorType"), "internal");
    let name = path.to_str().expect("a name");
    let told = reply.json("/error");
    assert!(told.as_str().is_some_and(|t| t.contains(name) && t.contains("at byte")), "{told}");
}

fn is_partial(reply: &Reply, path: &std::path::Path) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let warning = reply.json("/warnings/0");
    let name = path.to_str().expect("a name");
    assert!(
        warning.as_str().is_some_and(|w| w.starts_with("partial answer: ") && w.contains(name)),
        "{warning}"
    );
}

#[test]
fn a_query_that_touches_damage_fails_or_is_partial() {
    let (server, path) = damaged();
    let good = server.get("/api/v1/query?query=m&time=1700000001");
    assert_eq!((good.status, good.json("/data/result/0/value/1")), (200, "2".into()));
    let touching = "/api/v1/query?query=m&time=1700010001";
    is_refused(&server.get(touching), &path);
    is_refused(&server.get(&format!("{touching}&partial_response=false")), &path);
    let partial = server.get(&format!("{touching}&partial_response=true"));
    is_partial(&partial, &path);
    assert_eq!(partial.json("/data/result").as_array().map(Vec::len), Some(1), "the head answers");
    assert_eq!(partial.json("/data/result/0/metric/of"), "head");
    let range = "query=m&start=1700000000&end=1700010001&step=10001";
    is_refused(&server.post_form("/api/v1/query_range", range), &path);
    let partial = server.post_form("/api/v1/query_range", &format!("{range}&partial_response=1"));
    is_partial(&partial, &path);
    assert_eq!(partial.json("/data/result").as_array().map(Vec::len), Some(2));
    let wrong = server.get(&format!("{touching}&partial_response=perhaps"));
    assert_eq!(wrong.status, 400);
    // What was met is told: metrics, status, reports.
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains("\nmarigram_storage_damaged_blocks 1\n"));
    let blocks = server.get("/api/v1/status/tsdb/blocks").json("/data/blocks");
    let told = blocks.as_array().expect("blocks").iter().filter(|b| b.get("damage").is_some()).count();
    assert_eq!(told, 1, "{blocks}");
    assert_eq!(server.get("/api/v1/status/runtimeinfo").json("/data/corruptionCount"), 1);
}

#[test]
fn lookups_fail_or_are_partial() {
    let (server, path) = damaged();
    // The index this time.
    let length = std::fs::metadata(&path).expect("a block").len();
    let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a block");
    for at in (16..length - 168).step_by(2) {
        std::os::unix::fs::FileExt::write_all_at(&file, b"x", at).expect("written");
    }
    for path_and_query in ["/api/v1/labels?", "/api/v1/label/of/values?", "/api/v1/series?match[]=m"] {
        let asked = format!("{path_and_query}&start=1700000000&end=1700010001");
        is_refused(&server.get(&asked), &path);
        let partial = server.get(&format!("{asked}&partial_response=true"));
        is_partial(&partial, &path);
        assert_eq!(partial.json("/data").as_array().map(Vec::len), Some(2), "{}", partial.text());
    }
}
