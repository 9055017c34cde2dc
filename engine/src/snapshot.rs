//! Point-in-time views: what a query reads.
//!
//! Where it sits: `Engine::snapshot` makes them, the query engine selects from them. A selection takes the
//! head's part and the list of blocks at the same moment, while no request or delete is half applied: it sees
//! of every one all or nothing, also when a flush moves samples. What a flush has published and not yet dropped
//! from the head is seen twice, and merged. Several selections see one moment when they were fixed together
//! ([`Snapshot::at_once`]). Nothing here holds a lock after it returns.

use crate::block::{BlockSeries, LiveBlock};
use crate::damage::{Missing, tolerate};
use crate::head::{Head, HeadData, HeadSeries, decode_chunk};
use crate::{Error, Matcher};
use hashbrown::{HashMap, HashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use storage_format::model::{Exemplar, Labels, Samples, TimeRange, Timestamp};

/// Most exemplars of one answer.
pub const EXEMPLARS_MAX: usize = 250_000;

/// The list of live blocks, swapped as a whole.
pub(crate) type BlockList = RwLock<LiveBlocks>;

/// A consistent view. Holding it holds no lock.
#[derive(Debug, Clone)]
pub struct Snapshot {
    sources: Sources,
    /// What is left out of partial answers; `None` where damage is an error.
    missing: Option<Arc<Missing>>,
}

#[derive(Debug, Clone)]
enum Sources {
    Memory(Arc<Vec<Series>>),
    Engine { head: Arc<Head>, blocks: Arc<BlockList>, oldest: Timestamp, fixed: Arc<Fixed> },
}

/// Selections made together, as of one moment.
#[derive(Debug, Default)]
struct Fixed {
    selections: Vec<FixedSelection>,
    blocks: LiveBlocks,
}

#[derive(Debug)]
struct FixedSelection {
    matchers: Vec<Matcher>,
    range: TimeRange,
    head: Vec<(Labels, Arc<HeadData>)>,
}

/// The live blocks of one moment.
type LiveBlocks = Arc<Vec<Arc<LiveBlock>>>;

/// One selected series; its samples are decoded on demand, from any thread.
#[derive(Debug, Clone)]
pub struct Series {
    labels: Labels,
    /// Most series have one piece; the others follow in `more`.
    first: Piece,
    more: Vec<Piece>,
    missing: Option<Arc<Missing>>,
    /// What is older is beyond the retention, and is not shown though it may still be there.
    oldest: Timestamp,
}

/// Where samples came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadFrom {
    /// Samples that blocks held, those included that the head had too.
    pub from_blocks: u64,
}

#[derive(Debug, Clone)]
enum Piece {
    Samples(Arc<Samples>),
    Head(Arc<HeadData>),
    Block(BlockSeries),
}

impl Series {
    /// A series in memory.
    #[must_use]
    pub fn from_samples(labels: Labels, samples: Arc<Samples>) -> Self {
        Self::of(labels, Piece::Samples(samples))
    }

    fn of(labels: Labels, first: Piece) -> Self {
        Self { labels, first, more: Vec::new(), missing: None, oldest: i64::MIN }
    }

    /// Its label set.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Replaces `into` by the samples inside `range`, head and blocks merged, out-of-order and duplicate
    /// samples resolved; tells where they came from.
    ///
    /// # Errors
    /// When a block is damaged or cannot be read; not if the series is one of a partial view.
    pub fn read(&self, range: TimeRange, into: &mut Samples) -> Result<ReadFrom, Error> {
        into.clear();
        let range = TimeRange::new(range.start.max(self.oldest), range.end);
        let mut read = ReadFrom::default();
        for piece in std::iter::once(&self.first).chain(&self.more) {
            let before = (into.timestamps.len(), into.histograms.len());
            match piece {
                Piece::Samples(samples) => append_range(samples, range, into),
                Piece::Head(data) => read_head(data, range, into)?,
                Piece::Block(series) => series.read(range, self.missing.as_deref(), into)?,
            }
            settle(into, before);
            if matches!(piece, Piece::Block(_)) {
                read.from_blocks += (into.len() - before.0 - before.1) as u64;
            }
        }
        normalize(into);
        Ok(read)
    }
}

