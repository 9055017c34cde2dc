//! Writing a block: pages of sorted series in, bytes out, in one pass.
//!
//! The caller drains [`BlockWriter::output`] into a file as it goes. Memory grows with series, label pairs
//! and distinct timestamp columns, not with samples.

use super::exemplars::ExemplarWriter;
use super::index::{put_pairs, put_postings, put_symbols};
use super::{FOOTER_BYTES, HEADER_BYTES, MAGIC, PAGE_SERIES, SECTIONS, Section, blob_crc};
use crate::bytes::{put_varint, put_varint_signed};
use crate::chunk::values::GroupEncoder;
use crate::chunk::{histogram, starts, timestamps};
use crate::model::{Exemplar, Labels, Samples, TimeRange, Timestamp};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use xxhash_rust::xxh3::xxh3_128;

/// Builds one block.
#[derive(Debug)]
pub struct BlockWriter {
    output: Vec<u8>,
    /// File offset of `output`'s first byte.
    drained: u64,
    slices: Vec<TimeRange>,
    pages: Vec<(u64, u32)>,
    columns: Vec<(u64, u32)>,
    column_ids: HashMap<u128, u32>,
    pair_ids: HashMap<(u32, u32), u32>,
    /// Strings in the order of their first use.
    strings: HashMap<Box<str>, u32>,
    postings: Vec<RoaringBitmap>,
    series: u32,
    floats: u64,
    histograms: u64,
    /// Floats so far of each series of the page being written, and of the series with most of them.
    page_floats: Vec<u64>,
    densest: u64,
    min: Timestamp,
    max: Timestamp,
    exemplars: ExemplarWriter,
    scratch: Samples,
}

impl BlockWriter {
    /// A block over these slices: ascending, not overlapping, at least one, none with more than
    /// `chunk::MAX_SAMPLES` floats of one series (which a slice of no more milliseconds cannot have).
    #[must_use]
    pub fn new(slices: Vec<TimeRange>) -> Self {
        let mut output = vec![0; HEADER_BYTES];
        output[..8].copy_from_slice(&MAGIC);
        let crc = crc32c::crc32c(&output[..12]);
        output[12..].copy_from_slice(&crc.to_le_bytes());
        Self {
            output,
            drained: 0,
            slices,
            pages: Vec::new(),
            columns: Vec::new(),
            column_ids: HashMap::new(),
            pair_ids: HashMap::new(),
            strings: HashMap::new(),
            postings: Vec::new(),
            series: 0,
            floats: 0,
            histograms: 0,
            page_floats: Vec::new(),
            densest: 0,
            min: i64::MAX,
            max: i64::MIN,
            exemplars: ExemplarWriter::default(),
            scratch: Samples::default(),
        }
    }

    /// Bytes to be appended to the file; the caller takes them all.
    pub fn output(&mut self) -> Vec<u8> {
        self.drained += self.output.len() as u64;
        std::mem::take(&mut self.output)
    }

