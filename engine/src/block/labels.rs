//! The label side of an open block: matchers to series, names and values of series, pair numbers to labels.
//!
//! Nothing here builds the labels of a series unless it is asked for them: names and values are answered
//! from pairs and postings, or from the pair numbers in the pages where few series are meant. With `missing`,
//! a page that cannot be read is left out and noted there.

use super::Block;
use crate::damage::{Missing, tolerate};
use crate::select::postings::{LabelIndex, Union, resolve};
use crate::{Error, Matcher};
use hashbrown::{HashMap, HashSet};
use roaring::RoaringBitmap;
use std::borrow::Cow;
use storage_format::FormatError;
use storage_format::block::{PAGE_SERIES, PostingsSection, Section, SymbolWalk};
use storage_format::model::Labels;

/// Takes a series and its pair numbers.
type VisitPairs<'a> = dyn FnMut(u32, &[u32]) -> Result<(), FormatError> + 'a;

impl Block {
    /// The series that fulfil all matchers, by number.
    pub(super) fn resolve(&self, matchers: &[Matcher]) -> Result<RoaringBitmap, Error> {
        resolve(self, matchers)
    }

    /// Visits the values that the given series (`None`: all) have for a label, in no particular order.
    pub(super) fn visit_values_of(
        &self,
        series: Option<&RoaringBitmap>,
        name: &str,
        missing: Option<&Missing>,
        visit: &mut dyn FnMut(&str),
    ) -> Result<(), Error> {
        let Some(series) = series else {
            return self.visit_values(name, "", &mut |value, _| visit(value));
        };
        if series.len() < self.value_count(name)? {
            let mut seen = HashSet::new();
            return self.visit_own_values(series, name, missing, &mut |_, pair, value| {
                if !value.is_empty() && seen.insert(pair) {
                    visit(value);
                }
            });
        }
        let mut failure = Ok(());
        self.visit_values(name, "", &mut |value, pair| match self.postings(pair) {
            Ok(postings) if postings.is_disjoint(series) => {}
            Ok(_) => visit(value),
            Err(e) => failure = Err(e),
        })?;
        failure
    }

    /// Visits the label names of the given series (`None`: all), in no particular order.
    pub(super) fn visit_names_of(
        &self,
        series: Option<&RoaringBitmap>,
        missing: Option<&Missing>,
        visit: &mut dyn FnMut(&str),
    ) -> Result<(), Error> {
        let read = |visit: &mut dyn FnMut(&str)| -> Result<(), FormatError> {
            let (symbols, pairs) = (self.symbols()?, self.pairs()?);
            let mut text = String::new();
            for n in 0..pairs.name_count() {
                symbols.get(pairs.name(n).0, &mut text)?;
                visit(&text);
            }
            Ok(())
        };
        let Some(series) = series else { return read(visit).map_err(|e| self.corrupt(e)) };
        let (mut seen_pairs, mut names) = (HashSet::new(), HashSet::new());
        self.visit_pairs(series, missing, &mut |_, own| {
            for pair in own {
                if seen_pairs.insert(*pair) {
                    names.insert(self.pairs()?.get(*pair)?.0);
                }
            }
            Ok(())
        })?;
        let mut text = String::new();
        for name in names {
            self.symbols().and_then(|s| s.get(name, &mut text)).map_err(|e| self.corrupt(e))?;
            visit(&text);
        }
        Ok(())
    }

    /// Visits the pair numbers of each of the series.
    fn visit_pairs(
        &self,
        series: &RoaringBitmap,
        missing: Option<&Missing>,
        visit: &mut VisitPairs<'_>,
    ) -> Result<(), Error> {
        let mut ids = series.iter().peekable();
        while let Some(first) = ids.peek().copied() {
            let number = first as usize / PAGE_SERIES;
            let page = tolerate(missing, self.page(number))?;
            while let Some(id) = ids.next_if(|id| *id as usize / PAGE_SERIES == number) {
                visit(id, page.pairs(id as usize % PAGE_SERIES)).map_err(|e| self.corrupt(e))?;
            }
        }
        Ok(())
    }

