//! Bodies that are made while they are sent: encoded piece by piece, compressed piece by piece.
//!
//! Where it sits: under every large answer. A piece is made when the connection asks for the next one, so a
//! slow client costs one piece of memory beside the result itself, holds no thread and no lock, and a client
//! that goes away drops everything. A piece is small enough (64 KiB) to be made on an async worker.

use axum::body::{Body, Bytes};
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderValue};
use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Size of a piece in bytes, before compression.
pub const PIECE_BYTES: usize = 64 * 1024;
/// Answers shorter than this are not worth compressing.
const COMPRESS_BYTES_MIN: u64 = 1024;

/// Something that can be written piece by piece.
pub trait Encode: Send + Unpin + 'static {
    /// Appends to `out` until it holds at least `target` bytes or the end is reached; tells whether more
    /// is left.
    fn encode(&mut self, out: &mut Vec<u8>, target: usize) -> bool;
}

struct Encoded<E> {
    encoder: E,
    first: Option<Vec<u8>>,
    more: bool,
}

/// A body for what `encoder` writes. The first piece is made at once (so call this off the async workers
/// when making it is expensive); an answer that fits into it is sent with its length.
pub fn encoded(mut encoder: impl Encode) -> Body {
    let mut first = Vec::with_capacity(4096);
    let more = encoder.encode(&mut first, PIECE_BYTES);
    if !more {
        return Body::from(first);
    }
    Body::new(Encoded { encoder, first: Some(first), more })
}

impl<E: Encode> HttpBody for Encoded<E> {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first.into()))));
        }
        if !this.more {
            return Poll::Ready(None);
        }
        let mut out = Vec::with_capacity(PIECE_BYTES + 4096);
        this.more = this.encoder.encode(&mut out, PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(out.into()))))
    }
}

/// Whether the client reads gzip. Nothing else is ever offered: Grafana forwards a browser's
/// `Accept-Encoding` and then cannot read what was asked for.
#[must_use]
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let refused = parts.any(|p| {
                p.strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok()).is_some_and(|q| q <= 0.0)
            });
            named && !refused
        })
    })
}

/// Compresses a response when that pays: text or JSON, long enough, not yet encoded.
pub fn compress(response: &mut axum::response::Response) {
    let headers = response.headers();
    let textual = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|t| {
        t.starts_with("application/json")
            || t.starts_with("text/")
            || t.starts_with("application/openmetrics")
    });
    let stream =
        headers.get(header::CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"text/event-stream"));
    let short = response.body().size_hint().upper().is_some_and(|bytes| bytes < COMPRESS_BYTES_MIN);
    if !textual || stream || short || headers.contains_key(header::CONTENT_ENCODING) {
        return;
    }
    let inner = std::mem::take(response.body_mut());
    *response.body_mut() = Body::new(Gzip {
        inner,
        pending: Bytes::new(),
        gzip: Some(GzEncoder::new(Vec::with_capacity(PIECE_BYTES / 4), Compression::fast())),
    });
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
}

struct Gzip {
    inner: Body,
    pending: Bytes,
    /// `None` once the trailer was sent.
    gzip: Option<GzEncoder<Vec<u8>>>,
}

impl HttpBody for Gzip {
    type Data = Bytes;
    type Error = axum::Error;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        loop {
            let Some(gzip) = this.gzip.as_mut() else { return Poll::Ready(None) };
            if this.pending.is_empty() {
                match Pin::new(&mut this.inner).poll_frame(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Err(e))) => return Poll::Ready(Some(Err(e))),
                    Poll::Ready(Some(Ok(frame))) => {
                        this.pending = frame.into_data().unwrap_or_default();
                        continue;
                    }
                    Poll::Ready(None) => {
                        let last = this.gzip.take().map(GzEncoder::finish);
                        return Poll::Ready(match last {
                            Some(Ok(bytes)) => Some(Ok(Frame::data(bytes.into()))),
                            Some(Err(e)) => Some(Err(axum::Error::new(e))),
                            None => None,
                        });
                    }
                }
            }
            // A long frame is compressed in pieces, so that the worker serves others in between.
            let piece = this.pending.split_to(this.pending.len().min(PIECE_BYTES));
            if let Err(e) = gzip.write_all(&piece) {
                return Poll::Ready(Some(Err(axum::Error::new(e))));
            }
            if !gzip.get_ref().is_empty() {
                let out = std::mem::replace(gzip.get_mut(), Vec::with_capacity(PIECE_BYTES / 4));
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
        }
    }
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_only_used_when_asked_for() {
        for (value, expected) in [
            ("gzip", true),
            ("GZIP", true),
            ("deflate, gzip;q=1.0, *;q=0.5", true),
            ("br, zstd", false),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("identity", false),
            ("x-gzip-not", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            assert_eq!(accepts_gzip(&headers), expected, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
