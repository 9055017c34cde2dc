//! The workload: N instances of the captured targets, 15 s apart, as the remote-write bodies that a Prometheus
//! with several shards would send.
//!
//! Each instance has its own `instance` label, phase within the interval, offset into the capture and counter
//! start values, all from the seed. A series always goes over the same connection; within a connection
//! everything is in time order, one sample a series, 2,000 samples a request.

use std::fmt::Write as _;

use snap::raw::{Encoder, max_compress_len};
use tests_support::remote_write::{put_label, put_sample, put_varint, sample_len};
use tests_support::rng::hash;

use crate::capture::{INTERVAL, STRIDE, Shape, Target};

/// Samples a request, Prometheus's default.
pub const BATCH: usize = 2000;
/// The value that marks a series as gone.
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Copies of the captured host.
    pub instances: usize,
    /// Scrapes of each target.
    pub steps: usize,
    /// The start of step 0 in Unix milliseconds, a multiple of the interval.
    pub origin: i64,
    /// Connections.
    pub connections: usize,
    /// Everything random follows from it.
    pub seed: u64,
    /// Percentage of instances that are replaced by new ones every ten minutes.
    pub churn: u64,
    /// Whether magnitudes differ between instances: each value is multiplied by a factor in `[0.5, 2)` of its
    /// series and instance. Without it, instances repeat one another's gauges at other times.
    pub vary: bool,
    /// Milliseconds by which a scrape may be off in either direction, beside the capture's own jitter.
    pub jitter: u64,
}

impl Plan {
    /// The time at which a step's samples are all in the past, in Unix milliseconds.
    pub fn step_end(&self, step: usize) -> i64 {
        self.origin + (i64::try_from(step).expect("few steps") + 1) * INTERVAL * 1000
    }
}

/// A body ready to send and what it holds.
#[derive(Debug, Default)]
pub struct Body {
    /// The compressed request.
    pub bytes: Vec<u8>,
    /// Size before compression.
    pub raw_len: usize,
    /// Samples by step, stale markers not counted: `(step, count)`.
    pub samples: Vec<(usize, u64)>,
    /// Samples in all, stale markers included.
    pub total: u64,
}

/// One scraped target of one instance.
#[derive(Debug)]
struct Scraped {
    target: usize,
    instance: usize,
    phase: i64,
    offset: usize,
    start: u64,
}

/// The stream of bodies of one connection.
#[derive(Debug)]
pub struct Stream<'a> {
    plan: &'a Plan,
    targets: &'a [Target],
    connection: usize,
    scraped: Vec<Scraped>,
    /// The next scrape: step and position in `scraped`.
    step: usize,
    next: usize,
    proto: Vec<u8>,
    encoder: Encoder,
}

impl<'a> Stream<'a> {
    /// The bodies of `connection` from `first_step` on.
    pub fn new(plan: &'a Plan, targets: &'a [Target], connection: usize, first_step: usize) -> Self {
        let mut scraped = Vec::with_capacity(plan.instances * targets.len());
        for instance in 0..plan.instances {
            for (target, capture) in targets.iter().enumerate() {
                let random = |what| hash(&[plan.seed, instance as u64, target as u64, what]);
                // A second is left free at either end, so that jitter moves nothing into another step.
                let phase = 1000 + (random(1) % (INTERVAL as u64 * 1000 - 2000)) as i64;
                let offset = (random(2) % capture.slots() as u64) as usize;
                scraped.push(Scraped { target, instance, phase, offset, start: random(3) % 1_000_000 });
            }
        }
        scraped.sort_by_key(|s| s.phase);
        let (proto, encoder) = (Vec::with_capacity(512 << 10), Encoder::new());
        Self { plan, targets, connection, scraped, step: first_step, next: 0, proto, encoder }
    }

