//! Verifying a block: every checksum, every chunk, every order of its index, and that no byte is left over.

use super::FileCheck;
use hashbrown::HashMap;
use roaring::RoaringBitmap;
use storage_format::FormatError;
use storage_format::block::{
    BlobRef, BlockView, FOOTER_BYTES, Footer, HEADER_BYTES, PAGE_SERIES, PageView, Pairs, PostingsSection,
    Section, SliceView, Symbols, exemplar_directory, read_exemplars, read_footer, slices,
};
use storage_format::catalog::BlockEntry;
use storage_format::chunk::{histogram, starts, timestamps};
use storage_format::model::{Labels, TimeRange, Timestamp};

/// Checks a block against itself and, if the catalog names it, against what it says there.
pub(super) fn check(bytes: &[u8], entry: Option<&BlockEntry>, file: &mut FileCheck) {
    let footer = match read_footer(bytes) {
        Ok(footer) => footer,
        Err(e) => return file.damage(e.offset as u64, e.to_string()),
    };
    let samples = footer.floats.wrapping_add(footer.histograms);
    file.content = format!("{} series, {samples} samples", footer.series);
    let found = (bytes.len() as u64, footer.series, samples, footer.min, footer.max);
    if entry.is_some_and(|e| (e.bytes, e.series, e.samples, e.min, e.max) != found) {
        file.damage(None, "the block is another one than the catalog says");
    }
    let mut walk = Walk { view: BlockView::new(bytes, &footer), footer: &footer, file, blobs: Vec::new() };
    walk.all();
    let mut blobs = walk.blobs;
    // Where something is damaged, what it points to is not known.
    if file.findings.is_empty() {
        no_byte_left_over(&mut blobs, (bytes.len() - FOOTER_BYTES) as u64, file);
    }
}

fn no_byte_left_over(blobs: &mut [BlobRef], end: u64, file: &mut FileCheck) {
    blobs.sort_unstable_by_key(|blob| blob.offset);
    let mut at = HEADER_BYTES as u64;
    for blob in blobs.iter() {
        if blob.offset != at {
            file.damage(at, "nothing points to the bytes here");
            return;
        }
        at = blob.offset.saturating_add(blob.length).saturating_add(4);
    }
    if at != end {
        file.damage(at, "nothing points to the bytes before the footer");
    }
}

/// First and last timestamp and length of a column.
type Extent = (Timestamp, Timestamp, usize);

struct Walk<'a> {
    view: BlockView<'a>,
    footer: &'a Footer,
    file: &'a mut FileCheck,
    blobs: Vec<BlobRef>,
}

