//! An open block: its map, and selection of series and samples from it.
//!
//! Invariant: a section's or slice's checksum is verified before its bytes are used for the first time.
//! Opening reads the footer only, so that a thousand blocks open in no time.

use super::cache::{DecodedSlice, decoded};
use super::labels::PairNames;
use crate::Error;
use crate::damage::{Broken, Missing, tolerate};
use crate::io::{FileSystem, Mapping};
use crate::snapshot::drop_range;
use roaring::RoaringBitmap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use storage_format::block::{
    BlobRef, BlockView, ExemplarBlob, Footer, PAGE_SERIES, PageView, Pairs, SECTIONS, Section, SliceView,
    Symbols, read_footer, slices,
};
use storage_format::catalog::BlockEntry;
use storage_format::chunk::{histogram, starts, timestamps};
use storage_format::model::{Labels, Samples, TimeRange, Timestamp};
use storage_format::{FormatError, FormatErrorKind};

/// An open block.
#[derive(Debug)]
pub(crate) struct Block {
    path: PathBuf,
    pub(crate) entry: BlockEntry,
    map: Mapping,
    footer: Footer,
    /// Why nothing of it can be read, when that is so.
    broken: Option<Broken>,
    /// The first damage that was met in it.
    damage: OnceLock<String>,
    verified: [OnceLock<Result<(), FormatError>>; SECTIONS],
    slices: OnceLock<Result<Vec<TimeRange>, FormatError>>,
    /// Read when exemplars are asked for.
    pub(super) exemplars: OnceLock<Result<Vec<ExemplarBlob>, FormatError>>,
    /// One bit a slice blob: its checksum is known to be good.
    good_slices: OnceLock<Vec<AtomicU64>>,
}

/// A number that no other selection has.
fn next_identity() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Relaxed)
}

/// One selected series of a block.
#[derive(Debug, Clone)]
pub(crate) struct BlockSeries {
    block: Arc<Block>,
    page: Arc<SelectedPage>,
    place: usize,
    /// What is deleted of it.
    hidden: Option<Arc<[TimeRange]>>,
}

/// A page, and which of its series a query selected.
#[derive(Debug)]
struct SelectedPage {
    view: PageView,
    number: usize,
    selected: Vec<usize>,
    /// Tells selections apart within the process.
    identity: u64,
}

/// From so many selected series of a page on they are decoded together.
const TOGETHER_MIN: usize = 3;

impl Block {
    /// Maps a block's file and checks that its header and footer are whole and that it is the one that
    /// `entry` describes.
    pub(crate) fn open(fs: &dyn FileSystem, path: PathBuf, entry: BlockEntry) -> Result<Self, Error> {
        let map =
            fs.map(&path).map_err(|source| Error::Io { path: path.clone(), operation: "open", source })?;
        let footer = read_footer(&map).map_err(|source| Error::Corrupt { path: path.clone(), source })?;
        let told = (entry.bytes, entry.series, entry.samples, entry.min, entry.max);
        let found = (
            map.len() as u64,
            footer.series,
            footer.floats.wrapping_add(footer.histograms),
            footer.min,
            footer.max,
        );
        if told != found {
            let source = FormatError::new("block", 0, FormatErrorKind::Foreign);
            return Err(Error::Corrupt { path, source });
        }
        Ok(Self {
            path,
            entry,
            map,
            footer,
            broken: None,
            damage: OnceLock::new(),
            verified: Default::default(),
            slices: OnceLock::new(),
            exemplars: OnceLock::new(),
            good_slices: OnceLock::new(),
        })
    }

    /// A block that could not be opened. Whoever reads from it gets an error that names it.
    pub(crate) fn broken(path: PathBuf, entry: BlockEntry, why: &Error) -> Self {
        let sections = [BlobRef { offset: 0, length: 0 }; SECTIONS];
        let footer = Footer {
            series: entry.series,
            floats: 0,
            histograms: 0,
            min: entry.min,
            max: entry.max,
            sections,
        };
        Self {
            path,
            entry,
            map: Mapping::Owned(Arc::from([])),
            footer,
            broken: Some(Broken::of(why)),
            damage: OnceLock::from(why.to_string()),
            verified: Default::default(),
            slices: OnceLock::new(),
            exemplars: OnceLock::new(),
            good_slices: OnceLock::new(),
        }
    }

    /// Its time range.
    pub(crate) fn range(&self) -> TimeRange {
        TimeRange::closed(self.footer.min, self.footer.max)
    }

    /// Number of series.
    pub(crate) fn series_count(&self) -> usize {
        self.footer.series as usize
    }

    /// The error about damage met in this block, which is remembered.
    pub(super) fn corrupt(&self, source: FormatError) -> Error {
        let error = match &self.broken {
            Some(broken) => broken.error(&self.path),
            None => Error::Corrupt { path: self.path.clone(), source },
        };
        self.damage.get_or_init(|| error.to_string());
        error
    }

