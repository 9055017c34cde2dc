//! The queries that Prometheus and Marigram must answer alike, and the instants and ranges they are asked
//! at.
//!
//! Both servers hold the same two copies of node_exporter and of Prometheus itself: one scraped by
//! Prometheus (`job="node"`, `job="prometheus"`), one by vmagent (`job="vm_node"`, `job="vm_prometheus"`).
//! Every query must find something in at least one of its evaluations, else it would prove nothing.

use tests_support::prom::Query;

/// The times of one run, in Unix milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Before the first sample.
    pub(crate) start: i64,
    /// The moment of the `kill -9`.
    pub(crate) kill: i64,
    /// The end of the flow; series are marked stale soon after.
    pub(crate) end: i64,
}

/// Each query at several instants and over several ranges.
pub(crate) fn evaluations(text: &str, times: Times) -> Vec<Query> {
    let Times { start, kill, end } = times;
    let middle = start + (end - start) / 2;
    vec![
        Query::instant(text, middle + 333),
        Query::instant(text, kill + 1_500),
        Query::instant(text, end - 1_000),
        Query::instant(text, end + 20_000),
        Query::range(text, start - 10_000, end + 30_000, 3_000),
        Query::range(text, kill - 7_001, kill + 9_000, 999),
        Query::range(text, start - 600_000, end + 600_000, 60_000),
    ]
}

/// Selectors, offsets and `@`.
const SELECTORS: [&str; 16] = [
    "up",
    "node_load1",
    r#"node_cpu_seconds_total{mode="idle"}"#,
    r#"node_cpu_seconds_total{mode!="idle",cpu="0"}"#,
    r#"node_cpu_seconds_total{mode=~"user|sys.*"}"#,
    r#"node_cpu_seconds_total{mode!~"i.*|s.*",job="vm_node"}"#,
    r#"{__name__=~"node_memory_(MemFree|Cached|Buffers)_bytes",job=~".*node"}"#,
    r#"{job="vm_prometheus",__name__=~"go_.*",quantile=""}"#,
    r#"prometheus_http_requests_total{handler=~"/api/.*",code!=""}"#,
    "node_memory_MemFree_bytes offset 10s",
    "node_memory_MemFree_bytes offset -5s",
    "node_memory_MemFree_bytes @ start()",
    "rate(node_cpu_seconds_total[15s] @ end())",
    "node_load1 @ end() - node_load1 offset 7s",
    "node_uname_info",
    r#"count({__name__!=""}) by (job)"#,
];

/// Functions over ranges.
const RANGES: [&str; 28] = [
    "rate(node_cpu_seconds_total[15s])",
    "rate(prometheus_http_requests_total[20s])",
    "irate(node_cpu_seconds_total[15s])",
    "increase(prometheus_tsdb_head_samples_appended_total[30s])",
    "increase(prometheus_http_response_size_bytes_bucket[1m])",
    "delta(node_memory_MemFree_bytes[20s])",
    "idelta(node_memory_MemFree_bytes[20s])",
    "deriv(node_memory_MemFree_bytes[20s])",
    "predict_linear(node_memory_MemFree_bytes[30s], 60)",
    "avg_over_time(node_load1[20s])",
    "sum_over_time(go_goroutines[17s])",
    "min_over_time(node_memory_MemFree_bytes[10s])",
    "max_over_time(node_memory_MemFree_bytes[10s])",
    "count_over_time(up[1m])",
    "sum(count_over_time({__name__=~\"go_gc_.*seconds\",job=\"node\"}[25s]))",
    "last_over_time(go_memstats_heap_alloc_bytes[8s])",
    "present_over_time(node_load5[30s])",
    "absent_over_time(no_such_metric[30s])",
    "stddev_over_time(go_memstats_heap_alloc_bytes[20s])",
    "stdvar_over_time(node_load1[20s])",
    "quantile_over_time(0.9, go_memstats_heap_alloc_bytes[30s])",
    "changes(go_memstats_heap_objects[30s])",
    "resets(go_memstats_heap_objects[30s])",
    "rate(node_context_switches_total[15s] offset 10s)",
    "max_over_time(rate(node_context_switches_total[10s])[30s:5s])",
    "sum_over_time(node_load1[30s:7s] offset 3s)",
    "increase(node_cpu_seconds_total[1m] @ end())",
    "no_such_metric or vector(time())",
];

