//! From the syntax tree to the plan.

use super::propagate::propagate;
use super::{Aggregation, BinaryPlan, Node, Plan, QueryTimes, Selector, SubqueryPlan};
use crate::QueryError;
use crate::execute::select::Anchor;
use crate::functions::extended::Extension;
use crate::parse::{
    At, BinaryOp, DurationContext, DurationExpr, Expr, FunctionId, Span, UnaryOp, ValueType, VectorSelector,
};
use std::cell::Cell;
use storage_format::model::Timestamp;

/// Resolves `expr` for a query at `times`. `subquery_step` (milliseconds) is for subqueries without one.
///
/// # Errors
/// When a duration does not resolve.
pub(crate) fn build(expr: &Expr, times: QueryTimes, subquery_step: i64) -> Result<Node, QueryError> {
    let builder = Builder { times, subquery_step, wants: Cell::default() };
    let mut plan = builder.node(expr)?.wrapped();
    propagate(&mut plan);
    Ok(plan)
}

struct Builder {
    times: QueryTimes,
    subquery_step: i64,
    /// What of histograms the functions around ask for.
    wants: Cell<Wants>,
}

/// What of a selector's histograms is asked for: only counts and sums, if a function around wants just these
/// and none wants the buckets.
#[derive(Clone, Copy, Default)]
struct Wants {
    stats: bool,
    buckets: bool,
}

/// A node, whether it gives the same at every step, and whether marking that is worth it.
struct Built {
    node: Node,
    invariant: bool,
    wrap: bool,
}

impl Built {
    fn wrapped(self) -> Node {
        if !self.wrap {
            return self.node;
        }
        let (span, value_type) = (self.node.span, self.node.value_type);
        Node { plan: Plan::Invariant(Box::new(self.node)), span, value_type }
    }
}

/// Functions whose result depends on the step even if their arguments do not.
fn depends_on_step(id: FunctionId) -> bool {
    use FunctionId as F;
    matches!(
        id,
        F::DaysInMonth
            | F::DayOfMonth
            | F::DayOfWeek
            | F::DayOfYear
            | F::Hour
            | F::Minute
            | F::Month
            | F::Year
            | F::PredictLinear
            | F::Time
            | F::Timestamp
    )
}

