//! PromQL's functions, as kernels over windows, columns and label sets.

pub(crate) mod extended;
pub(crate) mod label;
pub(crate) mod math;
pub(crate) mod over_time;
pub(crate) mod rate;
pub(crate) mod sliding;
pub(crate) mod table;
pub(crate) mod time;
