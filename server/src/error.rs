//! What a request may answer instead of data: the one table from errors to status codes.
//!
//! Grafana reads the error envelope from 400, 422 and 503 only, so everything a user can cause or must
//! wait for answers with one of these (plus 404, 405, 413 and 415 where HTTP itself is the matter).

use crate::wire::json::Json;
use axum::response::{IntoResponse, Response};
use hyper::{StatusCode, header};
use std::borrow::Cow;

/// The classes of failure, named as in Prometheus' API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    /// The request is wrong.
    BadData,
    /// The query is right and cannot be executed.
    Execution,
    /// It took too long.
    Timeout,
    /// The client gave up.
    Canceled,
    /// A defect or damaged storage.
    Internal,
    /// No such thing.
    NotFound,
    /// Switched off by a flag.
    Disabled,
    /// Storage is still opening.
    NotReady,
    /// Too much at once: come back in a second.
    Overloaded,
    /// The caller did not say who they are, or wrongly.
    Unauthorized,
    /// The caller may not do this.
    Forbidden,
    /// The body is longer than allowed.
    TooLarge,
    /// The body is in a format nobody here reads.
    Unsupported,
}

impl ErrorType {
    /// Its name in the envelope.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadData | Self::TooLarge | Self::Unsupported => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Internal => "internal",
            Self::NotFound => "not_found",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Disabled | Self::NotReady | Self::Overloaded => "unavailable",
        }
    }
    /// Its status code.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Timeout | Self::NotReady | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            // 499, nginx' "client closed request": nobody is there to read it, but the metrics count it.
            Self::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            // Prometheus answers 500 here; a switched-off endpoint is no failure of the server.
            Self::Disabled | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

/// A failed request.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// Its class.
    pub error_type: ErrorType,
    /// A sentence for the client.
    pub message: Cow<'static, str>,
}

impl ApiError {
    /// An error of a class.
    pub fn new(error_type: ErrorType, message: impl Into<Cow<'static, str>>) -> Self {
        Self { error_type, message: message.into() }
    }
    /// The request is wrong.
    pub fn bad_data(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorType::BadData, message)
    }
    /// A parameter is wrong.
    pub fn invalid_parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {why}"))
    }
    /// A defect.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorType::Internal, message)
    }
    /// Storage is still opening, or already closing.
    #[must_use]
    pub fn not_ready() -> Self {
        Self::new(ErrorType::NotReady, "Service Unavailable")
    }
    /// Too much at once.
    pub fn overloaded(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorType::Overloaded, message)
    }
    /// The answer as plain text, for endpoints whose clients are no API clients.
    pub fn into_text_response(self) -> Response {
        self.respond("text/plain; charset=utf-8", format!("{}\n", self.message).into_bytes())
    }
    fn respond(&self, content_type: &'static str, body: Vec<u8>) -> Response {
        let mut response =
            (self.error_type.status(), [(header::CONTENT_TYPE, content_type)], body).into_response();
        if matches!(self.error_type, ErrorType::Overloaded | ErrorType::NotReady) {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut json = Json::default();
        json.object(|o| {
            o.key("status").string("error");
            o.key("errorType").string(self.error_type.name());
            o.key("error").string(&self.message);
        });
        self.respond("application/json", json.into_bytes())
    }
}

impl From<query::QueryError> for ApiError {
    fn from(error: query::QueryError) -> Self {
        let error_type = match error.kind() {
            query::ErrorKind::BadData => return Self::invalid_parameter("query", error),
            query::ErrorKind::Execution => ErrorType::Execution,
            query::ErrorKind::Timeout => ErrorType::Timeout,
            query::ErrorKind::Canceled => ErrorType::Canceled,
            query::ErrorKind::Internal => ErrorType::Internal,
        };
        Self::new(error_type, error.to_string())
    }
}

impl From<engine::Error> for ApiError {
    fn from(error: engine::Error) -> Self {
        let error_type = match error {
            engine::Error::ReadOnly { .. } | engine::Error::Closed => ErrorType::Overloaded,
            engine::Error::Limit(_) => ErrorType::Execution,
            _ => ErrorType::Internal,
        };
        Self::new(error_type, error.to_string())
    }
}
