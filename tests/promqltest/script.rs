//! The script language: text in, commands out.
//!
//! Lines are trimmed, `#` begins a comment line, a blank line ends a command's block.

use engine::select::matcher::anchored;
use query::parse::{self, SequenceValue, SeriesDescription};
use regex::Regex;
use storage_format::model::{Labels, Timestamp};

/// A whole script.
pub(crate) struct Script {
    pub(crate) commands: Vec<Command>,
    /// Whether it uses the labels that only the type-and-unit mode knows.
    pub(crate) type_and_unit: bool,
}

pub(crate) enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

/// `load 5m` and its series.
pub(crate) struct Load {
    pub(crate) line: usize,
    pub(crate) step_ms: i64,
    pub(crate) with_nhcb: bool,
    pub(crate) series: Vec<SeriesDescription>,
}

/// When a query is evaluated, milliseconds.
#[derive(Clone, Copy)]
pub(crate) enum When {
    Instant(Timestamp),
    Range { start: Timestamp, end: Timestamp, step: i64 },
}

/// What a message must be.
pub(crate) enum Expectation {
    Any,
    Text(String),
    Pattern(Regex),
}

impl Expectation {
    pub(crate) fn fits(&self, message: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Text(text) => text == message,
            Self::Pattern(pattern) => pattern.is_match(message),
        }
    }
}

/// What an evaluation must give.
#[derive(Default)]
pub(crate) struct Expected {
    pub(crate) ordered: bool,
    pub(crate) fail: Option<Expectation>,
    pub(crate) warnings: Vec<Expectation>,
    pub(crate) infos: Vec<Expectation>,
    pub(crate) no_warnings: bool,
    pub(crate) no_infos: bool,
    pub(crate) scalar: Option<f64>,
    pub(crate) string: Option<String>,
    /// Start, end and step of an expected range vector.
    pub(crate) range_vector: Option<(Timestamp, Timestamp, i64)>,
    pub(crate) series: Vec<(Labels, Vec<SequenceValue>)>,
}

/// `eval …` and what it must give.
pub(crate) struct Eval {
    pub(crate) line: usize,
    pub(crate) when: When,
    pub(crate) query: String,
    pub(crate) expected: Expected,
}

/// Parses a script; errors begin with the line number.
pub(crate) fn parse(text: &str) -> Result<Script, String> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|l| if l.starts_with('#') { "" } else { l }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = at + 1;
        let head = lines[at];
        at += 1;
        if head.is_empty() {
            continue;
        }
        let block_end = lines[at..].iter().position(|l| l.is_empty()).map_or(lines.len(), |n| at + n);
        let block = &lines[at..block_end];
        let word = head.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        let (command, used) = if word == "clear" {
            (Ok(Command::Clear), 0)
        } else if word.starts_with("load") {
            (load(line, head, block).map(Command::Load), block.len())
        } else if word.starts_with("eval") {
            let mut used = 0;
            (eval(line, head, block, &mut used).map(|e| Command::Eval(Box::new(e))), used)
        } else {
            (Err(format!("invalid command {head:?}")), 0)
        };
        commands.push(command.map_err(|e| format!("{line}: {e}"))?);
        at += used;
    }
    Ok(Script { commands, type_and_unit: text.contains("__type__") })
}

fn duration(text: &str) -> Result<i64, String> {
    parse::parse_duration(text).map_err(|e| format!("invalid duration {text:?}: {e}"))
}

fn series(line: &str) -> Result<SeriesDescription, String> {
    parse::parse_series_description(line).map_err(|e| format!("{line:?}: {e}"))
}

fn load(line: usize, head: &str, block: &[&str]) -> Result<Load, String> {
    let words: Vec<&str> = head.split_whitespace().collect();
    let [word, step] = words[..] else { return Err(format!("invalid load command {head:?}")) };
    let with_nhcb = match word {
        "load" => false,
        "load_with_nhcb" => true,
        _ => return Err(format!("invalid load command {head:?}")),
    };
    let series = block.iter().map(|l| series(l)).collect::<Result<_, _>>()?;
    Ok(Load { line, step_ms: duration(step)?, with_nhcb, series })
}

/// The word after `keyword` and what follows it.
fn after<'a>(rest: &'a str, keyword: &str) -> Result<(&'a str, &'a str), String> {
    let missing = || format!("expected {keyword:?} in {rest:?}");
    let rest = rest.strip_prefix(keyword).ok_or_else(missing)?.trim_start();
    let (word, rest) = rest.split_once(char::is_whitespace).ok_or_else(missing)?;
    Ok((word, rest.trim_start()))
}

