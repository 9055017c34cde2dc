//! The door of the query crate: runs PromQL text over a snapshot.

use crate::annotations::Annotations;
use crate::budget::{Budget, Charged, Limits, TotalMemory};
use crate::execute::column::Grid;
use crate::execute::profile::Profile;
use crate::execute::repeated::Repeated;
use crate::execute::source::Shared;
use crate::execute::{Evaluator, evaluate, fixed};
use crate::gate::Gate;
use crate::parse::{self, ValueType};
use crate::plan::{QueryTimes, build};
use crate::{EngineOptions, QueryError, QueryParams, QueryResult, QueryStats, Value};
use engine::Snapshot;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use storage_format::model::Timestamp;

/// Evaluates queries. Share it as `Arc<QueryEngine>`; all calls are synchronous and may come from any
/// thread, so callers on an async runtime use blocking threads.
#[derive(Debug)]
pub struct QueryEngine {
    options: EngineOptions,
    gate: Gate,
    memory: Arc<TotalMemory>,
}

/// What a call asks for.
struct Request<'a> {
    text: &'a str,
    times: QueryTimes,
    grid: Grid,
    params: &'a QueryParams,
}

impl QueryEngine {
    /// An engine with these settings.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        let gate = Gate::new(options.max_concurrency);
        Self { options, gate, memory: Arc::default() }
    }
    /// Its settings.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }
    /// Evaluates `query` at one instant, `at_ms` milliseconds since the epoch.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn instant(
        &self,
        snapshot: &Snapshot,
        query: &str,
        at_ms: Timestamp,
        params: &QueryParams,
    ) -> Result<QueryResult, QueryError> {
        let times = QueryTimes { start: at_ms, end: at_ms, step: 0 };
        let grid = Grid::new(at_ms, at_ms, 1);
        self.run(snapshot, Request { text: query, times, grid, params })
    }
    /// Evaluates `query` at `start_ms`, `start_ms + step_ms`, … up to and including `end_ms`.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn range(
        &self,
        snapshot: &Snapshot,
        query: &str,
        start_ms: Timestamp,
        end_ms: Timestamp,
        step_ms: i64,
        params: &QueryParams,
    ) -> Result<QueryResult, QueryError> {
        if step_ms <= 0 {
            return Err(QueryError::Execution(
                "zero or negative query resolution step widths are not accepted. Try a positive integer"
                    .to_owned(),
            ));
        }
        let times = QueryTimes { start: start_ms, end: end_ms, step: step_ms };
        let grid = Grid::new(start_ms, end_ms, step_ms);
        self.run(snapshot, Request { text: query, times, grid, params })
    }
    /// Bytes that queries hold at the moment, answers that are still being sent included.
    #[must_use]
    pub fn memory_held(&self) -> u64 {
        self.memory.held()
    }
    fn parse_options(&self) -> parse::Options {
        let features = self.options.features;
        parse::Options {
            experimental_functions: features.experimental_functions,
            extended_range_selectors: features.extended_range_selectors,
            binop_fill_modifiers: features.fill_modifiers,
            ..self.options.parse
        }
    }
    fn run(&self, snapshot: &Snapshot, request: Request<'_>) -> Result<QueryResult, QueryError> {
        let began = Instant::now();
        let Request { text, times, grid, params } = request;
        let timeout = params.timeout.map_or(self.options.timeout, |t| t.min(self.options.timeout));
        let deadline = began.checked_add(timeout).unwrap_or(began + Duration::from_secs(86_400));
        let _slot = self.gate.enter(deadline, &params.cancel)?;
        let queued = began.elapsed();

        let expr = parse::parse(text, &self.parse_options())
            .map_err(|e| QueryError::Parse { limit: e.limit(), message: e.to_string() })?;
        let instant = times.step == 0;
        let kind = expr.value_type();
        if !instant && !matches!(kind, ValueType::Vector | ValueType::Scalar) {
            return Err(QueryError::Parse {
                limit: None,
                message: format!(
                    "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
                    kind.documented()
                ),
            });
        }
        let plan = build(&expr, times, self.options.no_step_subquery_interval_ms)?;
        let limits = Limits {
            samples: self.options.max_samples,
            query_bytes: self.options.query_memory_bytes,
            total_bytes: self.options.total_memory_bytes,
            deadline,
            cancel: params.cancel.clone(),
        };
        let profile = params.operator_stats.then(|| Profile::of(&plan));
        let budget = Budget::new(limits, Arc::clone(&self.memory), grid.len, profile);
        let shared = Shared { budget: Arc::clone(&budget), annotations: Mutex::default() };
        let lookback = params.lookback_delta_ms.filter(|l| *l > 0).unwrap_or(self.options.lookback_delta_ms);
        let snapshot = fixed(snapshot, &plan, grid, lookback)?;
        let evaluator = Evaluator {
            text,
            snapshot: &snapshot,
            shared: &shared,
            features: self.options.features,
            lookback,
            repeated: Repeated::of(&plan),
            max_steps: self.options.max_samples,
        };
        let prepared = began.elapsed();
        let (mut value, held) = evaluate(&evaluator, &plan, grid, instant)?;
        let evaluated = began.elapsed();
        let annotations: Annotations =
            shared.annotations.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (mut warnings, infos) = annotations.into_texts(text);
        warnings.extend(snapshot.warnings());
        if cut(&mut value, params.limit) {
            warnings.push("results truncated due to limit".to_owned());
        }
        let per_step = budget.samples_per_step();
        let (peak_samples, peak_bytes) = budget.peaks();
        let stats = QueryStats {
            queue: queued,
            preparation: prepared - queued,
            evaluation: evaluated - prepared,
            sort: began.elapsed() - evaluated,
            total: began.elapsed(),
            total_queryable_samples: per_step.iter().sum(),
            samples_read: budget.samples_read(),
            samples_from_blocks: budget.samples_from_blocks(),
            operators: budget.profile().map_or_else(Vec::new, Profile::stats),
            peak_samples,
            peak_bytes,
            samples_per_step: if params.per_step_stats {
                per_step.into_iter().enumerate().map(|(i, n)| (grid.at(i), n)).collect()
            } else {
                Vec::new()
            },
            plan: params.explain.then(|| plan.to_string()),
        };
        Ok(QueryResult { value, warnings, infos, stats, charged: Charged::new(held) })
    }
}

/// Cuts the answer to `limit` series (0: all); whether there were more.
fn cut(value: &mut Value, limit: usize) -> bool {
    let limit = if limit == 0 { usize::MAX } else { limit };
    match value {
        Value::Vector(samples) if samples.len() > limit => samples.truncate(limit),
        Value::Matrix(series) if series.len() > limit => series.truncate(limit),
        _ => return false,
    }
    true
}