impl<'a> Walk<'a> {
    /// A blob that is read here for the first time; damage is noted.
    fn blob(&mut self, what: &str, at: BlobRef) -> Option<&'a [u8]> {
        self.blobs.push(at);
        match self.view.blob(at) {
            Ok(bytes) => Some(bytes),
            Err(e) => {
                self.file.malformed(at.offset, what, &e);
                None
            }
        }
    }

    fn all(&mut self) {
        let section = |walk: &mut Self, section: Section, what| walk.blob(what, walk.view.section(section));
        let symbols = section(self, Section::Symbols, "symbols");
        let pairs = section(self, Section::Pairs, "pairs");
        let postings = section(self, Section::Postings, "postings");
        let pages = section(self, Section::Pages, "page table");
        let columns = section(self, Section::Columns, "column table");
        let cuts = section(self, Section::Slices, "slice table");
        let columns = columns.map(|table| self.columns(table));
        self.exemplars();
        let (Some(symbols), Some(pairs), Some(postings), Some(pages), Some(cuts)) =
            (symbols, pairs, postings, pages, cuts)
        else {
            return;
        };
        let place = |section: Section| self.view.section(section).offset;
        let at = [Section::Symbols, Section::Pairs, Section::Postings, Section::Slices].map(place);
        let cuts = match slices(cuts) {
            Ok(cuts) if !cuts.is_empty() && cuts.windows(2).all(|w| w[0].end <= w[1].start) => cuts,
            _ => return self.file.damage(at[3], "the slice table is malformed"),
        };
        let names = match names(symbols, pairs) {
            Ok(names) => names,
            Err((section, e)) => return self.file.malformed(at[section], "index", &e),
        };
        let wanted = (self.footer.series as usize).div_ceil(PAGE_SERIES);
        if pages.len() != wanted * 12 {
            return self.file.damage(self.view.section(Section::Pages).offset, "the page table is malformed");
        }
        let mut index = vec![RoaringBitmap::new(); names.len()];
        let mut totals = Totals { before: None, next: 0, floats: 0, histograms: 0, times: None };
        for number in 0..wanted {
            let page = BlobRef::of_table(pages, number).ok();
            let Some((page, blob)) = page.and_then(|page| Some((page, self.blob("page", page)?))) else {
                return;
            };
            let view = match PageView::read(blob, cuts.len()) {
                Ok(view) => view,
                Err(e) => return self.file.malformed(page.offset, "page", &e),
            };
            if let Err(e) = totals.add_series(&view, &names, &mut index) {
                return self.file.malformed(page.offset, "page", &e);
            }
            for (n, slice) in cuts.iter().enumerate() {
                let Some(at) = view.slices.get(n).copied().flatten() else { continue };
                let (Some(blob), Some(columns)) = (self.blob("slice", at), &columns) else { continue };
                if let Err(e) = self.slice(blob, view.len(), *slice, columns, &mut totals) {
                    self.file.malformed(at.offset, "slice", &e);
                }
            }
        }
        self.compare(&totals);
        let stored = PostingsSection::new(postings, names.len());
        for (pair, expected) in index.iter().enumerate() {
            match stored.as_ref().map_err(Clone::clone).and_then(|stored| stored.get(pair as u32)) {
                Ok(found) if found == *expected => {}
                Ok(_) => {
                    self.file.damage(at[2], format!("the postings of pair {pair} are others than its series"))
                }
                Err(e) => self.file.malformed(at[2], "postings", &e),
            }
        }
    }

    /// Decodes all exemplars.
    fn exemplars(&mut self) {
        let at = self.view.section(Section::Exemplars);
        if at.length == 0 && at.offset == 0 {
            return;
        }
        let Some(directory) = self.blob("exemplar directory", at) else { return };
        if directory.is_empty() {
            return;
        }
        let blobs = match exemplar_directory(directory) {
            Ok(blobs) => blobs,
            Err(e) => return self.file.malformed(at.offset, "exemplar directory", &e),
        };
        for blob in blobs {
            let read = self.blob("exemplars", blob.place).map(read_exemplars);
            if let Some(Err(e)) = read {
                self.file.malformed(blob.place.offset, "exemplars", &e);
            }
        }
    }

    fn compare(&mut self, totals: &Totals) {
        let Footer { series, floats, histograms, min, max, .. } = *self.footer;
        let found = (totals.next as u64, totals.floats, totals.histograms, totals.times);
        if self.file.findings.is_empty() && found != (series, floats, histograms, Some((min, max))) {
            self.file.damage(None, "footer and content disagree about series, samples or times");
        }
    }

    fn columns(&mut self, table: &[u8]) -> Vec<Option<(BlobRef, Extent)>> {
        let mut out = Vec::new();
        let mut times = Vec::new();
        for n in 0..table.len() / 12 {
            let Ok(at) = BlobRef::of_table(table, n) else { break };
            times.clear();
            let read = self.blob("timestamp column", at).map(|blob| timestamps::decode(blob, &mut times));
            out.push(match (read, times.first(), times.last()) {
                (Some(Ok(())), Some(first), Some(last)) if times.windows(2).all(|w| w[0] < w[1]) => {
                    Some((at, (*first, *last, times.len())))
                }
                (None, ..) => None,
                (Some(read), ..) => {
                    let e = read.err().unwrap_or_else(|| FormatError::malformed("timestamp column", 0));
                    self.file.malformed(at.offset, "timestamp column", &e);
                    None
                }
            });
        }
        out
    }

    /// Decodes everything in a slice.
    fn slice(
        &mut self,
        blob: &[u8],
        series: usize,
        slice: TimeRange,
        columns: &[Option<(BlobRef, Extent)>],
        totals: &mut Totals,
    ) -> Result<(), FormatError> {
        let malformed = |n| FormatError::malformed("slice", n);
        let view = SliceView::read(blob, series)?;
        let with_floats = (0..series).filter(|n| view.column(*n).is_some()).count();
        let group = if with_floats > 0 { Some(view.group()?) } else { None };
        if group.as_ref().is_some_and(|group| group.len() != with_floats) {
            return Err(malformed(0));
        }
        let (mut values, mut times, mut begins, mut samples) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for n in 0..series {
            if let (Some(column), Some(place), Some(group)) = (view.column(n), view.place(n), &group) {
                let known = columns.get(column as usize).ok_or_else(|| malformed(n))?;
                values.clear();
                group.decode(place, &mut values)?;
                // A damaged column was told already.
                if let Some((at, (first, last, count))) = known {
                    if values.len() != *count || !slice.contains(*first) || !slice.contains(*last) {
                        return Err(malformed(n));
                    }
                    totals.add(values.len() as u64, 0, *first, *last);
                    if let Some(bytes) = view.starts(n) {
                        times.clear();
                        begins.clear();
                        timestamps::decode(self.view.blob_unchecked(*at)?, &mut times)?;
                        starts::decode(bytes, &times, &mut begins)?;
                    }
                }
            }
            for place in view.histograms(n)? {
                let Some(blob) = self.blob("histogram chunk", place.blob) else { continue };
                samples.clear();
                histogram::decode(blob, &mut samples)?;
                let ends = samples.first().map(|s| s.0).zip(samples.last().map(|s| s.0));
                let ascends = samples.windows(2).all(|w| w[0].0 < w[1].0);
                if ends != Some((place.min, place.max)) || !ascends || !slice.contains(place.min) {
                    return Err(malformed(n));
                }
                totals.add(0, samples.len() as u64, place.min, place.max);
            }
        }
        Ok(())
    }
}