fn append_range(samples: &Samples, range: TimeRange, into: &mut Samples) {
    for (i, (t, v)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
        if range.contains(*t) {
            into.push_float(*t, samples.starts.get(i).copied().unwrap_or(0), *v);
        }
    }
    into.histograms.extend(samples.histograms.iter().filter(|h| range.contains(h.0)).cloned());
}

/// Appends the head's part: what came in order before what came late.
pub(crate) fn read_head(data: &HeadData, range: TimeRange, into: &mut Samples) -> Result<(), Error> {
    let corrupt = |source| Error::Corrupt { path: PathBuf::from("head"), source };
    for pass in [false, true] {
        for chunk in data.chunks.iter().filter(|c| c.is_late() == pass && c.overlaps(range)) {
            let before = (into.timestamps.len(), into.histograms.len());
            let decode = |into: &mut _| decode_chunk(&chunk.bytes, chunk.count, chunk.kind, into);
            append_chunk(into, range, decode).map_err(corrupt)?;
            settle(into, before);
        }
        let before = (into.timestamps.len(), into.histograms.len());
        let inside = |t: &Timestamp| range.contains(*t);
        if pass {
            let Some(rare) = &data.rare else { break };
            for (t, start, value) in rare.late_floats.iter().filter(|s| inside(&s.0)) {
                into.push_float(*t, *start, *value);
            }
            into.histograms.extend(rare.late_histograms.iter().filter(|s| inside(&s.0)).cloned());
            settle(into, before);
        } else {
            if let Some((bytes, count)) = data.open() {
                let kind = crate::head::ChunkKind::Floats;
                append_chunk(into, range, |into| decode_chunk(bytes, count, kind, into)).map_err(corrupt)?;
            }
            let histograms = data.rare.iter().flat_map(|rare| &rare.histograms);
            into.histograms.extend(histograms.filter(|s| inside(&s.0)).cloned());
        }
    }
    Ok(())
}

/// Decodes behind what `into` holds and keeps of the new samples those inside `range`.
fn append_chunk<E>(
    into: &mut Samples,
    range: TimeRange,
    decode: impl FnOnce(&mut Samples) -> Result<(), E>,
) -> Result<(), E> {
    let (floats, histograms) = (into.timestamps.len(), into.histograms.len());
    decode(into)?;
    crate::block::keep_range(into, floats, range);
    let mut at = 0;
    into.histograms.retain(|sample| {
        at += 1;
        at <= histograms || range.contains(sample.0)
    });
    Ok(())
}

/// Drops the samples inside `range` from what was added behind `before` (floats, histograms); both kinds
/// ascend there.
pub(crate) fn drop_range(samples: &mut Samples, before: (usize, usize), range: TimeRange) {
    let added = &samples.timestamps[before.0..];
    let first = before.0 + added.partition_point(|t| *t < range.start);
    let end = before.0 + added.partition_point(|t| *t < range.end);
    if first < end {
        samples.timestamps.drain(first..end);
        samples.values.drain(first..end);
        if !samples.starts.is_empty() {
            samples.starts.drain(first..end);
        }
    }
    let added = &samples.histograms[before.1..];
    let first = before.1 + added.partition_point(|h| h.0 < range.start);
    let end = before.1 + added.partition_point(|h| h.0 < range.end);
    samples.histograms.drain(first..end.max(first));
}

/// Of a float and a histogram with the same timestamp the one that was there first wins: drops from what
/// was added behind `before` (floats, histograms) what the other column had already.
pub(crate) fn settle(samples: &mut Samples, before: (usize, usize)) {
    if samples.timestamps.is_empty() || samples.histograms.is_empty() {
        return;
    }
    let floats: HashSet<Timestamp> = samples.timestamps[..before.0].iter().copied().collect();
    let histograms: HashSet<Timestamp> = samples.histograms[..before.1].iter().map(|h| h.0).collect();
    let mut at = 0;
    samples.histograms.retain(|sample| {
        at += 1;
        at <= before.1 || !floats.contains(&sample.0)
    });
    for i in (before.0..samples.timestamps.len()).rev() {
        if histograms.contains(&samples.timestamps[i]) {
            samples.timestamps.remove(i);
            samples.values.remove(i);
            if !samples.starts.is_empty() {
                samples.starts.remove(i);
            }
        }
    }
}

