//! How long things on the network may take, and how many there may be.

use std::time::Duration;

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
