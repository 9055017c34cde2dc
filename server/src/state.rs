//! What all handlers share: the engines, the flags, the counters, and the gates that bound the work.
//!
//! Invariants: the storage engine is set once, when it has opened; work that may take long runs on blocking
//! threads behind a gate, so that queries cannot take the writers' threads nor the other way round.

use crate::access::Access;
use crate::api::cardinality::Cardinality;
use crate::config::Configuration;
use crate::error::{ApiError, ErrorType};
use crate::flags::Flags;
use crate::net::{Limits, Stop};
use crate::observe::active::{ActiveQueries, Unfinished};
use crate::observe::family::{Families, Family};
use crate::observe::{Metrics, QueryUse, log};
use engine::Engine;
use ingest::remote_write::Receiver;
use query::{CancelToken, QueryEngine};
use regex::Regex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use storage_format::model::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The server's state; share it as `Arc`.
#[derive(Debug)]
pub struct App {
    /// The command line.
    pub flags: Flags,
    /// Who may do what.
    pub access: Access,
    /// The configuration file.
    pub config: Arc<Configuration>,
    /// Time limits of the network, for reading bodies.
    pub limits: Limits,
    /// PromQL.
    pub query: QueryEngine,
    /// Counters.
    pub metrics: Metrics,
    /// Ends the process.
    pub stop: Stop,
    /// When the process started, milliseconds since the epoch.
    pub started: Timestamp,
    /// Queries at the same time.
    pub queries: Arc<Semaphore>,
    /// Look-ups of labels and series at the same time.
    pub lookups: Arc<Semaphore>,
    /// Remote reads at the same time.
    pub reads: Arc<Semaphore>,
    /// Write requests being decoded at the same time.
    pub decodes: Arc<Semaphore>,
    /// KiB of the bodies of write requests in memory.
    pub body_kib: Share,
    /// KiB of memory for decoding them.
    pub decode_kib: Share,
    /// KiB of gRPC calls.
    pub call_kib: Share,
    /// Whether the metadata of the own metrics was stored.
    pub metadata_stored: AtomicBool,
    /// Pages of these origins may read answers.
    pub cors_origin: Option<Regex>,
    /// The last cardinality report and when it was made.
    pub cardinality: Mutex<Option<(Instant, Arc<Cardinality>)>>,
    /// The list of running queries; empty where it could not be opened.
    pub active: OnceLock<ActiveQueries>,
    storage: OnceLock<Storage>,
    closing: AtomicBool,
}

/// A part of the memory for writes.
#[derive(Debug)]
pub struct Share {
    /// All of it, KiB.
    pub kib: u32,
    /// A permit for each KiB that is free.
    pub free: Arc<Semaphore>,
}

impl Share {
    fn new(kib: u32) -> Self {
        Self { kib, free: Arc::new(Semaphore::new(kib as usize)) }
    }
}

/// The opened storage engine and what decodes writes for it.
#[derive(Debug, Clone)]
pub struct Storage {
    /// Stores and selects.
    pub engine: Arc<Engine>,
    /// Decodes remote write.
    pub receiver: Arc<Receiver>,
    /// Decodes OTLP.
    pub otlp: Arc<ingest::otlp::Receiver>,
}

