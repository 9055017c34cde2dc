//! `info()`: labels of info metrics added to the series they describe.
//!
//! Series and info series belong together when their identifying labels, `instance` and `job`, agree. Info
//! series are looked at where the first selector of the argument looks (its `@` and offsets).

use super::column::{Column, Grid, Series, SeriesMeta};
use super::labels::same_labelset;
use super::select::{Anchor, Take};
use super::source::{Input, Materialized};
use super::{Evaluator, defect};
use crate::QueryError;
use crate::plan::{Node, Plan, Selector};
use engine::{MatchOp, Matcher};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use storage_format::model::{Labels, METRIC_NAME};

const IDENTIFYING: [&str; 2] = ["instance", "job"];
const DEFAULT_METRIC: &str = "target_info";

fn identity(labels: &Labels) -> Labels {
    labels.without(|n| !IDENTIFYING.contains(&n))
}

/// Where the first selector inside looks, as seen from the node.
fn anchor_inside(node: &Node, outer: Anchor) -> Option<Anchor> {
    let join = |inner: Anchor| match inner.at {
        Some(_) => inner,
        None => Anchor { at: outer.at, offset: outer.offset.saturating_add(inner.offset) },
    };
    match &node.plan {
        Plan::Select(s) | Plan::Window(s, _) => Some(join(s.anchor)),
        Plan::Subquery(s) => anchor_inside(&s.input, join(s.anchor)),
        Plan::Negate(inner) | Plan::Invariant(inner) => anchor_inside(inner, outer),
        Plan::Binary(b) => anchor_inside(&b.lhs, outer).or_else(|| anchor_inside(&b.rhs, outer)),
        Plan::Aggregate(a) => anchor_inside(&a.input, outer),
        Plan::Call(_, _, args) => args.iter().find_map(|a| anchor_inside(a, outer)),
        Plan::Number(_) | Plan::Text(_) => None,
    }
}

/// What the second argument asks for.
struct Wanted {
    names: Vec<Matcher>,
    data: Vec<Matcher>,
}

impl Wanted {
    fn wants(&self, label: &str) -> bool {
        self.data.is_empty() || self.data.iter().any(|m| m.name == label)
    }
    /// Whether a series without info series stays.
    fn optional(&self) -> bool {
        self.data.iter().all(Matcher::matches_empty)
    }
}

/// Info series in memory: values tell presence, times tell which is newest.
struct InfoSeries {
    rows: Materialized,
    times: Materialized,
    /// Per metric name and identity, the series.
    by_identity: BTreeMap<String, HashMap<Labels, Vec<usize>>>,
}

