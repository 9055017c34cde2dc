//! Waiting for a condition with a deadline: the only way tests here let time pass.

use std::time::{Duration, Instant};

/// Polls until `probe` answers `Some`, at most for `limit`; `None` when time ran out.
pub fn poll<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// Polls until `probe` is true.
///
/// # Panics
/// When `limit` has passed; the message says what was awaited.
pub fn until(what: &str, limit: Duration, mut probe: impl FnMut() -> bool) {
    assert!(poll(limit, || probe().then_some(())).is_some(), "waited {limit:?} in vain until {what}");
}
