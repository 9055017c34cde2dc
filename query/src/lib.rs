//! PromQL: parse, plan, execute over snapshots of the engine.
//!
//! Where it sits: between the server and the engine. Never knows HTTP, JSON, files or writing.

mod annotations;
mod budget;
mod engine;
mod error;
mod execute;
mod format;
mod functions;
mod gate;
mod histogram;
mod kahan;
mod options;
pub mod parse;
mod plan;
mod value;

pub use budget::Charged;
pub use engine::QueryEngine;
pub use error::{ErrorKind, QueryError};
pub use histogram::{Bucket, all_buckets};
pub use options::{CancelToken, EngineOptions, Features, QueryParams};
pub use value::{MatrixSeries, OperatorStats, Point, QueryResult, QueryStats, Value, VectorSample};
