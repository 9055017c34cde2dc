//! What a query may use: samples, bytes, time; and what it used.
//!
//! Operators ask once per batch or column. Holdings are given back when they are dropped, also when the
//! query fails.

use crate::execute::profile::Profile;
use crate::{CancelToken, QueryError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Most steps that are counted one by one.
const STEPS_MAX: usize = 100_000;

/// Bytes held by all queries of an engine together.
#[derive(Debug, Default)]
pub(crate) struct TotalMemory {
    held: AtomicU64,
}

impl TotalMemory {
    /// Bytes held now.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }
}

/// Keeps the memory of an answer charged until it is dropped.
#[derive(Debug, Clone, Default)]
pub struct Charged {
    #[expect(dead_code, reason = "held for its drop")]
    held: Arc<Vec<Held>>,
}

impl Charged {
    pub(crate) fn new(held: Vec<Held>) -> Self {
        Self { held: Arc::new(held) }
    }
}

/// The limits of one query. 0 bytes means no limit.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) samples: u64,
    pub(crate) query_bytes: u64,
    pub(crate) total_bytes: u64,
    pub(crate) deadline: Instant,
    pub(crate) cancel: CancelToken,
}

/// The account of one query.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    total: Arc<TotalMemory>,
    samples: AtomicU64,
    bytes: AtomicU64,
    peak_samples: AtomicU64,
    peak_bytes: AtomicU64,
    read: AtomicU64,
    from_blocks: AtomicU64,
    /// Samples looked at, per step of the query.
    per_step: Vec<AtomicU64>,
    profile: Option<Profile>,
}

/// Samples and bytes taken from a budget until dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    samples: u64,
    bytes: u64,
    /// Whom the profile charges with the bytes.
    operator: u32,
}

impl Budget {
    /// An account with nothing on it, for a query of `steps` steps; with `profile`, also by operator.
    pub(crate) fn new(
        limits: Limits,
        total: Arc<TotalMemory>,
        steps: usize,
        profile: Option<Profile>,
    ) -> Arc<Self> {
        Arc::new(Self {
            limits,
            total,
            samples: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            peak_samples: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            read: AtomicU64::new(0),
            from_blocks: AtomicU64::new(0),
            profile,
            per_step: (0..steps.clamp(1, STEPS_MAX)).map(|_| AtomicU64::new(0)).collect(),
        })
    }
    /// Whether the query may go on.
    ///
    /// # Errors
    /// When it was cancelled or its time is over.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        const DURING: &str = "expression evaluation";
        if self.limits.cancel.is_canceled() {
            return Err(QueryError::Canceled { during: DURING });
        }
        if Instant::now() >= self.limits.deadline {
            return Err(QueryError::Timeout { during: DURING });
        }
        Ok(())
    }
    /// Takes samples and bytes.
    ///
    /// # Errors
    /// When that would exceed a limit.
    pub(crate) fn hold(self: &Arc<Self>, samples: u64, bytes: u64) -> Result<Held, QueryError> {
        let operator = self.profile.as_ref().map_or(0, |profile| profile.hold(bytes));
        let held = Held { budget: Arc::clone(self), samples, bytes, operator };
        let samples_now = self.samples.fetch_add(samples, Relaxed) + samples;
        let bytes_now = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        let total_now = self.total.held.fetch_add(bytes, Relaxed) + bytes;
        if samples_now > self.limits.samples {
            return Err(QueryError::SampleLimit);
        }
        for (now, limit) in [(bytes_now, self.limits.query_bytes), (total_now, self.limits.total_bytes)] {
            if limit > 0 && now > limit {
                return Err(QueryError::MemoryLimit { limit });
            }
        }
        self.peak_samples.fetch_max(samples_now, Relaxed);
        self.peak_bytes.fetch_max(bytes_now, Relaxed);
        Ok(held)
    }
    /// Counts samples read from storage, and how many of them came from blocks.
    pub(crate) fn count_read(&self, samples: u64, from_blocks: u64) {
        self.read.fetch_add(samples, Relaxed);
        self.from_blocks.fetch_add(from_blocks, Relaxed);
    }
    /// The account by operator, if the query wants one.
    pub(crate) fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }
    /// Counts samples looked at by a step.
    pub(crate) fn count_step(&self, step: usize, samples: u64) {
        // What has no step of its own, such as the steps of subqueries, still counts.
        if let Some(counter) = self.per_step.get(step).or(self.per_step.last()) {
            counter.fetch_add(samples, Relaxed);
        }
    }
    /// Samples read from storage.
    pub(crate) fn samples_read(&self) -> u64 {
        self.read.load(Relaxed)
    }
    /// Those of them that blocks held; the head may have held some of them too.
    pub(crate) fn samples_from_blocks(&self) -> u64 {
        self.from_blocks.load(Relaxed)
    }
    /// Samples looked at, per step.
    pub(crate) fn samples_per_step(&self) -> Vec<u64> {
        self.per_step.iter().map(|n| n.load(Relaxed)).collect()
    }
    /// Most samples and bytes held at one moment.
    pub(crate) fn peaks(&self) -> (u64, u64) {
        (self.peak_samples.load(Relaxed), self.peak_bytes.load(Relaxed))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.samples.fetch_sub(self.samples, Relaxed);
        self.budget.bytes.fetch_sub(self.bytes, Relaxed);
        self.budget.total.held.fetch_sub(self.bytes, Relaxed);
        if let Some(profile) = &self.budget.profile {
            profile.release(self.operator, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn budget(samples: u64, bytes: u64) -> Arc<Budget> {
        let limits = Limits {
            samples,
            query_bytes: bytes,
            total_bytes: 0,
            deadline: Instant::now() + Duration::from_secs(60),
            cancel: CancelToken::new(),
        };
        Budget::new(limits, Arc::default(), 1, None)
    }

    #[test]
    fn holdings_are_limited_and_given_back() {
        let budget = budget(10, 100);
        let held = budget.hold(8, 50).unwrap();
        assert!(matches!(budget.hold(3, 0), Err(QueryError::SampleLimit)));
        assert!(matches!(budget.hold(0, 51), Err(QueryError::MemoryLimit { limit: 100 })));
        drop(held);
        assert!(budget.hold(10, 100).is_ok());
        assert_eq!(budget.peaks(), (10, 100));
    }

    #[test]
    fn cancelled_queries_stop() {
        let budget = budget(1, 1);
        assert!(budget.check().is_ok());
        budget.limits.cancel.cancel();
        assert!(matches!(budget.check(), Err(QueryError::Canceled { .. })));
    }
}
