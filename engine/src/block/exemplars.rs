//! Exemplars of a block: of the blobs, only those of the wanted series and times are read.

use super::reader::Block;
use crate::select::postings::resolve;
use crate::{Error, Matcher};
use roaring::RoaringBitmap;
use std::collections::VecDeque;
use std::sync::Arc;
use storage_format::FormatError;
use storage_format::block::{ExemplarBlob, Section, exemplar_directory, read_exemplars};
use storage_format::model::{Exemplar, Labels, TimeRange};

impl Block {
    /// Where exemplars stand, by series and time; empty when there are none.
    fn exemplar_blobs(&self) -> Result<&[ExemplarBlob], Error> {
        let read = || {
            if self.view().section(Section::Exemplars).length == 0 && !self.is_broken() {
                return Ok(Vec::new());
            }
            exemplar_directory(self.section(Section::Exemplars)?)
        };
        match self.exemplars.get_or_init(read) {
            Ok(blobs) => Ok(blobs),
            Err(e) => Err(self.corrupt(e.clone())),
        }
    }

    fn read_blob(&self, blob: &ExemplarBlob) -> Result<Vec<(u32, Exemplar)>, Error> {
        let read = || read_exemplars(self.view().blob(blob.place)?);
        read().map_err(|e: FormatError| self.corrupt(e))
    }

    /// Visits the series matched by any of `sets` that have exemplars inside `range`, with these.
    pub(super) fn visit_exemplars(
        self: &Arc<Self>,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        visit: &mut dyn FnMut(Labels, Vec<Exemplar>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let blobs = self.exemplar_blobs()?;
        if blobs.iter().all(|blob| !blob.overlaps(range)) {
            return Ok(());
        }
        let mut wanted = RoaringBitmap::new();
        for set in sets {
            wanted |= resolve(&**self, set)?;
        }
        let mut found: Vec<(u32, Exemplar)> = Vec::new();
        for blob in blobs.iter().filter(|blob| blob.overlaps(range)) {
            if wanted.range_cardinality(blob.first..=blob.last) == 0 {
                continue;
            }
            let inside =
                |(series, e): &(u32, Exemplar)| wanted.contains(*series) && range.contains(e.timestamp);
            found.extend(self.read_blob(blob)?.into_iter().filter(inside));
        }
        let series: RoaringBitmap = found.iter().map(|(series, _)| *series).collect();
        let mut found = found.into_iter().peekable();
        for (labels, series) in self.collect(&series, None)? {
            let mut mine = Vec::new();
            while let Some((_, exemplar)) = found.next_if(|(number, _)| *number == series.number()) {
                mine.push(exemplar);
            }
            visit(labels, mine)?;
        }
        Ok(())
    }
}

/// Reads the exemplars of a block's series one after the other, a blob at a time.
pub(crate) struct ExemplarWalk {
    block: Arc<Block>,
    next: usize,
    ready: VecDeque<(u32, Exemplar)>,
}

impl ExemplarWalk {
    pub(super) fn new(block: &Arc<Block>) -> Self {
        Self { block: Arc::clone(block), next: 0, ready: VecDeque::new() }
    }

    /// Appends the exemplars of a series to `into`; series must be asked for in ascending order.
    pub(crate) fn read(&mut self, series: u32, into: &mut Vec<Exemplar>) -> Result<(), Error> {
        loop {
            while let Some((number, exemplar)) = self.ready.pop_front_if(|(number, _)| *number <= series) {
                if number == series {
                    into.push(exemplar);
                }
            }
            let next = self.block.exemplar_blobs()?.get(self.next).copied();
            let Some(blob) = next.filter(|blob| self.ready.is_empty() && blob.first <= series) else {
                return Ok(());
            };
            self.next += 1;
            if blob.last >= series {
                self.ready.extend(self.block.read_blob(&blob)?);
            }
        }
    }
}
