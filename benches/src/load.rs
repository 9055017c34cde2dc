//! The senders: one thread and one connection each, in step with one another.
//!
//! No connection runs ahead of the slowest by more than a minute of simulated time: a Prometheus's shards do
//! not either, and a server may refuse samples far older than its newest. A sender waits for each answer
//! before the next request; 5xx and 429 are sent again, as Prometheus does, after the time asked for.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tests_support::http::{Client, Response};
use tests_support::remote_write::HEADERS;

use crate::capture::Target;
use crate::workload::{Body, Plan, Stream};

/// Steps by which a connection may be ahead of the slowest.
const AHEAD: usize = 4;

/// What the senders saw.
#[derive(Debug, Default, Clone)]
pub struct Sent {
    /// Acknowledged samples, stale markers included.
    pub samples: u64,
    /// Acknowledged samples of each step, stale markers not counted.
    pub by_step: Vec<u64>,
    /// Requests acknowledged.
    pub requests: u64,
    /// Requests that had to be sent again.
    pub retries: u64,
    /// Bytes over the wire.
    pub bytes: u64,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// From the first request to the last answer.
    pub wall: Duration,
    /// Answer times of all requests, sorted.
    pub latencies: Vec<Duration>,
}

impl Sent {
    fn add(&mut self, other: Self) {
        self.samples += other.samples;
        self.by_step.resize(self.by_step.len().max(other.by_step.len()), 0);
        for (sum, n) in self.by_step.iter_mut().zip(&other.by_step) {
            *sum += n;
        }
        self.requests += other.requests;
        self.retries += other.retries;
        self.bytes += other.bytes;
        self.raw_bytes += other.raw_bytes;
        self.latencies.extend(other.latencies);
    }

    /// The answer time below which a share of the requests lies.
    pub fn latency(&self, share: f64) -> Duration {
        let at = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(at.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// Where each connection stands.
struct Pace {
    steps: Mutex<Vec<usize>>,
    moved: Condvar,
}

impl Pace {
    fn enter(&self, connection: usize, step: usize) {
        let mut steps = self.steps.lock().expect("no sender panics holding the lock");
        steps[connection] = step;
        self.moved.notify_all();
        while steps.iter().min().is_some_and(|least| step > least + AHEAD) {
            steps = self.moved.wait(steps).expect("no sender panics holding the lock");
        }
    }
}

/// Sends the steps `[from, to)` of the plan and waits for all answers.
///
/// # Errors
/// When the server refuses a body or the connection fails.
pub fn send(
    plan: &Plan,
    targets: &[Target],
    addr: SocketAddr,
    from: usize,
    to: usize,
) -> Result<Sent, String> {
    let start = Instant::now();
    let pace = Pace { steps: Mutex::new(vec![from; plan.connections]), moved: Condvar::new() };
    let mut sent = Sent { by_step: vec![0; to], ..Sent::default() };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.connections)
            .map(|connection| {
                let pace = &pace;
                scope.spawn(move || {
                    let outcome = connection_run(plan, targets, addr, connection, from, to, pace);
                    // Whoever waits for this connection must not wait for ever.
                    pace.enter_last(connection);
                    outcome
                })
            })
            .collect();
        for thread in threads {
            sent.add(thread.join().map_err(|_| "a sender panicked".to_owned())??);
        }
        Ok::<(), String>(())
    })?;
    sent.wall = start.elapsed();
    sent.latencies.sort_unstable();
    Ok(sent)
}

impl Pace {
    fn enter_last(&self, connection: usize) {
        self.steps.lock().expect("no sender panics holding the lock")[connection] = usize::MAX - AHEAD;
        self.moved.notify_all();
    }
}

fn connection_run(
    plan: &Plan,
    targets: &[Target],
    addr: SocketAddr,
    connection: usize,
    from: usize,
    to: usize,
    pace: &Pace,
) -> Result<Sent, String> {
    let mut client = Client::new(addr, Duration::from_secs(120));
    let mut stream = Stream::new(plan, targets, connection, from);
    let mut body = Body::default();
    let mut sent = Sent { by_step: vec![0; to], ..Sent::default() };
    let mut last_step = usize::MAX;
    loop {
        if stream.step() != last_step {
            last_step = stream.step();
            pace.enter(connection, last_step);
        }
        if !stream.next(to, &mut body).map_err(|e| e.to_string())? {
            return Ok(sent);
        }
        deliver(&mut client, &body, &mut sent)?;
        sent.samples += body.total;
        sent.requests += 1;
        sent.bytes += body.bytes.len() as u64;
        sent.raw_bytes += body.raw_len as u64;
        for &(step, count) in &body.samples {
            sent.by_step[step] += count;
        }
    }
}

fn deliver(client: &mut Client, body: &Body, sent: &mut Sent) -> Result<(), String> {
    loop {
        let start = Instant::now();
        let answer = client.request("POST", "/api/v1/write", &HEADERS, &body.bytes);
        let response = answer.map_err(|e| format!("remote write: {e}"))?;
        sent.latencies.push(start.elapsed());
        match response.status {
            200..300 => return Ok(()),
            429 | 500.. => {
                sent.retries += 1;
                thread::sleep(pause(&response));
            }
            status => return Err(format!("remote write: {status} {}", response.text())),
        }
    }
}

fn pause(response: &Response) -> Duration {
    let asked = response.header("retry-after").and_then(|v| v.parse::<f64>().ok());
    Duration::from_secs_f64(asked.unwrap_or(0.03).clamp(0.001, 10.0))
}
