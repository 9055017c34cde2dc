//! `read`: remote read, by which a Prometheus queries through Marigram and `vmctl` migrates out of it.
//!
//! Answers with a stream of chunks, one series at a time in memory, to clients that read them, and else with
//! one message of samples, which is held in memory and limited. How many reads are answered at a time is a
//! flag. Errors are plain text.

use crate::error::{ApiError, ErrorType};
use crate::net::read_body;
use crate::observe::log;
use crate::state::App;
use crate::wire::body::{Encode, encoded};
use crate::wire::protobuf::push_bytes;
use crate::wire::remote_read::{Query, SAMPLES, STREAMED_CHUNKS, decode, push_frames, push_series};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use engine::{Series, Snapshot};
use hyper::header;
use query::CancelToken;
use std::sync::Arc;
use storage_format::model::{Samples, TimeRange};
use tokio::sync::OwnedSemaphorePermit;

/// Longest request in bytes, compressed and not.
const REQUEST_BYTES_MAX: usize = 32 << 20;
/// Content type of the stream.
const STREAMED: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// `POST /api/v1/read`
pub async fn remote_read(State(app): State<Arc<App>>, request: Request) -> Response {
    match answer(&app, request).await {
        Ok(response) => response,
        Err(error) => error.into_text_response(),
    }
}

async fn answer(app: &App, request: Request) -> Result<Response, ApiError> {
    let engine = app.engine()?;
    let body = read_body(request.into_body(), REQUEST_BYTES_MAX, &app.limits).await?;
    let samples_max = app.flags.remote_read_sample_limit;
    let place = app.place(&app.reads, app.flags.query_timeout).await?;
    app.run_on_blocking_thread(move |cancel| {
        let request = decode(&unpack(&body)?).map_err(ApiError::bad_data)?;
        let streamed = is_streamed(&request.accepted)?;
        let selections: Vec<_> = request.queries.iter().map(|q| (q.matchers.as_slice(), q.range)).collect();
        let snapshot = engine.snapshot().at_once(&selections)?;
        if streamed {
            let headers = [(header::CONTENT_TYPE, STREAMED)];
            return Ok((headers, encoded(Frames::new(&snapshot, &request.queries, place)?)).into_response());
        }
        let mut response = Vec::new();
        for query in &request.queries {
            push_bytes(&mut response, 1, &result(&snapshot, query, samples_max, cancel)?);
        }
        let packed = snap::raw::Encoder::new().compress_vec(&response);
        let packed = packed.map_err(|_| ApiError::bad_data("the answer is larger than snappy can hold"))?;
        let headers =
            [(header::CONTENT_TYPE, "application/x-protobuf"), (header::CONTENT_ENCODING, "snappy")];
        Ok((headers, packed).into_response())
    })
    .await
}

/// Whether the first form of answer that both sides know is the stream.
fn is_streamed(accepted: &[u64]) -> Result<bool, ApiError> {
    if accepted.is_empty() {
        return Ok(false);
    }
    let known = accepted.iter().find(|form| matches!(**form, SAMPLES | STREAMED_CHUNKS));
    let why = "server does not support any of the requested response types; supported: SAMPLES, STREAMED_XOR_CHUNKS";
    known.map(|form| *form == STREAMED_CHUNKS).ok_or_else(|| ApiError::bad_data(why))
}

/// A stream of chunks: the selected series of each question, read when the client wants more.
struct Frames {
    /// The series still to send with the number of their question, the next one last.
    series: Vec<(usize, Series)>,
    ranges: Vec<TimeRange>,
    samples: Samples,
    failure: Option<String>,
    _place: OwnedSemaphorePermit,
}

impl Frames {
    fn new(snapshot: &Snapshot, queries: &[Query], place: OwnedSemaphorePermit) -> Result<Self, ApiError> {
        let mut series = Vec::new();
        for (number, query) in queries.iter().enumerate().rev() {
            let begun = series.len();
            let selected = snapshot.select(&query.matchers, query.range)?;
            series.extend(selected.into_iter().map(|series| (number, series)));
            series[begun..].sort_by(|a, b| b.1.labels().cmp(a.1.labels()));
        }
        let ranges = queries.iter().map(|query| query.range).collect();
        Ok(Self { series, ranges, samples: Samples::default(), failure: None, _place: place })
    }
}

impl Encode for Frames {
    fn encode(&mut self, out: &mut Vec<u8>, target: usize) -> bool {
        while out.len() < target {
            let Some((query, series)) = self.series.pop() else { return false };
            if let Err(error) = series.read(self.ranges[query], &mut self.samples) {
                log::error("a remote read is broken off", &[("err", &error)]);
                self.failure = Some(error.to_string());
                return false;
            }
            push_frames(out, query, series.labels(), &self.samples);
        }
        !self.series.is_empty()
    }
    fn failure(&self) -> Option<String> {
        self.failure.clone()
    }
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
