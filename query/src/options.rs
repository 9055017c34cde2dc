//! Settings of the query engine, parameters of one query, and the handle that cancels it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Language features that Prometheus hides behind feature flags. All off by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, one per upstream flag")]
pub struct Features {
    /// `promql-experimental-functions`
    pub experimental_functions: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`
    pub fill_modifiers: bool,
    /// `promql-delayed-name-removal`
    pub delayed_name_removal: bool,
    /// `type-and-unit-labels`
    pub type_and_unit_labels: bool,
    /// `use-start-timestamps`
    pub use_start_timestamps: bool,
}

impl Features {
    /// Everything on, as the acceptance scripts expect, but type-and-unit labels.
    #[must_use]
    pub fn all_promql() -> Self {
        Self {
            experimental_functions: true,
            extended_range_selectors: true,
            fill_modifiers: true,
            delayed_name_removal: true,
            type_and_unit_labels: false,
            use_start_timestamps: true,
        }
    }
}

/// Settings of a [`crate::QueryEngine`].
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// How far an instant selector looks back, in milliseconds.
    pub lookback_delta_ms: i64,
    /// Most samples one query may hold.
    pub max_samples: u64,
    /// Longest time one query may take, waiting for a slot included.
    pub timeout: Duration,
    /// Queries evaluated at the same time; more of them queue.
    pub max_concurrency: usize,
    /// Most bytes one query may hold; 0 means no limit.
    pub query_memory_bytes: u64,
    /// Most bytes all running queries may hold together; 0 means no limit.
    pub total_memory_bytes: u64,
    /// Step of subqueries that name none, in milliseconds.
    pub no_step_subquery_interval_ms: i64,
    /// Language features.
    pub features: Features,
    /// Limits of the parser. What the language offers is as [`EngineOptions::features`] says.
    pub parse: crate::parse::Options,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback_delta_ms: 300_000,
            max_samples: 50_000_000,
            timeout: Duration::from_secs(120),
            max_concurrency: 20,
            query_memory_bytes: 256 << 20,
            total_memory_bytes: 1 << 30,
            no_step_subquery_interval_ms: 60_000,
            features: Features::default(),
            parse: crate::parse::Options::default(),
        }
    }
}

/// Cancels the query it was handed to; clones share one flag.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Asks the query to stop; it does so at its next batch.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    /// Whether somebody cancelled.
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Parameters of one query.
#[derive(Debug, Clone, Default)]
pub struct QueryParams {
    /// Shorter deadline than the engine's; longer ones are cut to it.
    pub timeout: Option<Duration>,
    /// Another lookback, in milliseconds.
    pub lookback_delta_ms: Option<i64>,
    /// Most series (or vector elements) to answer with; 0 means all. A cut result carries a warning.
    pub limit: usize,
    /// Cancels the query.
    pub cancel: CancelToken,
    /// Whether to count samples per step.
    pub per_step_stats: bool,
    /// Whether to say what each operator did.
    pub operator_stats: bool,
    /// Whether to give the plan as text.
    pub explain: bool,
}
