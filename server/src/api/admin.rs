//! `admin/tsdb/*`: operations on the storage, off unless `--web.enable-admin-api`, POST and PUT only.

use crate::error::{ApiError, ErrorType};
use crate::state::App;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// How long a flush may wait for its turn.
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

/// `POST|PUT /api/v1/admin/tsdb/compact`: answers when blocks that belong together are merged.
pub async fn compact(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let engine = app.engine()?;
    app.run(&app.lookups, WAIT, move |_| Ok(engine.compact()?)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The operations the storage engine does not have yet.
pub async fn not_yet() -> ApiError {
    ApiError::new(ErrorType::NotImplemented, "this version of Marigram cannot do that yet")
}