    /// The first damage met in it, in words that name the file; `None` while it is thought to be whole.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.damage.get().map(String::as_str)
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn view(&self) -> BlockView<'_> {
        BlockView::new(&self.map, &self.footer)
    }

    /// Whether the file could not be opened.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub(super) fn section(&self, section: Section) -> Result<&[u8], FormatError> {
        if self.is_broken() {
            // Whoever turns this into an error takes the block's own words, see `corrupt`.
            return Err(FormatError::truncated("block", 0));
        }
        let view = self.view();
        let at = view.section(section);
        self.verified[section as usize].get_or_init(|| view.blob(at).map(|_| ())).clone()?;
        view.blob_unchecked(at)
    }

    pub(super) fn symbols(&self) -> Result<Symbols<'_>, FormatError> {
        Symbols::new(self.section(Section::Symbols)?)
    }

    pub(super) fn pairs(&self) -> Result<Pairs<'_>, FormatError> {
        Pairs::new(self.section(Section::Pairs)?)
    }

    pub(crate) fn slices(&self) -> Result<&[TimeRange], Error> {
        let read = || self.section(Section::Slices).and_then(slices);
        match self.slices.get_or_init(read) {
            Ok(slices) => Ok(slices),
            Err(e) => Err(self.corrupt(e.clone())),
        }
    }

    pub(super) fn page(&self, number: usize) -> Result<PageView, Error> {
        let slices = self.slices()?.len();
        let read = || {
            let at = BlobRef::of_table(self.section(Section::Pages)?, number)?;
            PageView::read(self.view().blob(at)?, slices)
        };
        read().map_err(|e| self.corrupt(e))
    }

    /// The given series with their labels; with `missing`, those whose page can be read.
    pub(super) fn collect(
        self: &Arc<Self>,
        found: &RoaringBitmap,
        missing: Option<&Missing>,
    ) -> Result<Vec<(Labels, BlockSeries)>, Error> {
        let mut names = PairNames::new(self);
        let mut out = Vec::with_capacity(found.len() as usize);
        let mut ids = found.iter().map(|id| id as usize).peekable();
        while let Some(first) = ids.next() {
            let number = first / PAGE_SERIES;
            let mut selected = vec![first % PAGE_SERIES];
            while let Some(id) = ids.next_if(|id| id / PAGE_SERIES == number) {
                selected.push(id % PAGE_SERIES);
            }
            let Some(view) = tolerate(missing, self.page(number).map(Some))? else { continue };
            let page = Arc::new(SelectedPage { view, number, selected, identity: next_identity() });
            for place in &page.selected {
                let labels = names.labels(page.view.pairs(*place)).map_err(|e| self.corrupt(e));
                let Some(labels) = tolerate(missing, labels.map(Some))? else { continue };
                let series = BlockSeries {
                    block: Arc::clone(self),
                    page: Arc::clone(&page),
                    place: *place,
                    hidden: None,
                };
                out.push((labels, series));
            }
        }
        Ok(out)
    }

    /// Appends the timestamps of a column.
    fn column(&self, number: u32, into: &mut Vec<Timestamp>) -> Result<(), FormatError> {
        let at = BlobRef::of_table(self.section(Section::Columns)?, number as usize)?;
        timestamps::decode(self.view().blob(at)?, into)
    }

    /// The slice blob of a page, verified once.
    fn slice(&self, page: usize, slice: usize, slices: usize, at: BlobRef) -> Result<&[u8], FormatError> {
        let pages = self.series_count().div_ceil(PAGE_SERIES);
        let words = || (0..(pages * slices).div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let good = self.good_slices.get_or_init(words);
        let (word, bit) = ((page * slices + slice) / 64, 1u64 << ((page * slices + slice) % 64));
        if good.get(word).is_some_and(|w| w.load(Relaxed) & bit != 0) {
            return self.view().blob_unchecked(at);
        }
        let blob = self.view().blob(at)?;
        if let Some(word) = good.get(word) {
            word.fetch_or(bit, Relaxed);
        }
        Ok(blob)
    }
}

impl BlockSeries {
    /// Its number in the block.
    pub(crate) fn number(&self) -> u32 {
        (self.page.number * PAGE_SERIES + self.place) as u32
    }

    /// From now on the samples inside these ranges are not read.
    pub(super) fn hide(&mut self, ranges: Arc<[TimeRange]>) {
        self.hidden = Some(ranges);
    }

    /// Appends the samples inside `range` to `into`; with `missing`, those of the slices that can be read.
    pub(crate) fn read(
        &self,
        range: TimeRange,
        missing: Option<&Missing>,
        into: &mut Samples,
    ) -> Result<(), Error> {
        let before = (into.timestamps.len(), into.histograms.len());
        self.read_all(range, missing, into)?;
        for hidden in self.hidden.iter().flat_map(|ranges| ranges.iter()) {
            drop_range(into, before, *hidden);
        }
        Ok(())
    }