/// Aggregations.
const AGGREGATIONS: [&str; 16] = [
    "sum(rate(node_cpu_seconds_total[15s])) by (mode)",
    "sum without (cpu, mode) (rate(node_cpu_seconds_total[15s]))",
    "avg by (job) (go_goroutines)",
    "min(go_memstats_heap_alloc_bytes) by (job)",
    "max(go_memstats_heap_alloc_bytes) by (job)",
    "count by (__name__) ({job=~\".*node\"})",
    "group by (job, mode) (node_cpu_seconds_total)",
    "stddev by (job) (node_cpu_seconds_total)",
    "stdvar without (cpu) (node_cpu_seconds_total)",
    "topk(3, node_cpu_seconds_total{job=\"node\"})",
    "bottomk by (job) (2, node_memory_MemFree_bytes)",
    "quantile(0.75, node_cpu_seconds_total)",
    "quantile by (job) (0.1, rate(prometheus_http_requests_total[30s]))",
    "count_values by (job) (\"version\", prometheus_ready)",
    "sum({__name__=~\"node_network_.*_bytes_total\"}) by (device)",
    "count(count by (__name__) ({job=\"prometheus\"}))",
];

/// Binary operators and matching.
const OPERATORS: [&str; 18] = [
    "node_memory_MemTotal_bytes - node_memory_MemFree_bytes",
    "100 * (1 - node_memory_MemFree_bytes / node_memory_MemTotal_bytes)",
    "node_cpu_seconds_total / on (instance, job) group_left () node_load1",
    "rate(node_cpu_seconds_total[15s]) * on (instance, job) group_left (sysname, nodename) node_uname_info",
    "sum by (mode) (node_cpu_seconds_total) / ignoring (mode) group_left sum(node_cpu_seconds_total)",
    "go_goroutines > 20",
    "go_goroutines > bool 20",
    "go_goroutines{job=\"node\"} < on () group_left () go_goroutines{job=\"prometheus\"}",
    "node_load1 ^ 2 % 7",
    "-node_load1 + +node_load5",
    "up == 1 and on (instance) go_goroutines",
    "go_goroutines or node_load1",
    "up unless on (job) node_load1",
    "node_load1 atan2 node_load5",
    "1 + 2 * 3 - 4 / 5",
    "vector(1) + time()",
    "scalar(node_load1{job=\"node\"}) * 2",
    "prometheus_build_info * 0 + ignoring (version, revision, branch, goversion, goos, goarch, tags) \
     group_left () up{job=~\".*prometheus\"}",
];

/// Classic histograms, labels, and functions of a single value.
const FUNCTIONS: [&str; 20] = [
    "histogram_quantile(0.9, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket[30s])))",
    "histogram_quantile(0.5, rate(prometheus_http_response_size_bytes_bucket[30s]))",
    "histogram_quantile(0.99, prometheus_http_request_duration_seconds_bucket{job=\"vm_prometheus\"})",
    "histogram_quantile(0.9, sum by (le, handler) (prometheus_http_request_duration_seconds_bucket))",
    "prometheus_http_request_duration_seconds_sum / prometheus_http_request_duration_seconds_count",
    "label_replace(up, \"short\", \"$1\", \"instance\", \".*:(.*)\")",
    "label_join(node_uname_info, \"both\", \"-\", \"sysname\", \"machine\")",
    "absent(no_such_metric{a=\"b\"})",
    "abs(delta(node_memory_MemFree_bytes[10s]))",
    "ceil(node_load1 * 10)",
    "floor(node_load1 * 10)",
    "round(node_load1, 0.05)",
    "clamp(node_load1, 0.1, 0.2)",
    "sqrt(node_load1) + ln(node_load5 + 1) + exp(node_load15)",
    "timestamp(node_load1)",
    "time() - process_start_time_seconds",
    "hour(node_boot_time_seconds) + minute(node_time_seconds)",
    "sgn(deriv(node_memory_MemFree_bytes[15s]))",
    "sort_desc(node_load1)",
    "vector(scalar(sum(up)))",
];

/// Queries that Prometheus refuses, with words that clients show.
const REFUSED: [&str; 6] = [
    "count_over_time({job=\"prometheus\"}[25s])",
    "node_load1{job=\"node\"} / on (job) node_cpu_seconds_total{job=\"node\",cpu=\"0\"}",
    "rate(node_load1)",
    "sum(",
    "node_load1 + on (cpu) group_left () node_cpu_seconds_total{cpu=\"0\"}",
    "no_such_function(up)",
];

/// Queries whose refusal must be the same, word for word.
pub(crate) fn refused() -> impl Iterator<Item = &'static str> {
    REFUSED.into_iter()
}

/// All queries.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    SELECTORS.into_iter().chain(RANGES).chain(AGGREGATIONS).chain(OPERATORS).chain(FUNCTIONS)
}
