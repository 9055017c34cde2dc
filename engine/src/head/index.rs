//! The head's label index: series' labels as pair numbers, and for each pair the series that have it.
//!
//! Where it sits: inside a shard, under its lock. Invariants: a pair exists while a series has it; its
//! postings hold exactly the slots of these series; a slot's pairs are in label name order.

use super::symbols::Symbols;
use crate::Error;
use crate::select::postings::LabelIndex;
use hashbrown::{HashMap, HashTable};
use roaring::RoaringBitmap;
use std::borrow::Cow;
use storage_format::label_table::LabelTable;
use storage_format::model::Labels;
use xxhash_rust::xxh3::xxh3_64;

/// The series of a pair; most pairs have few or very many.
#[derive(Debug)]
enum Postings {
    Few { slots: [u32; 3], len: u8 },
    Many(Box<RoaringBitmap>),
}

impl Postings {
    fn insert(&mut self, slot: u32) {
        match self {
            Self::Few { slots, len } if usize::from(*len) < slots.len() => {
                slots[usize::from(*len)] = slot;
                *len += 1;
            }
            Self::Few { slots, .. } => {
                let mut many: RoaringBitmap = slots.iter().copied().collect();
                many.insert(slot);
                *self = Self::Many(Box::new(many));
            }
            Self::Many(many) => {
                many.insert(slot);
            }
        }
    }
    /// Adds ascending slots that are not there yet.
    fn append(&mut self, more: &[u32]) {
        match self {
            Self::Few { slots, len } if usize::from(*len) + more.len() <= slots.len() => {
                slots[usize::from(*len)..usize::from(*len) + more.len()].copy_from_slice(more);
                *len += more.len() as u8;
            }
            Self::Few { slots, len } => {
                let mut many: RoaringBitmap = slots[..usize::from(*len)].iter().copied().collect();
                append(&mut many, more);
                *self = Self::Many(Box::new(many));
            }
            Self::Many(many) => append(many, more),
        }
    }

    /// Returns whether the postings are empty now.
    fn remove(&mut self, slot: u32) -> bool {
        match self {
            Self::Few { slots, len } => {
                if let Some(at) = slots[..usize::from(*len)].iter().position(|s| *s == slot) {
                    slots[at] = slots[usize::from(*len) - 1];
                    *len -= 1;
                }
                *len == 0
            }
            Self::Many(many) => {
                many.remove(slot);
                many.is_empty()
            }
        }
    }
}

/// Adds ascending slots, which mostly are greater than those that are there.
fn append(many: &mut RoaringBitmap, more: &[u32]) {
    if many.append(more.iter().copied()).is_err() {
        many.extend(more);
    }
}

/// Series on their way into the index, from one label table: each pair of the table is looked up once, and
/// its series are added together.
#[derive(Debug, Default)]
pub(crate) struct NewSeries {
    /// Number in the table to number in the index, or [`UNKNOWN`].
    pairs: Vec<u32>,
    /// Number in the table, slot.
    members: Vec<(u32, u32)>,
}

const UNKNOWN: u32 = u32::MAX;

impl NewSeries {
    /// Adds a series, its labels given by their numbers in the table. All series up to
    /// [`HeadIndex::insert_all`] must be of the same table, and slots must ascend.
    pub(crate) fn add(&mut self, slot: u32, table: &LabelTable<'_>, set: &[u32], index: &mut HeadIndex) {
        self.pairs.resize(table.len(), UNKNOWN);
        let offset = index.take_run(slot, set.len() as u32) as usize;
        for (i, number) in set.iter().enumerate() {
            let pair = &mut self.pairs[*number as usize];
            if *pair == UNKNOWN {
                let (name, value) = table.pair(*number);
                *pair = index.pair_number(name, value);
            }
            index.pool[offset + i] = *pair;
            self.members.push((*number, slot));
        }
    }