/// Makes both columns ascending and unique. Of samples with the same timestamp the first wins, of a float
/// and a histogram that came together the float.
pub(crate) fn normalize(samples: &mut Samples) {
    if samples.timestamps.windows(2).any(|pair| pair[0] >= pair[1]) {
        let mut order: Vec<usize> = (0..samples.timestamps.len()).collect();
        if crate::defects::LATER_DUPLICATE_WINS {
            order.reverse();
        }
        order.sort_by_key(|i| samples.timestamps[*i]);
        order.dedup_by_key(|i| samples.timestamps[*i]);
        samples.values = order.iter().map(|i| samples.values[*i]).collect();
        if !samples.starts.is_empty() {
            samples.starts = order.iter().map(|i| samples.starts[*i]).collect();
        }
        samples.timestamps = order.iter().map(|i| samples.timestamps[*i]).collect();
    }
    if samples.histograms.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        samples.histograms.sort_by_key(|sample| sample.0);
        samples.histograms.dedup_by_key(|sample| sample.0);
    }
    if !samples.histograms.is_empty() && !samples.timestamps.is_empty() {
        let floats = std::mem::take(&mut samples.timestamps);
        samples.histograms.retain(|sample| floats.binary_search(&sample.0).is_err());
        samples.timestamps = floats;
    }
}

fn limited<T>(found: BTreeSet<T>, limit: usize) -> Vec<T> {
    found.into_iter().take(if limit == 0 { usize::MAX } else { limit }).collect()
}

impl Snapshot {
    /// A view over series in memory, for embedding and tests.
    pub fn from_series(series: impl IntoIterator<Item = Series>) -> Self {
        Self { sources: Sources::Memory(Arc::new(series.into_iter().collect())), missing: None }
    }

    /// A view over an engine's head and blocks. Samples before `oldest` are beyond the retention.
    pub(crate) fn of_engine(head: Arc<Head>, blocks: Arc<BlockList>, oldest: Timestamp) -> Self {
        Self { sources: Sources::Engine { head, blocks, oldest, fixed: Arc::default() }, missing: None }
    }

    /// This view with the given selections (matchers, range) fixed at one moment: [`Snapshot::select`] with
    /// the same matchers and a range inside answers from there. It costs the memory of the selected part of
    /// the head, compressed.
    ///
    /// # Errors
    /// When a matcher cannot be resolved.
    pub fn at_once(&self, selections: &[(&[Matcher], TimeRange)]) -> Result<Self, Error> {
        let Sources::Engine { head, blocks, oldest, .. } = &self.sources else { return Ok(self.clone()) };
        let kept = |range: TimeRange| TimeRange::new(range.start.max(*oldest), range.end);
        let selections: Vec<_> = selections.iter().map(|(m, range)| (*m, kept(*range))).collect();
        let (found, live) = head.select(&selections, || live(blocks))?;
        let fix = |((matchers, range), found): ((&[Matcher], TimeRange), Vec<HeadSeries>)| FixedSelection {
            matchers: matchers.to_vec(),
            range,
            head: found.into_iter().map(|s| (s.labels, Arc::new(s.data))).collect(),
        };
        let selections = selections.into_iter().zip(found).map(fix).collect();
        let fixed = Arc::new(Fixed { selections, blocks: live });
        let (head, blocks, oldest) = (Arc::clone(head), Arc::clone(blocks), *oldest);
        let missing = self.missing.clone();
        Ok(Self { sources: Sources::Engine { head, blocks, oldest, fixed }, missing })
    }

    /// The same view for a reader who takes partial answers: instead of failing on damaged files it leaves
    /// out what they held and tells so in [`Snapshot::warnings`].
    #[must_use]
    pub fn partial(self) -> Self {
        Self { missing: Some(Arc::default()), ..self }
    }

