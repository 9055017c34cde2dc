//! Background work: head to blocks, blocks to larger blocks, retention, checkpoints.
//!
//! Each job builds what is new, makes it durable, publishes it by one swap of the catalog, and only then
//! drops what it replaces. One job runs at a time.

mod deletes;
mod flush;
mod jobs;
mod merge;
mod plan;
pub(crate) mod worker;
