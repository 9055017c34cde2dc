//! The one signal that ends the process: raised by Ctrl-C, SIGTERM or `/-/quit`, seen by everyone who waits.

use tokio::sync::watch;

/// Raises and awaits the stop; clones share it.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stop {
    /// Asks everything to stop; asking again changes nothing.
    pub fn raise(&self) {
        self.0.send_replace(true);
    }
    /// Whether the stop was raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        *self.0.borrow()
    }
    /// Returns once the stop was raised.
    pub async fn raised(&self) {
        let mut seen = self.0.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = seen.wait_for(|raised| *raised).await;
    }
}
