//! OTLP over HTTP: `ExportMetricsServiceRequest` as protobuf or JSON.
//!
//! Answers are in the format of the request, errors as `google.rpc.Status`. Clients repeat requests only
//! after 429, 502, 503 and 504, so what may succeed later is answered 503, and nothing else is.

use super::write::{Room, decoded, durable, taken};
use crate::error::{ApiError, ErrorType};
use crate::state::App;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use hyper::{HeaderMap, StatusCode, header};
use ingest::Encoding;
use ingest::otlp::{Format, Receipt, response};
use std::sync::Arc;

/// Longest body in bytes, compressed and not.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// `POST /v1/metrics` and its other names.
pub async fn export(State(app): State<Arc<App>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Some(format) = text(&head.headers, header::CONTENT_TYPE).and_then(Format::from_content_type) else {
        let why = "content type must be application/x-protobuf or application/json";
        return ApiError::new(ErrorType::Unsupported, why).into_text_response();
    };
    match receive(&app, &head.headers, format, body).await {
        Ok(receipt) => {
            let content_type = [(header::CONTENT_TYPE, format.content_type())];
            (content_type, response::success(format, &receipt)).into_response()
        }
        Err(error) => failure(format, &error),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn receive(
    app: &Arc<App>,
    headers: &HeaderMap,
    format: Format,
    body: Body,
) -> Result<Receipt, ApiError> {
    let name = headers.get(header::CONTENT_ENCODING).map_or("", |v| v.to_str().unwrap_or("?"));
    let encoding = Encoding::from_header(name)
        .ok_or_else(|| ApiError::new(ErrorType::Unsupported, "unsupported content encoding"))?;
    let (body, room) = taken(app, body, BODY_BYTES_MAX).await?;
    store(app, format, encoding, body, room).await
}

/// Decodes and stores a request; returns when it is durable.
///
/// # Errors
/// When nothing was stored.
pub async fn store(
    app: &Arc<App>,
    format: Format,
    encoding: Encoding,
    body: impl AsRef<[u8]> + Send + 'static,
    room: Room,
) -> Result<Receipt, ApiError> {
    let receiver = Arc::clone(&app.storage()?.otlp);
    let decode = move || receiver.receive(format, encoding, body.as_ref()).map_err(refusal);
    let mut receipt = decoded(app, room, decode).await?;
    durable(std::mem::take(&mut receipt.ticket)).await?;
    app.metrics.otlp.count(&receipt);
    if receipt.retry_later {
        return Err(ApiError::overloaded(receipt.message));
    }
    Ok(receipt)
}

fn refusal(error: ingest::Error) -> ApiError {
    let error_type = match &error {
        ingest::Error::UnsupportedMediaType(_) | ingest::Error::UnsupportedEncoding(_) => {
            ErrorType::Unsupported
        }
        ingest::Error::BadPayload { .. } | ingest::Error::BadJson(_) => ErrorType::BadData,
        ingest::Error::TooLarge { .. } => ErrorType::TooLarge,
        // Nothing was stored, so sending it again is right, whatever it was.
        ingest::Error::Engine(_) => ErrorType::Overloaded,
    };
    ApiError::new(error_type, error.to_string())
}

/// The gRPC code of an error.
#[must_use]
pub fn code(error: &ApiError) -> u32 {
    match error.error_type {
        ErrorType::BadData | ErrorType::Unsupported => 3, // INVALID_ARGUMENT
        ErrorType::TooLarge => 8,                         // RESOURCE_EXHAUSTED
        ErrorType::Internal => 13,                        // INTERNAL
        _ => 14,                                          // UNAVAILABLE
    }
}

fn failure(format: Format, error: &ApiError) -> Response {
    let body = response::status(format, code(error), &error.message);
    let mut response =
        (error.error_type.status(), [(header::CONTENT_TYPE, format.content_type())], body).into_response();
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}