fn eval(line: usize, head: &str, block: &[&str], used: &mut usize) -> Result<Eval, String> {
    let (command, rest) = head.split_once(char::is_whitespace).ok_or("nothing to evaluate")?;
    let rest = rest.trim_start();
    let mut expected = Expected::default();
    match command {
        "eval" => {}
        "eval_ordered" => expected.ordered = true,
        "eval_fail" => expected.fail = Some(Expectation::Any),
        "eval_warn" => expected.warnings.push(Expectation::Any),
        "eval_info" => expected.infos.push(Expectation::Any),
        _ => return Err(format!("invalid command {command:?}")),
    }
    let (when, query) = if let Some(rest) = rest.strip_prefix("instant") {
        let (at, query) = after(rest.trim_start(), "at")?;
        (When::Instant(duration(at)?), query)
    } else if let Some(rest) = rest.strip_prefix("range") {
        let (start, rest) = after(rest.trim_start(), "from")?;
        let (end, rest) = after(rest, "to")?;
        let (step, query) = after(rest, "step")?;
        (When::Range { start: duration(start)?, end: duration(end)?, step: duration(step)? }, query)
    } else {
        return Err(format!("invalid evaluation {head:?}"));
    };
    for text in block {
        *used += 1;
        if !expectation(text, &mut expected)? {
            break;
        }
    }
    Ok(Eval { line, when, query: query.to_owned(), expected })
}

/// Reads one line after `eval`; false when it is the last one that belongs there.
fn expectation(line: &str, expected: &mut Expected) -> Result<bool, String> {
    if let Some(text) = line.strip_prefix("expected_fail_message") {
        expected.fail = Some(Expectation::Text(text.trim().to_owned()));
        return Ok(false);
    }
    if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
        expected.fail = Some(Expectation::Pattern(regex(pattern.trim())?));
        return Ok(false);
    }
    if let Some(rest) = line.strip_prefix("expect range vector") {
        let (start, rest) = after(rest.trim_start(), "from")?;
        let (end, rest) = after(rest, "to")?;
        let step = rest.strip_prefix("step").ok_or("expected a step")?.trim();
        expected.range_vector = Some((duration(start)?, duration(end)?, duration(step)?));
        return Ok(true);
    }
    if let Some(literal) = line.strip_prefix("expect string ") {
        let parsed = parse::parse(literal.trim(), &parse::Options::default());
        let Ok(parse::Expr::String(string)) = parsed else { return Err(format!("no string: {line:?}")) };
        expected.string = Some(string.value);
        return Ok(true);
    }
    if let Some(rest) = line.strip_prefix("expect ") {
        annotation(rest.trim_start(), expected)?;
        return Ok(true);
    }
    if let Some(number) = number(line) {
        expected.scalar = Some(number);
        return Ok(false);
    }
    let series = series(line)?;
    expected.series.push((series.labels, series.values));
    Ok(true)
}

fn number(text: &str) -> Option<f64> {
    let described = parse::parse_series_description(&format!("{{}} {text}")).ok()?;
    match described.values[..] {
        [SequenceValue::Float(value)] if text != "stale" => Some(value),
        _ => None,
    }
}

/// A pattern in RE2's dialect, which may fit anywhere.
fn regex(pattern: &str) -> Result<Regex, String> {
    anchored(&format!(".*(?:{pattern}).*"))
        .map_err(|e| format!("invalid regular expression {pattern:?}: {e}"))
}

/// What stands behind `expect`: `warn msg: …`.
fn annotation(rest: &str, expected: &mut Expected) -> Result<(), String> {
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let rest = rest.trim();
    let expectation = if let Some(text) = rest.strip_prefix("msg:") {
        Expectation::Text(text.trim().to_owned())
    } else if let Some(pattern) = rest.strip_prefix("regex:") {
        Expectation::Pattern(regex(pattern.trim())?)
    } else if rest.is_empty() {
        Expectation::Any
    } else {
        return Err(format!("invalid expectation {rest:?}"));
    };
    match kind {
        "fail" => expected.fail = Some(expectation),
        "warn" => expected.warnings.push(expectation),
        "info" => expected.infos.push(expectation),
        "no_warn" => expected.no_warnings = true,
        "no_info" => expected.no_infos = true,
        "ordered" => expected.ordered = true,
        _ => return Err(format!("invalid expectation {kind:?}")),
    }
    Ok(())
}
