//! Which kernel computes which function, and what it needs.

use super::extended::{Extension, anchored_events, difference};
use super::over_time::{self, End};
use super::rate::{Event, count_events, extrapolated, instant};
use crate::Point;
use crate::annotations::Notes;
use crate::execute::range_input::Window;
use crate::parse::FunctionId;

/// Computes one step of a range function from its window and its scalar arguments.
pub(crate) type Kernel = fn(&Window<'_>, &[f64], &mut Notes) -> Option<Point>;

/// Which events between floats are marked for the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    None,
    Resets,
    Changes,
}

/// A function over range vectors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RangeFunction {
    pub(crate) kernel: Kernel,
    pub(crate) marks: Marks,
}

/// The kernel of a function over ordinary range selectors; `None` when it takes no range vector.
pub(crate) fn range_function(id: FunctionId) -> Option<RangeFunction> {
    use FunctionId as F;
    let marks = match id {
        F::Rate | F::Increase | F::Resets => Marks::Resets,
        F::Changes => Marks::Changes,
        _ => Marks::None,
    };
    let kernel: Kernel = match id {
        F::Rate => |w, _, n| extrapolated(w, true, true, n),
        F::Increase => |w, _, n| extrapolated(w, true, false, n),
        F::Delta => |w, _, n| extrapolated(w, false, false, n),
        F::Irate => |w, _, n| instant(w, true, n),
        F::Idelta => |w, _, n| instant(w, false, n),
        F::Resets => |w, _, _| count_events(w, Event::Reset),
        F::Changes => |w, _, _| count_events(w, Event::Change),
        F::SumOverTime => |w, _, n| over_time::sum(w, n),
        F::AvgOverTime => |w, _, n| over_time::avg(w, n),
        F::CountOverTime => |w, _, _| Some(Point::Float((w.values.len() + w.histograms.len()) as f64)),
        F::PresentOverTime | F::AbsentOverTime => |_, _, _| Some(Point::Float(1.0)),
        F::FirstOverTime => |w, _, _| over_time::end(w, End::First),
        F::LastOverTime => |w, _, _| over_time::end(w, End::Last),
        F::TsOfFirstOverTime => |w, _, _| over_time::end_time(w, End::First),
        F::TsOfLastOverTime => |w, _, _| over_time::end_time(w, End::Last),
        F::MaxOverTime => |w, _, n| over_time::extreme_over_time(w, true, false, n),
        F::MinOverTime => |w, _, n| over_time::extreme_over_time(w, false, false, n),
        F::TsOfMaxOverTime => |w, _, n| over_time::extreme_over_time(w, true, true, n),
        F::TsOfMinOverTime => |w, _, n| over_time::extreme_over_time(w, false, true, n),
        F::QuantileOverTime => |w, p, n| over_time::quantile_over_time(w, first(p), n),
        F::MadOverTime => |w, _, n| over_time::mad(w, n),
        F::StdvarOverTime => |w, _, n| over_time::stdvar(w, n).map(Point::Float),
        F::StddevOverTime => |w, _, n| over_time::stdvar(w, n).map(|v| Point::Float(v.sqrt())),
        F::Deriv => |w, _, n| over_time::deriv(w, n),
        F::PredictLinear => |w, p, n| over_time::predict_linear(w, first(p), n),
        F::DoubleExponentialSmoothing => {
            |w, p, n| over_time::smoothing(w, first(p), p.get(1).copied().unwrap_or(f64::NAN), n)
        }
        _ => return None,
    };
    Some(RangeFunction { kernel, marks })
}

fn first(params: &[f64]) -> f64 {
    params.first().copied().unwrap_or(f64::NAN)
}

/// The kernel of a function over extended range selectors; `None` when it does not take them.
pub(crate) fn extended_function(id: FunctionId, extension: Extension) -> Option<RangeFunction> {
    use FunctionId as F;
    let (kernel, marks): (Kernel, Marks) = match (id, extension) {
        (F::Rate, Extension::Anchored) => {
            (|w, _, n| difference(w, Extension::Anchored, true, true, n), Marks::None)
        }
        (F::Increase, Extension::Anchored) => {
            (|w, _, n| difference(w, Extension::Anchored, true, false, n), Marks::None)
        }
        (F::Delta, Extension::Anchored) => {
            (|w, _, n| difference(w, Extension::Anchored, false, false, n), Marks::None)
        }
        (F::Rate, Extension::Smoothed) => {
            (|w, _, n| difference(w, Extension::Smoothed, true, true, n), Marks::None)
        }
        (F::Increase, Extension::Smoothed) => {
            (|w, _, n| difference(w, Extension::Smoothed, true, false, n), Marks::None)
        }
        (F::Delta, Extension::Smoothed) => {
            (|w, _, n| difference(w, Extension::Smoothed, false, false, n), Marks::None)
        }
        (F::Resets, Extension::Anchored) => (|w, _, _| anchored_events(w, Event::Reset), Marks::Resets),
        (F::Changes, Extension::Anchored) => (|w, _, _| anchored_events(w, Event::Change), Marks::Changes),
        _ => return None,
    };
    Some(RangeFunction { kernel, marks })
}

/// The functions extended selectors can be used with, for the error text.
pub(crate) fn extended_functions(extension: Extension) -> &'static str {
    match extension {
        Extension::Anchored => "changes, delta, increase, rate, resets",
        Extension::Smoothed => "delta, increase, rate",
    }
}
