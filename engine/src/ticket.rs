//! The promise of an append: told when its records are durable.

use crate::Error;
use crate::sync::{Condvar, Mutex};
use std::sync::{Arc, PoisonError};

type Callback = Box<dyn FnOnce(Result<(), Error>) + Send>;

#[derive(Default)]
struct State {
    /// Whether the promise was kept or broken; nobody is left waiting then.
    completed: bool,
    outcome: Option<Result<(), Error>>,
    callback: Option<Callback>,
}

/// Waits for the durability of one append, as the WAL mode defines it.
#[derive(Default)]
pub struct Ticket {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticket")
    }
}

/// The log's side of a [`Ticket`].
pub(crate) struct Promise {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Ticket {
    /// A ticket and the promise that completes it.
    pub(crate) fn new() -> (Self, Promise) {
        let ticket = Self::default();
        let promise = Promise { shared: Arc::clone(&ticket.shared) };
        (ticket, promise)
    }
    /// Blocks until the append is durable.
    ///
    /// # Errors
    /// When the log could not be written: nothing of the append may be acknowledged.
    pub fn wait(self) -> Result<(), Error> {
        let (state, condvar) = &*self.shared;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = state.outcome.take() {
                return outcome;
            }
            state = condvar.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
    /// Calls `callback` once the append is durable or has failed: at once when that is known already, else
    /// from the log's thread, which must not be blocked.
    pub fn notify(self, callback: impl FnOnce(Result<(), Error>) + Send + 'static) {
        let mut state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.outcome.take() {
            Some(outcome) => {
                drop(state);
                callback(outcome);
            }
            None => state.callback = Some(Box::new(callback)),
        }
    }
}

impl Drop for Promise {
    /// A promise that is thrown away is broken: nobody waits for ever.
    fn drop(&mut self) {
        self.finish(Err(Error::Closed));
    }
}

impl Promise {
    /// Completes the ticket.
    pub(crate) fn complete(self, outcome: Result<(), Error>) {
        self.finish(outcome);
    }

    fn finish(&self, outcome: Result<(), Error>) {
        let mut state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut state.completed, true) {
            return;
        }
        match state.callback.take() {
            Some(callback) => {
                drop(state);
                callback(outcome);
            }
            None => {
                state.outcome = Some(outcome);
                self.shared.1.notify_all();
            }
        }
    }
}
