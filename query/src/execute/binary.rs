//! Binary operators between vectors and scalars, and joins between two vectors.
//!
//! Series are matched once, by signature; steps only look at presence. Where every signature has one series
//! a side, the left side streams past the materialised right side; else steps are worked through one by one,
//! for then who meets whom may differ from step to step.

use super::binary_sample::{BinaryNotes, Combine, changes_metric, columns, samples, with_scalar};
use super::call::put;
use super::column::{Bits, Column, Grid, Sample, Series, SeriesMeta};
use super::keys::Keys;
use super::labels::is_metadata;
use super::source::{Input, Materialized, map};
use super::{Evaluator, Scalars};
use crate::QueryError;
use crate::parse::{BinaryOp, Card, Span, ValueType, VectorMatching};
use crate::plan::{BinaryPlan, Node};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use storage_format::model::{Labels, METRIC_NAME};

/// Whether samples find each other by the label `name`.
fn is_matched(name: &str, matching: &VectorMatching) -> bool {
    let listed = matching.labels.iter().any(|l| l == name);
    if matching.on { listed } else { name != METRIC_NAME && !listed }
}

/// What an error shows of the labels by which samples find each other, and what a filled-in sample is
/// labelled with.
fn matched_labels(labels: &Labels, matching: &VectorMatching) -> Labels {
    labels.without(|name| !is_matched(name, matching))
}

/// The ordinals of the signatures of series.
fn signatures(keys: &mut Keys, metas: &[SeriesMeta], matching: &VectorMatching) -> Vec<usize> {
    metas.iter().map(|m| keys.ordinal(&m.labels, |name| is_matched(name, matching))).collect()
}

/// Series indexes per ordinal.
fn by_ordinal(ordinals: &[usize], count: usize) -> Vec<Vec<usize>> {
    let mut lists = vec![Vec::new(); count];
    ordinals.iter().enumerate().for_each(|(i, o)| lists[*o].push(i));
    lists
}

