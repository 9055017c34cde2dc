//! The whole API on one screen: which path and method is answered by whom, and which role it takes.
//!
//! Invariant: every route stands behind [`access::check`] with its role; [`Routes`] adds none without.

use crate::access::{self, Role};
use crate::api::{
    admin, around, cardinality, empty, exemplars, federate, labels, language, management, metadata, openapi,
    otlp, query, read, status, write,
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
        .merge(Routes::default().route("/federate", Role::Query, get(federate::federate)).0)
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
        .merge(Routes::default().route("/api/v1/otlp/v1/metrics", Role::Write, post(otlp::export)).0)
        .route_layer(from_fn_with_state(with(), around::only_when_ready))
        .fallback(not_found)
        .layer(from_fn_with_state(with(), around::around))
        .with_state(app)
}

/// Where senders expect OTLP: the specification's path, and those of servers they may come from.
fn otlp_routes() -> Router<Arc<App>> {
    Routes::default()
        .route("/v1/metrics", Role::Write, post(otlp::export))
        .route("/otlp/v1/metrics", Role::Write, post(otlp::export))
        .route("/opentelemetry/v1/metrics", Role::Write, post(otlp::export))
        .0
}

/// `/api/v1`, once the storage engine is open.
fn api(app: &Arc<App>) -> Router<Arc<App>> {
    let admin_routes = Routes::default()
        .route("/admin/tsdb/flush", Role::Admin, post_or_put(admin::flush))
        .route("/admin/tsdb/snapshot", Role::Admin, post_or_put(admin::snapshot))
        .route("/admin/tsdb/delete_series", Role::Admin, post_or_put(admin::delete_series))
        .route("/admin/tsdb/clean_tombstones", Role::Admin, post_or_put(admin::clean_tombstones))
        .route("/admin/tsdb/compact", Role::Admin, post_or_put(admin::compact))
        .0
        .route_layer(from_fn_with_state(Arc::clone(app), admin::only_when_enabled));
    Routes::default()
        .route("/query", Role::Query, get_or_post(query::instant))
        .route("/query_range", Role::Query, get_or_post(query::range))
        .route("/query_exemplars", Role::Query, get_or_post(exemplars::query_exemplars))
        .route("/format_query", Role::Query, get_or_post(language::format_query))
        .route("/parse_query", Role::Query, get_or_post(language::parse_query))
        .route("/labels", Role::Query, get_or_post(labels::names))
        .route("/label/{name}/values", Role::Query, get(labels::values))
        .route("/series", Role::Query, get_or_post(labels::series))
        .route("/metadata", Role::Query, get(metadata::metadata))
        .route("/write", Role::Write, post(write::remote_write))
        .route("/read", Role::Query, post(read::remote_read))
        .route("/otlp/v1/metrics", Role::Write, post(otlp::export))
        .route("/status/buildinfo", Role::Query, get(status::buildinfo))
        .route("/status/runtimeinfo", Role::Query, get(status::runtimeinfo))
        .route("/status/flags", Role::Query, get(status::flags))
        .route("/status/config", Role::Query, get(status::config))
        .route("/status/tsdb", Role::Query, get(cardinality::tsdb))
        .route("/status/tsdb/blocks", Role::Query, get(cardinality::blocks))
        .route("/features", Role::Query, get(status::features))
        .route("/openapi.yaml", Role::Query, get(openapi::openapi))
        .route("/targets", Role::Query, get(empty::targets))
        .route("/targets/metadata", Role::Query, get(empty::list))
        .route("/targets/relabel_steps", Role::Query, get(empty::relabel_steps))
        .route("/scrape_pools", Role::Query, get(empty::scrape_pools))
        .route("/rules", Role::Query, get(empty::rules))
        .route("/alerts", Role::Query, get(empty::alerts))
        .route("/alertmanagers", Role::Query, get(empty::alertmanagers))
        .0
        .merge(admin_routes)
}

/// What is answered from the first moment on.
fn always() -> Router<Arc<App>> {
    Routes::default()
        .route("/", Role::Health, get(management::index))
        .route("/-/healthy", Role::Health, get(management::healthy))
        .route("/-/ready", Role::Health, get(management::ready))
        .route("/metrics", Role::Health, get(management::metrics))
        .route("/version", Role::Health, get(status::version))
        .route("/api/v1/status/walreplay", Role::Query, get(status::walreplay))
        .route("/api/v1/notifications", Role::Query, get(empty::list))
        .route("/api/v1/notifications/live", Role::Query, get(empty::notifications_live))
        .0
}

fn lifecycle() -> Router<Arc<App>> {
    Routes::default()
        .route("/-/reload", Role::Admin, post_or_put(management::reload))
        .route("/-/quit", Role::Admin, post_or_put(management::quit))
        .0
}

/// Routes, each with the role that it takes.
#[derive(Default)]
struct Routes(Router<Arc<App>>);

impl Routes {
    fn route(self, path: &str, role: Role, handlers: MethodRouter<Arc<App>>) -> Self {
        Self(self.0.route(path, handlers.route_layer(from_fn_with_state(role, access::check))))
    }
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
