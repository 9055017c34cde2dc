//! The accept loop: one task per connection, at most so many of them, drained when the server stops.
//!
//! axum's own loop has neither a limit on connections nor one on how long a request's head may take, so a
//! few hundred silent clients would hold it up; this one has both. HTTP/1.1 only.

use super::Stop;
use super::stream::{Serving, TimedStream};
use crate::observe::log;
use axum::Router;
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// How often, while all places are taken, an idle connection is closed.
const SHED_EVERY: Duration = Duration::from_millis(10);
/// Longest request head in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long things may take and how many there may be.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// A connection without a request.
    pub idle: Duration,
    /// The whole body of a request.
    pub body: Duration,
    /// An answer nothing of which is taken.
    pub write: Duration,
    /// Requests under way when the server stops.
    pub drain: Duration,
    /// Open connections; when more want in, those without a request are closed, and the rest waits.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: Duration::from_secs(300),
            write: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            connections: 512,
        }
    }
}

/// A bound address that serves a router.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    connections: Arc<Semaphore>,
    /// Asks one connection to end if it is idle; they are asked in turn.
    shed: Arc<Notify>,
    limits: Limits,
}

impl Listener {
    /// Binds `address` (`host:port`; the port 0 takes a free one). `connections` is shared by all listeners
    /// of a process.
    ///
    /// # Errors
    /// When the address is in use or not ours.
    pub async fn bind(address: &str, connections: Arc<Semaphore>, limits: Limits) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, connections, shed: Arc::default(), limits })
    }
    /// The address it listens on.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
    async fn place(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        loop {
            let place = Arc::clone(&self.connections).acquire_owned();
            match tokio::time::timeout(SHED_EVERY, place).await {
                Ok(place) => return place,
                Err(_) => self.shed.notify_one(),
            }
        }
    }
    /// Serves until the stop is raised and the requests under way are answered (or the drain time is over).
    pub async fn serve(self, router: Router, stop: Stop) {
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.raised() => break,
                accepted = async {
                    // The place is taken before accepting: clients beyond the limit wait in the backlog.
                    let place = self.place().await;
                    (place, self.listener.accept().await)
                } => accepted,
            };
            match accepted {
                (Ok(place), Ok((stream, _))) => {
                    let shed = Arc::clone(&self.shed);
                    let connection =
                        connection(stream, router.clone(), self.limits.clone(), shed, stop.clone());
                    tasks.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                (Err(_), _) => break,
                (_, Err(error)) => {
                    // Out of file descriptors, most likely; others may be closed meanwhile.
                    log::warn("cannot accept a connection", &[("err", &error)]);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            while tasks.try_join_next().is_some() {}
        }
        drop(self.listener);
        let drained = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.limits.drain, drained).await.is_err() {
            log::warn("requests still under way are given up", &[]);
        }
    }
}

async fn connection(stream: TcpStream, router: Router, limits: Limits, shed: Arc<Notify>, stop: Stop) {
    let _ = stream.set_nodelay(true);
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
