//! Why a query has no answer. `Display` gives the text Prometheus would answer with.

use std::fmt;

/// A failed query.
#[derive(Debug)]
pub enum QueryError {
    /// The query does not parse or does not type-check.
    Parse {
        /// Prometheus' text, position first (`1:5: parse error: …`).
        message: String,
        /// The limit that the query exceeds, if that is what is wrong with it: see [`QueryError::limit`].
        limit: Option<&'static str>,
    },
    /// The query would hold more samples than one query may.
    SampleLimit,
    /// The query, or all queries together, would hold more bytes than allowed.
    MemoryLimit {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The deadline passed.
    Timeout {
        /// What was going on ("expression evaluation", "query queue").
        during: &'static str,
    },
    /// The caller gave up.
    Canceled {
        /// What was going on.
        during: &'static str,
    },
    /// Evaluation is impossible on this data or with these parameters.
    Execution(String),
    /// Storage could not be read.
    Storage(engine::Error),
    /// A defect of the program.
    Internal(String),
}

/// The error classes of Prometheus' HTTP API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// `bad_data`
    BadData,
    /// `execution`
    Execution,
    /// `timeout`
    Timeout,
    /// `canceled`
    Canceled,
    /// `internal`
    Internal,
}

impl ErrorKind {
    /// Its name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Internal => "internal",
        }
    }
}

impl QueryError {
    /// The limit that the query met, if that is why it has no answer: `length`, `tokens`, `nesting`,
    /// `samples`, `memory`, `queue`, `time`.
    #[must_use]
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Parse { limit, .. } => *limit,
            Self::SampleLimit => Some("samples"),
            Self::MemoryLimit { .. } => Some("memory"),
            Self::Timeout { during: "query queue" } => Some("queue"),
            Self::Timeout { .. } => Some("time"),
            _ => None,
        }
    }
    /// The API's class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Parse { .. } => ErrorKind::BadData,
            Self::SampleLimit | Self::MemoryLimit { .. } | Self::Execution(_) => ErrorKind::Execution,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Canceled { .. } => ErrorKind::Canceled,
            Self::Storage(_) | Self::Internal(_) => ErrorKind::Internal,
        }
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse { message, .. } | Self::Execution(message) | Self::Internal(message) => {
                f.write_str(message)
            }
            Self::SampleLimit => {
                f.write_str("query processing would load too many samples into memory in query execution")
            }
            Self::MemoryLimit { limit } => {
                write!(f, "query processing would hold more than {limit} bytes of memory")
            }
            Self::Timeout { during } => write!(f, "query timed out in {during}"),
            Self::Canceled { during } => write!(f, "query was canceled in {during}"),
            Self::Storage(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for QueryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(e) => Some(e),
            _ => None,
        }
    }
}

impl From<engine::Error> for QueryError {
    fn from(e: engine::Error) -> Self {
        Self::Storage(e)
    }
}