impl<'q> Evaluator<'q> {
    pub(super) fn binary(
        &self,
        b: &'q BinaryPlan,
        node: &'q Node,
        grid: Grid,
    ) -> Result<Input<'q>, QueryError> {
        match (b.lhs.value_type, b.rhs.value_type) {
            (ValueType::Scalar, _) => self.with_scalar(b, &b.rhs, &b.lhs, true, node.span, grid),
            (_, ValueType::Scalar) => self.with_scalar(b, &b.lhs, &b.rhs, false, node.span, grid),
            _ => {
                let default = VectorMatching::default();
                let matching = b.matching.as_ref();
                if b.op.is_set() {
                    return self.set(b, matching.unwrap_or(&default), grid);
                }
                match matching {
                    Some(matching) => self.join(b, matching, node.span, grid),
                    None => self.join(b, &default, node.span, grid),
                }
            }
        }
    }
    fn with_scalar(
        &self,
        b: &'q BinaryPlan,
        vector: &'q Node,
        scalar: &'q Node,
        swapped: bool,
        span: Span,
        grid: Grid,
    ) -> Result<Input<'q>, QueryError> {
        let scalar: Scalars = self.scalar(scalar, grid)?;
        let input = self.vector(vector, grid)?;
        let how = Combine { op: b.op, return_bool: b.return_bool, swapped };
        let renames = changes_metric(b.op) || b.return_bool;
        let metas = if renames { self.without_names(&*input) } else { input.series().to_vec() };
        let changed = map(input, metas, move |_, scratch, column| {
            let mut notes = BinaryNotes::default();
            with_scalar(how, column, |step| scalar.at(step), &mut notes);
            notes.write(how.op, span, &mut scratch.annotations);
        });
        self.checked(changed, grid.len)
    }
    /// `and`, `or`, `unless`.
    fn set(&self, b: &'q BinaryPlan, matching: &VectorMatching, grid: Grid) -> Result<Input<'q>, QueryError> {
        let (lhs, rhs) = (self.vector(&b.lhs, grid)?, self.vector(&b.rhs, grid)?);
        let mut keys = Keys::default();
        let left = signatures(&mut keys, lhs.series(), matching);
        let right = signatures(&mut keys, rhs.series(), matching);
        let count = keys.len();
        let presence = |input: &Input<'q>, ordinals: &[usize]| {
            let mut bits = vec![Bits::new(grid.len); count];
            let occupied = self.shared.for_each(&**input, |_, column| Ok(column.occupied()))?;
            occupied.iter().zip(ordinals).for_each(|(o, ordinal)| bits[*ordinal].or(o));
            Ok::<_, QueryError>(bits)
        };
        if b.op == BinaryOp::Or {
            let taken = presence(&lhs, &left)?;
            let mut rows = self.shared.materialize(&*lhs)?;
            let metas = rhs.series().to_vec();
            let others = map(rhs, metas, move |i, _, column| {
                let mut keep = Bits::ones(grid.len);
                keep.and_not(&taken[right[i]]);
                column.retain(&keep);
            });
            let more = self.shared.materialize(&*others)?;
            rows.series.extend(more.series);
            rows.held.extend(more.held);
            return self.checked(rows.into_source(), grid.len);
        }
        let present = presence(&rhs, &right)?;
        let metas = lhs.series().to_vec();
        let unless = b.op == BinaryOp::Unless;
        let kept = map(lhs, metas, move |i, _, column| {
            if unless {
                let mut keep = Bits::ones(grid.len);
                keep.and_not(&present[left[i]]);
                column.retain(&keep);
            } else {
                column.retain(&present[left[i]]);
            }
        });
        self.checked(kept, grid.len)
    }
    /// Labels of the result of `many` meeting `one`.
    fn joined_meta(
        &self,
        b: &BinaryPlan,
        matching: &VectorMatching,
        many: &SeriesMeta,
        one: &Labels,
    ) -> SeriesMeta {
        let listed = |n: &str| matching.labels.iter().any(|l| l == n);
        let drop_now = b.return_bool && !self.features.delayed_name_removal;
        let dropped = |n: &str| {
            let by_match = matching.card == Card::OneToOne && matching.on != listed(n);
            by_match || (changes_metric(b.op) || drop_now) && is_metadata(n)
        };
        let labels = if matching.include.is_empty() {
            many.labels.without(dropped)
        } else {
            let included = |n: &str| matching.include.iter().any(|l| l == n) && !(drop_now && is_metadata(n));
            let own = many.labels.iter().filter(|(n, _)| !dropped(n) && !included(n));
            let mut pairs: Vec<(&str, &str)> = own.collect();
            pairs.extend(one.iter().filter(|(n, _)| included(n)));
            pairs.sort_unstable();
            Labels::from_sorted(pairs)
        };
        let delayed = self.features.delayed_name_removal && b.return_bool;
        SeriesMeta { labels, drop_name: delayed || many.drop_name && !changes_metric(b.op) }
    }
    fn join(
        &self,
        b: &'q BinaryPlan,
        matching: &VectorMatching,
        span: Span,
        grid: Grid,
    ) -> Result<Input<'q>, QueryError> {
        let (lhs, rhs) = (self.vector(&b.lhs, grid)?, self.vector(&b.rhs, grid)?);
        // The "one" side is the right one, or the left one for group_right.
        let swapped = matching.card == Card::OneToMany;
        let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        let how = Combine { op: b.op, return_bool: b.return_bool, swapped };
        let mut keys = Keys::default();
        let many_ordinals = signatures(&mut keys, many.series(), matching);
        let one_ordinals = signatures(&mut keys, one.series(), matching);
        let count = keys.len();
        let (many_lists, one_lists) = (by_ordinal(&many_ordinals, count), by_ordinal(&one_ordinals, count));
        let filled = matching.fill_lhs.is_some() || matching.fill_rhs.is_some();
        let single = |lists: &[Vec<usize>]| lists.iter().all(|l| l.len() <= 1);
        let streams = !filled
            && single(&one_lists)
            && (single(&many_lists)
                || matching.card != Card::OneToOne
                    && self.unique(b, matching, (&many, &many_ordinals), (&one, &one_lists)));
        if !streams {
            let sides = Sides {
                many: self.shared.materialize(&*many)?,
                one: self.shared.materialize(&*one)?,
                len: grid.len,
            };
            drop((many, one));
            return self.join_by_step(b, matching, sides, how, span);
        }
        let ones = self.shared.materialize_all(&*one)?;
        let partner: Vec<Option<usize>> =
            many_ordinals.iter().map(|o| one_lists[*o].first().copied()).collect();
        let metas = many.series().iter().zip(&partner).map(|(m, p)| match p {
            Some(p) => self.joined_meta(b, matching, m, &ones.series[*p].meta.labels),
            None => m.clone(),
        });
        let metas = metas.collect();
        let many_node = if swapped { &b.rhs } else { &b.lhs };
        if many_node.may_annotate() {
            // Series without a partner are left out below, what there is to say of them is not.
            let alone: Vec<usize> = (0..partner.len()).filter(|i| partner[*i].is_none()).collect();
            self.shared.visit(&*many, &alone)?;
        }
        let matched = super::source::filter(many, metas, partner.iter().map(Option::is_some).collect());
        let partner: Vec<usize> = partner.into_iter().flatten().collect();
        let metas = matched.series().to_vec();
        let joined = map(matched, metas, move |i, scratch, column| {
            let mut notes = BinaryNotes::default();
            columns(how, column, &ones.series[partner[i]].column, &mut notes);
            notes.write(how.op, span, &mut scratch.annotations);
        });
        self.checked(joined, grid.len)
    }
    /// Whether no two series of the "many" side give the same labels within one signature.
    fn unique(
        &self,
        b: &BinaryPlan,
        matching: &VectorMatching,
        many: (&Input<'q>, &[usize]),
        one: (&Input<'q>, &[Vec<usize>]),
    ) -> bool {
        let mut seen = std::collections::HashSet::new();
        many.0.series().iter().zip(many.1).all(|(m, ordinal)| {
            let Some(partner) = one.1[*ordinal].first() else { return true };
            let meta = self.joined_meta(b, matching, m, &one.0.series()[*partner].labels);
            seen.insert((*ordinal, meta.labels))
        })
    }
}

/// Both sides of a join in memory.
struct Sides {
    many: Materialized,
    one: Materialized,
    len: usize,
}

/// The output of a join by step: series appear as pairs first meet.
struct Output {
    series: Vec<Series>,
    /// (many, one) to series; `usize::MAX` stands for a filled-in sample.
    at: HashMap<(usize, usize), usize>,
    by_labels: HashMap<(Labels, bool), usize>,
    /// The last step at which a series got a sample or was matched, and by which signature.
    matched: Vec<(usize, usize)>,
    len: usize,
}

const FILLED: usize = usize::MAX;
const NEVER: usize = usize::MAX;

impl Output {
    fn slot(&mut self, pair: (usize, usize), meta: impl FnOnce() -> SeriesMeta) -> usize {
        if let Some(slot) = self.at.get(&pair) {
            return *slot;
        }
        let meta = meta();
        let slot = match self.by_labels.entry((meta.labels.clone(), meta.drop_name)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(slot) => {
                self.series.push(Series { meta, column: Column::new(self.len) });
                self.matched.push((NEVER, 0));
                *slot.insert(self.series.len() - 1)
            }
        };
        self.at.insert(pair, slot);
        slot
    }
}

impl<'q> Evaluator<'q> {
    fn join_by_step(
        &self,
        b: &'q BinaryPlan,
        matching: &VectorMatching,
        sides: Sides,
        how: Combine,
        span: Span,
    ) -> Result<Input<'q>, QueryError> {
        let metas = |rows: &Materialized| rows.series.iter().map(|s| s.meta.clone()).collect::<Vec<_>>();
        let mut keys = Keys::default();
        let many_of = signatures(&mut keys, &metas(&sides.many), matching);
        let one_of = signatures(&mut keys, &metas(&sides.one), matching);
        let count = keys.len();
        // Prometheus takes `fill_left` for the "many" side, also where that is the right one.
        let (fill_one, fill_many) = (matching.fill_rhs, matching.fill_lhs);
        let mut notes = BinaryNotes::default();
        let mut output = Output {
            series: Vec::new(),
            at: HashMap::new(),
            by_labels: HashMap::new(),
            matched: Vec::new(),
            len: sides.len,
        };
        let mut present: Vec<Option<usize>> = vec![None; count];
        let mut matched = vec![false; count];
        for step in 0..sides.len {
            if step % 64 == 0 {
                self.shared.budget.check()?;
            }
            let many_here = |i: &usize| sides.many.series[*i].column.sample(step).is_some();
            let any_many = (0..many_of.len()).any(|i| many_here(&i));
            if !any_many && fill_many.is_none() {
                continue;
            }
            present.fill(None);
            matched.fill(false);
            for (i, ordinal) in one_of.iter().enumerate() {
                if sides.one.series[i].column.sample(step).is_none() {
                    continue;
                }
                if let Some(other) = present[*ordinal] {
                    return Err(duplicate(&sides.one.series, (i, other), matching, how.swapped));
                }
                present[*ordinal] = Some(i);
            }
            for (i, ordinal) in many_of.iter().enumerate() {
                let series = &sides.many.series[i];
                let Some(mine) = series.column.sample(step) else { continue };
                let one = present[*ordinal];
                let other = match (one, fill_one) {
                    (Some(at), _) => sides.one.series[at].column.sample(step),
                    (None, Some(fill)) => Some(Sample::Float(fill)),
                    (None, None) => None,
                };
                let Some(other) = other else { continue };
                let meta = || {
                    let fill_labels = matched_labels(&series.meta.labels, matching);
                    let one = one.map_or(&fill_labels, |at| &sides.one.series[at].meta.labels);
                    self.joined_meta(b, matching, &series.meta, one)
                };
                let pair = (i, one.unwrap_or(FILLED));
                let here = Here { step, ordinal: *ordinal, how, explicit: matching.card != Card::OneToOne };
                meet(here, (mine, other), &mut matched, &mut output, &mut notes, pair, meta)?;
            }
            let Some(fill) = fill_many else { continue };
            for (ordinal, one) in present.iter().enumerate() {
                let Some(at) = one.filter(|_| !matched[ordinal]) else { continue };
                let series = &sides.one.series[at];
                let Some(other) = series.column.sample(step) else { continue };
                let meta = || {
                    let labels = matched_labels(&series.meta.labels, matching);
                    let many = SeriesMeta { labels, drop_name: false };
                    self.joined_meta(b, matching, &many, &series.meta.labels)
                };
                let here = Here { step, ordinal, how, explicit: matching.card != Card::OneToOne };
                let samples = (Sample::Float(fill), other);
                meet(here, samples, &mut matched, &mut output, &mut notes, (FILLED, at), meta)?;
            }
        }
        let mut annotations = crate::annotations::Annotations::default();
        notes.write(b.op, span, &mut annotations);
        self.shared.annotate(annotations);
        let series = output.series.into_iter().filter(|s| !s.column.is_empty()).collect();
        Ok(Materialized::charged(series, &self.shared.budget)?.into_source())
    }
}

