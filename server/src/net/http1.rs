//! One connection that speaks HTTP/1.1, under the time limits of its stream.
//!
//! axum's own loop limits neither connections nor the time that a request's head may take, so that a few
//! hundred silent clients would hold it up.

use super::Surroundings;
use super::stream::{Serving, TimedStream};
use super::tls::Transport;
use axum::Router;
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Its name in ALPN.
pub const HTTP1: &[u8] = b"http/1.1";
/// Longest request head in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Answers the requests of a connection until it ends.
pub async fn http1(stream: Transport, router: Router, around: Surroundings) {
    let Surroundings { limits, shed, stop } = around;
    let serving = Serving::default();
    let io = TokioIo::new(TimedStream::new(stream, serving.clone(), &limits));
    let router = TowerToHyperService::new(router);
    let turns = serving.clone();
    let service = hyper::service::service_fn(move |request| {
        serving.begin();
        let ended = EndServing(serving.clone());
        let answer = router.call(request);
        async move { answer.await.map(|response| response.map(|body| Answer { body, _ended: ended })) }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    // Errors here are the client's (it went away, was too slow, or spoke no HTTP): nothing to do or to log.
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stop.raised() => break,
            () = shed.notified() => if turns.is_idle() { return },
        }
    }
    if !turns.is_idle() {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

struct EndServing(Serving);

impl Drop for EndServing {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// An answer's body; when it is dropped the connection waits for the next request.
struct Answer {
    body: Body,
    _ended: EndServing,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
