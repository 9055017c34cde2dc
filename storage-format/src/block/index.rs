//! The index sections of a block: symbols, pairs, postings. Written once, read in place.
//!
//! Symbols: number varint · for runs of 16 sorted strings: each shared length with the one before varint
//! (0 for the first of a run), rest length varint, rest · then, at the end, the offset of each run u32.
//! Pairs: number of names u32 · number of pairs u32 · names, sorted: symbol u32, end of its range in the
//! order u32 · order: pair numbers u32 sorted by (name, value) · pairs by number: name symbol u32, value
//! symbol u32. Postings: per pair the end offset of its list u32 · lists, each: 0 and delta varints, or 1
//! and a serialized roaring bitmap.

use crate::bytes::{Cursor, put_varint};
use crate::error::FormatError;
use roaring::RoaringBitmap;
use std::cmp::Ordering;

const RUN: usize = 16;
/// Lists up to this length are written as deltas.
const DELTAS_MAX: u64 = 24;

fn u32_at(bytes: &[u8], at: usize, what: &'static str) -> Result<u32, FormatError> {
    let word = bytes.get(at..at + 4).ok_or(FormatError::truncated(what, at))?;
    Ok(u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

/// Encodes sorted strings.
pub(super) fn put_symbols<'a>(symbols: impl ExactSizeIterator<Item = &'a str>, out: &mut Vec<u8>) {
    put_varint(out, symbols.len() as u64);
    let (mut offsets, mut before) = (Vec::new(), "");
    for (i, symbol) in symbols.enumerate() {
        if i % RUN == 0 {
            offsets.push(out.len() as u32);
            before = "";
        }
        let shared = before.bytes().zip(symbol.bytes()).take_while(|(a, b)| a == b).count();
        put_varint(out, shared as u64);
        put_varint(out, (symbol.len() - shared) as u64);
        out.extend_from_slice(&symbol.as_bytes()[shared..]);
        before = symbol;
    }
    for offset in offsets {
        out.extend_from_slice(&offset.to_le_bytes());
    }
}

/// The symbols of a block.
#[derive(Debug, Clone, Copy)]
pub struct Symbols<'a> {
    bytes: &'a [u8],
    count: usize,
    runs: usize,
}

impl<'a> Symbols<'a> {
    /// Over the bytes of the section.
    ///
    /// # Errors
    /// When they are too short for what they say.
    pub fn new(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let count = Cursor::new("symbols", bytes).varint()?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let runs = count.div_ceil(RUN);
        if count > bytes.len() || runs * 4 > bytes.len() {
            return Err(FormatError::truncated("symbols", bytes.len()));
        }
        Ok(Self { bytes, count, runs })
    }

    /// Number of symbols.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn run(&self, run: usize) -> Result<Cursor<'a>, FormatError> {
        let table = self.bytes.len() - self.runs * 4;
        let offset = u32_at(self.bytes, table + run * 4, "symbols")? as usize;
        let bytes = self.bytes.get(offset..table).ok_or(FormatError::malformed("symbols", offset))?;
        Ok(Cursor::new("symbols", bytes))
    }

    fn next(cursor: &mut Cursor<'a>, text: &mut Vec<u8>) -> Result<(), FormatError> {
        let shared = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
        let rest = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
        if shared > text.len() {
            return Err(cursor.malformed());
        }
        text.truncate(shared);
        text.extend_from_slice(cursor.take(rest)?);
        Ok(())
    }

    /// Replaces `text` by symbol `n`.
    ///
    /// # Errors
    /// When there is no such symbol or the section is malformed.
    pub fn get(&self, n: u32, text: &mut String) -> Result<(), FormatError> {
        if n as usize >= self.count {
            return Err(FormatError::malformed("symbol number", n as usize));
        }
        let mut cursor = self.run(n as usize / RUN)?;
        let mut bytes = std::mem::take(text).into_bytes();
        bytes.clear();
        for _ in 0..=n as usize % RUN {
            Self::next(&mut cursor, &mut bytes)?;
        }
        *text = String::from_utf8(bytes).map_err(|_| cursor.malformed())?;
        Ok(())
    }

    /// The number of a string: `Ok` when it is there, `Err` with the number of the first greater one.
    ///
    /// # Errors
    /// The outer result: when the section is malformed.
    pub fn find(&self, wanted: &str) -> Result<Result<u32, u32>, FormatError> {
        let (mut low, mut high) = (0, self.runs);
        let mut text = Vec::new();
        while low < high {
            let middle = (low + high) / 2;
            text.clear();
            Self::next(&mut self.run(middle)?, &mut text)?;
            if text.as_slice() <= wanted.as_bytes() { low = middle + 1 } else { high = middle }
        }
        let Some(run) = low.checked_sub(1) else { return Ok(Err(0)) };
        let mut cursor = self.run(run)?;
        text.clear();
        for n in run * RUN..self.count.min((run + 1) * RUN) {
            Self::next(&mut cursor, &mut text)?;
            match text.as_slice().cmp(wanted.as_bytes()) {
                Ordering::Less => {}
                Ordering::Equal => return Ok(Ok(n as u32)),
                Ordering::Greater => return Ok(Err(n as u32)),
            }
        }
        Ok(Err(self.count.min((run + 1) * RUN) as u32))
    }
}

