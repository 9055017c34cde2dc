//! Head to blocks: the chunks a flush takes, as a source for the block builder.

use crate::Error;
use crate::block::{BlockSource, keep_range};
use crate::defects;
use crate::head::{FlushedSeries, decode_chunk};
use crate::snapshot::{normalize, settle};
use std::path::PathBuf;
use storage_format::model::{Exemplar, Labels, Samples, TimeRange};

/// The taken series, sorted by labels; one window of them.
pub(crate) struct FlushSource<'a> {
    series: &'a [FlushedSeries],
    /// Which of them have chunks or exemplars in the window.
    places: Vec<u32>,
    window: TimeRange,
    next: usize,
    page: std::ops::Range<usize>,
}

impl<'a> FlushSource<'a> {
    /// The series with chunks or exemplars in `window`, which no chunk crosses.
    pub(crate) fn new(series: &'a [FlushedSeries], window: TimeRange) -> Self {
        let inside = |s: &FlushedSeries| {
            s.chunks.iter().any(|chunk| window.contains(chunk.min))
                || s.exemplars.iter().any(|e| window.contains(e.timestamp))
        };
        let places = (0..series.len() as u32).filter(|i| inside(&series[*i as usize])).collect();
        Self { series, places, window, next: 0, page: 0..0 }
    }

    /// Samples in the window of the series that has most.
    pub(crate) fn densest(&self) -> u64 {
        let inside = |i: &u32| {
            let chunks = self.series[*i as usize].chunks.iter().filter(|c| self.window.contains(c.min));
            chunks.map(|chunk| u64::from(chunk.count)).sum()
        };
        self.places.iter().map(inside).max().unwrap_or(0)
    }
}

impl BlockSource for FlushSource<'_> {
    fn next_page(&mut self, limit: usize) -> Result<Vec<Labels>, Error> {
        self.page = self.next..self.places.len().min(self.next + limit);
        self.next = self.page.end;
        let labels = |i: &u32| self.series[*i as usize].labels.clone();
        Ok(self.places[self.page.clone()].iter().map(labels).collect())
    }

    fn read(&mut self, place: usize, slice: TimeRange, into: &mut Samples) -> Result<(), Error> {
        into.clear();
        let series = &self.series[self.places[self.page.start + place] as usize];
        // In-order chunks first: of samples with the same timestamp the first wins.
        for late in [false, true] {
            if late && defects::LATE_DROPPED_AT_FLUSH {
                break;
            }
            for chunk in series.chunks.iter().filter(|c| c.is_late() == late && self.window.contains(c.min)) {
                let before = (into.timestamps.len(), into.histograms.len());
                decode_chunk(&chunk.bytes, chunk.count, chunk.kind, into)
                    .map_err(|source| Error::Corrupt { path: PathBuf::from("head"), source })?;
                settle(into, before);
            }
        }
        normalize(into);
        if slice != self.window {
            keep_range(into, 0, slice);
            into.histograms.retain(|sample| slice.contains(sample.0));
        }
        Ok(())
    }

    fn exemplars(&mut self, place: usize, into: &mut Vec<Exemplar>) -> Result<(), Error> {
        let series = &self.series[self.places[self.page.start + place] as usize];
        into.clear();
        into.extend(series.exemplars.iter().filter(|e| self.window.contains(e.timestamp)).cloned());
        Ok(())
    }
}
