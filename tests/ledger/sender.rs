//! A sender that keeps book outside the server: which samples it handed over, and which of them were
//! acknowledged. Every value is recomputed from (seed, sender, series, sequence number), so that reading back
//! tells for each sample whether it must be there, may be there or must not, and with which bits.

use std::net::SocketAddr;
use std::time::Duration;

use tests_support::http::Client;
use tests_support::prom::{Api, Query};
use tests_support::remote_write::{HEADERS, Request};
use tests_support::rng::{Rng, hash};

/// Series of one sender.
const SERIES: u64 = 40;
/// Milliseconds between two sequence numbers: a two-hour window is full after 720, so that there is
/// something to merge.
const STEP: i64 = 10_000;
/// The same for a server that takes samples of the last hour only.
const SHORT_STEP: i64 = 100;
/// Where a sender ends, so that its times stay in the past: after four days.
const MOST: usize = 35_000;

/// What is known of one sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Handed over, with no answer or a 5xx: it may be there.
    Unknown,
    /// Answered 2xx: it must be there.
    Acknowledged,
}

/// One sender with its book.
#[derive(Debug)]
pub(crate) struct Sender {
    seed: u64,
    id: u64,
    /// The time of sequence number 0, in Unix milliseconds.
    origin: i64,
    /// Milliseconds between two sequence numbers.
    step: i64,
    rng: Rng,
    fates: Vec<Fate>,
    /// Whether samples of unknown fate are sent again, out of order and perhaps a second time.
    repeats: bool,
}

impl Sender {
    /// A sender whose times end before `now`.
    pub(crate) fn new(seed: u64, id: u64, now: i64, repeats: bool) -> Self {
        let step = if repeats { STEP } else { SHORT_STEP };
        let origin = now - step * i64::try_from(MOST).expect("few sequence numbers");
        Self { seed, id, origin, step, rng: Rng::new(hash(&[seed, id])), fates: Vec::new(), repeats }
    }

    /// How many sequence numbers were acknowledged, and how many handed over.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.fates.iter().filter(|f| **f == Fate::Acknowledged).count(), self.fates.len())
    }

    /// Sends until the server is gone (or the book is full).
    ///
    /// # Errors
    /// When the server refuses good data.
    pub(crate) fn run(&mut self, addr: SocketAddr) -> Result<(), String> {
        let mut client = Client::new(addr, Duration::from_secs(30));
        while self.fates.len() < MOST {
            let (from, to) = self.next_range();
            for seq in from..to {
                if seq == self.fates.len() {
                    self.fates.push(Fate::Unknown);
                }
            }
            let body = self.body(from, to);
            match client.request("POST", "/api/v1/write", &HEADERS, &body) {
                Err(_) => return Ok(()),
                Ok(r) if r.is_success() => self.fates[from..to].fill(Fate::Acknowledged),
                Ok(r) if r.status >= 500 => {}
                Ok(r) => return Err(format!("sender {}: {} {}", self.id, r.status, r.text())),
            }
        }
        Ok(())
    }

    /// Mostly the next sequence numbers, sometimes one of unknown fate again.
    fn next_range(&mut self) -> (usize, usize) {
        if self.repeats && self.rng.between(0, 4) == 0 {
            let recent = self.fates.len().saturating_sub(200);
            if let Some(at) = self.fates[recent..].iter().position(|f| *f == Fate::Unknown) {
                return (recent + at, recent + at + 1);
            }
        }
        let next = self.fates.len();
        let count = if self.rng.between(0, 3) == 0 { self.rng.between(2, 30) } else { 1 };
        (next, next + usize::try_from(count).expect("a small number"))
    }

    fn body(&self, from: usize, to: usize) -> Vec<u8> {
        let mut request = Request::default();
        let id = self.id.to_string();
        for series in 0..SERIES {
            let samples: Vec<(i64, f64)> =
                (from..to).map(|seq| (self.time(seq), self.value(series, seq))).collect();
            let name = series.to_string();
            request.series(&[("__name__", "ledger"), ("sender", &id), ("series", &name)], &samples);
        }
        request.take_body()
    }

    fn time(&self, seq: usize) -> i64 {
        self.origin + self.step * i64::try_from(seq).expect("few sequence numbers")
    }

    /// A counter, a constant, a number with two decimals or arbitrary bits, by the series.
    fn value(&self, series: u64, seq: usize) -> f64 {
        let seq = seq as u64;
        let random = hash(&[self.seed, self.id, series, seq]);
        match series % 4 {
            0 => (seq * 17) as f64,
            1 => hash(&[self.seed, self.id, series]) as f64,
            2 => (random % 1_000_000) as f64 / 100.0,
            _ => {
                let value = f64::from_bits(random);
                // JSON does not carry the bits of a NaN.
                if value.is_finite() { value } else { f64::from_bits(random & !(0x7ff << 52)) }
            }
        }
    }

    /// Reads everything back and compares it with the book; the samples found.
    ///
    /// # Errors
    /// With the first lost, invented or altered sample.
    pub(crate) fn check(&self, api: &mut Api) -> Result<usize, String> {
        let end = self.time(self.fates.len()) + 60_000;
        let text = format!("ledger{{sender=\"{}\"}}[6d]", self.id);
        let answer = api.ask(&Query::instant(&text, end))?;
        let mut found = 0;
        for (labels, points) in &answer.series {
            let series: u64 = labels
                .get("series")
                .and_then(|s| s.parse().ok())
                .ok_or_else(|| format!("a series nobody sent: {labels:?}"))?;
            let mut there = vec![false; self.fates.len()];
            for &(time, value) in points {
                let place = format!("sender {} series {series} at {time}", self.id);
                let seq = usize::try_from((time - self.origin) / self.step).unwrap_or(usize::MAX);
                if seq >= self.fates.len() || self.time(seq) != time {
                    return Err(format!("{place}: a sample nobody sent"));
                }
                let sent = self.value(series, seq);
                if sent.to_bits() != value.to_bits() {
                    return Err(format!("{place}: {value} instead of {sent}"));
                }
                there[seq] = true;
                found += 1;
            }
            let lost = |&seq: &usize| self.fates[seq] == Fate::Acknowledged && !there[seq];
            let lost: Vec<usize> = (0..self.fates.len()).filter(lost).collect();
            if let Some(first) = lost.first() {
                return Err(format!(
                    "sender {} series {series}: {} acknowledged samples lost, the first is number {first} of {}",
                    self.id,
                    lost.len(),
                    self.fates.len()
                ));
            }
        }
        let (acknowledged, _) = self.counts();
        if acknowledged > 0 && answer.series.len() as u64 != SERIES {
            return Err(format!("sender {}: {} series instead of {SERIES}", self.id, answer.series.len()));
        }
        Ok(found)
    }
}