/// Reads symbols whose numbers mostly ascend: what was read before is the way to what comes next.
#[derive(Debug)]
pub struct SymbolWalk<'a> {
    symbols: Symbols<'a>,
    cursor: Cursor<'a>,
    /// The number of the symbol that the cursor stands before.
    next: usize,
    text: Vec<u8>,
}

impl<'a> SymbolWalk<'a> {
    /// At the first symbol.
    #[must_use]
    pub fn new(symbols: Symbols<'a>) -> Self {
        Self { symbols, cursor: Cursor::new("symbols", &[]), next: usize::MAX, text: Vec::new() }
    }

    /// Symbol `n`.
    ///
    /// # Errors
    /// When there is no such symbol or the section is malformed.
    pub fn get(&mut self, n: u32) -> Result<&str, FormatError> {
        let n = n as usize;
        if n >= self.symbols.count {
            return Err(FormatError::malformed("symbol number", n));
        }
        let run = n / RUN * RUN;
        if self.next > n || self.next <= run {
            self.cursor = self.symbols.run(n / RUN)?;
            self.text.clear();
            self.next = run;
        }
        while self.next <= n {
            Symbols::next(&mut self.cursor, &mut self.text)?;
            self.next += 1;
        }
        std::str::from_utf8(&self.text).map_err(|_| self.cursor.malformed())
    }
}

/// Encodes pairs: (name symbol, value symbol) by number.
pub(super) fn put_pairs(pairs: &[(u32, u32)], out: &mut Vec<u8>) {
    let mut order: Vec<u32> = (0..pairs.len() as u32).collect();
    order.sort_unstable_by_key(|n| pairs[*n as usize]);
    let mut names: Vec<(u32, u32)> = Vec::new();
    for (i, n) in order.iter().enumerate() {
        let name = pairs[*n as usize].0;
        match names.last_mut() {
            Some((last, end)) if *last == name => *end = i as u32 + 1,
            _ => names.push((name, i as u32 + 1)),
        }
    }
    let mut put = |n: u32| out.extend_from_slice(&n.to_le_bytes());
    put(names.len() as u32);
    put(pairs.len() as u32);
    names.iter().for_each(|(name, end)| [*name, *end].into_iter().for_each(&mut put));
    order.into_iter().for_each(&mut put);
    pairs.iter().for_each(|(name, value)| [*name, *value].into_iter().for_each(&mut put));
}

/// The label pairs of a block.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a> {
    bytes: &'a [u8],
    names: usize,
    pairs: usize,
}

impl<'a> Pairs<'a> {
    /// Over the bytes of the section.
    ///
    /// # Errors
    /// When they are too short for what they say.
    pub fn new(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let (names, pairs) = (u32_at(bytes, 0, "pairs")? as usize, u32_at(bytes, 4, "pairs")? as usize);
        if bytes.len() != 8 + names * 8 + pairs * 12 {
            return Err(FormatError::malformed("pairs", 0));
        }
        Ok(Self { bytes, names, pairs })
    }