    /// Visits each pair with its slots, and empties the list.
    fn by_pair(&mut self, mut visit: impl FnMut(u32, &[u32])) {
        let mut ends = vec![0u32; self.pairs.len()];
        self.members.iter().for_each(|(number, _)| ends[*number as usize] += 1);
        let mut end = 0;
        for place in &mut ends {
            end += *place;
            *place = end - *place;
        }
        // Places move from the start of a pair's slots to their end while they are filled in.
        let mut slots = vec![0u32; self.members.len()];
        for (number, slot) in self.members.drain(..) {
            let place = &mut ends[number as usize];
            slots[*place as usize] = slot;
            *place += 1;
        }
        let mut start = 0;
        for (pair, end) in self.pairs.drain(..).zip(ends) {
            if start < end {
                visit(pair, &slots[start as usize..end as usize]);
            }
            start = end;
        }
    }
}

#[derive(Debug)]
struct Pair {
    name: u32,
    value: u32,
    /// Where it stands in its name's list of pairs.
    place: u32,
    postings: Postings,
}

#[derive(Debug, Clone, Copy, Default)]
struct PairList {
    offset: u32,
    len: u32,
}

/// Labels and postings of one shard's series.
#[derive(Debug, Default)]
pub(crate) struct HeadIndex {
    symbols: Symbols,
    pairs: Vec<Pair>,
    free_pairs: Vec<u32>,
    pair_table: HashTable<u32>,
    /// Name symbol to the pairs with that name.
    names: HashMap<u32, Vec<u32>>,
    /// Slot to its run in `pool`.
    lists: Vec<PairList>,
    pool: Vec<u32>,
    /// Runs of `pool` that can be used again, by length.
    free_runs: HashMap<u32, Vec<u32>>,
    live: RoaringBitmap,
}

fn pair_hash(name: u32, value: u32) -> u64 {
    xxh3_64(&(u64::from(name) << 32 | u64::from(value)).to_le_bytes())
}

impl HeadIndex {
    fn find_pair(&self, name: u32, value: u32) -> Option<u32> {
        let same = |n: &u32| self.pairs[*n as usize].name == name && self.pairs[*n as usize].value == value;
        self.pair_table.find(pair_hash(name, value), same).copied()
    }

    /// The pair's number; makes it when it is new, and then some series must be added to it.
    fn pair_number(&mut self, name: &str, value: &str) -> u32 {
        if let (Some(n), Some(v)) = (self.symbols.find(name), self.symbols.find(value))
            && let Some(pair) = self.find_pair(n, v)
        {
            return pair;
        }
        let (name, value) = (self.symbols.acquire(name), self.symbols.acquire(value));
        let list = self.names.entry(name).or_default();
        let postings = Postings::Few { slots: [0; 3], len: 0 };
        let new = Pair { name, value, place: list.len() as u32, postings };
        let pair = match self.free_pairs.pop() {
            Some(pair) => {
                self.pairs[pair as usize] = new;
                pair
            }
            None => {
                self.pairs.push(new);
                (self.pairs.len() - 1) as u32
            }
        };
        list.push(pair);
        let pairs = &self.pairs;
        self.pair_table.insert_unique(pair_hash(name, value), pair, |p| {
            pair_hash(pairs[*p as usize].name, pairs[*p as usize].value)
        });
        pair
    }

    fn drop_pair(&mut self, pair: u32) {
        let Pair { name, value, place, .. } = self.pairs[pair as usize];
        if let Ok(found) = self.pair_table.find_entry(pair_hash(name, value), |p| *p == pair) {
            found.remove();
        }
        if let Some(list) = self.names.get_mut(&name) {
            list.swap_remove(place as usize);
            if let Some(moved) = list.get(place as usize) {
                self.pairs[*moved as usize].place = place;
            }
            if list.is_empty() {
                self.names.remove(&name);
            }
        }
        self.symbols.release(name);
        self.symbols.release(value);
        self.free_pairs.push(pair);
    }

