//! What was acknowledged survives `kill -9`: senders keep book while the server is killed at random moments,
//! some of them within a flush or within recovery; afterwards acknowledged ⊆ recovered ⊆ submitted, bit for
//! bit.
//!
//! `MARIGRAM_LEDGER_ROUNDS` (default 8) and `MARIGRAM_LEDGER_SEED` choose more and others;
//! `MARIGRAM_E2E_STANDIN=1` puts Prometheus in Marigram's place, which proves the book-keeping itself.

mod sender;

use std::env;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sender::Sender;
use tests_support::peers;
use tests_support::process;
use tests_support::rng::Rng;
use tests_support::servers::{Kind, Server};

const SENDERS: u64 = 4;
const LIMIT: Duration = Duration::from_secs(60);

fn from_env(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Lets the senders run and kills the server under them at a random moment.
fn round(server: &mut Server, senders: &mut [Sender], rng: &mut Rng) {
    let addr = server.addr();
    let life = Duration::from_millis(rng.between(20, 600));
    let flush = (rng.between(0, 3) == 0).then(|| life.mul_f64(rng.between(50, 100) as f64 / 100.0));
    let mut api = server.api();
    thread::scope(|scope| {
        let running: Vec<_> = senders.iter_mut().map(|s| scope.spawn(|| s.run(addr))).collect();
        if let Some(wait) = flush {
            scope.spawn(move || {
                thread::sleep(wait);
                // The kill may cut it short, which is the point.
                let _ = api.post("/api/v1/admin/tsdb/flush");
            });
        }
        thread::sleep(life);
        server.kill();
        for sender in running {
            sender.join().expect("a sender does not panic").unwrap_or_else(|e| panic!("{e}"));
        }
    });
    server.start_again();
    if rng.between(0, 4) == 0 {
        thread::sleep(Duration::from_millis(rng.between(0, 40)));
        server.kill();
        server.start_again();
    }
    server.await_ready(LIMIT);
}

fn check(when: &str, server: &Server, senders: &[Sender]) -> usize {
    let mut api = server.api();
    let found = senders.iter().map(|s| s.check(&mut api).unwrap_or_else(|e| panic!("{when}: {e}")));
    found.sum()
}

#[test]
fn acknowledged_samples_survive_kill_9() {
    let standin = env::var_os("MARIGRAM_E2E_STANDIN").is_some();
    let seed = from_env("MARIGRAM_LEDGER_SEED", u64::from(std::process::id()));
    let rounds = from_env("MARIGRAM_LEDGER_ROUNDS", 8);
    eprintln!("MARIGRAM_LEDGER_SEED={seed} MARIGRAM_LEDGER_ROUNDS={rounds}");
    let (kind, program) = if standin {
        let Some(bin) = peers::peers() else { return peers::skip("ledger", "no Prometheus to stand in") };
        (Kind::Prometheus, bin.join("prometheus"))
    } else {
        (Kind::Marigram, peers::marigram())
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut server = Server::start(kind, &program, dir.path(), process::free_address(), &[]);
    server.await_ready(LIMIT);

    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let origin = i64::try_from(now.as_millis()).expect("a time of this age") - 3_600_000;
    let mut rng = Rng::new(seed);
    let mut senders: Vec<Sender> = (0..SENDERS).map(|id| Sender::new(seed, id, origin, !standin)).collect();
    for number in 0..rounds {
        round(&mut server, &mut senders, &mut rng);
        check(&format!("seed {seed}, round {number}"), &server, &senders);
    }
    if !standin {
        let flushed = server.api().post("/api/v1/admin/tsdb/flush").expect("the server can be reached");
        assert!(flushed.is_success(), "flush: {} {}", flushed.status, flushed.text());
        check("after a flush", &server, &senders);
    }
    assert!(server.stop(LIMIT).success(), "a clean stop fails");
    server.start_again();
    server.await_ready(LIMIT);
    let found = check("after a clean restart", &server, &senders);
    let (acked, sent) = senders.iter().map(Sender::counts).fold((0, 0), |sum, c| (sum.0 + c.0, sum.1 + c.1));
    eprintln!("{rounds} kills; batches acknowledged {acked}, handed over {sent}; {found} samples there");
    assert!(acked > 10 * rounds as usize, "hardly anything was acknowledged: {acked} of {sent}");
}
