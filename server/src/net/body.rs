//! Request bodies read into memory under a size limit and time limits.

use super::Limits;
use axum::body::Body;
use hyper::body::Body as _;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// Longer than allowed; nothing beyond the limit was kept.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// It did not arrive in time.
    Slow,
    /// The connection broke, or its framing is wrong.
    Broken,
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(f, "request body is larger than {limit} bytes"),
            Self::Slow => f.write_str("request body did not arrive in time"),
            Self::Broken => f.write_str("request body ended early"),
        }
    }
}

/// Memory for a body is reserved ahead only up to this size: a declared length is only a promise.
const RESERVE_BYTES_MAX: usize = 1 << 20;
/// A body that brings no byte for so long is given up.
const STALL: Duration = Duration::from_secs(30);

/// Reads a body of at most `limit` bytes. A declared length above the limit is refused before reading.
///
/// # Errors
/// See [`BodyError`].
pub async fn read_body(mut body: Body, limit: usize, limits: &Limits) -> Result<Vec<u8>, BodyError> {
    let hint = body.size_hint();
    let expected = usize::try_from(hint.lower()).unwrap_or(usize::MAX);
    if expected > limit {
        return Err(BodyError::TooLarge { limit });
    }
    let mut bytes = Vec::with_capacity(expected.min(RESERVE_BYTES_MAX));
    let deadline = Instant::now() + limits.body;
    loop {
        let next = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        let frame = match timeout_at(deadline.min(Instant::now() + STALL), next).await {
            Err(_) => return Err(BodyError::Slow),
            Ok(None) => return Ok(bytes),
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Some(data) = frame.data_ref() {
            if data.len() > limit - bytes.len() {
                return Err(BodyError::TooLarge { limit });
            }
            bytes.extend_from_slice(data);
        }
    }
}
