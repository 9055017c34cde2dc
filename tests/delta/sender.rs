//! A client that exports deltas and keeps book: it sends an export until it is acknowledged, and then and again
//! one that was acknowledged already.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tests_support::http::Client;
use tests_support::prom::{Api, Query};
use tests_support::rng::{Rng, hash};

/// Streams of each kind.
const STREAMS: u64 = 12;
/// Milliseconds an export covers.
const STEP: i64 = 10;
const HEADERS: [(&str, &str); 1] = [("Content-Type", "application/json")];
const PATH: &str = "/api/v1/otlp/v1/metrics";

/// One client with its book.
#[derive(Debug)]
pub(crate) struct Sender {
    seed: u64,
    id: u64,
    origin: i64,
    rng: Rng,
    /// Exports that were acknowledged: the first so many.
    acknowledged: u64,
    repeated: u64,
}

impl Sender {
    pub(crate) fn new(seed: u64, id: u64, origin: i64) -> Self {
        Self { seed, id, origin, rng: Rng::new(hash(&[seed, id])), acknowledged: 0, repeated: 0 }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.acknowledged
    }

    pub(crate) fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Sends until the server is gone.
    ///
    /// # Errors
    /// When the server refuses a delta.
    pub(crate) fn run(&mut self, addr: SocketAddr) -> Result<(), String> {
        let mut client = Client::new(addr, Duration::from_secs(30));
        loop {
            if self.acknowledged > 0 && self.rng.between(0, 4) == 0 {
                let again = self.rng.between(0, self.acknowledged);
                self.repeated += 1;
                if !self.export(&mut client, again)? {
                    return Ok(());
                }
            }
            if !self.export(&mut client, self.acknowledged)? {
                self.repeated += 1;
                return Ok(());
            }
            self.acknowledged += 1;
        }
    }

    /// Sends the export that was not acknowledged when the server was killed, which may be there.
    ///
    /// # Errors
    /// When it is not taken.
    pub(crate) fn finish(&mut self, addr: SocketAddr) -> Result<(), String> {
        let mut client = Client::new(addr, Duration::from_secs(30));
        let taken = self.export(&mut client, self.acknowledged)?;
        self.acknowledged += 1;
        if taken { Ok(()) } else { Err("the server does not answer".to_owned()) }
    }

    /// Whether an export was acknowledged; not when the server is gone.
    fn export(&mut self, client: &mut Client, number: u64) -> Result<bool, String> {
        let body = self.body(number).to_string();
        match client.request("POST", PATH, &HEADERS, body.as_bytes()) {
            Err(_) => Ok(false),
            Ok(r) if r.status >= 500 => Ok(false),
            // Anything else in the answer is a partial success: something was refused.
            Ok(r) if r.status == 200 && r.text() == "{}" => Ok(true),
            Ok(r) => Err(format!("sender {} export {number}: {} {}", self.id, r.status, r.text())),
        }
    }

    fn value(&self, stream: u64, number: u64) -> u64 {
        hash(&[self.seed, self.id, stream, number]) % 100
    }

    fn time(&self, number: u64) -> i64 {
        self.origin + STEP * i64::try_from(number + 1).expect("few exports")
    }

    fn body(&self, number: u64) -> Value {
        let nanos = |ms: i64| format!("{ms}000000");
        let points = |fill: &dyn Fn(u64) -> Value| -> Value {
            let point = |stream: u64| {
                let mut point = json!({
                    "startTimeUnixNano": nanos(self.time(number) - STEP),
                    "timeUnixNano": nanos(self.time(number)),
                    "attributes": [{"key": "stream", "value": {"stringValue": stream.to_string()}}],
                });
                let (Some(into), Value::Object(from)) =
                    (point.as_object_mut(), fill(self.value(stream, number)))
                else {
                    return point;
                };
                into.extend(from);
                point
            };
            (0..STREAMS).map(point).collect()
        };
        let sum = points(&|v| json!({"asInt": v.to_string()}));
        let explicit =
            points(&|v| json!({"count": 2 * v, "sum": v, "bucketCounts": [v, v], "explicitBounds": [1]}));
        let exponential = points(
            &|v| json!({"count": 2 * v, "sum": v, "scale": 0, "zeroCount": v, "positive": {"offset": 1, "bucketCounts": [v]}}),
        );
        let metrics = json!([
            {"name": "s", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": sum}},
            {"name": "h", "histogram": {"aggregationTemporality": 1, "dataPoints": explicit}},
            {"name": "e", "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": exponential}},
        ]);
        let name = json!({"key": "service.name", "value": {"stringValue": self.id.to_string()}});
        json!({"resourceMetrics": [{"resource": {"attributes": [name]}, "scopeMetrics": [{"metrics": metrics}]}]})
    }

    /// Compares every total with the sum of what was sent.
    ///
    /// # Errors
    /// With the first that differs.
    pub(crate) fn check(&self, api: &mut Api) -> Result<(), String> {
        let end = self.time(self.acknowledged - 1);
        for stream in 0..STREAMS {
            let sum = (0..self.acknowledged).map(|number| self.value(stream, number)).sum::<u64>() as f64;
            let of = format!("{{job=\"{}\",stream=\"{stream}\"}}", self.id);
            for (query, want) in [
                (format!("s_total{of}"), sum),
                (format!("h_count{of}"), 2.0 * sum),
                (format!("h_sum{of}"), sum),
                (format!("h_bucket{{job=\"{}\",stream=\"{stream}\",le=\"1\"}}", self.id), sum),
                (format!("histogram_count(e{of})"), 2.0 * sum),
                (format!("histogram_sum(e{of})"), sum),
                (format!("resets(s_total{of}[1h])"), 0.0),
                (format!("count_over_time(s_total{of}[1h])"), self.acknowledged as f64),
            ] {
                let answer = api.ask(&Query::instant(&query, end))?;
                let got: Vec<f64> = answer.series.values().flatten().map(|point| point.1).collect();
                if got != [want] {
                    return Err(format!(
                        "{query}: {got:?} instead of {want} after {} exports",
                        self.acknowledged
                    ));
                }
            }
        }
        Ok(())
    }
}