    /// Adds a series.
    pub(crate) fn insert(&mut self, slot: u32, labels: &Labels) {
        let offset = self.take_run(slot, labels.len() as u32);
        for (i, (name, value)) in labels.iter().enumerate() {
            let pair = self.pair_number(name, value);
            self.pairs[pair as usize].postings.insert(slot);
            self.pool[offset as usize + i] = pair;
        }
    }

    /// Adds series whose pairs were looked up already, and empties their list.
    pub(crate) fn insert_all(&mut self, fresh: &mut NewSeries) {
        fresh.by_pair(|pair, slots| self.pairs[pair as usize].postings.append(slots));
    }

    /// Room in the pool for the pairs of a new series.
    fn take_run(&mut self, slot: u32, len: u32) -> u32 {
        let offset = match self.free_runs.get_mut(&len).and_then(Vec::pop) {
            Some(offset) => offset,
            None => {
                let offset = self.pool.len() as u32;
                self.pool.resize(self.pool.len() + len as usize, 0);
                offset
            }
        };
        if self.lists.len() <= slot as usize {
            self.lists.resize(slot as usize + 1, PairList::default());
        }
        self.lists[slot as usize] = PairList { offset, len };
        self.live.insert(slot);
        offset
    }

    /// Removes a series.
    pub(crate) fn remove(&mut self, slot: u32) {
        let PairList { offset, len } = std::mem::take(&mut self.lists[slot as usize]);
        for at in offset..offset + len {
            let pair = self.pool[at as usize];
            if self.pairs[pair as usize].postings.remove(slot) {
                self.drop_pair(pair);
            }
        }
        self.free_runs.entry(len).or_default().push(offset);
        self.live.remove(slot);
    }

    /// The pairs of a series, in label name order. Their numbers hold as long as the shard's lock.
    pub(crate) fn slot_pairs(&self, slot: u32) -> &[u32] {
        let PairList { offset, len } = self.lists[slot as usize];
        &self.pool[offset as usize..(offset + len) as usize]
    }

    /// Name and value of a pair.
    pub(crate) fn pair_text(&self, pair: u32) -> (&str, &str) {
        let Pair { name, value, .. } = &self.pairs[pair as usize];
        (self.symbols.get(*name), self.symbols.get(*value))
    }

    /// The labels of a series.
    pub(crate) fn labels(&self, slot: u32) -> Labels {
        Labels::from_sorted(self.slot_pairs(slot).iter().map(|pair| self.pair_text(*pair)))
    }

    /// The value of a series' label.
    pub(crate) fn value_of(&self, slot: u32, name: &str) -> Option<&str> {
        let name = self.symbols.find(name)?;
        let pair = self.slot_pairs(slot).iter().find(|p| self.pairs[**p as usize].name == name)?;
        Some(self.symbols.get(self.pairs[*pair as usize].value))
    }

    /// Names of the labels of a series.
    pub(crate) fn names_of(&self, slot: u32) -> impl Iterator<Item = &str> {
        self.slot_pairs(slot).iter().map(|p| self.symbols.get(self.pairs[*p as usize].name))
    }

    /// Number of label pairs.
    pub(crate) fn pair_count(&self) -> usize {
        self.pairs.len() - self.free_pairs.len()
    }

    /// For each label name, the number of its values; for each pair, the number of its series.
    pub(crate) fn visit_cardinality(&self, visit: &mut dyn FnMut(&str, &str, u64)) {
        for list in self.names.values() {
            for pair in list {
                let Pair { name, value, postings, .. } = &self.pairs[*pair as usize];
                let series = match postings {
                    Postings::Few { len, .. } => u64::from(*len),
                    Postings::Many(many) => many.len(),
                };
                visit(self.symbols.get(*name), self.symbols.get(*value), series);
            }
        }
    }
}

impl LabelIndex for HeadIndex {
    type Pair = u32;

