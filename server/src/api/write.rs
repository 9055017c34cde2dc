//! `write`: Prometheus remote write, 1.0 and 2.0.
//!
//! The body is taken only when there is room for it, decoded on a blocking thread, and acknowledged when the
//! engine's ticket says that it is durable. What is wrong with a request is told as plain text, which is what
//! senders log.

use crate::error::{ApiError, ErrorType};
use crate::net::read_body;
use crate::state::App;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use engine::Ticket;
use hyper::{HeaderMap, StatusCode, header};
use ingest::remote_write::{Receipt, RequestInfo, Version, negotiate};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Longest compressed body in bytes.
const BODY_BYTES_MAX: usize = 32 << 20;
/// Memory a request needs while it is decoded, as a multiple of its compressed length.
const EXPANSION: u64 = 5;

/// `POST /api/v1/write`
pub async fn remote_write(State(app): State<Arc<App>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let version = match negotiate(info(&head.headers)) {
        Ok((version, _)) => version,
        Err(error) => return refusal(error).into_text_response(),
    };
    let (receipt, response) = match receive(&app, head.headers, body).await {
        Ok(receipt) if receipt.rejected.is_empty() => (Some(receipt), StatusCode::NO_CONTENT.into_response()),
        Ok(receipt) => {
            let text = receipt.rejected.join("\n");
            (Some(receipt), ApiError::bad_data(text).into_text_response())
        }
        Err(error) => (None, error.into_text_response()),
    };
    match version {
        Version::V1 => response,
        Version::V2 => with_counts(response, receipt.as_ref()),
    }
}

async fn receive(app: &Arc<App>, headers: HeaderMap, body: Body) -> Result<Receipt, ApiError> {
    let receiver = Arc::clone(&app.storage()?.receiver);
    let room = room(app, body.size_hint().exact()).await?;
    let body = read_body(body, BODY_BYTES_MAX, &app.limits).await?;
    let decoded = app.run(&app.decodes, app.flags.write_queue_timeout, move |_| {
        let receipt = receiver.receive(info(&headers), &body).map_err(refusal);
        drop((body, room));
        receipt
    });
    let mut receipt = decoded.await.map_err(|error| match error.error_type {
        ErrorType::Timeout => overloaded(app),
        _ => error,
    })?;
    durable(std::mem::take(&mut receipt.ticket)).await?;
    app.metrics.writes.count(&receipt);
    Ok(receipt)
}

/// Waits until the engine has made a write durable.
///
/// # Errors
/// When it could not: nothing may be acknowledged.
pub async fn durable(ticket: Ticket) -> Result<(), ApiError> {
    let (sender, durable) = oneshot::channel();
    // The sender only fails when this request was given up; then nobody waits for the answer.
    ticket.notify(move |outcome| drop(sender.send(outcome)));
    match durable.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ApiError::overloaded(error.to_string())),
        Err(_) => Err(ApiError::overloaded("the write was given up before it was durable")),
    }
}

fn info(headers: &HeaderMap) -> RequestInfo<'_> {
    // A value that is not text is none that anybody reads, and is refused as such.
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    RequestInfo { content_type: text(header::CONTENT_TYPE), content_encoding: text(header::CONTENT_ENCODING) }
}

/// Waits for memory to hold a request of `length` compressed bytes in.
///
/// # Errors
/// When none came free in time.
pub async fn room(app: &App, length: Option<u64>) -> Result<OwnedSemaphorePermit, ApiError> {
    // A body of unknown length is taken for a large one.
    let length = length.unwrap_or(BODY_BYTES_MAX as u64 / EXPANSION);
    let all = u64::from(app.flags.max_inflight_write_mib) * 1024;
    let kib = (length.saturating_mul(EXPANSION) / 1024 + 1).min(all);
    let kib = u32::try_from(kib).unwrap_or(u32::MAX);
    let room = Arc::clone(&app.write_kib).acquire_many_owned(kib);
    match tokio::time::timeout(app.flags.write_queue_timeout, room).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(overloaded(app)),
    }
}

/// Too much is under way.
#[must_use]
pub fn overloaded(app: &App) -> ApiError {
    app.metrics.writes.refused.fetch_add(1, Ordering::Relaxed);
    ApiError::overloaded("too many writes under way, retry later")
}

fn refusal(error: ingest::Error) -> ApiError {
    let error_type = match error {
        ingest::Error::UnsupportedMediaType(_) | ingest::Error::UnsupportedEncoding(_) => {
            ErrorType::Unsupported
        }
        ingest::Error::BadPayload { .. } | ingest::Error::BadJson(_) | ingest::Error::TooLarge { .. } => {
            ErrorType::BadData
        }
        ingest::Error::Engine(error) => return error.into(),
    };
    ApiError::new(error_type, error.to_string())
}

/// Remote write 2.0 tells what was written, also when something was refused.
fn with_counts(mut response: Response, receipt: Option<&Receipt>) -> Response {
    let counts = receipt.map_or([0; 3], |r| [r.samples_written, r.histograms_written, r.exemplars_written]);
    for (name, count) in [
        "x-prometheus-remote-write-samples-written",
        "x-prometheus-remote-write-histograms-written",
        "x-prometheus-remote-write-exemplars-written",
    ]
    .into_iter()
    .zip(counts)
    {
        response.headers_mut().insert(name, count.into());
    }
    response
}