    /// Samples written so far.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.floats + self.histograms
    }

    /// Float samples so far of the series that has most of them.
    #[must_use]
    pub fn densest(&self) -> u64 {
        self.densest
    }

    /// First and last timestamp written so far, when there is one.
    #[must_use]
    pub fn time_span(&self) -> Option<(Timestamp, Timestamp)> {
        (self.min <= self.max).then_some((self.min, self.max))
    }

    fn offset(&self) -> u64 {
        self.drained + self.output.len() as u64
    }

    fn put_blob(&mut self, bytes: &[u8]) -> (u64, u32) {
        let offset = self.offset();
        self.output.extend_from_slice(bytes);
        self.output.extend_from_slice(&blob_crc(offset, bytes).to_le_bytes());
        (offset, bytes.len() as u32)
    }

    /// Adds the next page: exactly [`PAGE_SERIES`] series, fewer only for the last page, sorted behind all
    /// added before. `read` replaces its last argument by the samples of the given series (by its place in
    /// `labels`) inside the given slice.
    ///
    /// # Errors
    /// What `read` fails with.
    pub fn add_page<E>(
        &mut self,
        labels: &[Labels],
        read: &mut dyn FnMut(usize, TimeRange, &mut Samples) -> Result<(), E>,
    ) -> Result<(), E> {
        debug_assert!(labels.len() <= PAGE_SERIES && self.series as usize == self.pages.len() * PAGE_SERIES);
        let mut page = Vec::new();
        self.put_labels(labels, &mut page);
        let mut samples = std::mem::take(&mut self.scratch);
        self.page_floats.clear();
        self.page_floats.resize(labels.len(), 0);
        for slice in self.slices.clone() {
            let place = self.put_slice(labels.len(), slice, &mut samples, read)?;
            put_varint(&mut page, place.map_or(0, |(offset, _)| offset));
            if let Some((_, length)) = place {
                put_varint(&mut page, u64::from(length));
            }
        }
        self.scratch = samples;
        let place = self.put_blob(&page);
        self.pages.push(place);
        self.series += labels.len() as u32;
        Ok(())
    }

    /// Adds the exemplars of a series by its number in the block: ascending, no series twice, sorted and
    /// without repetitions (`Exemplar::settle`). The series must be in a page that was added.
    pub fn add_exemplars(&mut self, series: u32, exemplars: &[Exemplar]) {
        debug_assert!(series < self.series);
        if let (Some(first), Some(last)) = (exemplars.first(), exemplars.last()) {
            self.min = self.min.min(first.timestamp);
            self.max = self.max.max(last.timestamp);
        }
        for part in ExemplarWriter::parts(exemplars) {
            if self.exemplars.add(series, part) {
                self.end_exemplars();
            }
        }
    }

    /// Writes the exemplar blob that was begun, if there is one.
    fn end_exemplars(&mut self) {
        if let Some(blob) = self.exemplars.take_blob() {
            let place = self.put_blob(&blob);
            self.exemplars.placed(place);
        }
    }

    fn put_labels(&mut self, labels: &[Labels], page: &mut Vec<u8>) {
        put_varint(page, labels.len() as u64);
        let (mut before, mut pairs) = (Vec::new(), Vec::new());
        for (i, labels) in labels.iter().enumerate() {
            pairs.clear();
            for (name, value) in labels {
                let pair = self.pair(name, value);
                self.postings[pair as usize].insert(self.series + i as u32);
                pairs.push(pair);
            }
            let shared = before.iter().zip(&pairs).take_while(|(a, b)| a == b).count();
            put_varint(page, shared as u64);
            put_varint(page, (pairs.len() - shared) as u64);
            pairs[shared..].iter().for_each(|pair| put_varint(page, u64::from(*pair)));
            std::mem::swap(&mut before, &mut pairs);
        }
    }

    fn string(&mut self, text: &str) -> u32 {
        if let Some(n) = self.strings.get(text) {
            return *n;
        }
        let n = self.strings.len() as u32;
        self.strings.insert(text.into(), n);
        n
    }

    fn pair(&mut self, name: &str, value: &str) -> u32 {
        let key = (self.string(name), self.string(value));
        let next = self.postings.len() as u32;
        let pair = *self.pair_ids.entry(key).or_insert(next);
        if pair == next {
            self.postings.push(RoaringBitmap::new());
        }
        pair
    }

    /// Writes the samples of a page over one slice; `None` when there are none.
    fn put_slice<E>(
        &mut self,
        series: usize,
        slice: TimeRange,
        samples: &mut Samples,
        read: &mut dyn FnMut(usize, TimeRange, &mut Samples) -> Result<(), E>,
    ) -> Result<Option<(u64, u32)>, E> {
        let (mut head, mut extras, mut extra_count) = (Vec::new(), Vec::new(), 0u64);
        let mut group = GroupEncoder::new();
        let mut before = 0i64;
        for i in 0..series {
            read(i, slice, samples)?;
            if samples.timestamps.is_empty() {
                put_varint(&mut head, 0);
            } else {
                let column = i64::from(self.column(&samples.timestamps));
                put_varint(&mut head, crate::bytes::zigzag(column - before) + 1);
                before = column;
                group.push(&samples.values);
                self.floats += samples.timestamps.len() as u64;
                self.page_floats[i] += samples.timestamps.len() as u64;
                self.densest = self.densest.max(self.page_floats[i]);
            }
            if samples.starts.iter().any(|s| *s != 0) {
                let mut bytes = Vec::new();
                starts::encode(&samples.starts, &samples.timestamps, &mut bytes);
                extra_count += 1;
                put_extra(&mut extras, i, 0, &bytes);
            }
            let mut rest = samples.histograms.as_slice();
            while !rest.is_empty() {
                let (run, more) = rest.split_at(histogram::fitting(rest).max(1));
                let mut bytes = Vec::new();
                histogram::encode(run, &mut bytes);
                let (offset, length) = self.put_blob(&bytes);
                let mut place = Vec::new();
                put_varint(&mut place, offset);
                put_varint(&mut place, u64::from(length));
                put_varint(&mut place, run.len() as u64);
                put_varint_signed(&mut place, run[0].0);
                put_varint(&mut place, run[run.len() - 1].0.wrapping_sub(run[0].0) as u64);
                extra_count += 1;
                put_extra(&mut extras, i, 1, &place);
                rest = more;
            }
            self.histograms += samples.histograms.len() as u64;
            self.widen(samples);
        }
        if group.is_empty() && extra_count == 0 {
            return Ok(None);
        }
        let mut blob = head;
        put_varint(&mut blob, extra_count);
        blob.extend_from_slice(&extras);
        if !group.is_empty() {
            blob.extend_from_slice(&group.finish());
        }
        Ok(Some(self.put_blob(&blob)))
    }

    fn widen(&mut self, samples: &Samples) {
        let firsts = [samples.timestamps.first().copied(), samples.histograms.first().map(|h| h.0)];
        let lasts = [samples.timestamps.last().copied(), samples.histograms.last().map(|h| h.0)];
        firsts.into_iter().flatten().for_each(|t| self.min = self.min.min(t));
        lasts.into_iter().flatten().for_each(|t| self.max = self.max.max(t));
    }

    /// The number of a timestamp column; writes it when its content is new.
    fn column(&mut self, column: &[Timestamp]) -> u32 {
        let mut bytes = Vec::new();
        timestamps::encode(column, &mut bytes);
        let key = xxh3_128(&bytes);
        if let Some(id) = self.column_ids.get(&key) {
            return *id;
        }
        let place = self.put_blob(&bytes);
        let id = self.columns.len() as u32;
        self.columns.push(place);
        self.column_ids.insert(key, id);
        id
    }

    /// Writes the sections and the footer. Drain [`BlockWriter::output`] once more behind it.
    pub fn finish(&mut self) {
        self.end_exemplars();
        let mut section = Vec::new();
        let mut places = [(0u64, 0u64); SECTIONS];
        let mut sorted: Vec<(&str, u32)> = self.strings.iter().map(|(s, n)| (&**s, *n)).collect();
        sorted.sort_unstable();
        put_symbols(sorted.iter().map(|(s, _)| *s), &mut section);
        let mut symbol_of = vec![0u32; sorted.len()];
        for (symbol, (_, string)) in sorted.iter().enumerate() {
            symbol_of[*string as usize] = symbol as u32;
        }
        let mut pairs = vec![(0, 0); self.pair_ids.len()];
        for ((name, value), pair) in &self.pair_ids {
            pairs[*pair as usize] = (symbol_of[*name as usize], symbol_of[*value as usize]);
        }
        let mut postings = std::mem::take(&mut self.postings);
        let place = |writer: &mut Self, section: &mut Vec<u8>| {
            let (offset, _) = writer.put_blob(section);
            let length = section.len() as u64;
            section.clear();
            (offset, length)
        };
        places[Section::Symbols as usize] = place(self, &mut section);
        put_pairs(&pairs, &mut section);
        places[Section::Pairs as usize] = place(self, &mut section);
        put_postings(&mut postings, &mut section);
        places[Section::Postings as usize] = place(self, &mut section);
        for table in [Section::Pages, Section::Columns] {
            let entries = if table == Section::Pages { &self.pages } else { &self.columns };
            for (offset, length) in entries {
                section.extend_from_slice(&offset.to_le_bytes());
                section.extend_from_slice(&length.to_le_bytes());
            }
            places[table as usize] = place(self, &mut section);
        }
        for slice in &self.slices {
            section.extend_from_slice(&slice.start.to_le_bytes());
            section.extend_from_slice(&slice.end.to_le_bytes());
        }
        places[Section::Slices as usize] = place(self, &mut section);
        self.exemplars.put_directory(&mut section);
        if !section.is_empty() {
            places[Section::Exemplars as usize] = place(self, &mut section);
        }
        self.put_footer(&places);
    }

    fn put_footer(&mut self, places: &[(u64, u64); SECTIONS]) {
        let at = self.output.len();
        self.output.extend_from_slice(&MAGIC);
        let (min, max) = self.time_span().unwrap_or((0, -1));
        let counts = [u64::from(self.series), self.floats, self.histograms, min as u64, max as u64];
        let places = places.iter().flat_map(|(offset, length)| [*offset, *length]);
        for word in counts.into_iter().chain(places) {
            self.output.extend_from_slice(&word.to_le_bytes());
        }
        self.output.resize(at + FOOTER_BYTES - 4, 0);
        let crc = crc32c::crc32c(&self.output[at..]);
        self.output.extend_from_slice(&crc.to_le_bytes());
    }
}

/// Appends an extra of a slice blob: place of the series varint, kind u8, length varint, bytes.
fn put_extra(extras: &mut Vec<u8>, series: usize, kind: u8, bytes: &[u8]) {
    put_varint(extras, series as u64);
    extras.push(kind);
    put_varint(extras, bytes.len() as u64);
    extras.extend_from_slice(bytes);
}