    fn all(&self) -> Result<Cow<'_, RoaringBitmap>, Error> {
        Ok(Cow::Borrowed(&self.live))
    }

    fn pair(&self, name: &str, value: &str) -> Result<Option<u32>, Error> {
        let (Some(name), Some(value)) = (self.symbols.find(name), self.symbols.find(value)) else {
            return Ok(None);
        };
        Ok(self.find_pair(name, value))
    }

    fn visit_values(&self, name: &str, prefix: &str, visit: &mut dyn FnMut(&str, u32)) -> Result<(), Error> {
        let Some(list) = self.symbols.find(name).and_then(|name| self.names.get(&name)) else {
            return Ok(());
        };
        for pair in list {
            let value = self.symbols.get(self.pairs[*pair as usize].value);
            if value.starts_with(prefix) {
                visit(value, *pair);
            }
        }
        Ok(())
    }

    fn postings(&self, pair: u32) -> Result<Cow<'_, RoaringBitmap>, Error> {
        Ok(match &self.pairs[pair as usize].postings {
            Postings::Few { slots, len } => Cow::Owned(slots[..usize::from(*len)].iter().copied().collect()),
            Postings::Many(many) => Cow::Borrowed(many),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::postings::resolve;
    use crate::{MatchOp, Matcher};

    fn labels(i: u32) -> Labels {
        let (value, job, even) =
            (i.to_string(), format!("job{}", i % 7), if i.is_multiple_of(2) { "yes" } else { "" });
        Labels::from_pairs([("__name__", "m"), ("i", value.as_str()), ("job", &job), ("even", even)])
    }

    fn slots(index: &HeadIndex, matchers: &[(MatchOp, &str, &str)]) -> Vec<u32> {
        let matchers: Vec<_> =
            matchers.iter().map(|(op, n, v)| Matcher::new(*op, n, v).expect("matcher")).collect();
        resolve(index, &matchers).expect("memory").into_iter().collect()
    }

    #[test]
    fn matchers_find_what_a_scan_finds() {
        let mut index = HeadIndex::default();
        for i in 0..100 {
            index.insert(i, &labels(i));
        }
        for i in (0..100).step_by(3) {
            index.remove(i);
        }
        use MatchOp::{Equal, NotEqual, NotRegex, Regex};
        let cases: &[&[(MatchOp, &str, &str)]] = &[
            &[(Equal, "job", "job3")],
            &[(NotEqual, "job", "job3")],
            &[(Regex, "i", "1.*")],
            &[(Regex, "i", "1|2|50|x")],
            &[(NotRegex, "i", "1|2|50|x")],
            &[(NotRegex, "i", "[0-9]")],
            &[(Equal, "even", "")],
            &[(NotEqual, "even", "")],
            &[(Regex, "even", ".*")],
            &[(Regex, "even", ".+"), (Regex, "job", "job[1-3]")],
            &[(Regex, "even", "|no"), (NotEqual, "missing", "x")],
            &[(Equal, "missing", "x")],
            &[(Regex, "i", "$1^")],
        ];
        for case in cases {
            let matchers: Vec<_> =
                case.iter().map(|(op, n, v)| Matcher::new(*op, n, v).expect("matcher")).collect();
            let expected: Vec<u32> = (0..100)
                .filter(|i| i % 3 != 0)
                .filter(|i| matchers.iter().all(|m| m.matches(labels(*i).get(&m.name).unwrap_or(""))))
                .collect();
            assert_eq!(slots(&index, case), expected, "{case:?}");
        }
    }

    #[test]
    fn removed_series_leave_nothing_behind() {
        let mut index = HeadIndex::default();
        for round in 0..3 {
            for i in 0..50 {
                index.insert(i, &labels(i + round * 50));
            }
            assert_eq!(index.labels(7), labels(7 + round * 50));
            let pool = index.pool.len();
            for i in 0..50 {
                index.remove(i);
            }
            assert_eq!(index.pair_count(), 0);
            assert_eq!(index.names.len(), 0);
            assert_eq!(index.pool.len(), pool);
        }
    }
}
