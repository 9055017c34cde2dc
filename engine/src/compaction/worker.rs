//! The loop of the background thread: what is due, one job at a time.

use crate::engine::Inner;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How often the loop looks.
const PERIOD: Duration = Duration::from_secs(5);

/// Runs until the engine closes.
pub(crate) fn run(inner: &Arc<Inner>) {
    if let Err(e) = inner.secure() {
        inner.report(format!("the recovered head cannot be written down, writes wait: {e}"));
    }
    // The log may bring back more exemplars than the head is to hold.
    if let Err(e) = inner.relieve() {
        inner.report(format!("exemplars cannot be written to a block, it will be tried again: {e}"));
    }
    loop {
        let closing = inner.closing.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = inner.wake.wait_timeout_while(closing, PERIOD, |closing| !*closing);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 {
            return;
        }
        if let Err(e) = inner.maintain() {
            inner.report(format!("background work failed, it will be tried again: {e}"));
        }
    }
}
