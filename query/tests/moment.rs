//! All selectors of a query see one moment, beside a writer whose every request touches what each selects.

use engine::io::{SystemClock, memory::MemoryDisk};
use engine::{Engine, Options};
use query::{CancelToken, EngineOptions, Point, QueryEngine, QueryParams, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use storage_format::model::{Labels, Samples};

const QUERIES: usize = 400;

/// One sample of a moment for each half.
fn request(n: i64) -> Vec<(Labels, Samples)> {
    let half = |half| {
        let mut samples = Samples::default();
        samples.push_float(n, 0, 1.0);
        (Labels::from_pairs([("__name__", "m"), ("half", half)]), samples)
    };
    vec![half("a"), half("b")]
}

#[test]
fn the_selectors_of_a_query_see_the_same_requests() {
    let options = Options { retention_ms: i64::MAX, shards: 2, ..Options::new("/data") };
    let disk = Arc::new(MemoryDisk::default());
    let engine = Engine::open_with(options, disk, Arc::new(SystemClock), false).expect("opens");
    engine.append(&request(0)).expect("memory does not fail");
    let (stop, queries) = (AtomicBool::new(false), QueryEngine::new(EngineOptions::default()));
    let text = "sum(count_over_time(m{half=\"a\"}[1h])) - sum(count_over_time(m{half=\"b\"}[1h]))";
    let params = QueryParams { cancel: CancelToken::new(), ..QueryParams::default() };
    let mut seen = 0;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in (1..).take_while(|_| !stop.load(SeqCst)) {
                engine.append(&request(n)).expect("memory does not fail");
            }
        });
        for _ in 0..QUERIES {
            let answer = queries.instant(&engine.snapshot(), text, 3_500_000, &params).expect("answers");
            let Value::Vector(samples) = answer.value else { panic!("a vector was expected") };
            match &samples[0].point {
                Point::Float(difference) if *difference == 0.0 => seen += 1,
                _ => break,
            }
        }
        stop.store(true, SeqCst);
        writer.join().expect("the writer goes on");
    });
    assert_eq!(seen, QUERIES, "a query saw a half of a request in one selector and not in the other");
}
