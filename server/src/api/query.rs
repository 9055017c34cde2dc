//! `query` and `query_range`: PromQL over HTTP.
//!
//! A query waits for a place at the gate, runs on a blocking thread, and writes the first piece of its
//! answer there; the rest is written while it is sent. When the client goes away the query is cancelled.

use super::json_body;
use crate::error::ApiError;
use crate::observe::{QuerySlice, log};
use crate::params::Params;
use crate::state::App;
use crate::wire::body::encoded;
use crate::wire::result::{ResultEncoder, StatsLevel};
use axum::extract::State;
use axum::response::Response;
use engine::Snapshot;
use query::{QueryEngine, QueryError, QueryParams, QueryResult};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Most points of one series in a range query's answer.
const POINTS_MAX: i64 = 11_000;

/// `GET|POST /api/v1/query`
pub async fn instant(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let at = params.time_or("time", log::now())?;
    let text = params.get("query").to_owned();
    let run = move |engine: &QueryEngine, snapshot: &Snapshot, text: &str, options: &QueryParams| {
        engine.instant(snapshot, text, at, options)
    };
    evaluate(app, &params, text, run).await
}

/// `GET|POST /api/v1/query_range`
pub async fn range(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let (start, end) = (params.time("start")?, params.time("end")?);
    if end < start {
        return Err(ApiError::invalid_parameter("end", "end timestamp must not be before start time"));
    }
    let step = params.step_ms("step")?;
    if end.saturating_sub(start) / step > POINTS_MAX {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. \
             Try decreasing the query resolution (?step=XX)",
        ));
    }
    let text = params.get("query").to_owned();
    let run = move |engine: &QueryEngine, snapshot: &Snapshot, text: &str, options: &QueryParams| {
        engine.range(snapshot, text, start, end, step, options)
    };
    evaluate(app, &params, text, run).await
}

async fn evaluate(
    app: Arc<App>,
    params: &Params,
    text: String,
    run: impl FnOnce(&QueryEngine, &Snapshot, &str, &QueryParams) -> Result<QueryResult, QueryError>
    + Send
    + 'static,
) -> Result<Response, ApiError> {
    let view = params.view(&app.engine()?)?;
    let limit = params.limit()?;
    let timeout = params.timeout()?.map_or(app.flags.query_timeout, |t| t.min(app.flags.query_timeout));
    let lookback_delta_ms = params.lookback_delta_ms()?;
    let stats = match params.get("stats") {
        "" => StatsLevel::None,
        "all" if app.flags.has_feature("promql-per-step-stats") => StatsLevel::PerStep,
        "all" => StatsLevel::Operators,
        _ => StatsLevel::Totals,
    };
    let explain = params.get("explain") == "true";
    let counted = Running::begin(Arc::clone(&app));
    let asked = Instant::now();
    let shared = Arc::clone(&app);
    let body = app.run(&app.queries, timeout, move |cancel| {
        let _counted = counted;
        let queued = asked.elapsed();
        let options = QueryParams {
            timeout: Some(timeout.saturating_sub(queued)),
            lookback_delta_ms,
            limit,
            cancel: cancel.clone(),
            per_step_stats: stats == StatsLevel::PerStep,
            operator_stats: matches!(stats, StatsLevel::Operators | StatsLevel::PerStep),
            explain,
        };
        let _listed = shared.active.get().and_then(|active| active.list(&text));
        let mut result = run(&shared.query, &view(), &text, &options).inspect_err(|error| {
            if let Some(limit) = error.limit() {
                shared.metrics.query_met_limit(limit);
            }
        })?;
        result.stats.queue += queued;
        result.stats.total += queued;
        for (slice, took) in [
            (QuerySlice::Queue, queued),
            (QuerySlice::Prepare, result.stats.preparation),
            (QuerySlice::InnerEval, result.stats.evaluation),
            (QuerySlice::Sort, result.stats.sort),
        ] {
            shared.metrics.observe_query(slice, took.as_secs_f64());
        }
        Ok(encoded(ResultEncoder::new(result, stats)))
    });
    Ok(json_body(body.await?))
}

/// Counts a query as long as it waits or runs.
struct Running(Arc<App>);

impl Running {
    fn begin(app: Arc<App>) -> Self {
        app.metrics.queries.fetch_add(1, Ordering::Relaxed);
        Self(app)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.metrics.queries.fetch_sub(1, Ordering::Relaxed);
    }
}
