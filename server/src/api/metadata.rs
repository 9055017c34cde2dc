//! `metadata`: type, help and unit of metrics, as their senders told them.

use super::success;
use crate::error::ApiError;
use crate::params::Params;
use crate::state::App;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;

/// `GET /api/v1/metadata`
pub async fn metadata(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let engine = app.engine()?;
    let limit = number(&params, "limit")?.unwrap_or(usize::MAX);
    let per_metric = number(&params, "limit_per_metric")?.filter(|l| *l > 0).unwrap_or(usize::MAX);
    let metric = params.get("metric").to_owned();
    app.run(&app.lookups, app.flags.query_timeout, move |_| {
        let mut all = engine.metadata();
        if !metric.is_empty() {
            all.retain(|name, _| *name == metric);
        }
        Ok(success(|json| {
            json.object(|o| {
                for (name, entries) in all.iter().take(limit) {
                    o.key(name).array(|a| {
                        for entry in entries.iter().take(per_metric) {
                            a.object(|o| {
                                o.key("type").string(entry.metric_type.name());
                                o.key("help").string(&entry.help);
                                o.key("unit").string(&entry.unit);
                            });
                        }
                    });
                }
            });
        }))
    })
    .await
}

/// A limit, none when absent or negative.
fn number(params: &Params, name: &str) -> Result<Option<usize>, ApiError> {
    match params.get(name) {
        "" => Ok(None),
        text => match text.parse::<i64>() {
            Ok(limit) => Ok(usize::try_from(limit).ok()),
            Err(_) => Err(ApiError::bad_data(format!("{name} must be a number"))),
        },
    }
}
