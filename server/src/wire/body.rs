//! Bodies that are made while they are sent: encoded piece by piece, compressed piece by piece.
//!
//! Where it sits: under every large answer. A piece is made when the connection asks for the next one, so a
//! slow client costs one piece of memory beside the result itself, holds no thread and no lock, and a client
//! that goes away drops everything. Pieces are made on blocking threads: twenty downloads at a time would
//! otherwise keep the async workers from the writers.

use axum::body::{Body, Bytes};
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderValue};
use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::task::{JoinHandle, spawn_blocking};

/// Size of a piece in bytes, before compression.
pub const PIECE_BYTES: usize = 128 * 1024;
/// Pieces up to this size are compressed where they are: handing them over would take longer.
const INLINE_BYTES_MAX: usize = 8 * 1024;
/// Answers shorter than this are not worth compressing.
const COMPRESS_BYTES_MIN: u64 = 1024;

/// Something that can be written piece by piece.
pub trait Encode: Send + Unpin + 'static {
    /// Appends to `out` until it holds at least `target` bytes or the end is reached; tells whether more
    /// is left.
    fn encode(&mut self, out: &mut Vec<u8>, target: usize) -> bool;
    /// What went wrong; asked after the last piece. The answer is broken off then, so that nobody takes it
    /// for whole.
    fn failure(&self) -> Option<String> {
        None
    }
}

/// What an [`Encode`] hands back from a blocking thread: itself, what it wrote, whether more is left.
type Written<E> = (E, Vec<u8>, bool);

struct Encoded<E> {
    first: Option<Vec<u8>>,
    /// What writes the next piece; `None` while it does, and at the end.
    encoder: Option<E>,
    writing: Option<JoinHandle<Written<E>>>,
}

/// A body for what `encoder` writes. The first piece is made at once (so call this off the async workers
/// when making it is expensive); an answer that fits into it is sent with its length.
pub fn encoded(mut encoder: impl Encode) -> Body {
    let mut first = Vec::with_capacity(4096);
    if !encoder.encode(&mut first, PIECE_BYTES) {
        return Body::from(first);
    }
    Body::new(Encoded { first: Some(first), encoder: Some(encoder), writing: None })
}

impl<E: Encode> HttpBody for Encoded<E> {
    type Data = Bytes;
    type Error = axum::Error;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first.into()))));
        }
        if let Some(mut encoder) = this.encoder.take() {
            this.writing = Some(spawn_blocking(move || {
                let mut out = Vec::with_capacity(PIECE_BYTES + 4096);
                let more = encoder.encode(&mut out, PIECE_BYTES);
                (encoder, out, more)
            }));
        }
        let Some(writing) = this.writing.as_mut() else { return Poll::Ready(None) };
        let written = ready!(Pin::new(writing).poll(cx));
        this.writing = None;
        match written {
            Ok((encoder, out, more)) => {
                if let Some(why) = encoder.failure() {
                    return Poll::Ready(Some(Err(axum::Error::new(io::Error::other(why)))));
                }
                this.encoder = more.then_some(encoder);
                Poll::Ready(Some(Ok(Frame::data(out.into()))))
            }
            // A defect: the client must see that the answer is not complete.
            Err(error) => Poll::Ready(Some(Err(axum::Error::new(error)))),
        }
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
        compressing: None,
        gzip: Some(GzEncoder::new(Vec::with_capacity(PIECE_BYTES / 4), Compression::fast())),
    });
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
}

/// A compressor on its way back from a blocking thread, with what it wrote inside.
type Compressing = JoinHandle<io::Result<GzEncoder<Vec<u8>>>>;

struct Gzip {
    inner: Body,
    pending: Bytes,
    /// `None` while it compresses, and once the trailer was sent.
    gzip: Option<GzEncoder<Vec<u8>>>,
    compressing: Option<Compressing>,
}

impl Gzip {
    /// Takes what was compressed, if there is any.
    fn output(&mut self) -> Option<Bytes> {
        let written = self.gzip.as_mut()?.get_mut();
        if written.is_empty() {
            return None;
        }
        Some(std::mem::replace(written, Vec::with_capacity(PIECE_BYTES / 4)).into())
    }
    /// Compresses the next piece, here or on a blocking thread.
    fn compress(&mut self) -> io::Result<()> {
        let piece = self.pending.split_to(self.pending.len().min(PIECE_BYTES));
        let Some(mut gzip) = self.gzip.take() else { return Ok(()) };
        if piece.len() <= INLINE_BYTES_MAX {
            gzip.write_all(&piece)?;
            self.gzip = Some(gzip);
        } else {
            self.compressing = Some(spawn_blocking(move || gzip.write_all(&piece).map(|()| gzip)));
        }
        Ok(())
    }
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
            if let Some(compressing) = this.compressing.as_mut() {
                let compressed = ready!(Pin::new(compressing).poll(cx));
                this.compressing = None;
                match compressed.map_err(axum::Error::new).and_then(|r| r.map_err(axum::Error::new)) {
                    Ok(gzip) => this.gzip = Some(gzip),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
            if let Some(bytes) = this.output() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if !this.pending.is_empty() {
                if let Err(error) = this.compress() {
                    return Poll::Ready(Some(Err(axum::Error::new(error))));
                }
                continue;
            }
            let Some(gzip) = this.gzip.take() else { return Poll::Ready(None) };
            match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(None) => {
                    let last = gzip.finish().map_err(axum::Error::new);
                    return Poll::Ready(Some(last.map(|bytes| Frame::data(bytes.into()))));
                }
                polled => {
                    this.gzip = Some(gzip);
                    match ready!(polled) {
                        Some(Ok(frame)) => this.pending = frame.into_data().unwrap_or_default(),
                        other => return Poll::Ready(other),
                    }
                }
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
