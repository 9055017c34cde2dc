//! A request decoded to its end and not stored: for fuzzing, and for comparing decoders.

use engine::{SeriesEntry, WriteBatch};
use storage_format::model::{Labels, Samples};

/// What a request says.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Series in the order of the request, with their samples; a series may stand there several times.
    pub series: Vec<(Labels, Samples)>,
    /// Samples and histograms, or data points, that were refused.
    pub rejected: u64,
}

impl Decoded {
    /// From the columns of a request and the way to the labels of its series.
    pub(crate) fn new(
        batch: &WriteBatch,
        rejected: u64,
        labels: &mut dyn FnMut(&SeriesEntry) -> Result<Labels, String>,
    ) -> Self {
        let mut decoded = Self { series: Vec::new(), rejected };
        let (mut floats, mut histograms) = (0, 0);
        for entry in &batch.series {
            let (from, until) =
                ((floats, histograms), (entry.floats_end as usize, entry.histograms_end as usize));
            (floats, histograms) = until;
            let Ok(labels) = labels(entry) else {
                decoded.rejected += (until.0 - from.0 + until.1 - from.1) as u64;
                continue;
            };
            let mut samples = Samples::default();
            for at in from.0..until.0 {
                let start = batch.starts.get(at).copied().unwrap_or(0);
                samples.push_float(batch.timestamps[at], start, batch.values[at]);
            }
            samples.histograms.extend_from_slice(&batch.histograms[from.1..until.1]);
            decoded.series.push((labels, samples));
        }
        decoded
    }
}
