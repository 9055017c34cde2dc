//! `write`: Prometheus remote write, 1.0 and 2.0.
//!
//! The body is taken only when there is room for it, decoded on a blocking thread, and acknowledged when the
//! engine's ticket says that it is durable. What is wrong with a request is told as plain text, which is what
//! senders log.

use crate::error::{ApiError, ErrorType};
use crate::net::BodyReader;
use crate::state::{App, Share};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use engine::Ticket;
use hyper::{HeaderMap, StatusCode, header};
use ingest::remote_write::{Receipt, RequestInfo, Version, negotiate};
use query::CancelToken;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Longest compressed body in bytes.
const BODY_BYTES_MAX: usize = 32 << 20;
/// Memory a request needs while it is decoded, as a multiple of its compressed length, besides the body.
const EXPANSION: u64 = 4;
/// Room for a body is taken in pieces of so many bytes.
const ROOM_STEP_BYTES: usize = 64 << 10;

/// `POST /api/v1/write`
pub async fn remote_write(State(app): State<Arc<App>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let version = match negotiate(info(&head.headers)) {
        Ok((version, _)) => version,
        Err(error) => return refusal(error).into_text_response(),
    };
    if !app.flags.accepted_messages.contains(&version) {
        let accepted: Vec<_> = app.flags.accepted_messages.iter().map(|version| version.name()).collect();
        let (name, accepted) = (version.name(), accepted.join(", "));
        let why = format!("{name} protobuf message is not accepted by this server; only accepts {accepted}");
        return ApiError::new(ErrorType::Unsupported, why).into_text_response();
    }
    let (receipt, response) = match receive(&app, head.headers, body).await {
        Ok(receipt) if receipt.rejected.is_empty() => (Some(receipt), StatusCode::NO_CONTENT.into_response()),
        Ok(receipt) => {
            let text = receipt.rejected.join("\n");
            let error =
                if receipt.retry_later { ApiError::overloaded(text) } else { ApiError::bad_data(text) };
            (Some(receipt), error.into_text_response())
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
    let (body, room) = taken(app, body, BODY_BYTES_MAX).await?;
    let decode = move || receiver.receive(info(&headers), &body).map_err(refusal);
    let mut receipt = decoded(app, room, decode).await?;
    durable(std::mem::take(&mut receipt.ticket)).await?;
    app.metrics.writes.count(&receipt);
    Ok(receipt)
}

/// Runs `decode` on a blocking thread when it is this request's turn, and gives its room back.
///
/// # Errors
/// `decode`'s own, and that its turn did not come in time.
pub async fn decoded<T: Send + 'static>(
    app: &App,
    room: Room,
    decode: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let work = move |_: &CancelToken| {
        let _room = room;
        decode()
    };
    app.run(&app.decodes, app.flags.write_queue_timeout, work).await.map_err(|error| match error.error_type {
        ErrorType::Timeout => overloaded(app),
        _ => error,
    })
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

/// Memory that a request holds; dropping it gives it back.
#[derive(Debug)]
pub struct Room {
    _body: Option<OwnedSemaphorePermit>,
    _decoding: OwnedSemaphorePermit,
}

/// Reads a body of at most `limit` bytes as far as there is room, and waits for the room to decode it. What a
/// sender only promises takes no room from others.
///
/// # Errors
/// When the body is not as it should be, or no room came free in time.
pub async fn taken(app: &App, body: Body, limit: usize) -> Result<(Vec<u8>, Room), ApiError> {
    let mut held: Option<OwnedSemaphorePermit> = None;
    let all = app.body_kib.kib as usize * 1024;
    let (mut used, mut covered) = (0, 0);
    let mut reader = BodyReader::new(body, limit, &app.limits)?;
    while let Some(piece) = reader.next().await? {
        used += piece.len();
        // Whoever has all of it needs no more: a body may be larger than what there is.
        if used > covered && covered < all {
            let step = (used - covered).max(ROOM_STEP_BYTES).next_multiple_of(1024).min(all - covered);
            let room = room(app, &app.body_kib, step as u64).await?;
            covered += step;
            match &mut held {
                Some(held) => held.merge(room),
                None => held = Some(room),
            }
        }
        reader.keep(&piece);
    }
    let bytes = reader.into_bytes();
    let decoding = room(app, &app.decode_kib, bytes.len() as u64 * EXPANSION).await?;
    Ok((bytes, Room { _body: held, _decoding: decoding }))
}

/// Room for a gRPC call, whose message arrives in one piece: taken from a share of its own, so that calls
/// that never come to an end hold up nobody but their like.
///
/// # Errors
/// When none came free in time.
pub async fn room_for_call(app: &App, message_bytes: u64) -> Result<Room, ApiError> {
    let room = room(app, &app.call_kib, message_bytes * (1 + EXPANSION)).await?;
    Ok(Room { _body: None, _decoding: room })
}

async fn room(app: &App, share: &Share, bytes: u64) -> Result<OwnedSemaphorePermit, ApiError> {
    let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(share.kib);
    let room = Arc::clone(&share.free).acquire_many_owned(kib);
    match tokio::time::timeout(app.flags.write_queue_timeout, room).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(overloaded(app)),
    }
}

/// Too much is under way.
#[must_use]
fn overloaded(app: &App) -> ApiError {
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
