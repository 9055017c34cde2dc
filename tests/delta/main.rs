//! Deltas against the real binary, killed at random moments: clients send each delta until it is acknowledged,
//! and some again long after. At the end each total equals the sum of what was sent, exactly.
//!
//! `MARIGRAM_DELTA_ROUNDS` (default 8) and `MARIGRAM_DELTA_SEED` choose more and others.

mod sender;

use sender::Sender;
use std::env;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tests_support::peers;
use tests_support::process;
use tests_support::rng::Rng;
use tests_support::servers::{Kind, Server};

const SENDERS: u64 = 3;
const LIMIT: Duration = Duration::from_secs(60);

fn from_env(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Lets the senders run, and kills the server under them unless `life` is over first.
fn round(server: &mut Server, senders: &mut [Sender], life: Duration) {
    let addr = server.addr();
    thread::scope(|scope| {
        let running: Vec<_> = senders.iter_mut().map(|s| scope.spawn(|| s.run(addr))).collect();
        thread::sleep(life);
        server.kill();
        for sender in running {
            sender.join().expect("a sender does not panic").unwrap_or_else(|e| panic!("{e}"));
        }
    });
    server.start_again();
    server.await_ready(LIMIT);
}

#[test]
fn every_delta_counts_once_through_kills_and_retries() {
    let seed = from_env("MARIGRAM_DELTA_SEED", 1);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut server =
        Server::start(Kind::Marigram, &peers::marigram(), dir.path(), process::free_address(), &[]);
    server.await_ready(LIMIT);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    let origin = i64::try_from(now.as_millis()).expect("a clock before the year 292278994") - 1_800_000;
    let mut senders: Vec<_> = (0..SENDERS).map(|id| Sender::new(seed, id, origin)).collect();
    let mut rng = Rng::new(seed);
    for _ in 0..from_env("MARIGRAM_DELTA_ROUNDS", 8) {
        round(&mut server, &mut senders, Duration::from_millis(rng.between(20, 500)));
    }
    let mut api = server.api();
    for sender in &mut senders {
        sender.finish(server.addr()).unwrap_or_else(|e| panic!("{e}"));
        sender.check(&mut api).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
    let (sent, repeated) = senders.iter().fold((0, 0), |sum, s| (sum.0 + s.sent(), sum.1 + s.repeated()));
    println!("{sent} exports, {repeated} of them sent again");
    assert!(sent > 100 && repeated > 10, "{sent} exports, {repeated} sent again: too few to prove anything");
    server.stop(LIMIT);
}
