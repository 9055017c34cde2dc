//! The write-ahead log: frames (what a torn tail looks like) and records (what a frame says).

pub mod frame;
pub mod record;