impl App {
    /// The state before the storage engine is open.
    ///
    /// # Errors
    /// When `--web.cors.origin` is no regular expression, or a configuration file is wrong.
    pub fn new(flags: Flags) -> Result<Self, String> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let limits = Limits {
            body: flags.read_timeout,
            idle: flags.read_timeout.min(Limits::default().idle),
            connections: flags.max_connections as usize,
            ..Limits::default()
        };
        let cors_origin = match flags.cors_origin.as_str() {
            "" => None,
            pattern => Some(
                engine::select::matcher::anchored(pattern)
                    .map_err(|e| format!("--web.cors.origin is no regular expression: {e}"))?,
            ),
        };
        let access = Access::open(flags.web_config_file.as_deref())?;
        let config = Arc::new(Configuration::open(flags.config_file.as_deref())?);
        Ok(Self {
            access,
            query: QueryEngine::new(flags.query_options()),
            metrics: Metrics::new(Arc::clone(&config)),
            config,
            stop: Stop::default(),
            started: log::now(),
            queries: Arc::new(Semaphore::new(flags.max_concurrency as usize)),
            lookups: Arc::new(Semaphore::new(flags.max_concurrency as usize)),
            reads: Arc::new(Semaphore::new(flags.remote_read_concurrent_limit as usize)),
            decodes: Arc::new(Semaphore::new(cores.max(2))),
            body_kib: Share::new(flags.max_inflight_write_mib * 256),
            decode_kib: Share::new(flags.max_inflight_write_mib * 512),
            call_kib: Share::new(flags.max_inflight_write_mib * 256),
            metadata_stored: AtomicBool::new(false),
            cors_origin,
            cardinality: Mutex::default(),
            active: OnceLock::new(),
            storage: OnceLock::new(),
            closing: AtomicBool::new(false),
            limits,
            flags,
        })
    }
    /// Hands over the opened storage engine; from now on the server is ready. A second one is ignored.
    pub fn set_engine(&self, engine: Arc<Engine>) {
        let has_feature = |name: &str| self.flags.has_feature(name);
        let limits = |defaults| self.flags.limits.request_limits(defaults);
        let receiver = Receiver::new(Arc::clone(&engine), limits(ingest::Limits::REMOTE_WRITE))
            .with_type_and_unit_labels(has_feature("type-and-unit-labels"))
            .with_relabeling(self.config.relabeling());
        let receiver = Arc::new(receiver);
        let mut config = self.flags.otlp.config(crate::flags::millis(self.flags.lookback_delta), has_feature);
        self.config.otlp().apply(&mut config);
        let otlp = ingest::otlp::Receiver::new(Arc::clone(&engine), config, limits(ingest::Limits::OTLP))
            .with_relabeling(self.config.relabeling());
        let otlp = Arc::new(otlp);
        self.metrics.otlp.watch(&otlp);
        match ActiveQueries::open(&self.flags.path, self.flags.max_concurrency as usize) {
            Ok((active, unfinished)) => {
                for Unfinished { query, began } in unfinished {
                    log::warn(
                        "a query had not ended when the last process did",
                        &[("query", &query), ("began_ms", &began)],
                    );
                }
                let _ = self.active.set(active);
            }
            Err(error) => log::warn("running queries are not listed", &[("error", &error)]),
        }
        let _ = self.storage.set(Storage { engine, receiver, otlp });
    }
    /// The storage engine.
    ///
    /// # Errors
    /// While it is opening, and from the moment the server stops.
    pub fn engine(&self) -> Result<Arc<Engine>, ApiError> {
        self.storage().map(|storage| Arc::clone(&storage.engine))
    }
    /// The storage engine and the receivers of writes.
    ///
    /// # Errors
    /// While it is opening, and from the moment the server stops.
    pub fn storage(&self) -> Result<&Storage, ApiError> {
        let open = self.storage.get().filter(|_| !self.closing.load(Ordering::Acquire));
        open.ok_or_else(ApiError::not_ready)
    }
    /// Takes the storage engine away from requests, to close it.
    pub fn take_engine(&self) -> Option<Arc<Engine>> {
        self.closing.store(true, Ordering::Release);
        self.storage.get().map(|storage| Arc::clone(&storage.engine))
    }
    /// The metrics as they are now, those of storage only with an engine. Reads files and takes locks: not for
    /// async workers.
    #[must_use]
    pub fn gather(&self, engine: Option<&Engine>) -> Vec<Family> {
        let queries = QueryUse {
            concurrent_max: self.flags.max_concurrency,
            bytes: self.query.memory_held(),
            bytes_max: self.query.options().total_memory_bytes,
        };
        let families = self.metrics.gather(engine, queries, self.started);
        let mut families = Families(families);
        self.access.collect(&mut families);
        families.0
    }
    /// Runs `work` on a blocking thread behind `gate`. When the caller goes away the token is cancelled, and
    /// the place at the gate is given back when the work has ended.
    ///
    /// # Errors
    /// `work`'s own, a timeout when no place came free within `at_most`, and `internal` when it panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        gate: &Arc<Semaphore>,
        at_most: Duration,
        work: impl FnOnce(&CancelToken) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = self.place(gate, at_most).await?;
        self.run_on_blocking_thread(move |cancel| {
            let _place = place;
            work(cancel)
        })
        .await
    }
    /// A place at a gate, given back when it is dropped.
    ///
    /// # Errors
    /// A timeout when none came free within `at_most`.
    pub async fn place(
        &self,
        gate: &Arc<Semaphore>,
        at_most: Duration,
    ) -> Result<OwnedSemaphorePermit, ApiError> {
        match tokio::time::timeout(at_most, Arc::clone(gate).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(ApiError::not_ready()),
            Err(_) => {
                if Arc::ptr_eq(gate, &self.queries) {
                    self.metrics.query_met_limit("queue");
                }
                Err(ApiError::new(ErrorType::Timeout, "query timed out in query queue"))
            }
        }
    }
    /// Runs `work` on a blocking thread; when the caller goes away the token is cancelled.
    ///
    /// # Errors
    /// `work`'s own, and `internal` when it panicked.
    pub async fn run_on_blocking_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&CancelToken) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let cancel = CancelOnDrop(CancelToken::new());
        let token = cancel.0.clone();
        let task = tokio::task::spawn_blocking(move || work(&token));
        match task.await {
            Ok(result) => result,
            Err(_) => {
                self.metrics.panics.fetch_add(1, Ordering::Relaxed);
                Err(ApiError::internal("the request met a defect of the server; its log says more"))
            }
        }
    }
}

struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
