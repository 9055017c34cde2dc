//! Runs a script's commands and collects what fails.

use crate::load::Storage;
use crate::script::{Command, Eval, Script, When};
use crate::{annotation, compare};
use engine::Snapshot;
use query::parse::{self, At, Expr, FunctionId};
use query::{
    EngineOptions, Features, Point, QueryEngine, QueryError, QueryParams, QueryResult, Value, VectorSample,
};
use std::sync::Arc;
use std::time::Duration;
use storage_format::model::Timestamp;

/// What became of a script.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) evals: usize,
    /// Each with its line and query in front.
    pub(crate) failures: Vec<String>,
}

/// Runs all commands; a command that fails does not keep the following ones from running.
pub(crate) fn run(script: &Script) -> Outcome {
    let engine = QueryEngine::new(EngineOptions {
        lookback_delta_ms: 300_000,
        max_samples: 10_000,
        timeout: Duration::from_secs(100),
        no_step_subquery_interval_ms: 60_000,
        features: Features { type_and_unit_labels: script.type_and_unit, ..Features::all_promql() },
        ..EngineOptions::default()
    });
    let mut outcome = Outcome::default();
    let mut storage = Storage::new().expect("a storage engine can be opened");
    for command in &script.commands {
        match command {
            Command::Clear => storage = Storage::new().expect("a storage engine can be opened"),
            Command::Load(load) => {
                if let Err(error) = storage.load(load) {
                    outcome.failures.push(format!("{}: load: {error}", load.line));
                }
            }
            Command::Eval(eval) => {
                outcome.evals += 1;
                let runner = Runner { engine: &engine, snapshot: storage.snapshot(), eval };
                if let Err(error) = runner.run() {
                    outcome.failures.push(format!("{}: {}\n    {error}", eval.line, eval.query));
                }
            }
        }
    }
    outcome
}

struct Runner<'a> {
    engine: &'a QueryEngine,
    snapshot: Snapshot,
    eval: &'a Eval,
}

impl Runner<'_> {
    fn run(&self) -> Result<(), String> {
        match self.eval.when {
            When::Range { start, end, step } => {
                let Some(result) = self.checked(self.range(&self.eval.query, start, end, step))? else {
                    return Ok(());
                };
                compare::compare(&self.eval.expected, self.eval.when, &result.value)
            }
            When::Instant(t) => {
                // An expected range vector tells its own time.
                let t = self.eval.expected.range_vector.map_or(t, |(_, end, _)| end);
                self.instant(&self.eval.query, t)?;
                for (query, t) in with_at(&self.eval.query, t)? {
                    self.instant(&query, t).map_err(|e| format!("as {query} at {t} ms: {e}"))?;
                }
                Ok(())
            }
        }
    }

    fn range(&self, query: &str, start: Timestamp, end: Timestamp, step: i64) -> Answer {
        self.engine.range(&self.snapshot, query, start, end, step, &QueryParams::default())
    }

    /// Checks error and annotations; `None` when the query had to fail and did.
    fn checked(&self, answer: Answer) -> Result<Option<QueryResult>, String> {
        match (answer, &self.eval.expected.fail) {
            (Ok(_), Some(_)) => Err("expected an error, got none".to_owned()),
            (Ok(result), None) => {
                annotation::check(&self.eval.expected, &result.warnings, &result.infos)?;
                Ok(Some(result))
            }
            (Err(error), Some(expectation)) if expectation.fits(&error.to_string()) => Ok(None),
            (Err(error), Some(expectation)) => {
                Err(format!("expected an error {}, got: {error}", annotation::describe(expectation)))
            }
            (Err(error), None) => Err(format!("error: {error}")),
        }
    }

    /// Evaluates at an instant, and as the middle step of a range query.
    fn instant(&self, query: &str, t: Timestamp) -> Result<(), String> {
        let expected = &self.eval.expected;
        let answer = self.engine.instant(&self.snapshot, query, t, &QueryParams::default());
        let Some(result) = self.checked(answer)? else { return Ok(()) };
        compare::compare(expected, When::Instant(t), &result.value)?;
        let asks_for_query = ["range()", "step()"].iter().any(|call| query.contains(call))
            || ["start()", "end()"].contains(&query);
        if expected.string.is_some() || expected.range_vector.is_some() || asks_for_query {
            return Ok(());
        }
        let ranged = self
            .range(query, t - 60_000, t + 60_000, 60_000)
            .map_err(|e| format!("as a range query: error: {e}"))?;
        if expected.ordered {
            return Ok(());
        }
        let middle = middle_step(ranged.value, t, matches!(result.value, Value::Scalar { .. }));
        compare::compare(expected, When::Instant(t), &middle).map_err(|e| format!("as a range query: {e}"))
    }
}

