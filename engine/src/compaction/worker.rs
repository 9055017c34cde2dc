//! The loop of the background thread: what is due, one job at a time.

use crate::engine::Inner;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How often the loop looks.
const PERIOD: Duration = Duration::from_secs(5);
/// Longest pause after failures, a full disk for example; each one doubles it.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Runs until the engine closes.
pub(crate) fn run(inner: &Arc<Inner>) {
    if let Err(e) = inner.secure() {
        inner.report(format!("the recovered head cannot be written down, writes wait: {e}"));
    }
    // The log may bring back more exemplars than the head is to hold.
    if let Err(e) = inner.relieve() {
        inner.report(format!("exemplars cannot be written to a block, it will be tried again: {e}"));
    }
    let mut pause = PERIOD;
    loop {
        let closing = inner.closing.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = inner.wake.wait_timeout_while(closing, pause, |closing| !*closing);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 {
            return;
        }
        pause = match inner.maintain() {
            Ok(()) => PERIOD,
            // Writes wait for the recovered head to be written down, so the pause stays short then.
            Err(e) => {
                let next = if inner.wal.is_held() { PERIOD } else { (pause * 2).min(PAUSE_MAX) };
                inner.report(format!(
                    "background work failed, it is tried again in {} s: {e}",
                    next.as_secs()
                ));
                next
            }
        };
    }
}
