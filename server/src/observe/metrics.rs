//! All counters of the server, and the snapshot of them that is shown and stored.
//!
//! Names that exist in Prometheus have Prometheus' meaning, so its dashboards and alerts work; what only
//! Marigram has begins with `marigram_`.

use super::family::{Families, Family, Kind, Sample, Summary};
use super::http::HttpMetrics;
use super::{process, storage};
use crate::api::status;
use crate::config::Configuration;
use ingest::otlp::Note;
use ingest::remote_write::{Receipt, Version};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use storage_format::model::Timestamp;

/// The parts of a query's time that are observed.
#[derive(Debug, Clone, Copy)]
pub enum QuerySlice {
    /// Waiting for a slot.
    Queue,
    /// Parsing, planning, selecting.
    Prepare,
    /// Evaluating.
    InnerEval,
    /// Sorting the result.
    Sort,
}

/// Counters; share it as `Arc`.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By handler.
    pub http: Arc<HttpMetrics>,
    /// Requests that panicked.
    pub panics: AtomicU64,
    /// Queries being evaluated or waiting.
    pub queries: AtomicU64,
    /// Remote write.
    pub writes: WriteMetrics,
    /// OTLP.
    pub otlp: OtlpMetrics,
    /// The configuration file.
    pub config: Arc<Configuration>,
    query_slices: [Summary; 4],
    /// Queries refused, by the limit they met.
    query_limits: [AtomicU64; QUERY_LIMITS.len()],
}

/// The limits that queries meet.
const QUERY_LIMITS: [&str; 7] = ["length", "tokens", "nesting", "samples", "memory", "queue", "time"];

/// What queries hold and may hold.
#[derive(Debug, Clone, Copy)]
pub struct QueryUse {
    /// Queries at a time.
    pub concurrent_max: u32,
    /// Bytes held.
    pub bytes: u64,
    /// Bytes that may be held.
    pub bytes_max: u64,
}

impl Metrics {
    /// Counters at zero, and what the configuration file has to tell.
    #[must_use]
    pub fn new(config: Arc<Configuration>) -> Self {
        Self { config, ..Self::default() }
    }
    /// Counts how long a part of a query took.
    pub fn observe_query(&self, slice: QuerySlice, seconds: f64) {
        self.query_slices[slice as usize].observe(seconds);
    }
    /// Counts a query that met a limit.
    pub fn query_met_limit(&self, limit: &str) {
        if let Some(at) = QUERY_LIMITS.iter().position(|known| *known == limit) {
            self.query_limits[at].fetch_add(1, Ordering::Relaxed);
        }
    }
    /// Everything, engine included (`None` while it is opening).
    #[must_use]
    pub fn gather(
        &self,
        engine: Option<&engine::Engine>,
        queries: QueryUse,
        started: Timestamp,
    ) -> Vec<Family> {
        let mut families = Families::default();
        for (name, version) in
            [("prometheus_build_info", status::VERSION), ("marigram_build_info", env!("CARGO_PKG_VERSION"))]
        {
            let labels = vec![("version", version.to_owned())];
            families.add(name, BUILD_INFO_HELP, Kind::Gauge, vec![(labels, 1.0)]);
        }
        families.gauge(
            "prometheus_ready",
            "Whether the server is ready.",
            f64::from(u8::from(engine.is_some())),
        );
        process::collect(&mut families, started as f64 / 1000.0);
        self.http.collect(&mut families);
        self.collect_queries(&mut families, queries);
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        families.counter("marigram_panics_total", "Requests that ended in a panic.", count(&self.panics));
        self.writes.collect(&mut families);
        self.otlp.collect(&mut families);
        self.config.collect(&mut families);
        let refusals = ingest::refusals().map(|(limit, n)| (vec![("limit", limit.to_owned())], n as f64));
        families.add(
            "marigram_limit_refusals_total",
            "Requests, series and histograms that a limit of requests refused.",
            Kind::Counter,
            refusals.to_vec(),
        );
        if let Some(engine) = engine {
            storage::collect(&mut families, &engine.stats());
        }
        families.0
    }
    fn collect_queries(&self, families: &mut Families, queries: QueryUse) {
        let mut samples: Vec<Sample> = Vec::new();
        for (summary, slice) in
            self.query_slices.iter().zip(["queue_time", "prepare_time", "inner_eval", "result_sort"])
        {
            summary.samples(&[("slice", slice.to_owned())], &mut samples);
        }
        families.push(
            "prometheus_engine_query_duration_seconds",
            "Query timings, quantiles over the most recent queries.",
            Kind::Summary,
            samples,
        );
        families.gauge(
            "prometheus_engine_queries",
            "The current number of queries being executed or waiting.",
            self.queries.load(Ordering::Relaxed) as f64,
        );
        families.gauge(
            "prometheus_engine_queries_concurrent_max",
            "The max number of concurrent queries.",
            f64::from(queries.concurrent_max),
        );
        let by_limit = QUERY_LIMITS
            .iter()
            .zip(&self.query_limits)
            .map(|(limit, n)| (vec![("limit", (*limit).to_owned())], n.load(Ordering::Relaxed) as f64));
        families.add(
            "marigram_queries_refused_total",
            "Queries that met a limit, by the limit.",
            Kind::Counter,
            by_limit.collect(),
        );
        families.gauge(
            "marigram_query_memory_bytes",
            "Memory held by queries and by answers being sent.",
            queries.bytes as f64,
        );
        families.gauge(
            "marigram_query_memory_limit_bytes",
            "Most memory that queries may hold together.",
            queries.bytes_max as f64,
        );
    }
}

