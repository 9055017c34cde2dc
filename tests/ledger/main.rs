//! What was acknowledged survives `kill -9`: senders keep book while the server is killed at random moments,
//! with flushes, merges and snapshots in flight and in every third round within recovery, too; afterwards
//! acknowledged ⊆ recovered ⊆ submitted, bit for bit.
//!
//! `MARIGRAM_LEDGER_ROUNDS` (50 by default; 2,000 before a release) and `MARIGRAM_LEDGER_SEED` choose more and
//! others; `MARIGRAM_E2E_STANDIN=1` puts Prometheus in Marigram's place, which proves the book-keeping itself.

mod sender;

use std::env;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sender::Sender;
use tests_support::peers;
use tests_support::process;
use tests_support::prom::Api;
use tests_support::rng::Rng;
use tests_support::servers::{Kind, Server};

const SENDERS: u64 = 4;
const LIMIT: Duration = Duration::from_secs(60);
/// Rounds before a new directory is begun.
const ROUNDS_PER_DIRECTORY: u64 = 25;

fn from_env(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// What goes on beside the senders when the kill comes.
const ADMIN: [&str; 3] = ["flush", "compact", "snapshot"];

/// Asks for one job of the storage after the other until the server is gone; how many were answered.
fn administer(mut api: Api, mut rng: Rng) -> [u64; ADMIN.len()] {
    let mut answered = [0; ADMIN.len()];
    loop {
        let job = usize::try_from(rng.between(0, ADMIN.len() as u64)).expect("a small number");
        match api.post(&format!("/api/v1/admin/tsdb/{}", ADMIN[job])) {
            Ok(r) if r.is_success() => answered[job] += 1,
            Ok(r) if r.status >= 500 => {}
            Ok(r) => panic!("{}: {} {}", ADMIN[job], r.status, r.text()),
            Err(_) => return answered,
        }
    }
}

/// Lets the senders run and kills the server under them at a random moment.
fn round(server: &mut Server, senders: &mut [Sender], rng: &mut Rng, answered: &mut [u64; ADMIN.len()]) {
    let addr = server.addr();
    let life = Duration::from_millis(rng.between(5, 300));
    let jobs = rng.between(0, 3) > 0 && server.kind() == Kind::Marigram;
    thread::scope(|scope| {
        let running: Vec<_> = senders.iter_mut().map(|s| scope.spawn(|| s.run(addr))).collect();
        let (api, seed) = (server.api(), rng.between(0, u64::from(u32::MAX)));
        let admin = jobs.then(|| scope.spawn(move || administer(api, Rng::new(seed))));
        thread::sleep(life);
        server.kill();
        for sender in running {
            sender.join().expect("a sender does not panic").unwrap_or_else(|e| panic!("{e}"));
        }
        for (sum, n) in answered.iter_mut().zip(admin.map_or([0; ADMIN.len()], |a| a.join().expect("admin")))
        {
            *sum += n;
        }
    });
    server.start_again();
    // Killed again while it reads the log back, perhaps twice.
    while rng.between(0, 3) == 0 {
        thread::sleep(Duration::from_millis(rng.between(0, 60)));
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

/// What a directory went through.
#[derive(Debug, Default)]
struct Sum {
    acknowledged: usize,
    sent: usize,
    found: usize,
    answered: [u64; ADMIN.len()],
}

/// Rounds on a directory of its own, and a clean stop at the end.
fn epoch(kind: Kind, program: &Path, seed: u64, rounds: u64, sum: &mut Sum) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut extra = Vec::new();
    if kind == Kind::Marigram {
        // Senders run ahead of one another.
        extra.push("--storage.tsdb.out-of-order-time-window=10d".to_owned());
    }
    let mut server = Server::start(kind, program, dir.path(), process::free_address(), &extra);
    server.await_ready(LIMIT);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    let now = i64::try_from(now.as_millis()).expect("a time of this age");
    let mut rng = Rng::new(seed);
    let repeats = kind == Kind::Marigram;
    let mut senders: Vec<Sender> = (0..SENDERS).map(|id| Sender::new(seed, id, now, repeats)).collect();
    for number in 0..rounds {
        round(&mut server, &mut senders, &mut rng, &mut sum.answered);
        // Reading everything back takes longer than a round: one sender after the other.
        let one = usize::try_from(number % SENDERS).expect("few senders");
        check(&format!("seed {seed}, round {number}"), &server, &senders[one..=one]);
    }
    if kind == Kind::Marigram {
        for job in ["flush", "compact"] {
            let done = server.api().post(&format!("/api/v1/admin/tsdb/{job}")).expect("the server answers");
            assert!(done.is_success(), "{job}: {} {}", done.status, done.text());
            check(&format!("seed {seed}, after a {job}"), &server, &senders);
        }
    }
    assert!(server.stop(LIMIT).success(), "a clean stop fails");
    server.start_again();
    server.await_ready(LIMIT);
    sum.found += check(&format!("seed {seed}, after a clean restart"), &server, &senders);
    for (acknowledged, sent) in senders.iter().map(Sender::counts) {
        (sum.acknowledged, sum.sent) = (sum.acknowledged + acknowledged, sum.sent + sent);
    }
}

#[test]
fn acknowledged_samples_survive_kill_9() {
    let standin = env::var_os("MARIGRAM_E2E_STANDIN").is_some();
    let seed = from_env("MARIGRAM_LEDGER_SEED", u64::from(std::process::id()));
    let rounds = from_env("MARIGRAM_LEDGER_ROUNDS", 50);
    eprintln!("MARIGRAM_LEDGER_SEED={seed} MARIGRAM_LEDGER_ROUNDS={rounds}");
    let (kind, program) = if standin {
        let Some(bin) = peers::peers() else { return peers::skip("ledger", "no Prometheus to stand in") };
        (Kind::Prometheus, bin.join("prometheus"))
    } else {
        (Kind::Marigram, peers::marigram())
    };
    let (mut sum, mut left, mut number) = (Sum::default(), rounds, 0);
    while left > 0 {
        // A directory grows and rounds get longer: a new one now and then.
        let now = left.min(ROUNDS_PER_DIRECTORY);
        epoch(kind, &program, seed + number, now, &mut sum);
        (left, number) = (left - now, number + 1);
    }
    let Sum { acknowledged, sent, found, answered } = sum;
    eprintln!(
        "{rounds} rounds; batches acknowledged {acknowledged}, handed over {sent}; {found} samples there; \
         answered {ADMIN:?}: {answered:?}"
    );
    assert!(acknowledged > 5 * rounds as usize, "hardly anything was acknowledged: {acknowledged} of {sent}");
    assert!(
        standin || rounds < 20 || answered.iter().all(|n| *n > 0),
        "no {ADMIN:?} was answered: {answered:?}"
    );
}