    /// What was left out so far of what was selected and read through this view: a sentence for each damaged
    /// place that names its file, at most ten and one that counts the rest. Always empty unless the view is
    /// [`partial`](Snapshot::partial).
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.missing.as_ref().map_or_else(Vec::new, |missing| missing.sentences())
    }

    fn tolerate<T: Default>(&self, result: Result<T, Error>) -> Result<T, Error> {
        tolerate(self.missing.as_deref(), result)
    }

    /// The series that fulfil all `matchers` and may have samples in `range`, in no particular order,
    /// each label set once.
    ///
    /// # Errors
    /// When an index is damaged or cannot be read; not if the view is [`partial`](Snapshot::partial).
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<Series>, Error> {
        let (head, blocks, oldest, fixed) = match &self.sources {
            Sources::Memory(series) => {
                let fits =
                    |s: &&Series| matchers.iter().all(|m| m.matches(s.labels.get(&m.name).unwrap_or("")));
                return Ok(series.iter().filter(fits).cloned().collect());
            }
            Sources::Engine { head, blocks, oldest, fixed } => (head, blocks, *oldest, fixed),
        };
        let range = TimeRange::new(range.start.max(oldest), range.end);
        let (recent, live): (Vec<(Labels, Arc<HeadData>)>, _) = match fixed.find(matchers, range) {
            Some(known) => (known.head.clone(), Arc::clone(&fixed.blocks)),
            None => {
                let (found, live) = head.select(&[(matchers, range)], || live(blocks))?;
                (found.into_iter().flatten().map(|s| (s.labels, Arc::new(s.data))).collect(), live)
            }
        };
        let blocks = overlapping(&live, range);
        let head_only = |(labels, data)| Series { oldest, ..Series::of(labels, Piece::Head(data)) };
        if blocks.is_empty() {
            return Ok(recent.into_iter().map(head_only).collect());
        }
        let mut found: Vec<Series> = Vec::with_capacity(recent.len());
        let mut places: HashMap<Labels, usize> = HashMap::with_capacity(recent.len());
        for block in blocks {
            for (labels, series) in block.select(matchers, self.missing.as_deref())? {
                add(&mut found, &mut places, labels, Piece::Block(series));
            }
        }
        for (labels, data) in recent {
            add(&mut found, &mut places, labels, Piece::Head(data));
        }
        for series in &mut found {
            series.oldest = oldest;
            series.missing.clone_from(&self.missing);
        }
        Ok(found)
    }

    /// The exemplars inside `range` of the series matched by any of `sets`: series sorted by labels, their
    /// exemplars by [`Exemplar::order`], without repetitions.
    ///
    /// # Errors
    /// As [`Snapshot::select`], and when there are more than [`EXEMPLARS_MAX`].
    pub fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, Error> {
        let Sources::Engine { head, blocks, oldest, .. } = &self.sources else { return Ok(Vec::new()) };
        let range = TimeRange::new(range.start.max(*oldest), range.end);
        let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        let mut count = 0;
        let mut add = |labels: Labels, exemplars: Vec<Exemplar>| {
            count += exemplars.len();
            found.entry(labels).or_default().extend(exemplars);
            if count <= EXEMPLARS_MAX {
                return Ok(());
            }
            let many = format!("more than {EXEMPLARS_MAX} exemplars match: ask for a shorter range");
            Err(Error::Limit(many))
        };
        let (recent, live) = head.exemplars(sets, range, || live(blocks))?;
        for (labels, exemplars) in recent {
            add(labels, exemplars)?;
        }
        for block in overlapping(&live, range) {
            self.tolerate(block.visit_exemplars(sets, range, &mut add))?;
        }
        found.values_mut().for_each(Exemplar::settle);
        Ok(found.into_iter().collect())
    }

    /// Label sets matched by any of `sets`, sorted, at most `limit` (0: all).
    ///
    /// # Errors
    /// As [`Snapshot::select`].
    pub fn series(
        &self,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, Error> {
        let mut found = BTreeSet::new();
        for set in sets {
            match &self.sources {
                Sources::Memory(_) => {
                    found.extend(self.select(set, range)?.into_iter().map(|s| s.labels));
                }
                Sources::Engine { head, blocks, .. } => {
                    head.labels(set, range, &mut found)?;
                    for block in overlapping(&live(blocks), range) {
                        let selected = block.select(set, self.missing.as_deref())?;
                        found.extend(selected.into_iter().map(|(labels, _)| labels));
                    }
                }
            }
        }
        Ok(limited(found, limit))
    }

    /// Label names of the series matched by any of `sets` (all series when `sets` is empty), sorted, at
    /// most `limit` (0: all).
    ///
    /// # Errors
    /// As [`Snapshot::select`].
    pub fn label_names(
        &self,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let all = [Vec::new()];
        let mut found = BTreeSet::new();
        for set in if sets.is_empty() { &all } else { sets } {
            let Sources::Engine { head, blocks, .. } = &self.sources else {
                for labels in self.series(std::slice::from_ref(set), range, 0)? {
                    found.extend(labels.iter().map(|(n, _)| n.to_owned()));
                }
                continue;
            };
            head.label_names(set, range, &mut found)?;
            for block in overlapping(&live(blocks), range) {
                let matched = if set.is_empty() { None } else { Some(self.tolerate(block.resolve(set))?) };
                let mut visit = |name: &str| add_text(&mut found, name);
                self.tolerate(block.visit_names_of(matched.as_ref(), self.missing.as_deref(), &mut visit))?;
            }
        }
        Ok(limited(found, limit))
    }

    /// Values of label `name` among the series matched by any of `sets` (all series when `sets` is empty),
    /// sorted, at most `limit` (0: all).
    ///
    /// # Errors
    /// As [`Snapshot::select`].
    pub fn label_values(
        &self,
        name: &str,
        sets: &[Vec<Matcher>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let all = [Vec::new()];
        let mut found = BTreeSet::new();
        for set in if sets.is_empty() { &all } else { sets } {
            let Sources::Engine { head, blocks, .. } = &self.sources else {
                for labels in self.series(std::slice::from_ref(set), range, 0)? {
                    found.extend(labels.get(name).map(str::to_owned));
                }
                continue;
            };
            head.label_values(name, set, range, &mut found)?;
            for block in overlapping(&live(blocks), range) {
                let matched = if set.is_empty() { None } else { Some(self.tolerate(block.resolve(set))?) };
                let mut visit = |value: &str| add_text(&mut found, value);
                self.tolerate(block.visit_values_of(
                    matched.as_ref(),
                    name,
                    self.missing.as_deref(),
                    &mut visit,
                ))?;
            }
        }
        Ok(limited(found, limit))
    }
}

impl Fixed {
    /// The selection with these matchers, if it covers `range`.
    fn find(&self, matchers: &[Matcher], range: TimeRange) -> Option<&FixedSelection> {
        let same = |a: &Matcher, b: &Matcher| (a.op, &a.name, &a.value) == (b.op, &b.name, &b.value);
        self.selections.iter().find(|known| {
            let covered = known.range.start <= range.start && range.end <= known.range.end;
            covered
                && known.matchers.len() == matchers.len()
                && known.matchers.iter().zip(matchers).all(|(a, b)| same(a, b))
        })
    }
}

pub(crate) fn add_text(to: &mut BTreeSet<String>, text: &str) {
    if !to.contains(text) {
        to.insert(text.to_owned());
    }
}

fn add(found: &mut Vec<Series>, places: &mut HashMap<Labels, usize>, labels: Labels, piece: Piece) {
    match places.get(&labels) {
        Some(at) => found[*at].more.push(piece),
        None => {
            places.insert(labels.clone(), found.len());
            found.push(Series::of(labels, piece));
        }
    }
}

fn live(blocks: &BlockList) -> LiveBlocks {
    Arc::clone(&blocks.read().unwrap_or_else(PoisonError::into_inner))
}

/// The blocks with samples in `range`, those flushed first first: of samples with the same timestamp theirs
/// hold.
fn overlapping(live: &LiveBlocks, range: TimeRange) -> Vec<Arc<LiveBlock>> {
    live.iter().filter(|block| block.range().overlaps(&range)).cloned().collect()
}
