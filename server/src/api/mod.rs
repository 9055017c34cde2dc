//! The endpoints, one file per family, and the envelope they answer in.

pub mod admin;
pub mod around;
pub mod cardinality;
pub mod empty;
pub mod exemplars;
pub mod federate;
pub mod labels;
pub mod language;
pub mod management;
pub mod metadata;
pub mod openapi;
pub mod otlp;
pub mod query;
pub mod read;
pub mod status;
pub mod write;

use crate::wire::body::{Encode, encoded};
use crate::wire::json::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::header;

/// The warning of a list that was cut at `limit`.
pub const TRUNCATED: &str = "results truncated due to limit";

/// A success whose `data` is written by `fill`.
pub fn success(fill: impl FnOnce(&mut Json)) -> Response {
    let mut json = Json::default();
    json.object(|o| {
        o.key("status").string("success").key("data");
        fill(o);
    });
    json_body(Body::from(json.into_bytes()))
}

/// A 200 with a JSON body.
pub fn json_body(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A success whose `data` is an array of rows, each written when the client asks for more.
pub struct Rows<I> {
    rows: I,
    tail: Vec<u8>,
    begun: bool,
    ended: bool,
}

impl<I> Rows<I>
where
    I: Iterator + Send + Unpin + 'static,
    I::Item: Row,
{
    /// A body of `rows`, with the member `warnings` when there are any.
    pub fn body(rows: I, warnings: &[String]) -> Body {
        let mut tail = b"]".to_vec();
        crate::wire::result::push_notes(&mut tail, warnings, &[]);
        tail.push(b'}');
        encoded(Self { rows, tail, begun: false, ended: false })
    }
}

/// One element of an array in an answer.
pub trait Row {
    /// Appends itself as JSON.
    fn push_row(&self, out: &mut Vec<u8>);
}

impl Row for String {
    fn push_row(&self, out: &mut Vec<u8>) {
        crate::wire::json::push_string(out, self);
    }
}

impl Row for storage_format::model::Labels {
    fn push_row(&self, out: &mut Vec<u8>) {
        crate::wire::json::push_labels(out, self);
    }
}

impl<I> Encode for Rows<I>
where
    I: Iterator + Send + Unpin + 'static,
    I::Item: Row,
{
    fn encode(&mut self, out: &mut Vec<u8>, target: usize) -> bool {
        while !self.ended && out.len() < target {
            let next = self.rows.next();
            if !std::mem::replace(&mut self.begun, true) {
                out.extend_from_slice(br#"{"status":"success","data":["#);
            } else if next.is_some() {
                out.push(b',');
            }
            match next {
                Some(row) => row.push_row(out),
                None => {
                    out.append(&mut self.tail);
                    self.ended = true;
                }
            }
        }
        !self.ended
    }
}
