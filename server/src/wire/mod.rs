//! Shapes on the wire: numbers, JSON, times as text, results, and the bodies that carry them.

pub mod body;
pub mod chunks;
mod histogram;
pub mod json;
pub mod number;
pub mod protobuf;
pub mod remote_read;
pub mod result;
pub mod time_text;