/// What was counted.
struct Totals {
    /// Labels of the series before.
    before: Option<Labels>,
    /// Number of the next series.
    next: u32,
    floats: u64,
    histograms: u64,
    times: Option<(Timestamp, Timestamp)>,
}

impl Totals {
    fn add(&mut self, floats: u64, histograms: u64, first: Timestamp, last: Timestamp) {
        self.floats += floats;
        self.histograms += histograms;
        let (min, max) = self.times.unwrap_or((first, last));
        self.times = Some((min.min(first), max.max(last)));
    }

    /// Takes a page's series into `index`; they must ascend by labels.
    fn add_series(
        &mut self,
        page: &PageView,
        names: &[(String, String)],
        index: &mut [RoaringBitmap],
    ) -> Result<(), FormatError> {
        for n in 0..page.len() {
            let malformed = || FormatError::malformed("labels of a series", n);
            let mut labels: Vec<(&str, &str)> = Vec::new();
            for pair in page.pairs(n) {
                let (name, value) = names.get(*pair as usize).ok_or_else(malformed)?;
                index[*pair as usize].insert(self.next);
                labels.push((name, value));
            }
            if labels.windows(2).any(|w| w[0].0 >= w[1].0) {
                return Err(malformed());
            }
            let labels = Labels::from_sorted(labels);
            if self.before.as_ref().is_some_and(|before| *before >= labels) {
                return Err(malformed());
            }
            self.before = Some(labels);
            self.next += 1;
        }
        Ok(())
    }
}

/// Name and value of each pair; which section is wrong (0 symbols, 1 pairs) when they are none.
fn names(symbols: &[u8], pairs: &[u8]) -> Result<Vec<(String, String)>, (usize, FormatError)> {
    let of_symbols = |e| (0, e);
    let symbols = Symbols::new(symbols).map_err(of_symbols)?;
    let mut texts: Vec<String> = Vec::with_capacity(symbols.len());
    for n in 0..symbols.len() {
        let mut text = String::new();
        symbols.get(n as u32, &mut text).map_err(of_symbols)?;
        if texts.last().is_some_and(|before| *before >= text) {
            return Err((0, FormatError::malformed("order of symbols", n)));
        }
        texts.push(text);
    }
    let of_pairs = |e| (1, e);
    let malformed = |n| (1, FormatError::malformed("order of pairs", n));
    let pairs = Pairs::new(pairs).map_err(of_pairs)?;
    let mut ids = Vec::with_capacity(pairs.len());
    for pair in 0..pairs.len() {
        ids.push(pairs.get(pair as u32).map_err(of_pairs)?);
    }
    // The order lists each pair once, by name and value, and the names lead to their ranges of it.
    let order: Vec<u32> = (0..pairs.len()).map(|place| pairs.at(place)).collect();
    let key = |pair: &u32| ids.get(*pair as usize).copied();
    if order.iter().any(|pair| key(pair).is_none()) || order.windows(2).any(|w| key(&w[0]) >= key(&w[1])) {
        return Err(malformed(0));
    }
    let mut by_name: HashMap<u32, std::ops::Range<usize>> = HashMap::new();
    for (place, pair) in order.iter().enumerate() {
        let name = ids[*pair as usize].0;
        by_name.entry(name).or_insert(place..place).end = place + 1;
    }
    for n in 0..pairs.name_count() {
        let (name, range) = pairs.name(n);
        if by_name.remove(&name) != Some(range) {
            return Err(malformed(n));
        }
    }
    if !by_name.is_empty() {
        return Err(malformed(pairs.name_count()));
    }
    let text = |symbol: u32| texts.get(symbol as usize).cloned().ok_or_else(|| malformed(0));
    ids.iter().map(|(name, value)| Ok((text(*name)?, text(*value)?))).collect()
}
