//! Aggregations that stand in a query more than once are evaluated once.
//!
//! Two nodes are the same when they print the same; only aggregations are kept, for their results are small.

use super::Evaluator;
use super::column::Grid;
use super::source::{Input, Materialized, shared_source};
use crate::QueryError;
use crate::plan::{Node, Plan};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// The aggregations that a plan repeats, and their results so far.
#[derive(Debug, Default)]
pub(crate) struct Repeated {
    nodes: HashSet<String>,
    results: Mutex<HashMap<(String, Grid), Arc<Materialized>>>,
}

impl Repeated {
    /// Of a whole plan.
    pub(crate) fn of(plan: &Node) -> Self {
        let mut times: HashMap<String, usize> = HashMap::new();
        count(plan, &mut times);
        let nodes = times.into_iter().filter(|(_, n)| *n > 1).map(|(node, _)| node).collect();
        Self { nodes, results: Mutex::default() }
    }
}

fn count(node: &Node, times: &mut HashMap<String, usize>) {
    if matches!(node.plan, Plan::Aggregate(_)) {
        *times.entry(node.to_string()).or_default() += 1;
    }
    node.children().into_iter().for_each(|child| count(child, times));
}

impl<'q> Evaluator<'q> {
    /// The result of `evaluate` for `node`, from before if the plan repeats it.
    pub(super) fn once(
        &self,
        node: &Node,
        grid: Grid,
        evaluate: impl FnOnce() -> Result<Input<'q>, QueryError>,
    ) -> Result<Input<'q>, QueryError> {
        if self.repeated.nodes.is_empty() {
            return evaluate();
        }
        let key = (node.to_string(), grid);
        if !self.repeated.nodes.contains(&key.0) {
            return evaluate();
        }
        let results = || self.repeated.results.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = results().get(&key) {
            return Ok(shared_source(Arc::clone(known)));
        }
        let rows = Arc::new(self.shared.materialize(&*evaluate()?)?);
        results().insert(key, Arc::clone(&rows));
        Ok(shared_source(rows))
    }
}
