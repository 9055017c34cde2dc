//! The slow evaluator: walks the tree anew at every instant, with maps and plain loops.

use super::data::Stored;
use super::functions;
use crate::check::Labels;
use query::parse::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Card, DurationContext, DurationExpr, Expr,
    FunctionId, UnaryOp, ValueType, VectorMatching, VectorSelector,
};
use std::collections::BTreeMap;
use storage_format::model::is_stale;

/// One element of a vector; a scalar is one without labels.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

/// A window of one series.
pub(crate) struct Window {
    pub(crate) labels: Labels,
    pub(crate) samples: Vec<(i64, f64)>,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// The data and the query's range.
pub(crate) struct Naive<'a> {
    pub(crate) stored: &'a [Stored],
    pub(crate) lookback: i64,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

type Rows = Result<Vec<Row>, String>;

fn unnamed(mut labels: Labels) -> Labels {
    for name in ["__name__", "__type__", "__unit__"] {
        labels.remove(name);
    }
    labels
}

/// Refuses equal label sets.
fn distinct(rows: Vec<Row>) -> Rows {
    let mut all: Vec<&Labels> = rows.iter().map(|r| &r.labels).collect();
    all.sort();
    if all.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("same labelset".to_owned());
    }
    Ok(rows)
}

impl Naive<'_> {
    fn ms(&self, d: &DurationExpr) -> i64 {
        d.resolve(DurationContext { step_ms: 0, range_ms: 0 }, true).expect("durations are literals")
    }
    fn reference(&self, at: Option<At>, offset: Option<&DurationExpr>, t: i64) -> i64 {
        let t = match at {
            None => t,
            Some(At::Timestamp(t)) => t,
            Some(At::Start) => self.start,
            Some(At::End) => self.end,
        };
        t - offset.map_or(0, |d| self.ms(d))
    }
    fn chosen<'s>(&'s self, s: &'s VectorSelector) -> impl Iterator<Item = &'s Stored> {
        let fits = |x: &&Stored| {
            s.matchers.iter().all(|m| m.matches(x.labels.get(&m.name).map_or("", String::as_str)))
        };
        self.stored.iter().filter(fits)
    }
    /// The newest samples: (labels, time, value).
    fn select(&self, s: &VectorSelector, t: i64) -> Vec<(Labels, i64, f64)> {
        let at = self.reference(s.at, s.offset.as_ref(), t);
        self.chosen(s)
            .filter_map(|x| {
                let (time, value) = *x.samples.iter().rev().find(|(time, _)| *time <= at)?;
                (time > at - self.lookback && !is_stale(value)).then(|| (x.labels.clone(), time, value))
            })
            .collect()
    }
    fn windows(&self, expr: &Expr, t: i64) -> Result<Vec<Window>, String> {
        match expr {
            Expr::Matrix(m) => {
                let to = self.reference(m.selector.at, m.selector.offset.as_ref(), t);
                let from = to - self.ms(&m.range);
                let inside = |(time, value): &(i64, f64)| from < *time && *time <= to && !is_stale(*value);
                let window = |x: &Stored| {
                    let samples = x.samples.iter().copied().filter(inside).collect();
                    Window { labels: x.labels.clone(), samples, from, to }
                };
                Ok(self.chosen(&m.selector).map(window).collect())
            }
            Expr::Subquery(s) => {
                let to = self.reference(s.at, s.offset.as_ref(), t);
                let from = to - self.ms(&s.range);
                let step = s.step.as_ref().map_or(60_000, |d| self.ms(d));
                let mut found: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
                let mut inner = (from.div_euclid(step) + 1) * step;
                while inner <= to {
                    for row in self.eval(&s.expr, inner)? {
                        found.entry(row.labels).or_default().push((inner, row.value));
                    }
                    inner += step;
                }
                Ok(found.into_iter().map(|(labels, samples)| Window { labels, samples, from, to }).collect())
            }
            other => panic!("no range vector: {other:?}"),
        }
    }
    /// The expression's value at one instant.
    pub(crate) fn eval(&self, expr: &Expr, t: i64) -> Rows {
        match expr {
            Expr::Number(n) => Ok(vec![Row { labels: Labels::new(), value: n.value }]),
            Expr::Paren(p) => self.eval(&p.expr, t),
            Expr::Vector(s) => {
                Ok(self.select(s, t).into_iter().map(|(labels, _, value)| Row { labels, value }).collect())
            }
            Expr::Unary(u) => {
                let rows = self.eval(&u.expr, t)?;
                if u.op == UnaryOp::Plus {
                    return Ok(rows);
                }
                distinct(
                    rows.into_iter().map(|r| Row { labels: unnamed(r.labels), value: -r.value }).collect(),
                )
            }
            Expr::Aggregate(a) => self.aggregate(a, t),
            Expr::Binary(b) => self.binary(b, t),
            Expr::Call(c) => self.call(c, t),
            other => panic!("no instant vector: {other:?}"),
        }
    }
    fn scalar(&self, expr: &Expr, t: i64) -> Result<f64, String> {
        Ok(self.eval(expr, t)?[0].value)
    }
    fn call(&self, c: &Call, t: i64) -> Rows {
        use FunctionId as F;
        let arg = |i: usize| c.args[i].unwrap_parens();
        let text = |i: usize| match arg(i) {
            Expr::String(s) => s.value.clone(),
            other => panic!("no text: {other:?}"),
        };
        let range_at = c.args.iter().position(|a| a.value_type() == ValueType::Matrix);
        if let Some(range_at) = range_at {
            return self.over_range(c, range_at, t);
        }
        match c.function.id {
            F::Time => Ok(vec![Row { labels: Labels::new(), value: t as f64 / 1000.0 }]),
            F::Vector | F::Sort => self.eval(arg(0), t),
            F::Scalar => {
                let rows = self.eval(arg(0), t)?;
                let value = if rows.len() == 1 { rows[0].value } else { f64::NAN };
                Ok(vec![Row { labels: Labels::new(), value }])
            }
            F::Absent => {
                let present = !self.eval(arg(0), t)?.is_empty();
                let labels = match arg(0) {
                    Expr::Vector(s) => functions::absent_labels(s),
                    _ => Labels::new(),
                };
                Ok(if present { Vec::new() } else { vec![Row { labels, value: 1.0 }] })
            }
            F::Timestamp => {
                let rows = match arg(0) {
                    Expr::Vector(s) => self
                        .select(s, t)
                        .into_iter()
                        .map(|(labels, time, _)| Row { labels, value: time as f64 / 1000.0 })
                        .collect(),
                    _ => {
                        let mut rows = self.eval(arg(0), t)?;
                        rows.iter_mut().for_each(|r| r.value = t as f64 / 1000.0);
                        rows
                    }
                };
                distinct(rows.into_iter().map(|r| Row { labels: unnamed(r.labels), ..r }).collect())
            }
            F::LabelReplace => {
                let regex = regex::Regex::new(&format!("^(?s:{})$", text(4))).expect("it is valid");
                let mut rows = self.eval(arg(0), t)?;
                for row in &mut rows {
                    let source = row.labels.get(&text(3)).cloned().unwrap_or_default();
                    if let Some(captures) = regex.captures(&source) {
                        let mut value = String::new();
                        captures.expand(&text(2), &mut value);
                        functions::set_label(&mut row.labels, &text(1), value);
                    }
                }
                distinct(rows)
            }
            F::LabelJoin => {
                let mut rows = self.eval(arg(0), t)?;
                for row in &mut rows {
                    let values: Vec<String> = (3..c.args.len())
                        .map(|i| row.labels.get(&text(i)).cloned().unwrap_or_default())
                        .collect();
                    functions::set_label(&mut row.labels, &text(1), values.join(&text(2)));
                }
                distinct(rows)
            }
            id => {
                let params: Vec<f64> =
                    c.args[1..].iter().map(|a| self.scalar(a, t)).collect::<Result<_, _>>()?;
                let rows = self.eval(arg(0), t)?.into_iter().map(|r| Row {
                    labels: unnamed(r.labels),
                    value: functions::number(id, r.value, &params),
                });
                distinct(rows.collect())
            }
        }
    }
    fn over_range(&self, c: &Call, range_at: usize, t: i64) -> Rows {
        let range = c.args[range_at].unwrap_parens();
        let mut params = Vec::new();
        for (i, arg) in c.args.iter().enumerate().filter(|(i, _)| *i != range_at) {
            let _ = i;
            params.push(self.scalar(arg, t)?);
        }
        let windows = self.windows(range, t)?;
        if c.function.id == FunctionId::AbsentOverTime {
            let labels = match range {
                Expr::Matrix(m) => functions::absent_labels(&m.selector),
                _ => Labels::new(),
            };
            let absent = windows.iter().all(|w| w.samples.is_empty());
            return Ok(if absent { vec![Row { labels, value: 1.0 }] } else { Vec::new() });
        }
        let keeps = matches!(c.function.id, FunctionId::LastOverTime | FunctionId::FirstOverTime);
        let rows = windows.into_iter().filter(|w| !w.samples.is_empty()).filter_map(|w| {
            let value = functions::over_range(c.function.id, &w, &params, t)?;
            Some(Row { labels: if keeps { w.labels } else { unnamed(w.labels) }, value })
        });
        distinct(rows.collect())
    }
    fn aggregate(&self, a: &Aggregate, t: i64) -> Rows {
        let mut grouping = a.grouping.clone();
        let mut rows = self.eval(&a.expr, t)?;
        if let (AggregateOp::CountValues, Some(Expr::String(label))) = (a.op, &a.param) {
            for row in &mut rows {
                functions::set_label(&mut row.labels, &label.value, functions::as_text(row.value));
            }
            if !a.without {
                grouping.push(label.value.clone());
            }
        }
        let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
        for mut row in rows {
            row.labels.retain(|n, _| grouping.contains(n) != a.without && !(a.without && n == "__name__"));
            groups.entry(row.labels).or_default().push(row.value);
        }
        let param = match (&a.param, a.op) {
            (Some(param), AggregateOp::Quantile) => self.scalar(param, t)?,
            _ => f64::NAN,
        };
        Ok(groups
            .into_iter()
            .map(|(labels, values)| Row { labels, value: functions::aggregate(a.op, &values, param) })
            .collect())
    }
    fn binary(&self, b: &Binary, t: i64) -> Rows {
        let (lhs, rhs) = (self.eval(&b.lhs, t)?, self.eval(&b.rhs, t)?);
        let scalar = |e: &Expr| e.value_type() == ValueType::Scalar;
        match (scalar(&b.lhs), scalar(&b.rhs)) {
            (true, true) => {
                let (value, holds) = functions::binary(b.op, lhs[0].value, rhs[0].value);
                let value = if b.op.is_comparison() { f64::from(u8::from(holds)) } else { value };
                Ok(vec![Row { labels: Labels::new(), value }])
            }
            (true, false) | (false, true) => {
                let (vector, left) = if scalar(&b.lhs) { (&rhs, false) } else { (&lhs, true) };
                let other = if left { rhs[0].value } else { lhs[0].value };
                let mut out = Vec::new();
                for row in vector {
                    let (l, r) = if left { (row.value, other) } else { (other, row.value) };
                    let (value, holds) = functions::binary(b.op, l, r);
                    let labels = unnamed(row.labels.clone());
                    if b.return_bool {
                        out.push(Row { labels, value: f64::from(u8::from(holds)) });
                    } else if !b.op.is_comparison() {
                        out.push(Row { labels, value });
                    } else if holds {
                        out.push(row.clone());
                    }
                }
                distinct(out)
            }
            (false, false) => {
                let matching = b.matching.clone().unwrap_or_default();
                if b.op.is_set() { Ok(set(b.op, lhs, rhs, &matching)) } else { join(b, &matching, lhs, rhs) }
            }
        }
    }
}

