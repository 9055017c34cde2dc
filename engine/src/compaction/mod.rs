//! Background work: head to blocks, blocks to larger blocks, retention, checkpoints.
//!
//! Each job builds what is new, makes it durable, publishes it by one swap of the catalog, and only then
//! drops what it replaces. One job runs at a time.

pub(crate) mod flush;
pub(crate) mod merge;
pub(crate) mod plan;
pub(crate) mod worker;
