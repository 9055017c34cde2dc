//! `format_query` and `parse_query`: PromQL as text and as a tree, without evaluating it.

use super::success;
use crate::error::ApiError;
use crate::params::Params;
use crate::state::App;
use crate::wire::json::Json;
use axum::extract::State;
use axum::response::Response;
use query::parse::{Expr, Node, parse, prettify, tree};
use std::sync::Arc;

/// `GET|POST /api/v1/format_query`
pub async fn format_query(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let expr = parsed(&app, &params)?;
    Ok(success(|json| {
        json.string(&prettify(&expr));
    }))
}

/// `GET|POST /api/v1/parse_query`
pub async fn parse_query(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let expr = parsed(&app, &params)?;
    Ok(success(|json| write(json, &tree(&expr))))
}

/// The parameter `query`, parsed; cheap enough for an async worker, as the parser is linear and bounded.
fn parsed(app: &App, params: &Params) -> Result<Expr, ApiError> {
    parse(params.get("query"), &app.flags.parse_options())
        .map_err(|e| ApiError::invalid_parameter("query", e))
}

/// The tree is no deeper than the parser allows, so this may recurse.
fn write(json: &mut Json, node: &Node) {
    match node {
        Node::Null => json.raw(b"null"),
        Node::Bool(value) => json.boolean(*value),
        Node::Int(value) => json.integer(*value),
        Node::Float(value) => json.float(*value),
        Node::Text(text) => json.string(text),
        Node::List(nodes) => json.array(|a| nodes.iter().for_each(|node| write(a, node))),
        Node::Map(pairs) => json.object(|o| {
            for (name, node) in pairs {
                write(o.key(name), node);
            }
        }),
    };
}
