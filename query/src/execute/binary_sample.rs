//! Binary operators on two numbers, two samples and two columns.

use super::call::put;
use super::column::{Column, Sample};
use crate::Point;
use crate::annotations::{Annotations, Combination, bounds_reconciled, hints_collided, quoted};
use crate::histogram::{HistogramSum, compact, divide, equal, multiply, trim};
use crate::parse::{BinaryOp, Span};
use std::sync::Arc;
use storage_format::model::{CounterResetHint, Histogram};

/// Whether the operator makes another metric of its operands (so that the name has to go).
pub(super) fn changes_metric(op: BinaryOp) -> bool {
    use BinaryOp as B;
    matches!(op, B::Add | B::Sub | B::Mul | B::Div | B::Pow | B::Mod | B::Atan2)
}

/// The result of arithmetic; of comparisons the left value.
#[inline]
fn number(op: BinaryOp, l: f64, r: f64) -> f64 {
    match op {
        BinaryOp::Add => l + r,
        BinaryOp::Sub => l - r,
        BinaryOp::Mul => l * r,
        BinaryOp::Div => l / r,
        BinaryOp::Mod => l % r,
        BinaryOp::Pow => power(l, r),
        BinaryOp::Atan2 => l.atan2(r),
        _ => l,
    }
}

/// Power as IEEE 754 and Go have it.
fn power(base: f64, exponent: f64) -> f64 {
    base.powf(exponent)
}

/// Whether a comparison holds; arithmetic always does.
#[inline]
fn holds(op: BinaryOp, l: f64, r: f64) -> bool {
    match op {
        BinaryOp::Eq => l == r,
        BinaryOp::Ne => l != r,
        BinaryOp::Gt => l > r,
        BinaryOp::Lt => l < r,
        BinaryOp::Ge => l >= r,
        BinaryOp::Le => l <= r,
        _ => true,
    }
}

/// The operator on two scalars.
pub(super) fn scalars(op: BinaryOp, l: f64, r: f64) -> f64 {
    if op.is_comparison() { f64::from(u8::from(holds(op, l, r))) } else { number(op, l, r) }
}

/// What notes the operator may leave, each once.
#[derive(Debug, Default)]
pub(super) struct BinaryNotes {
    incompatible: [bool; 4],
    mixed_layouts: bool,
    collided: Option<Combination>,
    reconciled: Option<Combination>,
}

impl BinaryNotes {
    /// Writes them as annotations.
    pub(super) fn write(&self, op: BinaryOp, span: Span, into: &mut Annotations) {
        const KIND: [&str; 2] = ["float", "histogram"];
        for (i, _) in self.incompatible.iter().enumerate().filter(|(_, raised)| **raised) {
            let (l, r) = (KIND[i / 2], KIND[i % 2]);
            let text = "incompatible sample types encountered for binary operator";
            into.info(format!("{text} {}: {l} {op} {r}", quoted(op.as_str())), span);
        }
        if self.mixed_layouts {
            into.warn(format!("incompatible bucket layout encountered for binary operator {op}"), span);
        }
        if let Some(by) = self.collided {
            into.warn(hints_collided(by), span);
        }
        if let Some(by) = self.reconciled {
            into.info(bounds_reconciled(by), span);
        }
    }
    fn incompatible(&mut self, l: Sample<'_>, r: Sample<'_>) {
        let kind = |s: Sample<'_>| usize::from(matches!(s, Sample::Histogram(_)));
        self.incompatible[kind(l) * 2 + kind(r)] = true;
    }
}

/// What an operator makes of two samples: the result and whether a filter keeps it. `None`: the two do not
/// go together, as if they had not met.
pub(super) fn samples(
    op: BinaryOp,
    l: Sample<'_>,
    r: Sample<'_>,
    notes: &mut BinaryNotes,
) -> Option<(Point, bool)> {
    let changed = |h: &Arc<Histogram>, change: &dyn Fn(&mut Histogram)| {
        let mut h = Histogram::clone(h);
        change(&mut h);
        compact(&mut h);
        Some((Point::Histogram(Arc::new(h)), true))
    };
    match (l, r, op) {
        (Sample::Float(_), Sample::Float(_), BinaryOp::TrimLower | BinaryOp::TrimUpper) => {
            notes.incompatible(l, r);
            None
        }
        (Sample::Float(a), Sample::Float(b), _) => Some((Point::Float(number(op, a, b)), holds(op, a, b))),
        (Sample::Float(f), Sample::Histogram(h), BinaryOp::Mul)
        | (Sample::Histogram(h), Sample::Float(f), BinaryOp::Mul) => changed(h, &|h| multiply(h, f)),
        (Sample::Histogram(h), Sample::Float(f), BinaryOp::Div) => changed(h, &|h| divide(h, f)),
        (Sample::Histogram(h), Sample::Float(f), BinaryOp::TrimUpper) => changed(h, &|h| trim(h, f, true)),
        (Sample::Histogram(h), Sample::Float(f), BinaryOp::TrimLower) => changed(h, &|h| trim(h, f, false)),
        (Sample::Histogram(a), Sample::Histogram(b), BinaryOp::Add | BinaryOp::Sub) => {
            sum(op == BinaryOp::Sub, a, b, notes)
        }
        (Sample::Histogram(a), Sample::Histogram(b), BinaryOp::Eq | BinaryOp::Ne) => {
            Some((Point::Histogram(Arc::clone(a)), equal(a, b) == (op == BinaryOp::Eq)))
        }
        _ => {
            notes.incompatible(l, r);
            None
        }
    }
}

