//! What functions, aggregations and operators compute, from their definitions.

use super::naive::Window;
use crate::check::Labels;
use engine::MatchOp;
use query::parse::{AggregateOp, BinaryOp, FunctionId, VectorSelector};

pub(crate) fn set_label(labels: &mut Labels, name: &str, value: String) {
    if value.is_empty() {
        labels.remove(name);
    } else {
        labels.insert(name.to_owned(), value);
    }
}

pub(crate) fn as_text(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

/// Labels that a selector pins by exactly one condition, an equality.
pub(crate) fn absent_labels(s: &VectorSelector) -> Labels {
    let mut labels = Labels::new();
    for m in &s.matchers {
        let only = s.matchers.iter().filter(|o| o.name == m.name).count() == 1;
        if only && m.op == MatchOp::Equal && m.name != "__name__" {
            set_label(&mut labels, &m.name, m.value.clone());
        }
    }
    labels
}

pub(crate) fn number(id: FunctionId, v: f64, params: &[f64]) -> f64 {
    match id {
        FunctionId::Abs => v.abs(),
        FunctionId::Floor => v.floor(),
        FunctionId::Sqrt => v.sqrt(),
        FunctionId::Sgn if v > 0.0 => 1.0,
        FunctionId::Sgn if v < 0.0 => -1.0,
        FunctionId::Sgn => v,
        FunctionId::Clamp if v.is_nan() => v,
        FunctionId::Clamp => v.max(params[0]).min(params[1]),
        FunctionId::Round => (v / params[0] + 0.5).floor() * params[0],
        other => panic!("not expected here: {other:?}"),
    }
}

/// Value and whether a filter keeps it.
pub(crate) fn binary(op: BinaryOp, l: f64, r: f64) -> (f64, bool) {
    match op {
        BinaryOp::Add => (l + r, true),
        BinaryOp::Sub => (l - r, true),
        BinaryOp::Mul => (l * r, true),
        BinaryOp::Div => (l / r, true),
        BinaryOp::Mod => (l % r, true),
        BinaryOp::Pow => (l.powf(r), true),
        BinaryOp::Atan2 => (l.atan2(r), true),
        BinaryOp::Eq => (l, l == r),
        BinaryOp::Ne => (l, l != r),
        BinaryOp::Gt => (l, l > r),
        BinaryOp::Lt => (l, l < r),
        BinaryOp::Ge => (l, l >= r),
        BinaryOp::Le => (l, l <= r),
        other => panic!("not expected here: {other:?}"),
    }
}

fn quantile(q: f64, values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(|a, b| {
        b.is_nan().cmp(&a.is_nan()).then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
    });
    let rank = q * (values.len() as f64 - 1.0);
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64
}

fn extreme(values: &[f64], better: impl Fn(f64, f64) -> bool) -> f64 {
    values.iter().copied().fold(f64::NAN, |best, v| if best.is_nan() || better(v, best) { v } else { best })
}

pub(crate) fn aggregate(op: AggregateOp, values: &[f64], param: f64) -> f64 {
    match op {
        AggregateOp::Sum => values.iter().sum(),
        AggregateOp::Avg => mean(values),
        AggregateOp::Count | AggregateOp::CountValues => values.len() as f64,
        AggregateOp::Min => extreme(values, |a, b| a < b),
        AggregateOp::Max => extreme(values, |a, b| a > b),
        AggregateOp::Group => 1.0,
        AggregateOp::Stdvar => variance(values),
        AggregateOp::Stddev => variance(values).sqrt(),
        AggregateOp::Quantile => quantile(param, values),
        other => panic!("not expected here: {other:?}"),
    }
}

/// Difference over the range, counters corrected for resets, extrapolated to the range's ends.
fn extrapolated(w: &Window, counter: bool, per_second: bool) -> Option<f64> {
    let s = &w.samples;
    if s.len() < 2 {
        return None;
    }
    let (first, last) = (s[0], s[s.len() - 1]);
    let mut difference = last.1 - first.1;
    if counter {
        difference += s.windows(2).filter(|p| p[1].1 < p[0].1).map(|p| p[0].1).sum::<f64>();
    }
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let sampled = seconds(last.0 - first.0);
    let average = sampled / (s.len() - 1) as f64;
    let reach = |gap: f64| if gap >= average * 1.1 { average / 2.0 } else { gap };
    let mut before = reach(seconds(first.0 - w.from));
    if counter && difference > 0.0 && first.1 >= 0.0 {
        before = before.min(sampled * (first.1 / difference));
    }
    let after = reach(seconds(w.to - last.0));
    let total = difference * ((sampled + before + after) / sampled);
    Some(if per_second { total / seconds(w.to - w.from) } else { total })
}

fn line(s: &[(i64, f64)], origin: i64) -> (f64, f64) {
    let first = s[0].1;
    if s.iter().all(|p| p.1 == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let n = s.len() as f64;
    let x = |p: &(i64, f64)| (p.0 - origin) as f64 / 1000.0;
    let (sx, sy) = (s.iter().map(x).sum::<f64>(), s.iter().map(|p| p.1).sum::<f64>());
    let sxy: f64 = s.iter().map(|p| x(p) * p.1).sum();
    let sxx: f64 = s.iter().map(|p| x(p) * x(p)).sum();
    let slope = (sxy - sx * sy / n) / (sxx - sx * sx / n);
    (slope, sy / n - slope * sx / n)
}

/// The function's value over a window that is not empty.
pub(crate) fn over_range(id: FunctionId, w: &Window, params: &[f64], t: i64) -> Option<f64> {
    use FunctionId as F;
    let values: Vec<f64> = w.samples.iter().map(|s| s.1).collect();
    let last_two = || w.samples.len().checked_sub(2).map(|i| (w.samples[i], w.samples[i + 1]));
    let pairs = |happened: fn(f64, f64) -> bool| {
        w.samples.windows(2).filter(|p| happened(p[0].1, p[1].1)).count() as f64
    };
    Some(match id {
        F::Rate => return extrapolated(w, true, true),
        F::Increase => return extrapolated(w, true, false),
        F::Delta => return extrapolated(w, false, false),
        F::Irate => {
            let (a, b) = last_two()?;
            let difference = if b.1 < a.1 { b.1 } else { b.1 - a.1 };
            difference / ((b.0 - a.0) as f64 / 1000.0)
        }
        F::Idelta => last_two().map(|(a, b)| b.1 - a.1)?,
        F::Resets => pairs(|a, b| b < a),
        F::Changes => pairs(|a, b| a != b && !(a.is_nan() && b.is_nan())),
        F::Deriv if values.len() > 1 => line(&w.samples, w.samples[0].0).0,
        F::PredictLinear if values.len() > 1 => {
            let (slope, now) = line(&w.samples, t);
            slope * params[0] + now
        }
        F::Deriv | F::PredictLinear => return None,
        F::SumOverTime => values.iter().sum(),
        F::AvgOverTime => mean(&values),
        F::MinOverTime => extreme(&values, |a, b| a < b),
        F::MaxOverTime => extreme(&values, |a, b| a > b),
        F::CountOverTime => values.len() as f64,
        F::LastOverTime => values[values.len() - 1],
        F::FirstOverTime => values[0],
        F::PresentOverTime => 1.0,
        F::StdvarOverTime => variance(&values),
        F::StddevOverTime => variance(&values).sqrt(),
        F::QuantileOverTime => quantile(params[0], &values),
        other => panic!("not expected here: {other:?}"),
    })
}
