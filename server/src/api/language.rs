//! `format_query` and `parse_query`: PromQL as text and as a tree, without evaluating it.

use super::success;
use crate::error::ApiError;
use crate::params::Params;
use crate::state::App;
use crate::wire::json::Json;
use axum::extract::State;
use axum::response::Response;
use engine::Matcher;
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

/// The conditions of all selectors of an expression. It is no deeper than the parser allows, so this may
/// recurse.
pub fn selectors(expr: &Expr, into: &mut Vec<Vec<Matcher>>) {
    match expr {
        Expr::Vector(selector) => into.push(selector.matchers.clone()),
        Expr::Matrix(matrix) => into.push(matrix.selector.matchers.clone()),
        Expr::Subquery(subquery) => selectors(&subquery.expr, into),
        Expr::Unary(unary) => selectors(&unary.expr, into),
        Expr::Paren(paren) => selectors(&paren.expr, into),
        Expr::Binary(binary) => {
            selectors(&binary.lhs, into);
            selectors(&binary.rhs, into);
        }
        Expr::Aggregate(aggregate) => {
            aggregate.param.iter().for_each(|param| selectors(param, into));
            selectors(&aggregate.expr, into);
        }
        Expr::Call(call) => call.args.iter().for_each(|arg| selectors(arg, into)),
        Expr::Number(_) | Expr::String(_) => {}
    }
}