    /// Visits each of the series with the pair it has for a label (`None` and the empty text: none).
    fn visit_own_values(
        &self,
        series: &RoaringBitmap,
        name: &str,
        missing: Option<&Missing>,
        visit: &mut dyn FnMut(u32, Option<u32>, &str),
    ) -> Result<(), Error> {
        let name = self.symbols().and_then(|s| s.find(name)).map_err(|e| self.corrupt(e))?;
        let mut values: HashMap<u32, Box<str>> = HashMap::new();
        self.visit_pairs(series, missing, &mut |id, own| {
            let (symbols, pairs) = (self.symbols()?, self.pairs()?);
            for pair in own {
                let (own_name, value) = pairs.get(*pair)?;
                if Ok(own_name) != name {
                    continue;
                }
                if !values.contains_key(pair) {
                    let mut text = String::new();
                    symbols.get(value, &mut text)?;
                    values.insert(*pair, text.into());
                }
                visit(id, Some(*pair), values.get(pair).map_or("", |text| text));
                return Ok(());
            }
            visit(id, None, "");
            Ok(())
        })
    }
}

/// Reads pair numbers back to labels; each pair is decoded once.
pub(super) struct PairNames<'a> {
    block: &'a Block,
    names: HashMap<u32, (Box<str>, Box<str>)>,
}

impl<'a> PairNames<'a> {
    pub(super) fn new(block: &'a Block) -> Self {
        Self { block, names: HashMap::new() }
    }

    pub(super) fn labels(&mut self, pairs: &[u32]) -> Result<Labels, FormatError> {
        for pair in pairs {
            if !self.names.contains_key(pair) {
                let symbols = self.block.symbols()?;
                let (name, value) = self.block.pairs()?.get(*pair)?;
                let (mut n, mut v) = (String::new(), String::new());
                symbols.get(name, &mut n)?;
                symbols.get(value, &mut v)?;
                self.names.insert(*pair, (n.into(), v.into()));
            }
        }
        let known = pairs.iter().filter_map(|pair| self.names.get(pair));
        Ok(Labels::from_sorted(known.map(|(name, value)| (&**name, &**value))))
    }
}

impl LabelIndex for Block {
    type Pair = u32;

    fn all(&self) -> Result<Cow<'_, RoaringBitmap>, Error> {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.series_count() as u32);
        Ok(Cow::Owned(all))
    }

    fn pair(&self, name: &str, value: &str) -> Result<Option<u32>, Error> {
        let find = || {
            let (symbols, pairs) = (self.symbols()?, self.pairs()?);
            let (Ok(name), Ok(value)) = (symbols.find(name)?, symbols.find(value)?) else { return Ok(None) };
            let range = pairs.range_of(name);
            let place = pairs.lower_bound(range.clone(), value);
            if place < range.end {
                let pair = pairs.at(place);
                if pairs.get(pair)?.1 == value {
                    return Ok(Some(pair));
                }
            }
            Ok(None)
        };
        find().map_err(|e| self.corrupt(e))
    }

    fn value_count(&self, name: &str) -> Result<u64, Error> {
        let count = || {
            let Ok(name) = self.symbols()?.find(name)? else { return Ok(0) };
            Ok(self.pairs()?.range_of(name).len() as u64)
        };
        count().map_err(|e| self.corrupt(e))
    }

    fn visit_values(&self, name: &str, prefix: &str, visit: &mut dyn FnMut(&str, u32)) -> Result<(), Error> {
        let mut walk = || {
            let (symbols, pairs) = (self.symbols()?, self.pairs()?);
            let Ok(name) = symbols.find(name)? else { return Ok(()) };
            let range = pairs.range_of(name);
            let first = symbols.find(prefix)?.unwrap_or_else(|next| next);
            // Values ascend, so the walk seldom goes back to the start of a run.
            let mut texts = SymbolWalk::new(symbols);
            for place in pairs.lower_bound(range.clone(), first)..range.end {
                let pair = pairs.at(place);
                let text = texts.get(pairs.get(pair)?.1)?;
                if !text.starts_with(prefix) {
                    break;
                }
                visit(text, pair);
            }
            Ok(())
        };
        walk().map_err(|e| self.corrupt(e))
    }

    fn size(&self, pair: u32) -> Result<u64, Error> {
        self.lists().and_then(|lists| lists.size(pair)).map_err(|e| self.corrupt(e))
    }

    fn postings(&self, pair: u32) -> Result<Cow<'_, RoaringBitmap>, Error> {
        let read = self.lists().and_then(|lists| lists.get(pair));
        read.map(Cow::Owned).map_err(|e| self.corrupt(e))
    }

    fn add_postings(&self, pair: u32, to: &mut Union) -> Result<(), Error> {
        let read = self.lists().and_then(|lists| lists.read(pair, &mut to.single));
        if let Some(many) = read.map_err(|e| self.corrupt(e))? {
            to.add_many(&many);
        }
        Ok(())
    }

    fn retain(
        &self,
        series: &RoaringBitmap,
        name: &str,
        keep: &mut dyn FnMut(&str) -> bool,
    ) -> Result<RoaringBitmap, Error> {
        let (mut kept, mut tried) = (RoaringBitmap::new(), HashMap::new());
        self.visit_own_values(series, name, None, &mut |id, pair, value| {
            if *tried.entry(pair).or_insert_with(|| keep(value)) {
                kept.insert(id);
            }
        })?;
        Ok(kept)
    }
}