    /// Number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs == 0
    }

    /// Number of label names.
    #[must_use]
    pub fn name_count(&self) -> usize {
        self.names
    }

    fn word(&self, at: usize) -> u32 {
        u32_at(self.bytes, at, "pairs").unwrap_or(u32::MAX)
    }

    /// The symbol of the `n`-th name and the range of its pairs in the order.
    #[must_use]
    pub fn name(&self, n: usize) -> (u32, std::ops::Range<usize>) {
        let start = if n == 0 { 0 } else { self.word(8 + (n - 1) * 8 + 4) as usize };
        let end = (self.word(8 + n * 8 + 4) as usize).min(self.pairs);
        (self.word(8 + n * 8), start.min(end)..end)
    }

    /// The range in the order of the pairs whose name is this symbol.
    #[must_use]
    pub fn range_of(&self, name: u32) -> std::ops::Range<usize> {
        let (mut low, mut high) = (0, self.names);
        while low < high {
            let middle = (low + high) / 2;
            if self.word(8 + middle * 8) < name { low = middle + 1 } else { high = middle }
        }
        if low < self.names && self.word(8 + low * 8) == name { self.name(low).1 } else { 0..0 }
    }

    /// The pair at a place of the order.
    #[must_use]
    pub fn at(&self, place: usize) -> u32 {
        self.word(8 + self.names * 8 + place * 4)
    }

    /// Name and value symbol of a pair.
    ///
    /// # Errors
    /// When there is no such pair.
    pub fn get(&self, pair: u32) -> Result<(u32, u32), FormatError> {
        if pair as usize >= self.pairs {
            return Err(FormatError::malformed("pair number", pair as usize));
        }
        let at = 8 + self.names * 8 + self.pairs * 4 + pair as usize * 8;
        Ok((self.word(at), self.word(at + 4)))
    }

    /// First place in `range` whose value symbol is not less than `value`.
    #[must_use]
    pub fn lower_bound(&self, range: std::ops::Range<usize>, value: u32) -> usize {
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = (low + high) / 2;
            let at = self.get(self.at(middle)).map_or(u32::MAX, |pair| pair.1);
            if at < value { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// Encodes postings by pair number.
pub(super) fn put_postings(postings: &mut [RoaringBitmap], out: &mut Vec<u8>) {
    let (mut lists, mut ends) = (Vec::new(), Vec::new());
    for list in postings.iter_mut() {
        list.optimize();
        let mut deltas = vec![0];
        if list.len() <= DELTAS_MAX {
            let mut before = 0;
            for n in list.iter() {
                put_varint(&mut deltas, u64::from(n - before));
                before = n;
            }
        }
        let roaring = 1 + list.serialized_size();
        if list.len() <= DELTAS_MAX && deltas.len() <= roaring {
            lists.extend_from_slice(&deltas);
        } else {
            lists.push(1);
            list.serialize_into(&mut lists).expect("writing to memory cannot fail");
        }
        ends.push(lists.len() as u32);
    }
    ends.iter().for_each(|end| out.extend_from_slice(&end.to_le_bytes()));
    out.extend_from_slice(&lists);
}

/// The postings of a block.
#[derive(Debug, Clone, Copy)]
pub struct PostingsSection<'a> {
    bytes: &'a [u8],
    pairs: usize,
}

impl<'a> PostingsSection<'a> {
    /// Over the bytes of the section, for so many pairs.
    ///
    /// # Errors
    /// When they are too short.
    pub fn new(bytes: &'a [u8], pairs: usize) -> Result<Self, FormatError> {
        if bytes.len() / 4 < pairs {
            return Err(FormatError::truncated("postings", bytes.len()));
        }
        Ok(Self { bytes, pairs })
    }

    fn list(&self, pair: u32) -> Result<&'a [u8], FormatError> {
        let n = pair as usize;
        if n >= self.pairs {
            return Err(FormatError::malformed("pair number", n));
        }
        let start = if n == 0 { 0 } else { u32_at(self.bytes, (n - 1) * 4, "postings")? as usize };
        let end = u32_at(self.bytes, n * 4, "postings")? as usize;
        let lists = &self.bytes[self.pairs * 4..];
        lists.get(start..end).ok_or(FormatError::malformed("postings", start))
    }

    /// How long a pair's list is, in bytes: about how many series it has.
    ///
    /// # Errors
    /// When there is no such pair.
    pub fn size(&self, pair: u32) -> Result<u64, FormatError> {
        self.list(pair).map(|list| list.len() as u64)
    }

    /// The series of a pair.
    ///
    /// # Errors
    /// When there is no such pair or its list is malformed.
    pub fn get(&self, pair: u32) -> Result<RoaringBitmap, FormatError> {
        let mut few = Vec::new();
        Ok(match self.read(pair, &mut few)? {
            Some(many) => many,
            None => few.into_iter().collect(),
        })
    }

    /// The series of a pair; where they are few, they are appended to `few` instead.
    ///
    /// # Errors
    /// As [`PostingsSection::get`].
    pub fn read(&self, pair: u32, few: &mut Vec<u32>) -> Result<Option<RoaringBitmap>, FormatError> {
        let list = self.list(pair)?;
        match list.split_first() {
            Some((0, deltas)) => {
                let mut cursor = Cursor::new("postings", deltas);
                let mut n = 0u32;
                while !cursor.is_empty() {
                    let delta = u32::try_from(cursor.varint()?).map_err(|_| cursor.malformed())?;
                    n = n.checked_add(delta).ok_or(cursor.malformed())?;
                    few.push(n);
                }
                Ok(None)
            }
            Some((1, bitmap)) => match RoaringBitmap::deserialize_from(bitmap) {
                Ok(many) => Ok(Some(many)),
                Err(_) => Err(FormatError::malformed("postings", pair as usize)),
            },
            _ => Err(FormatError::malformed("postings", pair as usize)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_found_and_read() {
        let all: Vec<String> = (0..1000).map(|i| format!("value_{:04}", i * 3)).collect();
        let mut out = Vec::new();
        put_symbols(all.iter().map(String::as_str), &mut out);
        let symbols = Symbols::new(&out).expect("own bytes");
        let mut text = String::new();
        for (i, symbol) in all.iter().enumerate() {
            symbols.get(i as u32, &mut text).expect("own bytes");
            assert_eq!(&text, symbol);
            assert_eq!(symbols.find(symbol), Ok(Ok(i as u32)));
            assert_eq!(symbols.find(&format!("{symbol}+")), Ok(Err(i as u32 + 1)));
        }
        let mut walk = SymbolWalk::new(symbols);
        for n in (0..1000).step_by(3).chain([999, 5, 16, 15, 16, 17, 17, 32, 0]) {
            assert_eq!(walk.get(n), Ok(all[n as usize].as_str()));
        }
        assert!(walk.get(1000).is_err());
        assert_eq!(symbols.find(""), Ok(Err(0)));
        assert!(symbols.get(1000, &mut text).is_err());
        for cut in 0..out.len().min(200) {
            if let Ok(symbols) = Symbols::new(&out[..cut]) {
                let _ = symbols.find("value_0033");
            }
        }
    }

    #[test]
    fn pairs_are_sorted_by_name_and_value() {
        let pairs = [(5, 1), (2, 9), (5, 0), (2, 3), (7, 7)];
        let mut out = Vec::new();
        put_pairs(&pairs, &mut out);
        let section = Pairs::new(&out).expect("own bytes");
        assert_eq!(section.range_of(2), 0..2);
        assert_eq!(section.range_of(5), 2..4);
        assert_eq!(section.range_of(6), 0..0);
        assert_eq!((0..5).map(|p| section.at(p)).collect::<Vec<_>>(), [3, 1, 2, 0, 4]);
        assert_eq!(section.get(1), Ok((2, 9)));
        assert_eq!(section.lower_bound(2..4, 1), 3);
        assert!(Pairs::new(&out[..out.len() - 1]).is_err());
    }

    #[test]
    fn postings_of_all_sizes_survive() {
        let mut lists: Vec<RoaringBitmap> = vec![
            RoaringBitmap::from_iter([7]),
            (0..100_000).collect(),
            (0..100_000).step_by(7).collect(),
            RoaringBitmap::from_iter([1, u32::MAX]),
            RoaringBitmap::new(),
        ];
        let mut out = Vec::new();
        put_postings(&mut lists, &mut out);
        let section = PostingsSection::new(&out, lists.len()).expect("own bytes");
        for (i, list) in lists.iter().enumerate() {
            assert_eq!(section.get(i as u32).as_ref(), Ok(list));
        }
        assert!(section.get(5).is_err());
        for i in 0..out.len().min(4000) {
            let mut bad = out.clone();
            bad[i] ^= 0x55;
            if let Ok(section) = PostingsSection::new(&bad, lists.len()) {
                (0..5).for_each(|pair| drop(section.get(pair)));
            }
        }
    }
}
