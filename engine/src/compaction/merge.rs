//! Blocks to a larger block: a walk over the sources' series in label order.
//!
//! Memory: one page of series of each source and the decoded slices of it, however long the blocks are.

use crate::Error;
use crate::block::{BlockSeries, BlockSource, ExemplarWalk, LiveBlock};
use crate::snapshot::{normalize, settle};
use roaring::RoaringBitmap;
use std::collections::VecDeque;
use std::sync::Arc;
use storage_format::block::PAGE_SERIES;
use storage_format::model::{Exemplar, Labels, Samples, TimeRange};

/// One source: the series not handed on yet.
struct Cursor {
    block: Arc<LiveBlock>,
    next: u32,
    ready: VecDeque<(Labels, BlockSeries)>,
    exemplars: ExemplarWalk,
}

impl Cursor {
    /// Labels of the next series.
    fn peek(&mut self) -> Result<Option<&Labels>, Error> {
        let end = self.block.series_count() as u32;
        while self.ready.is_empty() && self.next < end {
            let mut page = RoaringBitmap::new();
            page.insert_range(self.next..end.min(self.next + PAGE_SERIES as u32));
            self.next = end.min(self.next + PAGE_SERIES as u32);
            self.ready.extend(self.block.collect(page, None)?);
        }
        Ok(self.ready.front().map(|(labels, _)| labels))
    }
}

/// What the blocks have of a series, with the number of the block's cursor.
type Pieces = Vec<(usize, BlockSeries)>;

/// The series of several blocks, those of the same labels together.
pub(crate) struct MergeSource {
    cursors: Vec<Cursor>,
    /// Of each series of the page.
    page: Vec<Pieces>,
}

impl MergeSource {
    /// Over blocks in the order of their ranks: of samples with the same timestamp the first block's hold.
    pub(crate) fn new(blocks: Vec<Arc<LiveBlock>>) -> Self {
        let cursor = |block: Arc<LiveBlock>| Cursor {
            exemplars: block.exemplars(),
            block,
            next: 0,
            ready: VecDeque::new(),
        };
        let cursors = blocks.into_iter().map(cursor).collect();
        Self { cursors, page: Vec::new() }
    }

    fn next_series(&mut self) -> Result<Option<(Labels, Pieces)>, Error> {
        let mut least: Option<Labels> = None;
        for cursor in &mut self.cursors {
            if let Some(labels) = cursor.peek()?
                && least.as_ref().is_none_or(|least| labels < least)
            {
                least = Some(labels.clone());
            }
        }
        let Some(labels) = least else { return Ok(None) };
        let same = |(n, cursor): (usize, &mut Cursor)| {
            cursor.ready.pop_front_if(|(l, _)| *l == labels).map(|(_, series)| (n, series))
        };
        let pieces = self.cursors.iter_mut().enumerate().filter_map(same).collect();
        Ok(Some((labels, pieces)))
    }
}

impl BlockSource for MergeSource {
    fn next_page(&mut self, limit: usize) -> Result<Vec<Labels>, Error> {
        self.page.clear();
        let mut page = Vec::new();
        while page.len() < limit {
            let Some((labels, pieces)) = self.next_series()? else { break };
            page.push(labels);
            self.page.push(pieces);
        }
        Ok(page)
    }

    fn read(&mut self, place: usize, slice: TimeRange, into: &mut Samples) -> Result<(), Error> {
        into.clear();
        for (_, piece) in &self.page[place] {
            let before = (into.timestamps.len(), into.histograms.len());
            piece.read(slice, None, into)?;
            settle(into, before);
        }
        normalize(into);
        Ok(())
    }

    fn exemplars(&mut self, place: usize, into: &mut Vec<Exemplar>) -> Result<(), Error> {
        into.clear();
        for (cursor, piece) in &self.page[place] {
            self.cursors[*cursor].exemplars.read(piece.number(), into)?;
        }
        if self.page[place].len() > 1 {
            Exemplar::settle(into);
        }
        Ok(())
    }
}