/// Where two samples meet.
#[derive(Clone, Copy)]
struct Here {
    step: usize,
    ordinal: usize,
    how: Combine,
    /// group_left or group_right was given.
    explicit: bool,
}

fn meet(
    here: Here,
    (mine, other): (Sample<'_>, Sample<'_>),
    matched: &mut [bool],
    output: &mut Output,
    notes: &mut BinaryNotes,
    pair: (usize, usize),
    meta: impl FnOnce() -> SeriesMeta,
) -> Result<(), QueryError> {
    let (l, r) = if here.how.swapped { (other, mine) } else { (mine, other) };
    let Some((point, kept)) = samples(here.how.op, l, r, notes) else { return Ok(()) };
    let failed = |text: &str| Err(QueryError::Execution(text.to_owned()));
    if !here.explicit && matched[here.ordinal] {
        return failed(
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
        );
    }
    matched[here.ordinal] = true;
    let slot = output.slot(pair, meta);
    if output.matched[slot].0 == here.step {
        if here.explicit && output.matched[slot].1 == here.ordinal {
            return failed("multiple matches for labels: grouping labels must ensure unique matches");
        }
        if output.series[slot].column.sample(here.step).is_some() {
            return Err(super::labels::same_labelset());
        }
    }
    output.matched[slot] = (here.step, here.ordinal);
    let column = &mut output.series[slot].column;
    if here.how.return_bool {
        column.set(here.step, f64::from(u8::from(kept)));
    } else if kept {
        put(column, here.step, point);
    }
    Ok(())
}

/// The refusal of two series for one signature on the side that must have one.
fn duplicate(
    series: &[Series],
    (a, b): (usize, usize),
    matching: &VectorMatching,
    swapped: bool,
) -> QueryError {
    let side = if swapped { "left" } else { "right" };
    let (a, b) = (&series[a].meta.labels, &series[b].meta.labels);
    let (first, second) = if a < b { (a, b) } else { (b, a) };
    QueryError::Execution(format!(
        "found duplicate series for the match group {} on the {side} hand-side of the operation: \
         [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side",
        matched_labels(first, matching),
    ))
}
