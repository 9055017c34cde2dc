//! The door of the query crate: runs PromQL text over a snapshot.

use crate::{EngineOptions, QueryError, QueryParams, QueryResult};
use engine::Snapshot;
use storage_format::model::Timestamp;

/// Evaluates queries. Share it as `Arc<QueryEngine>`; all calls are synchronous and may come from any
/// thread, so callers on an async runtime use blocking threads.
#[derive(Debug)]
pub struct QueryEngine {
    options: EngineOptions,
}

impl QueryEngine {
    /// An engine with these settings.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        Self { options }
    }
    /// Its settings.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }
    /// Evaluates `query` at one instant, `at_ms` milliseconds since the epoch.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn instant(
        &self,
        snapshot: &Snapshot,
        query: &str,
        at_ms: Timestamp,
        params: &QueryParams,
    ) -> Result<QueryResult, QueryError> {
        let _ = (snapshot, query, at_ms, params);
        Err(QueryError::Execution("not yet available".to_owned()))
    }
    /// Evaluates `query` at `start_ms`, `start_ms + step_ms`, … up to and including `end_ms`.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn range(
        &self,
        snapshot: &Snapshot,
        query: &str,
        start_ms: Timestamp,
        end_ms: Timestamp,
        step_ms: i64,
        params: &QueryParams,
    ) -> Result<QueryResult, QueryError> {
        let _ = (snapshot, query, start_ms, end_ms, step_ms, params);
        Err(QueryError::Execution("not yet available".to_owned()))
    }
}
