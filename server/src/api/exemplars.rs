//! `query_exemplars`: the exemplars of the series that a query selects.

use super::{Row, Rows, json_body};
use crate::error::ApiError;
use crate::params::Params;
use crate::state::App;
use crate::wire::time_text::{MAX_TIMESTAMP, MIN_TIMESTAMP};
use crate::wire::{json, number};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use engine::Exemplar;
use hyper::StatusCode;
use query::parse::parse;
use std::sync::Arc;
use storage_format::model::{Labels, TimeRange};

/// `GET|POST /api/v1/query_exemplars`. Grafana asks once with milliseconds where seconds are meant, and does
/// without exemplars if that is refused.
pub async fn query_exemplars(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let start = params.time_or("start", MIN_TIMESTAMP)?;
    let end = params.time_or("end", MAX_TIMESTAMP)?;
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let expr = parse(params.get("query"), &app.flags.parse_options());
    let expr = expr.map_err(|e| ApiError::bad_data(e.to_string()))?;
    let mut sets = Vec::new();
    expr.for_each_selector(&mut |selector| sets.push(selector.matchers.clone()));
    if sets.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let engine = app.engine()?;
    let body = app.run(&app.lookups, app.flags.query_timeout, move |_| {
        let found = engine.exemplars(&sets, TimeRange::closed(start, end))?;
        Ok(Rows::body(found.into_iter(), &[]))
    });
    Ok(json_body(body.await?))
}

impl Row for (Labels, Vec<Exemplar>) {
    /// Grafana reads the answer as a stream and needs `seriesLabels` first, and no other keys.
    fn push_row(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"seriesLabels\":");
        json::push_labels(out, &self.0);
        out.extend_from_slice(b",\"exemplars\":[");
        for (i, exemplar) in self.1.iter().enumerate() {
            out.extend_from_slice(if i == 0 { b"{\"labels\":" } else { b",{\"labels\":" });
            json::push_labels(out, &exemplar.labels);
            out.extend_from_slice(b",\"value\":\"");
            number::push_value(out, exemplar.value);
            out.extend_from_slice(b"\",\"timestamp\":");
            number::push_timestamp(out, exemplar.timestamp);
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
    }
}
