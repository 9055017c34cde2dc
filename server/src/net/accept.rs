//! The accept loop: one task per connection, at most so many of them, drained when the server stops.
//!
//! What a connection speaks is the caller's matter. When all places are taken, connections without a request
//! are asked to end, one after the other; the rest waits in the backlog.

use super::tls::{Tls, Transport};
use super::{Limits, Stop};
use crate::observe::log;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// How often, while all places are taken, an idle connection is closed.
const SHED_EVERY: Duration = Duration::from_millis(10);

/// What a connection needs to know besides its bytes.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// How long things may take.
    pub limits: Limits,
    /// Woken when this connection shall end if it has no request.
    pub shed: Arc<Notify>,
    /// Raised when the server stops.
    pub stop: Stop,
}

/// A bound address.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    connections: Arc<Semaphore>,
    tls: Arc<Tls>,
    around: Surroundings,
}

impl Listener {
    /// Binds `address` (`host:port`; the port 0 takes a free one). `connections` is shared by all listeners
    /// of a process.
    ///
    /// # Errors
    /// When the address is in use or not ours.
    pub async fn bind(
        address: &str,
        connections: Arc<Semaphore>,
        tls: Arc<Tls>,
        limits: Limits,
        stop: Stop,
    ) -> io::Result<Self> {
        let around = Surroundings { limits, shed: Arc::default(), stop };
        Ok(Self { listener: TcpListener::bind(address).await?, connections, tls, around })
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
                Err(_) => self.around.shed.notify_one(),
            }
        }
    }
    /// Serves until the stop is raised and the requests under way are answered (or the drain time is over).
    /// `protocol` is what `connection` speaks, by its name in ALPN.
    pub async fn serve<F>(
        self,
        protocol: &'static [u8],
        connection: impl Fn(Transport, Surroundings) -> F + Clone + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = self.around.stop.raised() => break,
                accepted = async {
                    // The place is taken before accepting: clients beyond the limit wait in the backlog.
                    let place = self.place().await;
                    (place, self.listener.accept().await)
                } => accepted,
            };
            match accepted {
                (Ok(place), Ok((stream, _))) => {
                    let (tls, around, connection) =
                        (Arc::clone(&self.tls), self.around.clone(), connection.clone());
                    tasks.spawn(async move {
                        let _ = stream.set_nodelay(true);
                        let greeted = tokio::time::timeout(around.limits.head, tls.accept(stream, protocol));
                        // Whoever does not greet in time, or wrongly, is gone; that is nothing to log.
                        if let Ok(Ok(stream)) = greeted.await {
                            connection(stream, around).await;
                        }
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
        if tokio::time::timeout(self.around.limits.drain, drained).await.is_err() {
            // What is still under way then was not acknowledged.
            log::warn("requests still under way are given up", &[]);
        }
    }
}
