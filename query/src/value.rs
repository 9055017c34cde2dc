//! What a query answers: the four PromQL value types and what came with them.
//!
//! Invariants: a matrix is sorted by labels and holds no empty series; the timestamps of a series ascend
//! and no timestamp stands both among its floats and among its histograms. A vector is in the order the
//! query asked for (`sort`, `topk`), else in no particular order. Staleness markers never appear.

use std::sync::Arc;
use std::time::Duration;
use storage_format::model::{Histogram, Labels, Timestamp};

/// One sample's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Point {
    /// A float.
    Float(f64),
    /// A native histogram with float counts.
    Histogram(Arc<Histogram>),
}

/// One element of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSample {
    /// Its label set.
    pub labels: Labels,
    /// Milliseconds since the epoch: the time of evaluation.
    pub timestamp: Timestamp,
    /// Its value.
    pub point: Point,
}

/// One series of a matrix.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MatrixSeries {
    /// Its label set.
    pub labels: Labels,
    /// Milliseconds since the epoch of the float samples, ascending.
    pub timestamps: Vec<Timestamp>,
    /// Their values; same length.
    pub values: Vec<f64>,
    /// The histogram samples, ascending by time.
    pub histograms: Vec<(Timestamp, Arc<Histogram>)>,
}

/// The value of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number without labels.
    Scalar {
        /// Milliseconds since the epoch.
        timestamp: Timestamp,
        /// The number.
        value: f64,
    },
    /// A string literal.
    String {
        /// Milliseconds since the epoch.
        timestamp: Timestamp,
        /// The string.
        value: String,
    },
    /// One sample per series.
    Vector(Vec<VectorSample>),
    /// Many samples per series.
    Matrix(Vec<MatrixSeries>),
}

/// How long the parts of a query took and how many samples they touched.
#[derive(Debug, Clone, Default)]
pub struct QueryStats {
    /// Waiting for a free slot.
    pub queue: Duration,
    /// Parsing, planning, selecting series.
    pub preparation: Duration,
    /// Evaluating.
    pub evaluation: Duration,
    /// Sorting and shaping the result.
    pub sort: Duration,
    /// All of it.
    pub total: Duration,
    /// Samples looked at by all steps together, a sample seen by several steps counting for each.
    pub total_queryable_samples: u64,
    /// Samples read from storage, each once.
    pub samples_read: u64,
    /// Most samples held at one moment.
    pub peak_samples: u64,
    /// (time of the step, samples looked at), when asked for.
    pub samples_per_step: Vec<(Timestamp, u64)>,
    /// Most bytes held at one moment.
    pub peak_bytes: u64,
    /// Of the samples read, those that blocks held (the head may have held some of them too).
    pub samples_from_blocks: u64,
    /// What each operator of the plan did, in the plan's order, when asked for.
    pub operators: Vec<OperatorStats>,
    /// The plan as text, when asked for.
    pub plan: Option<String>,
}

/// What one operator of a plan did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorStats {
    /// How deep it stands in the plan; the root at 0.
    pub depth: usize,
    /// What it does.
    pub operator: String,
    /// Time worked for it, on all threads together, the operators below not included.
    pub busy: Duration,
    /// Series it gave, over all its evaluations; what a scalar gives is no series.
    pub series: u64,
    /// Samples it read from storage.
    pub samples_read: u64,
    /// Most bytes it held at one moment.
    pub peak_bytes: u64,
}

/// A query's answer.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// The value.
    pub value: Value,
    /// Texts of the warnings, with positions, at most ten and a line that counts the rest.
    pub warnings: Vec<String>,
    /// Texts of the infos, likewise.
    pub infos: Vec<String>,
    /// What it took.
    pub stats: QueryStats,
    /// Keep it as long as the value: until it is dropped, all queries' memory counts this one's.
    pub charged: crate::Charged,
}
