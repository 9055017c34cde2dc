//! The storage engine's numbers as metric families.

use super::family::{Families, Kind, Sample};
use engine::{LeftOut, Rejection, Stats};

/// Adds the `prometheus_tsdb_*` families and their like.
pub(super) fn collect(families: &mut Families, stats: &Stats) {
    head(families, stats);
    rejections(families, stats);
    exemplars(families, stats);
    log(families, stats);
    families.gauge(
        "prometheus_tsdb_blocks_loaded",
        "Number of currently loaded data blocks.",
        stats.blocks as f64,
    );
    families.gauge(
        "prometheus_tsdb_storage_blocks_bytes",
        "The number of bytes that are currently used for local storage by all blocks.",
        stats.block_bytes as f64,
    );
    families.counter("marigram_head_flushes_total", "Times the head was written to blocks.", stats.flushes);
    families.counter(
        "marigram_block_merges_total",
        "Times blocks were merged into a larger one.",
        stats.merges,
    );
    families.counter(
        "prometheus_tsdb_compactions_total",
        "Total number of compactions: flushes of the head and merges of blocks.",
        stats.flushes + stats.merges,
    );
    families.counter("marigram_deletes_total", "Deletes of series or parts of them.", stats.deletes);
    families.counter(
        "marigram_block_rewrites_total",
        "Blocks written anew without what was deleted from them.",
        stats.rewrites,
    );
    families.gauge(
        "marigram_tombstone_selectors",
        "Selectors of deletes that blocks still need.",
        stats.tombstone_selectors as f64,
    );
    families.gauge(
        "marigram_tombstone_selectors_limit",
        "How many selectors of deletes may be kept for blocks.",
        stats.tombstone_selectors_max as f64,
    );
    families.counter("marigram_head_checkpoints_total", "Checkpoints of the head.", stats.checkpoints);
    families.counter("marigram_storage_failures_total", "Failures of background work.", stats.failures);
    families.gauge(
        "marigram_storage_damaged_blocks",
        "Live blocks in which damage was met; they are kept, and left alone by merges.",
        stats.damaged_blocks as f64,
    );
    families.counter(
        "prometheus_tsdb_wal_corruptions_total",
        "Total number of WAL corruptions.",
        stats.wal_corruptions,
    );
    families.counter(
        "marigram_head_checkpoint_corruptions_total",
        "Damaged places met in the checkpoint of the head.",
        stats.checkpoint_corruptions,
    );
}

fn head(families: &mut Families, stats: &Stats) {
    families.gauge(
        "prometheus_tsdb_head_series",
        "Total number of series in the head block.",
        stats.head_series as f64,
    );
    families.counter(
        "prometheus_tsdb_head_samples_appended_total",
        "Total number of appended samples.",
        stats.samples_appended,
    );
    families.gauge("marigram_head_samples", "Samples in the head.", stats.head_samples as f64);
    families.gauge(
        "marigram_head_label_pairs",
        "Distinct label pairs in the head, added up over its shards.",
        stats.head_label_pairs as f64,
    );
    if let Some((min, max)) = stats.head_range {
        families.gauge(
            "prometheus_tsdb_head_min_time",
            "Minimum time of the head block, milliseconds.",
            min as f64,
        );
        families.gauge(
            "prometheus_tsdb_head_max_time",
            "Maximum time of the head block, milliseconds.",
            max as f64,
        );
    }
}

fn exemplars(families: &mut Families, stats: &Stats) {
    families.gauge(
        "prometheus_tsdb_exemplar_exemplars_in_storage",
        "Number of exemplars currently in the head; blocks hold more.",
        stats.exemplars as f64,
    );
    families.gauge(
        "prometheus_tsdb_exemplar_series_with_exemplars_in_storage",
        "Number of series with exemplars currently in the head.",
        stats.exemplar_series as f64,
    );
    families.counter(
        "prometheus_tsdb_exemplar_exemplars_appended_total",
        "Total number of appended exemplars.",
        stats.exemplars_appended,
    );
    let rows = LeftOut::ALL.iter().zip(stats.exemplars_left_out);
    let rows = rows.map(|(r, n)| (vec![("reason", r.name().to_owned())], n as f64)).collect();
    let help = "Exemplars not stored, by reason.";
    families.add("marigram_exemplars_left_out_total", help, Kind::Counter, rows);
}

fn rejections(families: &mut Families, stats: &Stats) {
    let reason = |reason: Rejection| match reason {
        Rejection::OutOfOrder => "out_of_order",
        Rejection::TooOld => "too_old",
        Rejection::OutOfBounds => "out_of_bounds",
        Rejection::DuplicateTimestamp => "duplicate_timestamp",
        Rejection::SeriesLimit => "series_limit",
        Rejection::MetricSeriesLimit => "metric_series_limit",
        Rejection::LabelValuesLimit => "label_values_limit",
        Rejection::NewSeriesRate => "new_series_rate",
    };
    let of = |wanted: Rejection| {
        let at = Rejection::ALL.iter().position(|r| *r == wanted);
        at.map_or(0, |at| stats.samples_rejected[at])
    };
    families.counter(
        "prometheus_tsdb_out_of_order_samples_total",
        "Total number of out of order samples ingestion failed attempts due to out of order being disabled.",
        of(Rejection::OutOfOrder),
    );
    families.counter(
        "prometheus_tsdb_too_old_samples_total",
        "Total number of out of order samples ingestion failed attempts with out of order support enabled, \
         but sample outside of time window.",
        of(Rejection::TooOld),
    );
    families.counter(
        "prometheus_tsdb_out_of_bound_samples_total",
        "Total number of out of bound samples ingestion failed attempts.",
        of(Rejection::OutOfBounds),
    );
    let rows = Rejection::ALL.iter().zip(stats.samples_rejected);
    let rows = rows.map(|(r, n)| (vec![("reason", reason(*r).to_owned())], n as f64)).collect();
    families.add("marigram_samples_rejected_total", "Samples not stored, by reason.", Kind::Counter, rows);
}

fn log(families: &mut Families, stats: &Stats) {
    let sample = |suffix, value| Sample { suffix, labels: Vec::new(), value };
    families.push(
        "prometheus_tsdb_wal_fsync_duration_seconds",
        "Duration of write log fsync.",
        Kind::Summary,
        vec![sample("_sum", stats.wal_fsync_seconds), sample("_count", stats.wal_fsyncs as f64)],
    );
    families.counter(
        "prometheus_tsdb_wal_writes_failed_total",
        "Total number of write log writes that failed, fsyncs included.",
        stats.wal_failures,
    );
    families.counter("marigram_wal_bytes_total", "Bytes written to the log.", stats.wal_bytes);
}