fn sum(subtract: bool, a: &Histogram, b: &Histogram, notes: &mut BinaryNotes) -> Option<(Point, bool)> {
    let by = if subtract { Combination::Subtraction } else { Combination::Addition };
    let mut sum = HistogramSum::new(a);
    let Ok(merge) = sum.add(b, if subtract { -1.0 } else { 1.0 }) else {
        notes.mixed_layouts = true;
        return None;
    };
    if merge.hints_collided {
        notes.collided = Some(by);
    }
    if merge.bounds_reconciled {
        notes.reconciled = Some(by);
    }
    let mut h = sum.finish();
    if subtract {
        h.reset_hint = CounterResetHint::Gauge;
    }
    compact(&mut h);
    Some((Point::Histogram(Arc::new(h)), true))
}

/// How two columns are combined.
#[derive(Debug, Clone, Copy)]
pub(super) struct Combine {
    pub(super) op: BinaryOp,
    pub(super) return_bool: bool,
    /// The column that is overwritten is the right operand.
    pub(super) swapped: bool,
}

/// Replaces `mine` by the result of the operator at the steps that both columns have.
pub(super) fn columns(how: Combine, mine: &mut Column, other: &Column, notes: &mut BinaryNotes) {
    let Combine { op, return_bool, swapped } = how;
    let trims = matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
    if !mine.histograms.is_empty() || !other.histograms.is_empty() || trims {
        return mixed_columns(how, mine, other, notes);
    }
    mine.present.and(&other.present);
    if !op.is_comparison() {
        let pairs = mine.values.iter_mut().zip(&other.values);
        if swapped {
            pairs.for_each(|(m, o)| *m = number(op, *o, *m));
        } else {
            pairs.for_each(|(m, o)| *m = number(op, *m, *o));
        }
        return;
    }
    for step in 0..mine.values.len() {
        if !mine.present.get(step) {
            continue;
        }
        let (m, o) = (mine.values[step], other.values[step]);
        let (l, r) = if swapped { (o, m) } else { (m, o) };
        let holds = holds(op, l, r);
        if return_bool {
            mine.values[step] = f64::from(u8::from(holds));
        } else if holds {
            mine.values[step] = l;
        } else {
            mine.present.clear(step);
        }
    }
}

fn mixed_columns(how: Combine, mine: &mut Column, other: &Column, notes: &mut BinaryNotes) {
    let mut out = Column::new(mine.values.len());
    for step in 0..mine.values.len() {
        let (Some(m), Some(o)) = (mine.sample(step), other.sample(step)) else { continue };
        let (l, r) = if how.swapped { (o, m) } else { (m, o) };
        if let Some((point, kept)) = samples(how.op, l, r, notes) {
            if how.return_bool {
                out.set(step, f64::from(u8::from(kept)));
            } else if kept {
                put(&mut out, step, point);
            }
        }
    }
    *mine = out;
}

/// As [`columns`] with a scalar for the other operand. A comparison keeps the vector's value on either side.
pub(super) fn with_scalar(
    how: Combine,
    mine: &mut Column,
    scalar: impl Fn(usize) -> f64,
    notes: &mut BinaryNotes,
) {
    let Combine { op, return_bool, swapped } = how;
    let trims = matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper);
    if mine.histograms.is_empty() && !trims {
        for step in 0..mine.values.len() {
            if !mine.present.get(step) {
                continue;
            }
            let (m, s) = (mine.values[step], scalar(step));
            let (l, r) = if swapped { (s, m) } else { (m, s) };
            if !op.is_comparison() {
                mine.values[step] = number(op, l, r);
            } else if return_bool {
                mine.values[step] = f64::from(u8::from(holds(op, l, r)));
            } else if !holds(op, l, r) {
                mine.present.clear(step);
            }
        }
        return;
    }
    let mut out = Column::new(mine.values.len());
    for step in 0..mine.values.len() {
        let Some(m) = mine.sample(step) else { continue };
        let s = Sample::Float(scalar(step));
        let (l, r) = if swapped { (s, m) } else { (m, s) };
        let Some((point, kept)) = samples(op, l, r, notes) else { continue };
        if return_bool {
            out.set(step, f64::from(u8::from(kept)));
        } else if kept {
            let point = match m {
                Sample::Float(value) if op.is_comparison() => Point::Float(value),
                _ => point,
            };
            put(&mut out, step, point);
        }
    }
    *mine = out;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_keep_the_left_value() {
        let (mut a, mut b) = (Column::new(3), Column::new(3));
        a.set(0, 1.0);
        a.set(1, 5.0);
        b.set(0, 2.0);
        b.set(1, 2.0);
        b.set(2, 2.0);
        let how = Combine { op: BinaryOp::Gt, return_bool: false, swapped: false };
        let mut notes = BinaryNotes::default();
        let mut kept = a.clone();
        columns(how, &mut kept, &b, &mut notes);
        assert_eq!(kept.present.iter().collect::<Vec<_>>(), [1]);
        let mut swapped = a;
        with_scalar(Combine { swapped: true, ..how }, &mut swapped, |_| 3.0, &mut notes);
        assert_eq!((swapped.present.iter().collect::<Vec<_>>(), swapped.values[0]), (vec![0], 1.0));
    }
}
