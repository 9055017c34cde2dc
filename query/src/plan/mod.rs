//! The logical plan: a query with its durations, instants and step-invariant parts resolved.
//!
//! Where it sits: between the syntax tree and the operators. Invariants: no parentheses are left; what does
//! not depend on the step stands below an [`Plan::Invariant`]; depth is limited by the parser's.

mod build;
mod print;
mod propagate;

use crate::execute::select::Anchor;
use crate::functions::extended::Extension;
use crate::parse::{AggregateOp, BinaryOp, FunctionId, Span, ValueType, VectorMatching};
use engine::Matcher;
use storage_format::model::Timestamp;

pub(crate) use build::build;

/// The instants of the whole query, milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueryTimes {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    /// 0 for an instant query.
    pub(crate) step: i64,
}

/// Which series, and where to look.
#[derive(Debug, Clone)]
pub(crate) struct Selector {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) anchor: Anchor,
    pub(crate) extension: Option<Extension>,
    /// Whether of histograms only counts and sums are asked for.
    pub(crate) stats: bool,
}

/// One aggregation.
#[derive(Debug, Clone)]
pub(crate) struct Aggregation {
    pub(crate) op: AggregateOp,
    pub(crate) param: Option<Node>,
    pub(crate) input: Node,
    pub(crate) grouping: Vec<String>,
    pub(crate) without: bool,
}

/// One binary operation.
#[derive(Debug, Clone)]
pub(crate) struct BinaryPlan {
    pub(crate) op: BinaryOp,
    pub(crate) lhs: Node,
    pub(crate) rhs: Node,
    pub(crate) return_bool: bool,
    /// Present if both sides are vectors.
    pub(crate) matching: Option<VectorMatching>,
}

/// One subquery, milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct SubqueryPlan {
    pub(crate) input: Node,
    pub(crate) range: i64,
    pub(crate) step: i64,
    pub(crate) anchor: Anchor,
}

/// What a node does.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    Number(f64),
    Text(String),
    /// An instant selector.
    Select(Selector),
    /// A range selector and its range in milliseconds.
    Window(Selector, i64),
    Subquery(Box<SubqueryPlan>),
    /// Changes the sign.
    Negate(Box<Node>),
    Binary(Box<BinaryPlan>),
    Aggregate(Box<Aggregation>),
    Call(FunctionId, &'static str, Vec<Node>),
    /// Evaluated once, at the first step, and repeated.
    Invariant(Box<Node>),
}

/// A node of the plan and where it stands in the query.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) plan: Plan,
    pub(crate) span: Span,
    pub(crate) value_type: ValueType,
}

impl Node {
    /// The nodes directly below.
    pub(crate) fn children(&self) -> Vec<&Self> {
        match &self.plan {
            Plan::Number(_) | Plan::Text(_) | Plan::Select(_) | Plan::Window(..) => Vec::new(),
            Plan::Subquery(s) => vec![&s.input],
            Plan::Negate(inner) | Plan::Invariant(inner) => vec![inner],
            Plan::Binary(b) => vec![&b.lhs, &b.rhs],
            Plan::Aggregate(a) => a.param.iter().chain([&a.input]).collect(),
            Plan::Call(_, _, args) => args.iter().collect(),
        }
    }
    /// Without the marker that it does not depend on the step.
    pub(crate) fn inner(&self) -> &Self {
        match &self.plan {
            Plan::Invariant(inner) => inner,
            _ => self,
        }
    }
    /// Whether evaluating it may have something to say (a warning or an info).
    pub(crate) fn may_annotate(&self) -> bool {
        match &self.plan {
            Plan::Number(_) | Plan::Text(_) | Plan::Select(_) | Plan::Window(..) => false,
            Plan::Invariant(inner) | Plan::Negate(inner) => inner.may_annotate(),
            Plan::Subquery(subquery) => subquery.input.may_annotate(),
            Plan::Binary(_) | Plan::Aggregate(_) | Plan::Call(..) => true,
        }
    }
    /// The text of a string literal.
    pub(crate) fn text(&self) -> &str {
        match &self.inner().plan {
            Plan::Text(text) => text,
            _ => "",
        }
    }
}
