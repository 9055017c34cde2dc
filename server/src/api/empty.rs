//! Endpoints of Prometheus about things Marigram has not: scraping, rules, alerting, notifications.
//!
//! They answer "none" in the documented shape, because Grafana and Prometheus' own interface ask for them
//! and show an error page otherwise.

use super::success;
use crate::error::ApiError;
use crate::params::Params;
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;

/// `GET /api/v1/targets`
pub async fn targets() -> Response {
    success(|json| {
        json.object(|o| {
            o.key("activeTargets").array(|_| ());
            o.key("droppedTargets").array(|_| ());
            o.key("droppedTargetCounts").object(|_| ());
        });
    })
}

/// `GET /api/v1/targets/relabel_steps`
pub async fn relabel_steps() -> Response {
    one_empty_list("steps")
}

/// `GET /api/v1/scrape_pools`
pub async fn scrape_pools() -> Response {
    one_empty_list("scrapePools")
}

/// `GET /api/v1/rules`
pub async fn rules(params: Params) -> Result<Response, ApiError> {
    match params.get("type") {
        "" | "alert" | "record" => Ok(one_empty_list("groups")),
        other => Err(ApiError::invalid_parameter("type", format_args!("not supported value {other:?}"))),
    }
}

/// `GET /api/v1/alerts`
pub async fn alerts() -> Response {
    one_empty_list("alerts")
}

/// `GET /api/v1/alertmanagers`
pub async fn alertmanagers() -> Response {
    success(|json| {
        json.object(|o| {
            o.key("activeAlertmanagers").array(|_| ());
            o.key("droppedAlertmanagers").array(|_| ());
        });
    })
}

/// `GET /api/v1/targets/metadata` and `GET /api/v1/notifications`
pub async fn list() -> Response {
    success(|json| {
        json.array(|_| ());
    })
}

/// `GET /api/v1/notifications/live`: 204 says that no stream is to be had.
pub async fn notifications_live() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

fn one_empty_list(name: &str) -> Response {
    success(|json| {
        json.object(|o| {
            o.key(name).array(|_| ());
        });
    })
}
