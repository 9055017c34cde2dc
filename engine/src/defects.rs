//! Seeded defects: known ways to be wrong, one of which at a time can be compiled in, to see that a test
//! catches it.
//!
//! `cargo run -p tests --bin defects` does that for every one of them (see engine/tests/README.md). Each is
//! a constant that is true under `--cfg defect="its name"` and false, with nothing left of it in the
//! program, in every other build.

macro_rules! defects {
    ($($(#[$doc:meta])+ $name:ident = $cfg:tt;)+) => {
        $($(#[$doc])+ pub(crate) const $name: bool = cfg!(defect = $cfg);)+
    };
}

defects! {
    /// A request is acknowledged before its records are synced.
    ACK_BEFORE_SYNC = "ack_before_sync";
    /// The name of a new segment is not made durable.
    SEGMENT_NAME_NOT_SYNCED = "segment_name_not_synced";
    /// The name of a new block is not made durable.
    BLOCK_NAME_NOT_SYNCED = "block_name_not_synced";
    /// A new block is not synced before the catalog names it.
    BLOCK_NOT_SYNCED = "block_not_synced";
    /// The names of a new catalog and a new checkpoint are not made durable.
    CATALOG_NAME_NOT_SYNCED = "catalog_name_not_synced";
    /// The log is cut before the catalog with its position is durable.
    LOG_REMOVED_EARLY = "log_removed_early";
    /// The sources of a merge go before the catalog without them is durable.
    SOURCES_REMOVED_EARLY = "sources_removed_early";
    /// Recovery skips what the blocks seem to have by its time, instead of going by log position.
    REPLAY_BY_TIME = "replay_by_time";
    /// The log goes on at its own end, also when the catalog is further.
    POSITION_REUSED = "position_reused";
    /// A failed sync is tried again.
    FSYNC_RETRIED = "fsync_retried";
    /// A failed write is not cut back.
    NO_CUT_BACK = "no_cut_back";
    /// What recovery found in the page cache only is taken for durable.
    HELD_FORGOTTEN = "held_forgotten";
    /// A failed flush drops the chunks that it took.
    FAILED_FLUSH_DROPS = "failed_flush_drops";
    /// A flush drops chunks that were sealed after it took its own.
    FLUSH_DROPS_NEW_CHUNKS = "flush_drops_new_chunks";
    /// A flush leaves late samples out.
    LATE_DROPPED_AT_FLUSH = "late_dropped_at_flush";
    /// A checkpoint leaves late samples out that are not sealed.
    LATE_DROPPED_AT_CHECKPOINT = "late_dropped_at_checkpoint";
    /// Of samples with the same timestamp the last one holds.
    LATER_DUPLICATE_WINS = "later_duplicate_wins";
    /// A selection copies chunks while requests are half applied.
    GATE_NOT_HELD = "gate_not_held";
    /// A selection takes the list of blocks before it copies the head: a hole during a flush.
    BLOCKS_BEFORE_HEAD = "blocks_before_head";
    /// A selection takes the list of blocks some time after it has copied the head.
    BLOCKS_AFTER_HEAD = "blocks_after_head";
    /// A series' number is used again after a restart.
    SERIES_NUMBER_REUSED = "series_number_reused";
}