impl Builder {
    /// Builds something below a node that changes what is wanted.
    fn within<T>(&self, change: impl FnOnce(&mut Wants), build: impl FnOnce() -> T) -> T {
        let outer = self.wants.get();
        let mut inner = outer;
        change(&mut inner);
        self.wants.set(inner);
        let built = build();
        self.wants.set(outer);
        built
    }
    fn duration(&self, d: &DurationExpr, allow_negative: bool) -> Result<i64, QueryError> {
        let context = DurationContext {
            step_ms: self.times.step,
            range_ms: self.times.end.saturating_sub(self.times.start),
        };
        d.resolve(context, allow_negative).map_err(|message| QueryError::Parse { message, limit: None })
    }
    fn anchor(&self, at: Option<At>, offset: Option<&DurationExpr>) -> Result<Anchor, QueryError> {
        let at: Option<Timestamp> = at.map(|at| match at {
            At::Timestamp(t) => t,
            At::Start => self.times.start,
            At::End => self.times.end,
        });
        Ok(Anchor { at, offset: offset.map_or(Ok(0), |d| self.duration(d, true))? })
    }
    fn selector(&self, s: &VectorSelector) -> Result<Selector, QueryError> {
        let extension = match (s.anchored, s.smoothed) {
            (true, _) => Some(Extension::Anchored),
            (_, true) => Some(Extension::Smoothed),
            _ => None,
        };
        let anchor = self.anchor(s.at, s.offset.as_ref())?;
        let wants = self.wants.get();
        let stats = wants.stats && !wants.buckets;
        Ok(Selector { matchers: s.matchers.clone(), anchor, extension, stats })
    }
    fn node(&self, expr: &Expr) -> Result<Built, QueryError> {
        let (span, value_type) = (expr.span(), expr.value_type());
        let done = |plan: Plan, invariant: bool, wrap: bool| {
            Ok(Built { node: Node { plan, span, value_type }, invariant, wrap })
        };
        match expr {
            Expr::Number(n) => done(Plan::Number(n.value), true, false),
            Expr::String(s) => done(Plan::Text(s.value.clone()), true, false),
            Expr::Vector(s) => {
                let selector = self.selector(s)?;
                let fixed = selector.anchor.at.is_some();
                done(Plan::Select(selector), fixed, fixed)
            }
            Expr::Matrix(m) => {
                let selector = self.selector(&m.selector)?;
                let fixed = selector.anchor.at.is_some();
                let range = self.duration(&m.range, false)?;
                done(Plan::Window(selector, range), fixed, false)
            }
            Expr::Subquery(s) => {
                let built = self.within(|w| w.buckets = true, || self.node(&s.expr))?;
                // Evaluated once, with respect to the subquery's own steps.
                let wrap = built.invariant;
                let input = Built { wrap, ..built }.wrapped();
                let anchor = self.anchor(s.at, s.offset.as_ref())?;
                let step = match &s.step {
                    Some(d) => self.duration(d, false)?,
                    None => self.subquery_step,
                };
                let range = self.duration(&s.range, false)?;
                let plan = SubqueryPlan { input, range, step: step.max(1), anchor };
                done(Plan::Subquery(Box::new(plan)), anchor.at.is_some(), false)
            }
            Expr::Paren(p) => self.node(&p.expr),
            Expr::Unary(u) => {
                let inner = self.node(&u.expr)?;
                if u.op == UnaryOp::Plus {
                    return Ok(Built { node: Node { span, ..inner.node }, ..inner });
                }
                done(Plan::Negate(Box::new(inner.node)), inner.invariant, inner.wrap)
            }
            Expr::Binary(b) => {
                let trims = matches!(b.op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
                let side = |e: &Expr| self.within(|w| w.buckets |= trims, || self.node(e));
                let (lhs, rhs) = (side(&b.lhs)?, side(&b.rhs)?);
                let invariant = lhs.invariant && rhs.invariant;
                let keep = |built: Built| if invariant { built.node } else { built.wrapped() };
                let plan = BinaryPlan {
                    op: b.op,
                    lhs: keep(lhs),
                    rhs: keep(rhs),
                    return_bool: b.return_bool,
                    matching: b.matching.clone(),
                };
                done(Plan::Binary(Box::new(plan)), invariant, invariant)
            }
            Expr::Aggregate(a) => {
                let param = a.param.as_ref().map(|p| self.node(p.unwrap_parens())).transpose()?;
                let input = self.node(a.expr.unwrap_parens())?;
                // As in Prometheus, a parameter that changes does not make the whole change.
                let invariant = input.invariant;
                let keep = |built: Built| if invariant { built.node } else { built.wrapped() };
                let plan = Aggregation {
                    op: a.op,
                    param: param.map(keep),
                    input: keep(input),
                    grouping: a.grouping.clone(),
                    without: a.without,
                };
                done(Plan::Aggregate(Box::new(plan)), invariant, invariant)
            }
            Expr::Call(c) => self.call(c.function.id, c.function.name, &c.args, span, value_type),
        }
    }
    fn call(
        &self,
        id: FunctionId,
        name: &'static str,
        args: &[Expr],
        span: Span,
        value_type: ValueType,
    ) -> Result<Built, QueryError> {
        // Functions of the query itself are numbers by now.
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let number = match id {
            FunctionId::Start => Some(seconds(self.times.start)),
            FunctionId::End => Some(seconds(self.times.end)),
            FunctionId::Step => Some(seconds(self.times.step)),
            FunctionId::Range => Some(seconds(self.times.end.saturating_sub(self.times.start))),
            FunctionId::Pi => Some(std::f64::consts::PI),
            _ => None,
        };
        if let Some(number) = number {
            let node = Node { plan: Plan::Number(number), span, value_type };
            return Ok(Built { node, invariant: true, wrap: false });
        }
        let asks = |w: &mut Wants| match id {
            FunctionId::HistogramCount | FunctionId::HistogramSum | FunctionId::HistogramAvg => {
                w.stats = true
            }
            FunctionId::HistogramQuantile
            | FunctionId::HistogramQuantiles
            | FunctionId::HistogramFraction => w.buckets = true,
            _ => {}
        };
        let nodes = || args.iter().map(|a| self.node(a.unwrap_parens())).collect::<Result<Vec<_>, _>>();
        let built = self.within(asks, nodes)?;
        let no_argument_means_now = args.is_empty() || depends_on_step(id);
        let invariant = !no_argument_means_now && built.iter().all(|b| b.invariant);
        let args = built.into_iter().map(|b| if invariant { b.node } else { b.wrapped() }).collect();
        let node = Node { plan: Plan::Call(id, name, args), span, value_type };
        Ok(Built { node, invariant, wrap: invariant })
    }
}