    /// The step of the next sample; [`Plan::steps`] or more when there is none.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Fills the next body with the samples of steps before `end`; false when there are none.
    ///
    /// # Errors
    /// Never in practice: a body is far below snappy's limit.
    pub fn next(&mut self, end: usize, body: &mut Body) -> Result<bool, snap::Error> {
        self.proto.clear();
        body.samples.clear();
        body.total = 0;
        while body.total < BATCH as u64 && self.step < end {
            self.scrape(body);
            self.next += 1;
            if self.next == self.scraped.len() {
                self.next = 0;
                self.step += 1;
            }
        }
        if body.total == 0 {
            return Ok(false);
        }
        body.raw_len = self.proto.len();
        body.bytes.resize(max_compress_len(self.proto.len()), 0);
        let length = self.encoder.compress(&self.proto, &mut body.bytes)?;
        body.bytes.truncate(length);
        Ok(true)
    }

    /// Adds this connection's share of one scrape.
    fn scrape(&mut self, body: &mut Body) {
        let s = &self.scraped[self.next];
        let target = &self.targets[s.target];
        let position = s.offset + self.step * STRIDE;
        let (slot, pass) = (position % target.slots(), position / target.slots());
        let values = target.slot(slot);
        let previous = (self.step > 0).then(|| target.slot((position - STRIDE) % target.slots()));
        let time = self.plan.origin
            + self.step as i64 * INTERVAL * 1000
            + s.phase
            + target.jitter[slot].clamp(-400, 400)
            + self.extra_jitter(s);
        let instance = self.instance_label(s, target);

        let connections = self.plan.connections;
        let mut live = 0;
        let first = (self.connection + connections - (s.instance * 7 + s.target) % connections) % connections;
        for column in (first..values.len()).step_by(connections) {
            let value = match values[column] {
                Some(value) => {
                    live += 1;
                    self.value(s, column, target.series[column].shape, value, pass)
                }
                None if previous.is_some_and(|p| p[column].is_some()) => STALE,
                None => continue,
            };
            let series = &target.series[column];
            let length = series.before.len() + instance.len() + series.after.len() + 2 + sample_len(time);
            self.proto.push(0x0a);
            put_varint(&mut self.proto, length as u64);
            self.proto.extend_from_slice(&series.before);
            self.proto.extend_from_slice(&instance);
            self.proto.extend_from_slice(&series.after);
            put_sample(&mut self.proto, time, value);
            body.total += 1;
        }
        match body.samples.last_mut() {
            Some((step, count)) if *step == self.step => *count += live,
            _ => body.samples.push((self.step, live)),
        }
    }

    fn extra_jitter(&self, s: &Scraped) -> i64 {
        let reach = self.plan.jitter.min(500);
        if reach == 0 {
            return 0;
        }
        let random = hash(&[self.plan.seed, s.instance as u64, s.target as u64, self.step as u64]);
        (random % (2 * reach + 1)) as i64 - reach as i64
    }

    /// The `instance` label as a field of the series; a replaced instance has a new name.
    fn instance_label(&self, s: &Scraped, target: &Target) -> Vec<u8> {
        let port = if target.job == "node" { 9100 } else { 9090 };
        let mut name = format!("host-{:04}", s.instance);
        let tens = self.step as u64 * INTERVAL as u64 / 600;
        let mut replaced =
            (1..=tens).filter(|t| hash(&[self.plan.seed, s.instance as u64, *t]) % 100 < self.plan.churn);
        if let Some(last) = replaced.next_back() {
            let _ = write!(name, "-{last}");
        }
        let _ = write!(name, ":{port}");
        let mut out = Vec::new();
        put_label(&mut out, b"instance", name.as_bytes());
        out
    }

    fn value(&self, s: &Scraped, column: usize, shape: Shape, value: f64, pass: usize) -> f64 {
        let own = if shape.shared { hash(&[s.start]) } else { hash(&[s.start, column as u64]) };
        let grown = value + pass as f64 * shape.increase.unwrap_or(0.0);
        let factor = if self.plan.vary && !shape.small {
            0.5 + (own >> 11) as f64 / (1u64 << 53) as f64 * 1.5
        } else {
            1.0
        };
        let start = if shape.increase.is_some() { (own % 1_000_000) as f64 } else { 0.0 };
        if factor == 1.0 && start == 0.0 && pass == 0 {
            return value;
        }
        let sum = grown * factor + start;
        match shape.scale {
            Some(scale) => (sum * scale).round() / scale,
            None => sum,
        }
    }
}
