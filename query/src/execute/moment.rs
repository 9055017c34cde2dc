//! One moment for all selectors of a query.
//!
//! `a - b` must not see a scrape's `b` without its `a`. A query with several selectors therefore fixes them
//! together before it is evaluated. What is selected only while it is evaluated (the info metrics of
//! `info()`, whose matchers depend on data) is seen as of then.

use super::column::Grid;
use super::range_input::RangeInput;
use super::select::InstantSelect;
use super::stored::to_select;
use super::{Evaluator, subquery_grid};
use crate::QueryError;
use crate::functions::extended::Extension;
use crate::plan::{Node, Plan, Selector};
use engine::{Matcher, Snapshot};
use storage_format::model::{TimeRange, Timestamp};

/// The view to evaluate `plan` with: all its selectors see the same moment.
pub(crate) fn fixed(
    snapshot: &Snapshot,
    plan: &Node,
    grid: Grid,
    lookback: i64,
) -> Result<Snapshot, QueryError> {
    let mut selections = Vec::new();
    collect(plan, grid, lookback, &mut selections);
    if selections.len() < 2 {
        return Ok(snapshot.clone());
    }
    Ok(snapshot.at_once(&distinct(selections))?)
}

/// Each list of matchers once, with a range that covers all of its own.
fn distinct(selections: Vec<(&[Matcher], TimeRange)>) -> Vec<(&[Matcher], TimeRange)> {
    let same = |a: &Matcher, b: &Matcher| (a.op, &a.name, &a.value) == (b.op, &b.name, &b.value);
    let mut out: Vec<(&[Matcher], TimeRange)> = Vec::with_capacity(selections.len());
    for (matchers, range) in selections {
        let equal = |known: &&mut (&[Matcher], TimeRange)| {
            known.0.len() == matchers.len() && known.0.iter().zip(matchers).all(|(a, b)| same(a, b))
        };
        match out.iter_mut().find(equal) {
            Some((_, known)) => {
                *known = TimeRange::new(known.start.min(range.start), known.end.max(range.end));
            }
            None => out.push((matchers, range)),
        }
    }
    out
}

fn collect<'q>(node: &'q Node, grid: Grid, lookback: i64, into: &mut Vec<(&'q [Matcher], TimeRange)>) {
    if grid.len == 0 {
        return;
    }
    match &node.plan {
        Plan::Select(selector) => {
            into.push((&selector.matchers, to_select(instants(selector, grid, lookback))));
        }
        Plan::Window(selector, range) => {
            into.push((&selector.matchers, to_select(windows(selector, grid, *range, lookback))));
        }
        Plan::Subquery(plan) => collect(&plan.input, subquery_grid(plan, grid), lookback, into),
        _ => node.children().into_iter().for_each(|child| collect(child, grid, lookback, into)),
    }
}

/// What an instant selector may need.
pub(super) fn instants(selector: &Selector, grid: Grid, lookback: i64) -> TimeRange {
    let smoothed = selector.extension == Some(Extension::Smoothed);
    InstantSelect::range(grid, selector.anchor, lookback, smoothed)
}

/// How much further than its windows a range selector wants samples, before and after, milliseconds.
pub(super) fn margin(selector: &Selector, lookback: i64) -> (Timestamp, Timestamp) {
    match selector.extension {
        None => (0, 0),
        Some(Extension::Anchored) => (lookback, 0),
        Some(Extension::Smoothed) => (lookback, lookback),
    }
}

/// What a range selector may need.
pub(super) fn windows(selector: &Selector, grid: Grid, range: i64, lookback: i64) -> TimeRange {
    RangeInput::needed(grid, selector.anchor, range, margin(selector, lookback))
}

impl Evaluator<'_> {
    /// The stored series of a selector.
    pub(super) fn stored(
        &self,
        selector: &Selector,
        range: TimeRange,
    ) -> Result<Vec<engine::Series>, QueryError> {
        Ok(self.snapshot.select(&selector.matchers, to_select(range))?)
    }
}
