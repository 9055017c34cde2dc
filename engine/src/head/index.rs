//! The head's label index: series' labels as pair numbers, and for each pair the series that have it.
//!
//! Where it sits: inside a shard, under its lock. Invariants: a pair's postings hold exactly the slots of the
//! series that have it; pairs that no series has are marked dead and are at most half of their name's; a
//! slot's pairs are in label name order.

use super::symbols::Symbols;
use crate::Error;
use crate::select::postings::{LabelIndex, Union};
use hashbrown::{HashMap, HashSet, HashTable};
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

    fn len(&self) -> u64 {
        match self {
            Self::Few { len, .. } => u64::from(*len),
            Self::Many(many) => many.len(),
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
/// The labels of fewer series are looked at one by one, of more by their pairs.
const WALKED_MAX: u64 = 10_000;

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
    /// No series has it any more; it goes when there are many of its name, unless a series has it again.
    dead: bool,
    postings: Postings,
}

/// The pairs of a label name. The first `sorted` of them stand in the order of their values; the others
/// follow as they came, and are moved into order when somebody asks for values by prefix.
#[derive(Debug, Default)]
struct Values {
    pairs: Vec<u32>,
    sorted: usize,
    /// How many of them are dead.
    dead: usize,
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
    /// Dead pairs of all names.
    dead: usize,
    /// Name symbol to the pairs with that name.
    names: HashMap<u32, Values>,
    /// Slot to its run in `pool`.
    lists: Vec<PairList>,
    pool: Vec<u32>,
    /// Runs of `pool` that can be used again, by length.
    free_runs: HashMap<u32, Vec<u32>>,
    live: RoaringBitmap,
}

/// A question for a prefix walks through so many values that are in no order.
const UNSORTED_MAX: usize = 4096;
/// Values put into order under one hold of the lock: some milliseconds.
const SETTLED_AT_ONCE: usize = 8192;

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
            if std::mem::take(&mut self.pairs[pair as usize].dead) {
                self.dead -= 1;
                if let Some(values) = self.names.get_mut(&n) {
                    values.dead -= 1;
                }
            }
            return pair;
        }
        let (name, value) = (self.symbols.acquire(name), self.symbols.acquire(value));
        let new = Pair { name, value, dead: false, postings: Postings::Few { slots: [0; 3], len: 0 } };
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
        self.names.entry(name).or_default().pairs.push(pair);
        let pairs = &self.pairs;
        self.pair_table.insert_unique(pair_hash(name, value), pair, |p| {
            pair_hash(pairs[*p as usize].name, pairs[*p as usize].value)
        });
        pair
    }

    /// Marks a pair that no series has any more. The dead of a name go when they are more than the living:
    /// taking each out of its place at once would cost a walk through the list.
    fn bury(&mut self, pair: u32) {
        let name = self.pairs[pair as usize].name;
        self.pairs[pair as usize].dead = true;
        self.dead += 1;
        let Some(values) = self.names.get_mut(&name) else { return };
        values.dead += 1;
        if values.dead * 2 <= values.pairs.len() {
            return;
        }
        let Values { pairs: all, sorted, .. } = std::mem::take(values);
        let mut kept = Values::default();
        for (place, pair) in all.into_iter().enumerate() {
            let Pair { name, value, dead, .. } = self.pairs[pair as usize];
            if !dead {
                kept.pairs.push(pair);
                kept.sorted += usize::from(place < sorted);
                continue;
            }
            if let Ok(found) = self.pair_table.find_entry(pair_hash(name, value), |p| *p == pair) {
                found.remove();
            }
            self.symbols.release(name);
            self.symbols.release(value);
            self.pairs[pair as usize].dead = false;
            self.dead -= 1;
            self.free_pairs.push(pair);
        }
        if kept.pairs.is_empty() {
            self.names.remove(&name);
        } else {
            kept.pairs.shrink_to_fit();
            self.names.insert(name, kept);
        }
    }

    fn value_text(&self, pair: u32) -> &str {
        self.symbols.get(self.pairs[pair as usize].value)
    }

    /// Moves some of a name's values into order, so that few are left that a question for a prefix has to
    /// walk through. Returns whether few are left; until then it is to be called again, the lock being let go
    /// in between.
    pub(crate) fn order_values(&mut self, name: &str) -> bool {
        let Some(name) = self.symbols.find(name) else { return true };
        let Some(values) = self.names.get_mut(&name) else { return true };
        if values.pairs.len() - values.sorted <= UNSORTED_MAX {
            return true;
        }
        let (mut all, sorted) = (std::mem::take(&mut values.pairs), values.sorted);
        let end = all.len().min(sorted + SETTLED_AT_ONCE);
        let mut fresh: Vec<(u64, u32)> = all[sorted..end].iter().map(|pair| (0, *pair)).collect();
        let shared = self.shared_prefix(&all[sorted..end]);
        for (key, pair) in &mut fresh {
            let mut bytes = [0; 8];
            let rest = &self.value_text(*pair).as_bytes()[shared..];
            let length = rest.len().min(8);
            bytes[..length].copy_from_slice(&rest[..length]);
            *key = u64::from_be_bytes(bytes);
        }
        fresh.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| self.value_text(a.1).cmp(self.value_text(b.1)))
        });
        // From the last to the first, what is greater moves up to make room.
        let mut hole = end;
        let mut left = sorted;
        for (_, pair) in fresh.into_iter().rev() {
            let text = self.value_text(pair);
            let mut step = 1;
            while step <= left && self.value_text(all[left - step]) > text {
                step *= 2;
            }
            let (from, to) = (left.saturating_sub(step), left - step / 2);
            let at = from + all[from..to].partition_point(|p| self.value_text(*p) < text);
            hole -= left - at;
            all.copy_within(at..left, hole);
            hole -= 1;
            all[hole] = pair;
            left = at;
        }
        let few = all.len() - end <= UNSORTED_MAX;
        if let Some(values) = self.names.get_mut(&name) {
            (values.pairs, values.sorted) = (all, end);
        }
        few
    }

    /// Length of what all values of these pairs begin with.
    fn shared_prefix(&self, pairs: &[u32]) -> usize {
        let Some((first, rest)) = pairs.split_first() else { return 0 };
        let first = self.value_text(*first).as_bytes();
        rest.iter().fold(first.len(), |shared, pair| {
            let text = self.value_text(*pair).as_bytes();
            first[..shared].iter().zip(text).take_while(|(a, b)| a == b).count()
        })
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
                self.bury(pair);
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

    /// Number of label pairs.
    pub(crate) fn pair_count(&self) -> usize {
        self.pairs.len() - self.free_pairs.len() - self.dead
    }

    /// For each label name, the number of its values; for each pair, the number of its series.
    pub(crate) fn visit_cardinality(&self, visit: &mut dyn FnMut(&str, &str, u64)) {
        for pair in self.names.values().flat_map(|values| &values.pairs) {
            let Pair { postings, dead, .. } = &self.pairs[*pair as usize];
            if !dead {
                let (name, value) = self.pair_text(*pair);
                visit(name, value, postings.len());
            }
        }
    }

    /// Visits the label names of the given series, in no particular order.
    pub(crate) fn visit_names_of(&self, slots: &RoaringBitmap, visit: &mut dyn FnMut(&str)) {
        if slots.len() < WALKED_MAX {
            let pairs = slots.iter().flat_map(|slot| self.slot_pairs(slot));
            let names: HashSet<u32> = pairs.map(|pair| self.pairs[*pair as usize].name).collect();
            names.into_iter().for_each(|name| visit(self.symbols.get(name)));
            return;
        }
        for (name, values) in &self.names {
            if values.pairs.iter().any(|pair| self.meets(*pair, slots)) {
                visit(self.symbols.get(*name));
            }
        }
    }

    /// Visits the values that the given series have for a label, in no particular order.
    pub(crate) fn visit_values_of(&self, slots: &RoaringBitmap, name: &str, visit: &mut dyn FnMut(&str)) {
        let Some(values) = self.symbols.find(name).and_then(|name| self.names.get(&name)) else { return };
        if slots.len() < values.pairs.len() as u64 {
            slots.iter().filter_map(|slot| self.value_of(slot, name)).for_each(visit);
            return;
        }
        let met = values.pairs.iter().filter(|pair| self.meets(**pair, slots));
        met.for_each(|pair| visit(self.value_text(*pair)));
    }

    /// Whether a pair's series and `slots` have one in common.
    fn meets(&self, pair: u32, slots: &RoaringBitmap) -> bool {
        match &self.pairs[pair as usize].postings {
            Postings::Few { slots: few, len } => few[..usize::from(*len)].iter().any(|s| slots.contains(*s)),
            Postings::Many(many) => !many.is_disjoint(slots),
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
        Ok(self.find_pair(name, value).filter(|pair| !self.pairs[*pair as usize].dead))
    }

    fn value_count(&self, name: &str) -> Result<u64, Error> {
        let values = self.symbols.find(name).and_then(|name| self.names.get(&name));
        Ok(values.map_or(0, |values| (values.pairs.len() - values.dead) as u64))
    }

    fn visit_values(&self, name: &str, prefix: &str, visit: &mut dyn FnMut(&str, u32)) -> Result<(), Error> {
        let Some(values) = self.symbols.find(name).and_then(|name| self.names.get(&name)) else {
            return Ok(());
        };
        let (sorted, unsorted) = values.pairs.split_at(values.sorted);
        let start = sorted.partition_point(|pair| self.value_text(*pair) < prefix);
        let run = sorted[start..].iter().take_while(|pair| self.value_text(**pair).starts_with(prefix));
        let others = unsorted.iter().filter(|pair| self.value_text(**pair).starts_with(prefix));
        for pair in run.chain(others).filter(|pair| !self.pairs[**pair as usize].dead) {
            visit(self.value_text(*pair), *pair);
        }
        Ok(())
    }

    fn size(&self, pair: u32) -> Result<u64, Error> {
        Ok(self.pairs[pair as usize].postings.len())
    }

    fn postings(&self, pair: u32) -> Result<Cow<'_, RoaringBitmap>, Error> {
        Ok(match &self.pairs[pair as usize].postings {
            Postings::Few { slots, len } => Cow::Owned(slots[..usize::from(*len)].iter().copied().collect()),
            Postings::Many(many) => Cow::Borrowed(many),
        })
    }

    fn add_postings(&self, pair: u32, to: &mut Union) -> Result<(), Error> {
        match &self.pairs[pair as usize].postings {
            Postings::Few { slots, len } => to.add_few(&slots[..usize::from(*len)]),
            Postings::Many(many) => to.add_many(many),
        }
        Ok(())
    }

    fn retain(
        &self,
        series: &RoaringBitmap,
        name: &str,
        keep: &mut dyn FnMut(&str) -> bool,
    ) -> Result<RoaringBitmap, Error> {
        Ok(series.iter().filter(|slot| keep(self.value_of(*slot, name).unwrap_or(""))).collect())
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
        // Values in order, values behind them that are not, and dead ones among both.
        index.sort_all("i");
        for i in 0..30 {
            index.insert(i * 3, &labels(i * 3));
            index.remove(i * 3);
        }
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
            &[(Regex, "i", "(1|2|40).*"), (Regex, "job", ".*[1-3]")],
            &[(Regex, "i", ".*7"), (NotRegex, "job", ".*[1-3]")],
            &[(Regex, "i", ".*7.*"), (NotRegex, "even", ".+")],
            &[(Equal, "i", "50"), (Regex, "i", "[0-9]+"), (NotRegex, "i", "[0-9]")],
            &[(Regex, "i", "|5|x"), (Equal, "job", "job5")],
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

    impl HeadIndex {
        /// Puts all values of a name into order, however few they are.
        fn sort_all(&mut self, name: &str) {
            let name = self.symbols.find(name).expect("a label name");
            let mut pairs = std::mem::take(&mut self.names.get_mut(&name).expect("values").pairs);
            pairs.sort_by_key(|pair| self.value_text(*pair).to_owned());
            let values = self.names.get_mut(&name).expect("values");
            (values.sorted, values.pairs) = (pairs.len(), pairs);
        }
    }

    #[test]
    fn values_come_into_order_bit_by_bit_while_series_come_and_go() {
        let mut index = HeadIndex::default();
        let value =
            |i: u32| format!("prefix-{:x}{}", i.wrapping_mul(2_654_435_761), "z".repeat(i as usize % 9));
        let add = |index: &mut HeadIndex, i: u32| {
            index.insert(i, &Labels::from_pairs([("__name__", "m"), ("id", value(i).as_str())]));
        };
        (0..30_000).for_each(|i| add(&mut index, i));
        let found = |index: &HeadIndex, prefix: &str| {
            let mut out = Vec::new();
            index.visit_values("id", prefix, &mut |value, _| out.push(value.to_owned())).expect("memory");
            out.sort();
            out
        };
        let expected = |range: &mut dyn Iterator<Item = u32>, prefix: &str| {
            let mut out: Vec<String> = range.map(value).filter(|v| v.starts_with(prefix)).collect();
            out.sort();
            out
        };
        let mut steps = 0;
        while !index.order_values("id") {
            steps += 1;
            // The lock is let go between the steps.
            add(&mut index, 30_000 + steps);
            index.remove(steps * 7);
        }
        assert_eq!(steps, 3, "8192 at once, until 4096 are left");
        let gone: Vec<u32> = (1..=steps).map(|step| step * 7).collect();
        let mut live = (0..30_000 + steps + 1).filter(|i| *i != 30_000 && !gone.contains(i));
        assert_eq!(found(&index, ""), expected(&mut live, ""));
        for prefix in ["prefix-a", "prefix-1f", "prefix-zz", "prefix-", "q", "p"] {
            let mut live = (0..30_000 + steps + 1).filter(|i| *i != 30_000 && !gone.contains(i));
            assert_eq!(found(&index, prefix), expected(&mut live, prefix), "{prefix}");
        }
        let (all, sorted) = (index.names.len(), index.names.values().map(|v| v.sorted).max());
        assert_eq!((all, sorted), (2, Some(30_003)));
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
