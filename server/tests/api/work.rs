//! Work off the async workers: panics, queues, and clients that go away.

use crate::support::{server, server_of};
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use server::api::around::around;
use server::error::{ApiError, ErrorType};
use server::net::Limits;
use server::state::App;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

fn panicking(app: Arc<App>) -> Router {
    let blocking = |app: Arc<App>| async move {
        let work =
            app.run(&app.queries, Duration::from_secs(9), |_| -> Result<(), ApiError> { panic!("blocking") });
        work.await.map(|()| "never")
    };
    let shared = Arc::clone(&app);
    Router::new()
        .route("/async", get(|| async { if true { panic!("async") } else { "never" } }))
        .route("/blocking", get(move || blocking(Arc::clone(&shared))))
        .layer(from_fn_with_state(app, around))
}

#[test]
fn a_panicking_request_answers_500_and_harms_nobody() {
    let server = server_of(&["--query.max-concurrency=1"], Limits::default(), panicking);
    for path in ["/async", "/blocking", "/blocking", "/async"] {
        let reply = server.get(path);
        assert_eq!((reply.status, reply.json("/errorType")), (500, "internal".into()), "{path}");
    }
    let metrics = server.app.gather(None);
    let panics = metrics.iter().find(|f| f.name == "marigram_panics_total").expect("the counter");
    assert_eq!(panics.samples[0].value, 4.0);
}

#[test]
fn queries_wait_for_a_place_no_longer_than_they_may_take() {
    let server = server(&["--query.max-concurrency=1"]);
    let place = server.app.queries.clone().try_acquire_owned().expect("a free place");
    let reply = server.get("/api/v1/query?query=1&timeout=10ms");
    assert_eq!((reply.status, reply.json("/errorType")), (503, "timeout".into()));
    assert_eq!(reply.json("/error"), "query timed out in query queue");
    assert_eq!(server.get("/api/v1/labels").status, 200, "labels do not stand in the queries' queue");
    drop(place);
    assert_ne!(server.get("/api/v1/query?query=1&timeout=10s").status, 503);
}

fn waiting_for_ever(app: Arc<App>) -> Router {
    let handler = |app: Arc<App>| async move {
        let _ended = CountUp(Arc::clone(&app));
        app.metrics.queries.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<&'static str>().await
    };
    let shared = Arc::clone(&app);
    let state = Arc::clone(&app);
    Router::new()
        .route("/wait", get(move || handler(Arc::clone(&shared))))
        .route("/-/healthy", get(|| async { "here" }))
        .layer(from_fn_with_state(state, around))
}

/// Counts when it is dropped.
struct CountUp(Arc<App>);

impl Drop for CountUp {
    fn drop(&mut self) {
        self.0.metrics.panics.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_client_that_goes_away_ends_its_request() {
    let server = server_of(&[], Limits::default(), waiting_for_ever);
    let until = |counter: &AtomicU64| {
        while counter.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
    };
    let mut client = server.connect();
    client.write_all(b"GET /wait HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    until(&server.app.metrics.queries);
    drop(client);
    until(&server.app.metrics.panics);
    assert_eq!(server.get("/-/healthy").text(), "here");
}

/// Tells when it is dropped.
struct Ended(Sender<&'static str>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.send("ended");
    }
}

#[test]
fn work_is_cancelled_when_nobody_waits_for_it_and_keeps_its_place_until_it_ends() {
    let server = server(&["--query.max-concurrency=1"]);
    let (sender, events) = channel();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let app = Arc::clone(&server.app);
    let waiting = runtime.spawn(async move {
        let ended = Ended(sender.clone());
        let work = app.run(&app.queries, Duration::from_secs(9), move |cancel| -> Result<(), ApiError> {
            let _ended = ended;
            sender.send("begun").expect("the test listens");
            while !cancel.is_canceled() {
                std::thread::yield_now();
            }
            Err(ApiError::new(ErrorType::Canceled, "cancelled"))
        });
        work.await
    });
    assert_eq!(events.recv(), Ok("begun"));
    assert_eq!(server.app.queries.available_permits(), 0);
    waiting.abort();
    assert_eq!(events.recv(), Ok("ended"));
    let place = runtime.block_on(server.app.queries.acquire());
    assert!(place.is_ok());
}
