//! `/-/*`, `/metrics`, `/version` and `/`: for those who run the server.

use crate::error::{ApiError, ErrorType};
use crate::observe::exposition::{Format, render};
use crate::observe::log;
use crate::state::App;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::{HeaderMap, StatusCode, header};
use std::sync::Arc;

/// `GET /-/healthy`: whether the process answers at all.
pub async fn healthy() -> &'static str {
    "Marigram is Healthy.\n"
}

/// `GET /-/ready`: whether it answers queries and takes writes.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.engine().is_ok() {
        return "Marigram is Ready.\n".into_response();
    }
    let stopping = if app.stop.is_raised() { "true" } else { "false" };
    (StatusCode::SERVICE_UNAVAILABLE, [("x-prometheus-stopping", stopping)], "Service Unavailable\n")
        .into_response()
}

/// Lets requests through only with `--web.enable-lifecycle`.
pub async fn only_when_enabled(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.flags.enable_lifecycle {
        next.run(request).await
    } else {
        ApiError::new(ErrorType::Disabled, "Lifecycle API is not enabled.").into_text_response()
    }
}

/// `POST|PUT /-/reload`: reads the configuration file again.
pub async fn reload(State(app): State<Arc<App>>) -> Response {
    let config = Arc::clone(&app.config);
    let why = match tokio::task::spawn_blocking(move || config.reload()).await {
        Ok(Ok(())) => return StatusCode::OK.into_response(),
        Ok(Err(why)) => why,
        Err(_) => "the file could not be read".to_owned(),
    };
    ApiError::internal(format!("failed to reload config: {why}")).into_text_response()
}

/// `POST|PUT /-/quit`
pub async fn quit(State(app): State<Arc<App>>) -> &'static str {
    log::info("stop asked for over HTTP", &[]);
    app.stop.raise();
    "Requesting termination... Goodbye!\n"
}

/// `GET /metrics`
pub async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let format = Format::negotiate(&headers);
    let gather = move || {
        let engine = app.engine().ok();
        render(&app.gather(engine.as_deref()), format)
    };
    // Reads files of /proc and locks of the engine, so it does not belong on an async worker.
    match tokio::task::spawn_blocking(gather).await {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(_) => ApiError::internal("metrics could not be gathered").into_text_response(),
    }
}

/// `GET /`: where to go from here.
pub async fn index(State(app): State<Arc<App>>) -> Response {
    let prefix = app.flags.prefix();
    format!(
        "Marigram {version}, a Prometheus-compatible time-series database.\n\n\
         query        {prefix}/api/v1/query?query=up\n\
         labels       {prefix}/api/v1/labels\n\
         write to     {prefix}/api/v1/write (Prometheus remote write)\n\
         own metrics  {prefix}/metrics\n\
         health       {prefix}/-/healthy, {prefix}/-/ready\n",
        version = env!("CARGO_PKG_VERSION")
    )
    .into_response()
}
