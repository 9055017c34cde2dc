//! The queries and how they are timed.
//!
//! Each is asked several times over one kept-alive connection. The first answer is kept so that the report
//! can compare it with Prometheus's; a time counts only beside a right answer.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tests_support::answer::Answer;
use tests_support::prom::Query;
use tests_support::servers::{Kind, Server};

use crate::usage;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// How a query is asked: at the end of the data, or over the last stretch of it.
#[derive(Debug, Clone, Copy)]
enum When {
    Instant,
    /// Span and step in milliseconds.
    Range(i64, i64),
}

/// Name, text and time of every query. None has ties to break: which of several equal series `topk` takes is
/// no server's promise.
const QUERIES: [(&str, &str, When); 26] = [
    ("one series", r#"up{instance="host-0001:9100"}"#, When::Instant),
    ("a metric of all instances", "node_load1", When::Instant),
    ("count by job", r#"count by (job) ({__name__=~"node_.*"})"#, When::Instant),
    ("negative regex", r#"count({__name__=~"go_.*",job!~"node.*"})"#, When::Instant),
    ("cpu by mode", "sum by (mode) (rate(node_cpu_seconds_total[5m]))", When::Instant),
    ("topk", "topk(5, node_memory_MemAvailable_bytes)", When::Instant),
    (
        "join",
        "rate(node_cpu_seconds_total[5m]) * on (instance) group_left (nodename) node_uname_info",
        When::Instant,
    ),
    ("max over 1 h", "max_over_time(node_load1[1h])", When::Instant),
    ("count over 6 h", "count_over_time(up[6h])", When::Instant),
    ("deriv over 1 h", "deriv(node_memory_MemFree_bytes[1h])", When::Instant),
    ("quantile over 1 h", "quantile_over_time(0.95, go_memstats_heap_alloc_bytes[1h])", When::Instant),
    (
        "panel: one host, 1 h",
        r#"rate(node_cpu_seconds_total{instance="host-0001:9100"}[5m])"#,
        When::Range(HOUR, 15_000),
    ),
    (
        "panel: one host, 6 h",
        r#"irate(node_network_receive_bytes_total{instance="host-0001:9100"}[5m])"#,
        When::Range(6 * HOUR, MINUTE),
    ),
    (
        "raw, ten hosts, 1 h",
        r#"node_memory_MemFree_bytes{instance=~"host-000.:9100"}"#,
        When::Range(HOUR, 15_000),
    ),
    (
        "busy by host, 6 h",
        r#"sum by (instance) (rate(node_cpu_seconds_total{mode!="idle"}[5m]))"#,
        When::Range(6 * HOUR, MINUTE),
    ),
    (
        "idle share by host, 6 h",
        r#"1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))"#,
        When::Range(6 * HOUR, MINUTE),
    ),
    (
        "traffic by device, 6 h",
        "sum by (device) (rate(node_network_receive_bytes_total[5m]))",
        When::Range(6 * HOUR, MINUTE),
    ),
    (
        "p99 of a histogram, 6 h",
        "histogram_quantile(0.99, sum by (le) (rate(go_sched_latencies_seconds_bucket[5m])))",
        When::Range(6 * HOUR, MINUTE),
    ),
    (
        "p90 by host, 1 h",
        "histogram_quantile(0.9, sum by (le, instance) (rate(prometheus_http_response_size_bytes_bucket[5m])))",
        When::Range(HOUR, MINUTE),
    ),
    ("ratio, 1 h", "node_filesystem_avail_bytes / node_filesystem_size_bytes", When::Range(HOUR, MINUTE)),
    (
        "hourly increase, 6 h",
        "sum by (handler) (increase(prometheus_http_requests_total[1h]))",
        When::Range(6 * HOUR, 5 * MINUTE),
    ),
    ("average, 6 h", "avg_over_time(go_goroutines[5m])", When::Range(6 * HOUR, 5 * MINUTE)),
    (
        "quantile across, 6 h",
        "quantile by (job) (0.9, go_memstats_heap_alloc_bytes)",
        When::Range(6 * HOUR, MINUTE),
    ),
    (
        "topk of rates, 1 h",
        r#"topk(10, rate(node_cpu_seconds_total{mode="user"}[5m]))"#,
        When::Range(HOUR, MINUTE),
    ),
    (
        "deviation by host, 6 h",
        "stddev by (job) (rate(process_cpu_seconds_total[5m]))",
        When::Range(6 * HOUR, MINUTE),
    ),
    ("every series counted, 1 h", r#"count({__name__!=""})"#, When::Range(HOUR, 5 * MINUTE)),
];

/// One query, timed on one server.
#[derive(Debug, Clone, Serialize)]
pub struct Timed {
    /// Its name in the table.
    pub name: String,
    /// Its PromQL.
    pub text: String,
    /// Seconds of each repetition, in the order asked.
    pub seconds: Vec<f64>,
    /// The server's CPU seconds per repetition, on average.
    pub cpu_seconds: f64,
    /// Growth of resident memory over what was resident before, at its peak, in bytes.
    pub peak_bytes: u64,
    /// Bytes of the answer.
    pub bytes: usize,
    /// What differs from Prometheus's answer; empty when nothing does, `None` where there is none.
    pub differences: Option<Vec<String>>,
    /// The answer, or the server's refusal.
    #[serde(skip)]
    pub answer: Option<Result<Answer, String>>,
}

impl Timed {
    /// The median time in seconds.
    pub fn median(&self) -> f64 {
        median(&self.seconds)
    }

    /// The longest time in seconds.
    pub fn max(&self) -> f64 {
        self.seconds.iter().copied().fold(0.0, f64::max)
    }

    /// Whether the answer is Prometheus's.
    pub fn right(&self) -> bool {
        self.differences.as_ref().is_some_and(Vec::is_empty)
    }
}

/// The middle of some numbers; the mean of the two middle ones when they are even in number.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

fn query(text: &str, when: When, end: i64, span: i64) -> Query {
    match when {
        When::Instant => Query::instant(text, end),
        When::Range(length, step) => Query::range(text, end - length.min(span), end, step),
    }
}

/// Asks every query `repeat` times; `end` is the end of the data and `span` its length, in milliseconds.
/// VictoriaMetrics is asked with its result cache off unless `cached`.
pub fn time_all(server: &Server, end: i64, span: i64, repeat: usize, cached: bool) -> Vec<Timed> {
    let mut api = server.api();
    let extra: &[(&str, &str)] = if cached { &[] } else { &[("nocache", "1")] };
    let extra = if server.kind() == Kind::VictoriaMetrics { extra } else { &[] };
    let mut out = Vec::new();
    for (name, text, when) in QUERIES {
        let query = query(text, when, end, span);
        let mut timed = Timed {
            name: name.to_owned(),
            text: text.to_owned(),
            seconds: Vec::new(),
            cpu_seconds: 0.0,
            peak_bytes: 0,
            bytes: 0,
            differences: None,
            answer: None,
        };
        let pid = server.process().pid();
        let held = usage::forget_peak(pid);
        let before = usage::cpu(pid);
        let mut first = None;
        for _ in 0..repeat.max(1) {
            let start = Instant::now();
            match api.ask_raw(&query, extra) {
                Ok(response) => {
                    timed.seconds.push(start.elapsed().as_secs_f64());
                    first.get_or_insert(response);
                }
                Err(e) => timed.answer = Some(Err(e.to_string())),
            }
        }
        let used: Duration = usage::cpu(pid) - before;
        timed.peak_bytes = usage::memory(pid, "VmHWM").saturating_sub(held);
        timed.cpu_seconds = used.as_secs_f64() / repeat.max(1) as f64;
        if let Some(response) = first {
            timed.bytes = response.body.len();
            timed.answer = Some(parse(&response.body));
        }
        out.push(timed);
    }
    out
}

fn parse(body: &[u8]) -> Result<Answer, String> {
    let json: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    if json["status"] != "success" {
        return Err(json["error"].as_str().unwrap_or("no success").to_owned());
    }
    Answer::parse(&json["data"])
}

/// Compares every answer with Prometheus's.
pub fn check(timed: &mut [Timed], reference: &[Timed]) {
    for (own, other) in timed.iter_mut().zip(reference) {
        own.differences = match (&own.answer, &other.answer) {
            (Some(Ok(got)), Some(Ok(want))) => Some(got.differences(want, 1e-9, 3)),
            (Some(Err(e)), _) => Some(vec![e.clone()]),
            _ => None,
        };
    }
}

/// How many samples of the steps in `[from, to)` the server has, asked in pieces that every server's limits
/// allow. A series has one sample a step, so the samples of a step are the series that have one in it.
///
/// # Errors
/// With the server's refusal.
pub fn count_samples(
    server: &Server,
    plan: &crate::workload::Plan,
    from: usize,
    to: usize,
) -> Result<u64, String> {
    let mut api = server.api();
    let extra: &[(&str, &str)] =
        if server.kind() == Kind::VictoriaMetrics { &[("nocache", "1")] } else { &[] };
    let mut total = 0.0;
    let stride = (3_000_000 / (plan.instances * 1_000)).max(1);
    for chunk in (from..to).step_by(stride) {
        let last = (chunk + stride).min(to) - 1;
        let text = r#"count(last_over_time({__name__!=""}[15s]))"#;
        let query = Query::range(text, plan.step_end(chunk), plan.step_end(last), 15_000);
        let response = api.ask_raw(&query, extra).map_err(|e| e.to_string())?;
        let answer = parse(&response.body)?;
        total += answer.series.values().flatten().map(|p| p.1).sum::<f64>();
    }
    Ok(total as u64)
}