    /// As [`BlockSeries::read`], hidden samples included.
    fn read_all(&self, range: TimeRange, missing: Option<&Missing>, into: &mut Samples) -> Result<(), Error> {
        let slices = tolerate(missing, self.block.slices())?;
        for (n, slice) in slices.iter().enumerate() {
            let Some(at) = self.page.view.slices.get(n).copied().flatten() else { continue };
            if !slice.overlaps(&range) {
                continue;
            }
            let before = (into.timestamps.len(), into.histograms.len());
            let read = |into: &mut _, together| {
                self.read_slice(n, slices.len(), at, range, together, into).map_err(|e| self.block.corrupt(e))
            };
            let mut outcome = read(into, true);
            if outcome.is_err() && missing.is_some() {
                // Of series that are decoded together a damaged one must not take the others along.
                into.cut(before.0, before.1);
                outcome = read(into, false);
            }
            if outcome.is_err() {
                into.cut(before.0, before.1);
            }
            tolerate(missing, outcome)?;
        }
        Ok(())
    }

    fn read_slice(
        &self,
        n: usize,
        slices: usize,
        at: BlobRef,
        range: TimeRange,
        together: bool,
        into: &mut Samples,
    ) -> Result<(), FormatError> {
        let blob = self.block.slice(self.page.number, n, slices, at)?;
        let slice = SliceView::read(blob, self.page.view.len())?;
        let base = into.timestamps.len();
        if together && self.page.selected.len() >= TOGETHER_MIN {
            let key = (self.page.identity, n);
            let decoded = decoded(key, || self.decode_selected(&slice))?;
            if let Some((timestamps, values)) = decoded.series(self.place) {
                into.timestamps.extend_from_slice(timestamps);
                into.values.extend_from_slice(values);
            }
        } else if let (Some(column), Some(place)) = (slice.column(self.place), slice.place(self.place)) {
            self.block.column(column, &mut into.timestamps)?;
            slice.group()?.decode(place, &mut into.values)?;
        }
        if into.values.len() != into.timestamps.len() {
            return Err(FormatError::malformed("slice", n));
        }
        if let Some(bytes) = slice.starts(self.place) {
            into.starts.resize(base, 0);
            let times = into.timestamps.get(base..).unwrap_or_default();
            starts::decode(bytes, times, &mut into.starts)?;
        }
        if !into.starts.is_empty() {
            into.starts.resize(into.timestamps.len(), 0);
        }
        keep_range(into, base, range);
        for place in slice.histograms(self.place)? {
            if place.min < range.end && place.max >= range.start {
                let base = into.histograms.len();
                histogram::decode(self.block.view().blob(place.blob)?, &mut into.histograms)?;
                let mut at = 0;
                into.histograms.retain(|sample| {
                    at += 1;
                    at <= base || range.contains(sample.0)
                });
            }
        }
        Ok(())
    }
}

impl BlockSeries {
    /// Decodes the float columns of all selected series of the page.
    fn decode_selected(&self, slice: &SliceView<'_>) -> Result<DecodedSlice, FormatError> {
        let mut out = DecodedSlice { places: vec![None; self.page.view.len()], ..DecodedSlice::default() };
        if self.page.selected.iter().all(|place| slice.column(*place).is_none()) {
            return Ok(out); // Only histograms: there is no group then.
        }
        let group = slice.group()?;
        for place in &self.page.selected {
            let (Some(column), Some(at)) = (slice.column(*place), slice.place(*place)) else { continue };
            let start = out.values.len();
            group.decode(at, &mut out.values)?;
            let length = match out.columns.iter().find(|(n, _)| *n == column) {
                Some((_, known)) => known.len(),
                None => {
                    let mut timestamps = Vec::new();
                    self.block.column(column, &mut timestamps)?;
                    out.columns.push((column, timestamps));
                    out.columns.last().map_or(0, |c| c.1.len())
                }
            };
            if out.values.len() - start != length {
                return Err(FormatError::malformed("slice", *place));
            }
            out.places[*place] = Some((column, start..out.values.len()));
        }
        Ok(out)
    }
}

/// Drops the float samples from place `base` on that lie outside of `range`; they ascend.
pub(crate) fn keep_range(samples: &mut Samples, base: usize, range: TimeRange) {
    let added = &samples.timestamps[base..];
    let first = base + added.partition_point(|t| *t < range.start);
    let end = base + added.partition_point(|t| *t < range.end);
    samples.timestamps.truncate(end);
    samples.values.truncate(end);
    samples.timestamps.drain(base..first.min(end));
    samples.values.drain(base..first.min(end));
    if !samples.starts.is_empty() {
        samples.starts.truncate(end);
        samples.starts.drain(base..first.min(end));
    }
}
