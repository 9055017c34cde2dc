//! `labels`, `label/{name}/values` and `series`: what there is to ask for.

use super::{Row, Rows, TRUNCATED, json_body};
use crate::error::ApiError;
use crate::params::Params;
use crate::state::App;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use engine::{Matcher, Snapshot};
use std::sync::Arc;
use storage_format::model::TimeRange;

/// `GET|POST /api/v1/labels`
pub async fn names(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let sets = params.matchers().map_err(ApiError::bad_data)?;
    look_up(app, &params, sets, |snapshot, sets, range, limit| snapshot.label_names(sets, range, limit)).await
}

/// `GET /api/v1/label/{name}/values`
pub async fn values(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    params: Params,
) -> Result<Response, ApiError> {
    let Path(name) = name.map_err(|_| ApiError::bad_data("invalid label name: not UTF-8"))?;
    let name = unescape(&name).unwrap_or(name);
    if name.is_empty() {
        return Err(ApiError::bad_data("invalid label name: \"\""));
    }
    let sets = params.matchers().map_err(ApiError::bad_data)?;
    let find = move |snapshot: &Snapshot, sets: &[Vec<Matcher>], range, limit| {
        snapshot.label_values(&name, sets, range, limit)
    };
    look_up(app, &params, sets, find).await
}

/// `GET|POST /api/v1/series`
pub async fn series(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let sets = params.matchers().map_err(|why| ApiError::invalid_parameter("match[]", why))?;
    look_up(app, &params, sets, |snapshot, sets, range, limit| snapshot.series(sets, range, limit)).await
}

async fn look_up<T: Row + Send + Unpin + 'static>(
    app: Arc<App>,
    params: &Params,
    sets: Vec<Vec<Matcher>>,
    find: impl FnOnce(&Snapshot, &[Vec<Matcher>], TimeRange, usize) -> Result<Vec<T>, engine::Error>
    + Send
    + 'static,
) -> Result<Response, ApiError> {
    let view = params.view(&app.engine()?)?;
    let (limit, range) = (params.limit()?, params.range()?);
    let body = app.run(&app.lookups, app.flags.query_timeout, move |_| {
        // One more than asked for tells whether there is more.
        let one_more = if limit == 0 { 0 } else { limit.saturating_add(1) };
        let snapshot = view();
        let mut found = match range.is_empty() {
            true => Vec::new(),
            false => find(&snapshot, &sets, range, one_more)?,
        };
        let mut warnings = snapshot.warnings();
        if limit != 0 && found.len() > limit {
            found.truncate(limit);
            warnings.push(TRUNCATED.to_owned());
        }
        Ok(Rows::body(found.into_iter(), &warnings))
    });
    Ok(json_body(body.await?))
}

/// Takes Prometheus' value-encoding escape off a name: `U__`, then `__` for `_` and `_hex_` for a code
/// point. `None` when the name is not escaped, or not well.
fn unescape(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix("U__")?;
    let mut out = String::with_capacity(rest.len());
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            out.push('_');
            rest = after;
            continue;
        }
        let (code, after) = rest.split_once('_')?;
        if code.is_empty() || code.len() > 6 || !code.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escaped_names_are_understood() {
        for (name, expected) in [
            ("U__http_2e_server_2e_x", Some("http.server.x")),
            ("U__a__b", Some("a_b")),
            ("U__", Some("")),
            ("U___1f600_", Some("\u{1f600}")),
            ("U__a_zz_", None),
            ("U__a_2e", None),
            ("U__a_d800_", None),
            ("job", None),
            ("__name__", None),
        ] {
            assert_eq!(unescape(name).as_deref(), expected, "{name}");
        }
    }
}
