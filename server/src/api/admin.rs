//! `admin/tsdb/*`: operations on the storage, off unless `--web.enable-admin-api`, POST and PUT only.

use crate::error::{ApiError, ErrorType};
use crate::params::Params;
use crate::state::App;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::{StatusCode, header};
use query::parse::{Options, parse_metric_selector};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a job may wait for its turn.
const WAIT: Duration = Duration::from_secs(300);

/// Lets requests through only when the flag is set.
pub async fn only_when_enabled(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.flags.enable_admin_api {
        next.run(request).await
    } else {
        ApiError::new(ErrorType::Disabled, "admin APIs disabled").into_response()
    }
}

/// `POST|PUT /api/v1/admin/tsdb/flush`: answers when everything that was in the head stands in blocks.
pub async fn flush(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let engine = app.engine()?;
    app.run(&app.lookups, WAIT, move |_| Ok(engine.flush()?)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST|PUT /api/v1/admin/tsdb/compact`: answers when every merge of blocks that was due is done.
pub async fn compact(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let engine = app.engine()?;
    app.run(&app.lookups, WAIT, move |_| Ok(engine.compact()?)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST|PUT /api/v1/admin/tsdb/snapshot`: a consistent copy under `snapshots/` of the data directory that
/// another Marigram can open; answers with its name.
pub async fn snapshot(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let engine = app.engine()?;
    let name = snapshot_name();
    let copied = name.clone();
    app.run(&app.lookups, WAIT, move |_| Ok(engine.copy(&copied)?)).await?;
    let body = format!(r#"{{"status":"success","data":{{"name":"{name}"}}}}"#);
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// A name nobody had before: milliseconds since the epoch, and a number of this process.
fn snapshot_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:013}-{:08x}", since.as_millis(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// `POST|PUT /api/v1/admin/tsdb/delete_series`: answers when the samples between `start` and `end` of the
/// series in `match[]` are gone for good. All selectors count as one delete.
pub async fn delete_series(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let range = params.range()?;
    let parse = |text| parse_metric_selector(text, &Options::default());
    let sets: Result<Vec<_>, _> = params.all("match[]").map(parse).collect();
    let sets = sets.map_err(|e| ApiError::invalid_parameter("match[]", e))?;
    let engine = app.engine()?;
    app.run(&app.lookups, WAIT, move |_| Ok(engine.delete(&sets, range)?)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST|PUT /api/v1/admin/tsdb/clean_tombstones`: answers when no block holds deleted samples any more.
pub async fn clean_tombstones(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let engine = app.engine()?;
    app.run(&app.lookups, WAIT, move |_| Ok(engine.clean_tombstones()?)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
