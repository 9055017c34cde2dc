//! A server under hostile writes: floods of new series, bombs, structures made of nothing, endless nesting,
//! bodies that are cut or never end. Each is answered as it should be, memory stays within a budget, and a
//! sender beside loses nothing.

mod bodies;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tests_support::http::Client;
use tests_support::peers;
use tests_support::process;
use tests_support::prom::Query;
use tests_support::remote_write::{HEADERS, Request};
use tests_support::servers::{Kind, Server};

const LIMIT: Duration = Duration::from_secs(60);
/// Series the good sender keeps up.
const GOOD: usize = 500;

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_millis()).expect("the clock is sane")
}

/// The most memory a process ever had, bytes.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("Linux tells the peak");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

/// A sender that writes the same series over and over until it is stopped.
struct Good {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Duration>,
}

impl Good {
    fn start(addr: SocketAddr) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
        let thread = std::thread::spawn(move || {
            let mut client = Client::new(addr, LIMIT);
            let mut slowest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let (mut request, time) = (Request::default(), now());
                for i in 0..GOOD {
                    request.series(&[("__name__", "good"), ("i", &i.to_string())], &[(time, i as f64)]);
                }
                let begin = Instant::now();
                let reply = client.request("POST", "/api/v1/write", &HEADERS, &request.take_body());
                let reply = reply.expect("the server answers");
                assert_eq!(reply.status, 204, "the good sender is refused: {}", reply.text());
                slowest = slowest.max(begin.elapsed());
                counted.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
            slowest
        });
        Self { stop, rounds, thread }
    }
    fn await_round(&self) {
        let before = self.rounds.load(Ordering::Relaxed);
        tests_support::wait::until("the good sender goes on", LIMIT, || {
            self.thread.is_finished() || self.rounds.load(Ordering::Relaxed) > before + 1
        });
    }
    /// How many rounds it did, and how long the slowest took.
    fn stop(self) -> (u64, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let slowest = self.thread.join().expect("the good sender was never refused");
        (self.rounds.load(Ordering::Relaxed), slowest)
    }
}

/// A server with little room, its good sender, and the memory it had before the attack.
struct Scene {
    server: Server,
    good: Good,
    before: u64,
    _dir: tempfile::TempDir,
}

fn scene(extra: &[&str]) -> Scene {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let extra: Vec<String> = extra.iter().map(|flag| (*flag).to_owned()).collect();
    let (program, addr) = (peers::marigram(), process::free_address());
    let mut server = Server::start(Kind::Marigram, &program, dir.path(), addr, &extra);
    server.await_ready(LIMIT);
    let good = Good::start(addr);
    good.await_round();
    let before = peak(server.process().pid());
    Scene { server, good, before, _dir: dir }
}

impl Scene {
    fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let mut client = Client::new(self.server.addr(), LIMIT);
        let reply = client.request("POST", path, headers, body).expect("the server answers");
        (reply.status, reply.text())
    }
    /// Ends the attack: everything the good sender sent is there, and memory grew by no more than this.
    #[expect(clippy::print_stderr, reason = "the figures are for whoever reads the test's output")]
    fn conclude(self, what: &str, mib: u64) {
        self.good.await_round();
        let (rounds, slowest) = self.good.stop();
        let grown = peak(self.server.process().pid()).saturating_sub(self.before) >> 20;
        eprintln!("{what}: peak +{grown} MiB; the good sender's slowest of {rounds} requests: {slowest:?}");
        let query = Query::instant("sum(count_over_time(good[1h]))", now() + 1000);
        let answer = self.server.api().ask(&query).expect("an answer");
        let stored = answer.series.values().next().map_or(0.0, |points| points[0].1);
        assert_eq!(stored, (rounds * GOOD as u64) as f64, "samples of the good sender are lost");
        assert!(grown <= mib, "{what}: memory grew by {grown} MiB, allowed are {mib}");
    }
}

#[test]
fn a_flood_of_new_series_stops_at_the_limit() {
    let scene = scene(&[
        "--storage.series.max=20000",
        "--storage.series.max-per-metric=40000",
        "--storage.series.max-values-per-label=40000",
    ]);
    let filler = "x".repeat(160);
    let (mut refused, mut status) = (0, 0);
    for round in 0..60 {
        let mut request = Request::default();
        for i in 0..2000 {
            let id = format!("{filler}{round}-{i}");
            request.series(&[("__name__", "flood"), ("id", &id)], &[(now(), 1.0)]);
        }
        let reply = scene.post("/api/v1/write", &HEADERS, &request.take_body());
        status = reply.0;
        if status != 204 {
            assert_eq!(status, 400, "{}", reply.1);
            assert!(reply.1.contains("limit of 20000 active series reached for series {__name__=\"flood\""));
            refused += 1;
        }
    }
    assert_eq!(status, 400);
    assert!(refused >= 50, "{refused} of 60 requests were refused");
    let series = scene.server.api().metric("prometheus_tsdb_head_series", &[]);
    assert!(series <= Some(20_010.0), "{series:?}");
    scene.conclude("flood of series", 96);
}

#[test]
fn bombs_and_nonsense_are_refused() {
    let scene = scene(&["--web.max-inflight-write-mib=256"]);
    for attack in bodies::all() {
        let (status, text) = scene.post(attack.path, &attack.headers, &attack.body);
        assert!(attack.status.contains(&status), "{}: {status} {text}", attack.what);
        scene.good.await_round();
    }
    // Twice the largest body, decompressed, and what decoding it takes.
    scene.conclude("bombs", 320);
}

#[test]
fn bodies_cut_anywhere_are_refused() {
    let scene = scene(&[]);
    let mut request = Request::default();
    for i in 0..200 {
        request.series(&[("__name__", "cut"), ("i", &i.to_string())], &[(now(), 1.0)]);
    }
    let body = request.take_body();
    for at in (1..body.len()).step_by(body.len() / 40) {
        let (status, text) = scene.post("/api/v1/write", &HEADERS, &body[..at]);
        assert_eq!(status, 400, "{at} of {} bytes: {text}", body.len());
    }
    // The length promises more than comes.
    let mut stream = TcpStream::connect(scene.server.addr()).expect("the server listens");
    let head = format!("POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).expect("the server reads");
    stream.write_all(&body[..body.len() / 2]).expect("the server reads");
    stream.shutdown(std::net::Shutdown::Write).expect("half a connection can be closed");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    scene.conclude("cut bodies", 64);
}

#[test]
fn bodies_that_never_come_take_no_room_from_others() {
    let scene = scene(&["--web.max-inflight-write-mib=64", "--web.write-queue-timeout=1s"]);
    let promise = "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 33000000\r\n\r\n";
    let slow: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(scene.server.addr()).expect("the server listens");
            stream.write_all(promise.as_bytes()).expect("the server reads");
            stream.write_all(&[0; 1000]).expect("the server reads");
            stream
        })
        .collect();
    for _ in 0..20 {
        scene.good.await_round();
    }
    drop(slow);
    scene.conclude("slow bodies", 64);
}
