//! The server looking at itself: counters, the text they are shown in, the log, the self-scrape.

pub mod active;
pub mod exposition;
pub mod family;
pub mod http;
pub mod log;
mod metrics;
mod process;
pub mod self_scrape;
mod storage;

pub use metrics::{Metrics, QuerySlice, QueryUse};