impl<'q> Evaluator<'q> {
    pub(super) fn info(&self, args: &'q [Node], grid: Grid) -> Result<Input<'q>, QueryError> {
        let arg = self.arg(args, 0)?;
        let base = self.vector(arg, grid)?;
        let base = self.shared.materialize(&*base)?;
        let positive = |m: &Matcher| matches!(m.op, MatchOp::Equal | MatchOp::Regex);
        let (names, data) = match args.get(1).map(|a| &a.inner().plan) {
            Some(Plan::Select(selector)) => {
                selector.matchers.iter().cloned().partition(|m| m.name == METRIC_NAME)
            }
            _ => (vec![default_name()?], Vec::new()),
        };
        let mut wanted: Wanted = Wanted { names, data };
        if !wanted.names.is_empty() && !wanted.names.iter().any(positive) {
            // Matchers that only exclude choose among what is called an info metric.
            wanted
                .names
                .push(Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info").map_err(|_| defect("a literal"))?);
        }
        let is_info = |s: &Series| {
            let name = s.meta.labels.metric_name().unwrap_or("");
            wanted.names.iter().any(positive) && wanted.names.iter().all(|m| m.matches(name))
        };
        let ignored: Vec<bool> = base.series.iter().map(is_info).collect();
        let anchor = anchor_inside(arg, Anchor { at: None, offset: 0 });
        let anchor = anchor.unwrap_or(Anchor { at: None, offset: 0 });
        let info = self.info_series(&base.series, &ignored, &wanted, arg, (anchor, grid))?;
        let mut output = Output { series: Vec::new(), at: HashMap::new(), len: grid.len };
        for (s, ignored) in base.series.iter().zip(ignored) {
            self.shared.budget.check()?;
            match (&info, ignored) {
                (_, true) => s.column.occupied().iter().try_for_each(|step| output.put(&s.meta, s, step))?,
                (info, false) => enrich(s, info.as_ref(), &wanted, &mut output)?,
            }
        }
        Ok(Materialized::charged(output.series, &self.shared.budget)?.into_source())
    }
    fn info_series(
        &self,
        base: &[Series],
        ignored: &[bool],
        wanted: &Wanted,
        arg: &Node,
        (anchor, grid): (Anchor, Grid),
    ) -> Result<Option<InfoSeries>, QueryError> {
        let mut matchers = if wanted.names.is_empty() { vec![default_name()?] } else { wanted.names.clone() };
        let identified = matchers.len();
        for label in IDENTIFYING {
            let mut values = BTreeSet::new();
            let mut missing = false;
            for (s, _) in base.iter().zip(ignored).filter(|(_, ignored)| !**ignored) {
                match s.meta.labels.get(label) {
                    Some(value) => {
                        values.insert(regex::escape(value));
                    }
                    None => missing = true,
                }
            }
            if values.is_empty() {
                continue;
            }
            if missing {
                values.insert(String::new());
            }
            let pattern = values.into_iter().collect::<Vec<_>>().join("|");
            let matcher = Matcher::new(MatchOp::Regex, label, &pattern)
                .map_err(|e| QueryError::Execution(e.to_string()))?;
            matchers.push(matcher);
        }
        if matchers.len() == identified {
            return Ok(None);
        }
        matchers.extend(wanted.data.iter().cloned());
        let selector = Selector { matchers, anchor, extension: None, stats: false };
        let rows = self.shared.materialize_all(&*self.select(&selector, arg, grid, Take::Value)?)?;
        let times = self.shared.materialize_all(&*self.select(&selector, arg, grid, Take::Timestamp)?)?;
        if let Some(bad) = rows.series.iter().find(|s| !s.column.histograms.is_empty()) {
            let labels = &bad.meta.labels;
            return Err(QueryError::Execution(format!(
                "this should be an info metric, with float samples: {labels}"
            )));
        }
        let mut by_identity: BTreeMap<String, HashMap<Labels, Vec<usize>>> = BTreeMap::new();
        for (i, s) in rows.series.iter().enumerate() {
            let name = s.meta.labels.metric_name().unwrap_or("").to_owned();
            by_identity.entry(name).or_default().entry(identity(&s.meta.labels)).or_default().push(i);
        }
        Ok(Some(InfoSeries { rows, times, by_identity }))
    }
}

fn default_name() -> Result<Matcher, QueryError> {
    Matcher::new(MatchOp::Equal, METRIC_NAME, DEFAULT_METRIC).map_err(|_| defect("a literal matcher"))
}

struct Output {
    series: Vec<Series>,
    at: HashMap<Labels, usize>,
    len: usize,
}

impl Output {
    /// Copies the sample of `from` at `step` to the series `meta`.
    fn put(&mut self, meta: &SeriesMeta, from: &Series, step: usize) -> Result<(), QueryError> {
        let slot = *self.at.entry(meta.labels.clone()).or_insert_with(|| {
            self.series.push(Series { meta: meta.clone(), column: Column::new(self.len) });
            self.series.len() - 1
        });
        let column = &mut self.series[slot].column;
        if column.sample(step).is_some() {
            return Err(same_labelset());
        }
        if from.column.present.get(step) {
            column.set(step, from.column.values[step]);
        } else if let Some(h) = from.column.histogram(step) {
            column.push_histogram(step, std::sync::Arc::clone(h));
            column.histograms.sort_by_key(|h| h.0);
        }
        Ok(())
    }
}

/// Adds the labels of matching info series to one series, step by step, for info series come and go.
fn enrich(
    s: &Series,
    info: Option<&InfoSeries>,
    wanted: &Wanted,
    output: &mut Output,
) -> Result<(), QueryError> {
    let identity = identity(&s.meta.labels);
    let candidates: Vec<&Vec<usize>> =
        info.map_or_else(Vec::new, |i| i.by_identity.values().filter_map(|m| m.get(&identity)).collect());
    let mut known: HashMap<Vec<usize>, Option<SeriesMeta>> = HashMap::new();
    for step in s.column.occupied().iter() {
        let mut chosen = Vec::with_capacity(candidates.len());
        if let Some(info) = info {
            for list in &candidates {
                chosen.extend(newest(info, list, step)?);
            }
        }
        let meta = match known.get(&chosen) {
            Some(meta) => meta.clone(),
            None => {
                let meta = enriched(s, info, &chosen, wanted)?;
                known.insert(chosen, meta.clone());
                meta
            }
        };
        if let Some(meta) = meta {
            output.put(&meta, s, step)?;
        }
    }
    Ok(())
}

/// The info series with the newest sample at a step.
fn newest(info: &InfoSeries, list: &[usize], step: usize) -> Result<Option<usize>, QueryError> {
    let time = |i: usize| info.times.series[i].column.values[step];
    let mut best: Option<usize> = None;
    for i in list.iter().copied().filter(|i| info.rows.series[*i].column.present.get(step)) {
        match best {
            Some(b) if time(b) > time(i) => {}
            Some(b) if time(b) == time(i) => {
                let (a, b) = (&info.rows.series[b].meta.labels, &info.rows.series[i].meta.labels);
                let ms = (time(i) * 1000.0).round() as i64;
                return Err(QueryError::Execution(format!(
                    "found duplicate series for info metric: existing {a} @ {ms}, new {b} @ {ms}"
                )));
            }
            _ => best = Some(i),
        }
    }
    Ok(best)
}

/// The labels of a series with those of its info series; `None` when it has to go for lack of them.
fn enriched(
    s: &Series,
    info: Option<&InfoSeries>,
    chosen: &[usize],
    wanted: &Wanted,
) -> Result<Option<SeriesMeta>, QueryError> {
    let Some(info) = info.filter(|_| !chosen.is_empty()) else {
        return Ok(wanted.optional().then(|| s.meta.clone()));
    };
    let mut added: BTreeMap<&str, &str> = BTreeMap::new();
    for i in chosen {
        for (name, value) in &info.rows.series[*i].meta.labels {
            if name == METRIC_NAME || !wanted.wants(name) {
                continue;
            }
            if added.get(name).is_some_and(|known| *known != value) {
                return Err(QueryError::Execution(format!("conflicting label: {name}")));
            }
            if s.meta.labels.get(name).is_none() {
                added.insert(name, value);
            }
        }
    }
    let mut builder = s.meta.labels.to_builder();
    for (name, value) in added {
        builder.set(name, value);
    }
    Ok(Some(SeriesMeta { labels: builder.build(), drop_name: s.meta.drop_name }))
}