fn signature(labels: &Labels, m: &VectorMatching) -> Labels {
    let mut labels = labels.clone();
    labels.retain(|n, _| m.labels.contains(n) == m.on && (m.on || n != "__name__"));
    labels
}

fn set(op: BinaryOp, lhs: Vec<Row>, rhs: Vec<Row>, m: &VectorMatching) -> Vec<Row> {
    let has = |rows: &[Row], row: &Row| {
        let wanted = signature(&row.labels, m);
        rows.iter().any(|r| signature(&r.labels, m) == wanted)
    };
    match op {
        BinaryOp::And => lhs.into_iter().filter(|l| has(&rhs, l)).collect(),
        BinaryOp::Unless => lhs.into_iter().filter(|l| !has(&rhs, l)).collect(),
        _ => {
            let added: Vec<Row> = rhs.into_iter().filter(|r| !has(&lhs, r)).collect();
            lhs.into_iter().chain(added).collect()
        }
    }
}

fn join(b: &Binary, m: &VectorMatching, lhs: Vec<Row>, rhs: Vec<Row>) -> Rows {
    let swapped = m.card == Card::OneToMany;
    let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
    if many.is_empty() || one.is_empty() {
        return Ok(Vec::new());
    }
    let mut partners: BTreeMap<Labels, &Row> = BTreeMap::new();
    for row in &one {
        if partners.insert(signature(&row.labels, m), row).is_some() {
            return Err("duplicate series on the one side".to_owned());
        }
    }
    let mut matched: BTreeMap<Labels, Vec<Labels>> = BTreeMap::new();
    let mut out = Vec::new();
    for row in &many {
        let wanted = signature(&row.labels, m);
        let Some(partner) = partners.get(&wanted) else { continue };
        let (l, r) = if swapped { (partner.value, row.value) } else { (row.value, partner.value) };
        let (value, holds) = functions::binary(b.op, l, r);
        let mut labels = row.labels.clone();
        if !b.op.is_comparison() || b.return_bool {
            labels = unnamed(labels);
        }
        if m.card == Card::OneToOne {
            labels.retain(|n, _| m.labels.contains(n) == m.on);
        }
        for name in &m.include {
            let value = partner.labels.get(name).cloned().unwrap_or_default();
            functions::set_label(&mut labels, name, value);
        }
        let seen = matched.entry(wanted).or_default();
        if m.card == Card::OneToOne && !seen.is_empty() || seen.contains(&labels) {
            return Err("multiple matches".to_owned());
        }
        seen.push(labels.clone());
        if b.return_bool {
            out.push(Row { labels, value: f64::from(u8::from(holds)) });
        } else if holds {
            out.push(Row { labels, value });
        }
    }
    distinct(out)
}
