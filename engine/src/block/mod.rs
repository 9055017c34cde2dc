//! Block files: written once, then mapped and read in place.
//!
//! Where it sits: recovery and compaction open and write blocks, snapshots read them. What the bytes mean
//! is `storage_format::block`'s business.

mod build;
mod cache;
mod exemplars;
mod labels;
mod live;
mod reader;

pub(crate) use build::{BlockSource, build_block};
pub(crate) use exemplars::ExemplarWalk;
pub(crate) use live::LiveBlock;
pub(crate) use reader::{Block, BlockSeries, keep_range};

use std::path::{Path, PathBuf};

/// The file of block `number`.
pub(crate) fn block_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.block"))
}
