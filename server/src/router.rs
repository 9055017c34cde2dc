//! The whole API on one screen: which path and method is answered by whom.

use crate::api::{
    admin, around, cardinality, empty, exemplars, federate, labels, language, management, metadata, otlp,
    query, read, status, write,
};
use crate::error::{ApiError, ErrorType};
use crate::state::App;
use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post, put};
use hyper::StatusCode;
use std::sync::Arc;

/// The router of the server, under its route prefix.
pub fn router(app: Arc<App>) -> Router {
    let with = || Arc::clone(&app);
    let routes = Router::new()
        .nest("/api/v1", api(&app))
        .route("/federate", get(federate::federate))
        .merge(otlp_routes())
        .route_layer(from_fn_with_state(with(), around::only_when_ready))
        .merge(lifecycle().route_layer(from_fn_with_state(with(), management::only_when_enabled)))
        .merge(always());
    let routes = match app.flags.prefix().as_str() {
        "" => routes,
        prefix => Router::new().nest(prefix, routes),
    };
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(with(), around::around))
        .with_state(app)
}

/// The router of the address for OTLP over HTTP.
pub fn otlp_router(app: Arc<App>) -> Router {
    let with = || Arc::clone(&app);
    otlp_routes()
        .route("/api/v1/otlp/v1/metrics", post(otlp::export))
        .route_layer(from_fn_with_state(with(), around::only_when_ready))
        .fallback(not_found)
        .layer(from_fn_with_state(with(), around::around))
        .with_state(app)
}

/// Where senders expect OTLP: the specification's path, and those of servers they may come from.
fn otlp_routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/metrics", post(otlp::export))
        .route("/otlp/v1/metrics", post(otlp::export))
        .route("/opentelemetry/v1/metrics", post(otlp::export))
}

/// `/api/v1`, once the storage engine is open.
fn api(app: &Arc<App>) -> Router<Arc<App>> {
    let admin_routes = Router::new()
        .route("/admin/tsdb/flush", post_or_put(admin::flush))
        .route("/admin/tsdb/snapshot", post_or_put(admin::snapshot))
        .route("/admin/tsdb/delete_series", post_or_put(admin::not_yet))
        .route("/admin/tsdb/clean_tombstones", post_or_put(admin::not_yet))
        .route("/admin/tsdb/compact", post_or_put(admin::compact))
        .route_layer(from_fn_with_state(Arc::clone(app), admin::only_when_enabled));
    Router::new()
        .route("/query", get_or_post(query::instant))
        .route("/query_range", get_or_post(query::range))
        .route("/query_exemplars", get_or_post(exemplars::query_exemplars))
        .route("/format_query", get_or_post(language::format_query))
        .route("/parse_query", get_or_post(language::parse_query))
        .route("/labels", get_or_post(labels::names))
        .route("/label/{name}/values", get(labels::values))
        .route("/series", get_or_post(labels::series))
        .route("/metadata", get(metadata::metadata))
        .route("/write", post(write::remote_write))
        .route("/read", post(read::remote_read))
        .route("/otlp/v1/metrics", post(otlp::export))
        .route("/status/buildinfo", get(status::buildinfo))
        .route("/status/runtimeinfo", get(status::runtimeinfo))
        .route("/status/flags", get(status::flags))
        .route("/status/config", get(status::config))
        .route("/status/tsdb", get(cardinality::tsdb))
        .route("/status/tsdb/blocks", get(cardinality::blocks))
        .route("/features", get(status::features))
        .route("/targets", get(empty::targets))
        .route("/targets/metadata", get(empty::list))
        .route("/targets/relabel_steps", get(empty::relabel_steps))
        .route("/scrape_pools", get(empty::scrape_pools))
        .route("/rules", get(empty::rules))
        .route("/alerts", get(empty::alerts))
        .route("/alertmanagers", get(empty::alertmanagers))
        .merge(admin_routes)
}

/// What is answered from the first moment on.
fn always() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(management::index))
        .route("/-/healthy", get(management::healthy))
        .route("/-/ready", get(management::ready))
        .route("/metrics", get(management::metrics))
        .route("/version", get(status::version))
        .route("/api/v1/status/walreplay", get(status::walreplay))
        .route("/api/v1/notifications", get(empty::list))
        .route("/api/v1/notifications/live", get(empty::notifications_live))
}

fn lifecycle() -> Router<Arc<App>> {
    Router::new()
        .route("/-/reload", post_or_put(management::reload))
        .route("/-/quit", post_or_put(management::quit))
}

fn get_or_post<T: 'static>(handler: impl Handler<T, Arc<App>>) -> MethodRouter<Arc<App>> {
    get(handler.clone()).post(handler)
}

fn post_or_put<T: 'static>(handler: impl Handler<T, Arc<App>>) -> MethodRouter<Arc<App>> {
    put(handler.clone()).post(handler)
}

async fn method_not_allowed() -> (StatusCode, &'static str) {
    (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")
}

async fn not_found() -> axum::response::Response {
    ApiError::new(ErrorType::NotFound, "404 page not found").into_text_response()
}