type Answer = Result<QueryResult, QueryError>;

fn middle_step(value: Value, t: Timestamp, scalar: bool) -> Value {
    let Value::Matrix(series) = value else { return value };
    let mut samples = Vec::new();
    for s in series {
        let float = s.timestamps.iter().position(|at| *at == t).map(|i| Point::Float(s.values[i]));
        let histogram =
            s.histograms.iter().find(|(at, _)| *at == t).map(|(_, h)| Point::Histogram(Arc::clone(h)));
        samples.extend(float.into_iter().chain(histogram).map(|point| VectorSample {
            labels: s.labels.clone(),
            timestamp: t,
            point,
        }));
    }
    match samples[..] {
        [VectorSample { point: Point::Float(value), .. }] if scalar => Value::Scalar { timestamp: t, value },
        _ => Value::Vector(samples),
    }
}

/// The query with its time moved into `@`, at other times; empty when its result depends on the time of
/// evaluation.
fn with_at(query: &str, t: Timestamp) -> Result<Vec<(String, Timestamp)>, String> {
    let mut expr = parse::parse(query, &parse::Options::all_features()).map_err(|e| e.to_string())?;
    if depends_on_time(&expr) {
        return Ok(Vec::new());
    }
    fix(&mut expr, t);
    let query = expr.to_string();
    if query.contains('\u{fffd}') {
        // What was no text cannot be printed.
        return Ok(Vec::new());
    }
    let times: &[Timestamp] = if t == 0 { &[-1000, 0, 1000] } else { &[-10 * t, 0, t / 5, t, 10 * t] };
    Ok(times.iter().map(|t| (query.clone(), *t)).collect())
}

fn depends_on_time(expr: &Expr) -> bool {
    let own = match expr {
        Expr::Call(call) => matches!(
            call.function.id,
            FunctionId::DaysInMonth
                | FunctionId::DayOfMonth
                | FunctionId::DayOfWeek
                | FunctionId::DayOfYear
                | FunctionId::Hour
                | FunctionId::Minute
                | FunctionId::Month
                | FunctionId::Year
                | FunctionId::PredictLinear
                | FunctionId::Time
                | FunctionId::Timestamp
                | FunctionId::Start
                | FunctionId::End
        ),
        _ => false,
    };
    own || expr.children().into_iter().any(depends_on_time)
}

/// Gives every selector that has no `@` this one; those inside a subquery get it from the subquery.
fn fix(expr: &mut Expr, t: Timestamp) {
    let set = |at: &mut Option<At>| {
        if !matches!(at, Some(At::Timestamp(_))) {
            *at = Some(At::Timestamp(t));
        }
    };
    match expr {
        Expr::Vector(selector) => set(&mut selector.at),
        Expr::Matrix(matrix) => set(&mut matrix.selector.at),
        Expr::Subquery(subquery) => set(&mut subquery.at),
        Expr::Number(_) | Expr::String(_) => {}
        Expr::Unary(e) => fix(&mut e.expr, t),
        Expr::Paren(e) => fix(&mut e.expr, t),
        Expr::Binary(e) => {
            fix(&mut e.lhs, t);
            fix(&mut e.rhs, t);
        }
        Expr::Aggregate(e) => {
            fix(&mut e.expr, t);
            if let Some(param) = &mut e.param {
                fix(param, t);
            }
        }
        Expr::Call(e) => e.args.iter_mut().for_each(|arg| fix(arg, t)),
    }
}