impl Block {
    fn lists(&self) -> Result<PostingsSection<'_>, FormatError> {
        PostingsSection::new(self.section(Section::Postings)?, self.pairs()?.len())
    }
}

#[cfg(test)]
mod tests {
    use crate::io::{SystemClock, memory::MemoryDisk};
    use crate::{Engine, MatchOp, Matcher, Options, Snapshot};
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use storage_format::model::{Labels, Samples, TimeRange};

    fn labels(i: u32) -> Labels {
        let (id, job) = (format!("id-{i:03}"), format!("job{}", i % 7));
        let even = if i.is_multiple_of(2) { "yes" } else { "" };
        Labels::from_pairs([("__name__", "m"), ("id", id.as_str()), ("job", &job), ("even", even)])
    }

    /// What a snapshot says about matchers: the series, their label names, their values of `id` and `job`.
    fn answers(snapshot: &Snapshot, set: &[Matcher]) -> [Vec<String>; 4] {
        let found = snapshot.select(set, TimeRange::ALL).expect("memory");
        let mut series: Vec<String> = found.iter().map(|s| s.labels().to_string()).collect();
        series.sort();
        let sets = [set.to_vec()];
        let values = |name| snapshot.label_values(name, &sets, TimeRange::ALL, 0).expect("memory");
        let names = snapshot.label_names(&sets, TimeRange::ALL, 0).expect("memory");
        [series, names, values("id"), values("job")]
    }

    #[test]
    fn head_and_blocks_find_what_a_scan_finds() {
        let options = Options { shards: 2, retention_ms: i64::MAX, ..Options::new("/data") };
        let disk = Arc::new(MemoryDisk::default());
        let engine = Engine::open_with(options, disk, Arc::new(SystemClock), false).expect("opens");
        let mut one = Samples::default();
        one.push_float(1_000, 0, 1.0);
        let rows: Vec<(Labels, Samples)> = (0..400).map(|i| (labels(i), one.clone())).collect();
        engine.append(&rows).expect("memory does not fail");
        use MatchOp::{Equal, NotEqual, NotRegex, Regex};
        let cases: &[&[(MatchOp, &str, &str)]] = &[
            &[],
            &[(Equal, "id", "id-123")],
            &[(Equal, "job", "job3"), (NotEqual, "even", "")],
            &[(Regex, "id", "id-12.*")],
            &[(Regex, "id", "(id-12|id-3).*"), (NotRegex, "job", "job[0-3]")],
            &[(Regex, "id", "id-001|id-399|x|")],
            &[(Regex, "id", ".*9"), (Equal, "even", "")],
            &[(Equal, "job", "job1"), (Equal, "even", "yes"), (Regex, "id", ".*[02]4.?")],
            &[(Equal, "job", "job1"), (Equal, "even", "yes"), (NotRegex, "id", ".*[02]4.?|id-1.*")],
            &[(NotRegex, "even", ".+"), (NotEqual, "missing", "x"), (NotEqual, "id", "id-001")],
            &[(Equal, "missing", "x")],
            &[(Regex, "job", ".*3.*"), (NotRegex, "id", "id-1.*")],
        ];
        let resolved = |case: &[(MatchOp, &str, &str)]| -> Vec<Matcher> {
            case.iter().map(|(op, n, v)| Matcher::new(*op, n, v).expect("matcher")).collect()
        };
        for source in ["head", "block"] {
            for case in cases {
                let set = resolved(case);
                let fits = |l: &Labels| set.iter().all(|m| m.matches(l.get(&m.name).unwrap_or("")));
                let wanted: Vec<Labels> = (0..400).map(labels).filter(fits).collect();
                let sorted = |texts: BTreeSet<String>| texts.into_iter().collect::<Vec<_>>();
                let names = wanted.iter().flat_map(|l| l.iter().map(|(n, _)| n.to_owned())).collect();
                let values = |name| wanted.iter().filter_map(|l| l.get(name).map(str::to_owned)).collect();
                let series = wanted.iter().map(Labels::to_string).collect();
                let expected = [sorted(series), sorted(names), sorted(values("id")), sorted(values("job"))];
                assert_eq!(answers(&engine.snapshot(), &set), expected, "{source}: {case:?}");
            }
            engine.flush().expect("memory does not fail");
        }
    }
}