/// What remote write brought, by version of the protocol.
#[derive(Debug, Default)]
pub struct WriteMetrics {
    /// Requests refused because too much was under way.
    pub refused: AtomicU64,
    versions: [VersionMetrics; 2],
}

#[derive(Debug, Default)]
struct VersionMetrics {
    samples: AtomicU64,
    histograms: AtomicU64,
    rejected: AtomicU64,
}

impl WriteMetrics {
    /// Counts a request that is durable.
    pub fn count(&self, receipt: &Receipt) {
        let of = &self.versions[usize::from(receipt.version == Version::V2)];
        of.samples.fetch_add(receipt.samples_written, Ordering::Relaxed);
        of.histograms.fetch_add(receipt.histograms_written, Ordering::Relaxed);
        of.rejected.fetch_add(receipt.rejected_count, Ordering::Relaxed);
    }
    fn collect(&self, families: &mut Families) {
        type Counter = fn(&VersionMetrics) -> &AtomicU64;
        let rows: [(&'static str, &'static str, Counter); 3] = [
            ("marigram_remote_write_samples_total", "Float samples stored.", |v| &v.samples),
            ("marigram_remote_write_histograms_total", "Native histograms stored.", |v| &v.histograms),
            ("marigram_remote_write_rejected_total", "Samples and histograms not stored.", |v| &v.rejected),
        ];
        for (name, help, counter) in rows {
            let of = |(version, metrics): (&str, &VersionMetrics)| {
                let value = counter(metrics).load(Ordering::Relaxed);
                (vec![("protocol_version", version.to_owned())], value as f64)
            };
            let samples = ["1.0", "2.0"].into_iter().zip(&self.versions).map(of).collect();
            families.add(name, help, Kind::Counter, samples);
        }
        families.counter(
            "marigram_remote_write_refused_total",
            "Write requests answered 503 because too much was under way.",
            self.refused.load(Ordering::Relaxed),
        );
    }
}

/// What happened to OTLP exports.
#[derive(Debug, Default)]
pub struct OtlpMetrics {
    points: AtomicU64,
    rejected: AtomicU64,
    noted: [AtomicU64; Note::ALL.len()],
    receiver: OnceLock<Weak<ingest::otlp::Receiver>>,
}

impl OtlpMetrics {
    /// Shows the state of this receiver from now on. A second one is ignored.
    pub fn watch(&self, receiver: &Arc<ingest::otlp::Receiver>) {
        let _ = self.receiver.set(Arc::downgrade(receiver));
    }
    /// Counts a request that is durable.
    pub fn count(&self, receipt: &ingest::otlp::Receipt) {
        self.points.fetch_add(receipt.points.saturating_sub(receipt.rejected), Ordering::Relaxed);
        self.rejected.fetch_add(receipt.rejected, Ordering::Relaxed);
        for (counter, note) in self.noted.iter().zip(Note::ALL) {
            if receipt.noted.count(note) > 0 {
                counter.fetch_add(receipt.noted.count(note), Ordering::Relaxed);
            }
        }
    }
    fn collect(&self, families: &mut Families) {
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        families.counter("marigram_otlp_data_points_total", "OTLP data points stored.", count(&self.points));
        let rejected = count(&self.rejected);
        families.counter("marigram_otlp_rejected_total", "OTLP data points not stored.", rejected);
        let named = |(counter, note): (&AtomicU64, Note)| {
            (vec![("category", note.name().to_owned())], count(counter) as f64)
        };
        families.add(
            "marigram_otlp_warnings_total",
            "What was noticed while OTLP data points were translated, by what it is.",
            Kind::Counter,
            self.noted.iter().zip(Note::ALL).map(named).collect(),
        );
        if let Some(receiver) = self.receiver.get().and_then(Weak::upgrade) {
            families.gauge(
                "marigram_otlp_delta_streams",
                "Delta streams whose totals are held in memory (the others are read from storage).",
                receiver.delta_streams() as f64,
            );
        }
    }
}

const BUILD_INFO_HELP: &str = "A metric with a constant '1' value labelled by the version of the program.";
