//! `read`: remote read, by which a Prometheus queries through Marigram and `vmctl` migrates out of it.
//!
//! Answers with samples (not with streamed chunks), so a request's answer is held in memory; how many
//! samples one may hold and how many are answered at a time are flags. Errors are plain text.

use crate::error::{ApiError, ErrorType};
use crate::net::read_body;
use crate::state::App;
use crate::wire::protobuf::push_bytes;
use crate::wire::remote_read::{Query, SAMPLES, decode, push_series};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use engine::Snapshot;
use hyper::header;
use query::CancelToken;
use std::sync::Arc;
use storage_format::model::Samples;

/// Longest request in bytes, compressed and not.
const REQUEST_BYTES_MAX: usize = 32 << 20;

/// `POST /api/v1/read`
pub async fn remote_read(State(app): State<Arc<App>>, request: Request) -> Response {
    match answer(&app, request).await {
        Ok(body) => {
            let headers =
                [(header::CONTENT_TYPE, "application/x-protobuf"), (header::CONTENT_ENCODING, "snappy")];
            (headers, body).into_response()
        }
        Err(error) => error.into_text_response(),
    }
}

async fn answer(app: &App, request: Request) -> Result<Vec<u8>, ApiError> {
    let engine = app.engine()?;
    let body = read_body(request.into_body(), REQUEST_BYTES_MAX, &app.limits).await?;
    let samples_max = app.flags.remote_read_sample_limit;
    app.run(&app.reads, app.flags.query_timeout, move |cancel| {
        let request = decode(&unpack(&body)?).map_err(ApiError::bad_data)?;
        if !request.accepted.is_empty() && !request.accepted.contains(&SAMPLES) {
            let why = "server does not support any of the requested response types; supported: SAMPLES";
            return Err(ApiError::bad_data(why));
        }
        let selections: Vec<_> = request.queries.iter().map(|q| (q.matchers.as_slice(), q.range)).collect();
        let snapshot = engine.snapshot().at_once(&selections)?;
        let mut response = Vec::new();
        for query in &request.queries {
            push_bytes(&mut response, 1, &result(&snapshot, query, samples_max, cancel)?);
        }
        let packed = snap::raw::Encoder::new().compress_vec(&response);
        packed.map_err(|_| ApiError::bad_data("the answer is larger than snappy can hold"))
    })
    .await
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let length = snap::raw::decompress_len(body).map_err(|e| ApiError::bad_data(e.to_string()))?;
    if length > REQUEST_BYTES_MAX {
        return Err(ApiError::bad_data(format!("the request is larger than {REQUEST_BYTES_MAX} bytes")));
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(|e| ApiError::bad_data(e.to_string()))
}

/// One `QueryResult`, its series sorted by labels.
fn result(
    snapshot: &Snapshot,
    query: &Query,
    samples_max: u64,
    cancel: &CancelToken,
) -> Result<Vec<u8>, ApiError> {
    let mut series = snapshot.select(&query.matchers, query.range)?;
    series.sort_by(|a, b| a.labels().cmp(b.labels()));
    let (mut result, mut scratch, mut samples) = (Vec::new(), Vec::new(), Samples::default());
    let mut left = samples_max;
    for one in series {
        if cancel.is_canceled() {
            return Err(ApiError::new(ErrorType::Canceled, "the client went away"));
        }
        one.read(query.range, &mut samples)?;
        if samples.is_empty() {
            continue;
        }
        left = left
            .checked_sub(samples.len() as u64)
            .ok_or_else(|| ApiError::bad_data(format!("exceeded sample limit ({samples_max})")))?;
        push_series(&mut result, one.labels(), &samples, &mut scratch);
    }
    Ok(result)
}
