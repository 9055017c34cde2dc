//! Deltas across restarts and crashes: every acknowledged one counts once.

use crate::delta::delta;
use crate::fixture::*;
use engine::{Engine, MatchOp, Matcher, Options};
use ingest::otlp::{Config, Format, Receiver};
use ingest::{Encoding, Limits};
use proptest::prelude::*;
use serde_json::json;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use storage_format::model::TimeRange;

#[test]
fn deltas_go_on_after_a_restart() {
    let f = fixture(Config::default());
    f.json(&delta(0, 10, 1.0)).unwrap().ticket.wait().unwrap();
    f.json(&delta(10, 20, 2.0)).unwrap().ticket.wait().unwrap();
    let Fixture { dir, engine, receiver } = f;
    engine.close().unwrap();
    drop((engine, receiver));
    let engine = Arc::new(Engine::open(Options::new(dir.path())).unwrap());
    let receiver = Receiver::new(Arc::clone(&engine), Config::default(), Limits::OTLP);
    let f = Fixture { dir, engine, receiver };
    assert_eq!(f.json(&delta(10, 20, 2.0)).unwrap().rejected, 0);
    assert_eq!(f.json(&delta(5, 15, 2.0)).unwrap().rejected, 1);
    f.json(&delta(20, 30, 4.0)).unwrap();
    assert_eq!(f.dump(), ["d_total{job=s} 10[0]=1 20[0]=3 30[0]=7"]);
}

/// Copies a data directory as a crash leaves it: what was acknowledged is there, nothing was closed.
fn crash_image(from: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let to = tempfile::tempdir().unwrap();
    copy(from, to.path());
    to
}

#[test]
fn acknowledged_deltas_count_once_across_crashes() {
    let mut f = fixture(Config::default());
    let mut want = String::new();
    for i in 1..=6 {
        f.json(&delta(i * 10 - 10, i * 10, i as f64)).unwrap().ticket.wait().unwrap();
        want += &format!(" {}[0]={}", i * 10, i * (i + 1) / 2);
        // The client did not hear of it and sends it again, to a server that crashed meanwhile.
        let dir = crash_image(f.dir.path());
        let engine = Arc::new(Engine::open(Options::new(dir.path())).unwrap());
        let receiver = Receiver::new(Arc::clone(&engine), Config::default(), Limits::OTLP);
        f = Fixture { dir, engine, receiver };
        for repeated in [i, i - 1].into_iter().filter(|r| *r > 0) {
            let receipt = f.json(&delta(repeated * 10 - 10, repeated * 10, repeated as f64)).unwrap();
            assert_eq!(receipt.rejected, 0);
        }
    }
    assert_eq!(f.dump(), [format!("d_total{{job=s}}{want}")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Whatever is repeated and however often the receiver starts anew, every delta counts once.
    #[test]
    fn every_delta_counts_once(deltas in proptest::collection::vec((0u32..1000, 0u8..4, any::<bool>()), 1..20)) {
        static ENGINE: OnceLock<Fixture> = OnceLock::new();
        static CASE: AtomicUsize = AtomicUsize::new(0);
        let f = ENGINE.get_or_init(|| fixture(Config::default()));
        let name = format!("p{}", CASE.fetch_add(1, Ordering::Relaxed));
        let mut receiver = Receiver::new(Arc::clone(&f.engine), Config::default(), Limits::OTLP);
        let (mut total, mut want) = (0.0, String::new());
        for (i, (v, repeats, restart)) in deltas.iter().enumerate() {
            let i = i as i64;
            let point = json!({"asInt": v, "startTimeUnixNano": nanos(i), "timeUnixNano": nanos(i + 1)});
            let body = request(SERVICE, json!([sum(&name, 1, true, json!([point]))])).to_string();
            for _ in 0..=*repeats {
                let receipt = receiver.receive(Format::Json, Encoding::Identity, body.as_bytes()).unwrap();
                prop_assert_eq!(receipt.rejected, 0);
            }
            total += f64::from(*v);
            want += &format!(" {}[0]={total}", i + 1);
            if *restart {
                receiver = Receiver::new(Arc::clone(&f.engine), Config::default(), Limits::OTLP);
            }
        }
        let matcher = Matcher::new(MatchOp::Equal, "__name__", &format!("{name}_total")).unwrap();
        let found = f.engine.snapshot().select(&[matcher], TimeRange::ALL).unwrap();
        prop_assert_eq!(line(&found[0]), format!("{name}_total{{job=s}}{want}"));
    }
}
