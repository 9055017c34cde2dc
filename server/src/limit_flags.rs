//! The flags that bound what senders may bring: series in memory, and what one series or request may hold.

use clap::Args;
use std::fs;

/// Bytes of memory for each series that the default limit of series allows: labels, index and the samples of
/// up to three hours.
const BYTES_PER_SERIES: u64 = 1024;
const SERIES_MIN: u64 = 100_000;
const SERIES_MAX: u64 = 10_000_000;

/// Limits of series and requests.
#[derive(Debug, Clone, Args)]
pub struct LimitFlags {
    /// Series in memory; new ones above it are refused, known ones go on. 0: one for each 2 KiB of the
    /// machine's or the container's memory, at most 10 million.
    #[arg(long = "storage.series.max", env = "MARIGRAM_STORAGE_SERIES_MAX")]
    #[arg(value_name = "COUNT", default_value_t = 0)]
    pub series: usize,

    /// Series of one metric in memory. 0: half of --storage.series.max.
    #[arg(long = "storage.series.max-per-metric", env = "MARIGRAM_STORAGE_SERIES_MAX_PER_METRIC")]
    #[arg(value_name = "COUNT", default_value_t = 0)]
    pub series_per_metric: usize,

    /// Values of one label in memory; series that would add one are refused. Counted by sampling above
    /// 1,024, within some five percent. 0: half of --storage.series.max.
    #[arg(long = "storage.series.max-values-per-label", value_name = "COUNT", default_value_t = 0)]
    #[arg(env = "MARIGRAM_STORAGE_SERIES_MAX_VALUES_PER_LABEL")]
    pub values_per_label: usize,

    /// New series a second, ten times as many at once; above it senders are told to retry. 0: no limit.
    #[arg(long = "storage.series.max-new-per-second", value_name = "COUNT", default_value_t = 250_000)]
    #[arg(env = "MARIGRAM_STORAGE_SERIES_MAX_NEW_PER_SECOND")]
    pub new_per_second: u32,

    /// Labels of a series.
    #[arg(long = "write.max-labels", env = "MARIGRAM_WRITE_MAX_LABELS", value_name = "COUNT")]
    #[arg(default_value_t = ingest::Limits::REMOTE_WRITE.labels)]
    pub labels: usize,

    /// Bytes of a label name, at most 16,383.
    #[arg(long = "write.max-label-name-bytes", env = "MARIGRAM_WRITE_MAX_LABEL_NAME_BYTES")]
    #[arg(value_name = "BYTES", default_value_t = ingest::Limits::REMOTE_WRITE.name_bytes as u32)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..16_384))]
    pub name_bytes: u32,

    /// Bytes of a label value, at most 2,097,151.
    #[arg(long = "write.max-label-value-bytes", env = "MARIGRAM_WRITE_MAX_LABEL_VALUE_BYTES")]
    #[arg(value_name = "BYTES", default_value_t = ingest::Limits::REMOTE_WRITE.value_bytes as u32)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..2_097_152))]
    pub value_bytes: u32,

    /// Buckets of a native histogram; one with more loses resolution until it fits.
    #[arg(long = "write.max-histogram-buckets", env = "MARIGRAM_WRITE_MAX_HISTOGRAM_BUCKETS")]
    #[arg(value_name = "COUNT", default_value_t = ingest::Limits::REMOTE_WRITE.buckets)]
    pub buckets: usize,

    /// Samples, exemplars and histogram buckets of a request together.
    #[arg(long = "write.max-samples-per-request", env = "MARIGRAM_WRITE_MAX_SAMPLES_PER_REQUEST")]
    #[arg(value_name = "COUNT", default_value_t = ingest::Limits::REMOTE_WRITE.elements)]
    pub samples_per_request: usize,
}

impl LimitFlags {
    /// Limits of one request over the defaults of its protocol.
    #[must_use]
    pub fn request_limits(&self, defaults: ingest::Limits) -> ingest::Limits {
        ingest::Limits {
            labels: self.labels,
            name_bytes: self.name_bytes as usize,
            value_bytes: self.value_bytes as usize,
            label_set_bytes: defaults.label_set_bytes.max(self.value_bytes as usize * 2),
            buckets: self.buckets,
            elements: self.samples_per_request,
            ..defaults
        }
    }
    /// Puts the limits of series into the storage engine's settings.
    pub fn set_engine_options(&self, options: &mut engine::Options) {
        let all = match self.series {
            0 => series_for(memory_bytes()),
            series => series,
        };
        let or_half = |limit: usize| if limit == 0 { all.div_ceil(2) } else { limit };
        options.series_max = all;
        options.series_per_metric_max = or_half(self.series_per_metric);
        options.values_per_label_max = or_half(self.values_per_label);
        options.new_series_per_second = self.new_per_second;
    }
}

/// Series that half of so much memory holds.
fn series_for(memory_bytes: Option<u64>) -> usize {
    let series = memory_bytes.map_or(SERIES_MAX, |bytes| bytes / 2 / BYTES_PER_SERIES);
    series.clamp(SERIES_MIN, SERIES_MAX) as usize
}

/// Memory this process may use: the machine's, or its container's when that is less.
fn memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    });
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    machine.into_iter().chain(container).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_follow_memory() {
        assert_eq!(series_for(None), 10_000_000);
        assert_eq!(series_for(Some(0)), 100_000);
        assert_eq!(series_for(Some(2 << 30)), 1 << 20);
        assert_eq!(series_for(Some(1 << 40)), 10_000_000);
        assert!(memory_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
