//! Lets a limited number of queries run at the same time; the others wait in line.

use crate::{CancelToken, QueryError};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a waiting query looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(50);

/// The gate.
#[derive(Debug)]
pub(crate) struct Gate {
    free: Mutex<usize>,
    changed: Condvar,
}

/// A place behind the gate, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot<'a>(&'a Gate);

impl Gate {
    /// A gate with `places` places, at least one.
    pub(crate) fn new(places: usize) -> Self {
        Self { free: Mutex::new(places.max(1)), changed: Condvar::new() }
    }
    /// Waits for a place.
    ///
    /// # Errors
    /// When the deadline passes or the query is cancelled before.
    pub(crate) fn enter(&self, deadline: Instant, cancel: &CancelToken) -> Result<Slot<'_>, QueryError> {
        const DURING: &str = "query queue";
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            if cancel.is_canceled() {
                return Err(QueryError::Canceled { during: DURING });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(QueryError::Timeout { during: DURING });
            }
            free = self.changed.wait_timeout(free, left.min(LOOK)).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Ok(Slot(self))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_given_back() {
        let gate = Gate::new(1);
        let soon = || Instant::now() + Duration::from_millis(1);
        let slot = gate.enter(soon(), &CancelToken::new()).unwrap();
        let refused = gate.enter(soon(), &CancelToken::new());
        assert!(matches!(refused, Err(QueryError::Timeout { during: "query queue" })));
        let cancelled = CancelToken::new();
        cancelled.cancel();
        assert!(matches!(gate.enter(soon(), &cancelled), Err(QueryError::Canceled { .. })));
        drop(slot);
        assert!(gate.enter(soon(), &CancelToken::new()).is_ok());
    }
}
