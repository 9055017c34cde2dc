//! Counts requests by handler: how many with which answer, how long, how large, how many now.

use super::family::{Families, Histogram, Kind};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

const DURATION_BOUNDS: &[f64] = &[0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0];
const SIZE_BOUNDS: &[f64] = &[100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Counters of all handlers. The set of handlers is the router's, so it is bounded.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    handlers: Mutex<BTreeMap<String, Arc<Handler>>>,
    in_flight: AtomicI64,
}

#[derive(Debug)]
struct Handler {
    codes: Mutex<BTreeMap<u16, u64>>,
    duration: Histogram,
    size: Histogram,
}

/// A request being answered; counted when it is dropped, as 499 when no answer was found before.
#[derive(Debug)]
pub struct Request {
    metrics: Arc<HttpMetrics>,
    handler: Arc<Handler>,
    begun: Instant,
    code: u16,
    bytes: u64,
}

impl HttpMetrics {
    /// Begins to count a request.
    pub fn begin(self: &Arc<Self>, handler: &str) -> Request {
        let mut handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let handler = match handlers.get(handler) {
            Some(known) => Arc::clone(known),
            None => {
                let new = Arc::new(Handler {
                    codes: Mutex::default(),
                    duration: Histogram::new(DURATION_BOUNDS),
                    size: Histogram::new(SIZE_BOUNDS),
                });
                Arc::clone(handlers.entry(handler.to_owned()).or_insert(new))
            }
        };
        drop(handlers);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Request { metrics: Arc::clone(self), handler, begun: Instant::now(), code: 499, bytes: 0 }
    }
    /// Adds the `prometheus_http_*` families.
    pub fn collect(&self, families: &mut Families) {
        let (mut requests, mut durations, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for (name, handler) in self.handlers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (code, count) in handler.codes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let labels = vec![("code", code.to_string()), ("handler", name.clone())];
                requests.push((labels, *count as f64));
            }
            let labels = [("handler", name.clone())];
            handler.duration.samples(&labels, &mut durations);
            handler.size.samples(&labels, &mut sizes);
        }
        families.add("prometheus_http_requests_total", "Counter of HTTP requests.", Kind::Counter, requests);
        families.push(
            "prometheus_http_request_duration_seconds",
            "Histogram of latencies for HTTP requests, the answer's transfer included.",
            Kind::Histogram,
            durations,
        );
        families.push(
            "prometheus_http_response_size_bytes",
            "Histogram of response size for HTTP requests, as sent.",
            Kind::Histogram,
            sizes,
        );
        families.gauge(
            "marigram_http_requests_in_flight",
            "HTTP requests being answered.",
            self.in_flight.load(Ordering::Relaxed) as f64,
        );
    }
}

impl Request {
    /// Notes the answer's status code.
    pub fn answered(&mut self, code: u16) {
        self.code = code;
    }
    /// Notes bytes sent.
    pub fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
    /// How long it has taken so far.
    #[must_use]
    pub fn begun(&self) -> Instant {
        self.begun
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.handler.duration.observe(self.begun.elapsed().as_secs_f64());
        self.handler.size.observe(self.bytes as f64);
        let mut codes = self.handler.codes.lock().unwrap_or_else(PoisonError::into_inner);
        *codes.entry(self.code).or_default() += 1;
    }
}
