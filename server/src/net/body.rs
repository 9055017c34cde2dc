//! Request bodies read into memory under a size limit and time limits.

use super::Limits;
use axum::body::Body;
use bytes::Bytes;
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
pub async fn read_body(body: Body, limit: usize, limits: &Limits) -> Result<Vec<u8>, BodyError> {
    let mut reader = BodyReader::new(body, limit, limits)?;
    while let Some(piece) = reader.next().await? {
        reader.keep(&piece);
    }
    Ok(reader.into_bytes())
}

/// A body being read piece by piece, so that its reader can do something between them.
#[derive(Debug)]
pub struct BodyReader {
    body: Body,
    bytes: Vec<u8>,
    limit: usize,
    deadline: Instant,
}

impl BodyReader {
    /// A reader of at most `limit` bytes.
    ///
    /// # Errors
    /// When a declared length is above the limit.
    pub fn new(body: Body, limit: usize, limits: &Limits) -> Result<Self, BodyError> {
        let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if expected > limit {
            return Err(BodyError::TooLarge { limit });
        }
        let bytes = Vec::with_capacity(expected.min(RESERVE_BYTES_MAX));
        Ok(Self { body, bytes, limit, deadline: Instant::now() + limits.body })
    }
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let next = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let frame = match timeout_at(self.deadline.min(Instant::now() + STALL), next).await {
                Err(_) => return Err(BodyError::Slow),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(BodyError::Broken),
                Ok(Some(Ok(frame))) => frame,
            };
            if let Ok(data) = frame.into_data() {
                if data.len() > self.limit - self.bytes.len() {
                    return Err(BodyError::TooLarge { limit: self.limit });
                }
                return Ok(Some(data));
            }
        }
    }
    /// Keeps a piece that [`BodyReader::next`] gave.
    pub fn keep(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }
    /// What was kept.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
