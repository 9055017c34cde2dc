//! Generates queries over the series of `data`.

use crate::data::{COUNT, START, STEP};
use std::fmt;
use storage_format::model::Timestamp;
use tests_support::rng::Rng;

/// A query and when it is asked.
pub(crate) struct Question {
    pub(crate) text: String,
    pub(crate) start: Timestamp,
    /// End and step of a range query.
    pub(crate) range: Option<(Timestamp, i64)>,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.range {
            None => write!(f, "{} at {}", self.text, self.start),
            Some((end, step)) => write!(f, "{} from {} to {end} step {step}", self.text, self.start),
        }
    }
}

/// A new question.
pub(crate) fn question(rng: &mut Rng) -> Question {
    let last = START + STEP * COUNT as i64;
    let mut generator = Generator { rng };
    let kind = generator.choose(10);
    let depth = 1 + generator.choose(3);
    let text = match kind {
        0 => generator.scalar(depth),
        _ => generator.vector(depth),
    };
    // Now and then before, after, and between samples.
    let instant = START - 60_000 + generator.choose(32 * 60) as i64 * 1000 + generator.choose(2) as i64 * 123;
    if generator.choose(2) == 0 {
        let text = if generator.choose(12) == 0 { generator.matrix(1) } else { text };
        return Question { text, start: instant, range: None };
    }
    let step = [1000, 15_000, 15_000, 20_000, 60_000, 301_000][generator.choose(6)];
    let points = 1 + generator.choose(if step == 1000 { 40 } else { 90 }) as i64;
    let start = instant.min(last - STEP);
    Question { text, start, range: Some((start + step * points, step)) }
}

struct Generator<'a> {
    rng: &'a mut Rng,
}

const FLOATS: [&str; 12] = [
    "steady_total",
    "requests_total",
    "wander",
    "odd",
    "constant",
    "lonely",
    "left",
    "right",
    "latency_bucket",
    "latency_count",
    "target_info",
    "{\"utf8.metric\"}",
];
const HISTOGRAMS: [&str; 5] = ["native", "native_gauge", "custom", "changing", "both"];
const MATCHERS: [&str; 12] = [
    "job=\"a\"",
    "job!=\"a\"",
    "instance=~\"1|2\"",
    "instance!~\"1\"",
    "code=~\"5..|404\"",
    "method=\"get\"",
    "le=\"+Inf\"",
    "extra=\"\"",
    "missing=\"x\"",
    "job=~\".+\"",
    "kind!=\"huge\"",
    "handler=\"/\"",
];
const LABELS: [&str; 9] =
    ["job", "instance", "method", "code", "handler", "le", "kind", "missing", "\"label.x\""];
const RANGES: [&str; 8] = ["15s", "16s", "30s", "1m", "2m", "5m", "7m30s", "1h"];
const NUMBERS: [&str; 12] = ["0", "1", "2", "-1", "0.5", "0.9", "1.5", "100", "1e9", "NaN", "Inf", "-Inf"];
const SIMPLE: [&str; 28] = [
    "abs",
    "ceil",
    "floor",
    "ln",
    "log2",
    "log10",
    "sqrt",
    "sgn",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "deg",
    "rad",
    "round",
    "timestamp",
    "absent",
    "hour",
    "minute",
    "day_of_year",
    "days_in_month",
    "year",
];
const OVER_RANGE: [&str; 21] = [
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "resets",
    "changes",
    "deriv",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "absent_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "mad_over_time",
    "rate",
    "increase",
];
const AGGREGATIONS: [&str; 8] = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"];

impl Generator<'_> {
    fn choose(&mut self, n: usize) -> usize {
        self.rng.between(0, n as u64) as usize
    }

    fn pick<'x>(&mut self, list: &[&'x str]) -> &'x str {
        list[self.choose(list.len())]
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.choose(one_in) == 0
    }

    fn selector(&mut self) -> String {
        let name = if self.chance(4) { self.pick(&HISTOGRAMS) } else { self.pick(&FLOATS) };
        let mut matchers: Vec<&str> = Vec::new();
        while self.chance(3) {
            matchers.push(self.pick(&MATCHERS));
        }
        if let Some(quoted) = name.strip_prefix('{').and_then(|n| n.strip_suffix('}')) {
            matchers.insert(0, quoted);
            return format!("{{{}}}", matchers.join(","));
        }
        if self.chance(15) {
            return format!("{{__name__=~\"{}.*\",job=\"a\"}}", &name[..2]);
        }
        if matchers.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", matchers.join(",")) }
    }

    fn modifiers(&mut self) -> String {
        let at = match self.choose(24) {
            0 => " @ start()".to_owned(),
            1 => " @ end()".to_owned(),
            2 => format!(" @ {}", START / 1000 + self.choose(1800) as i64),
            _ => String::new(),
        };
        let offset = match self.choose(12) {
            0 => " offset 1m",
            1 => " offset 45s",
            2 => " offset -30s",
            _ => "",
        };
        format!("{at}{offset}")
    }

    fn matrix(&mut self, depth: usize) -> String {
        if depth > 0 && self.chance(5) {
            let inner = self.vector(depth - 1);
            let step = self.pick(&["", "15s", "30s", "7s", "1m"]);
            return format!("({inner})[{}:{step}]{}", self.pick(&RANGES), self.modifiers());
        }
        format!("{}[{}]{}", self.selector(), self.pick(&RANGES), self.modifiers())
    }

    fn scalar(&mut self, depth: usize) -> String {
        match self.choose(if depth == 0 { 4 } else { 7 }) {
            0 => "time()".to_owned(),
            4 => format!("scalar({})", self.vector(depth - 1)),
            5 => {
                let op = self.pick(&["+", "-", "*", "/", "%", "^", "atan2", "== bool", "> bool", "<= bool"]);
                format!("({} {op} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            6 => format!("-({})", self.scalar(depth - 1)),
            _ => self.pick(&NUMBERS).to_owned(),
        }
    }

    fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            return match self.choose(8) {
                0 => format!("{}({})", self.pick(&OVER_RANGE), self.matrix(0)),
                1 => format!("vector({})", self.scalar(0)),
                _ => format!("{}{}", self.selector(), self.modifiers()),
            };
        }
        match self.choose(14) {
            0 | 1 => format!("{}({})", self.pick(&OVER_RANGE), self.matrix(depth)),
            2 => format!("{}({})", self.pick(&SIMPLE), self.vector(depth - 1)),
            3..=5 => self.aggregation(depth),
            6 | 7 => self.with_vector(depth),
            8 | 9 => self.with_scalar(depth),
            10 | 11 => self.function(depth),
            12 => format!("-({})", self.vector(depth - 1)),
            _ => self.vector(depth - 1),
        }
    }

    fn labels(&mut self) -> String {
        let labels: Vec<&str> = (0..self.choose(3)).map(|_| self.pick(&LABELS)).collect();
        format!("({})", labels.join(", "))
    }

    fn aggregation(&mut self, depth: usize) -> String {
        let clause = match self.choose(3) {
            0 => String::new(),
            1 => format!(" by {}", self.labels()),
            _ => format!(" without {}", self.labels()),
        };
        let inner = self.vector(depth - 1);
        match self.choose(12) {
            0 => format!("topk{clause}({}, {inner})", self.pick(&["1", "2", "5", "0", "-1"])),
            1 => format!("bottomk{clause}({}, {inner})", self.pick(&["1", "3"])),
            2 => format!("quantile{clause}({}, {inner})", self.scalar(depth - 1)),
            // Last bits must not show in labels.
            3 => format!("count_values{clause}(\"v\", round({inner}, 0.5))"),
            _ => format!("{}{clause}({inner})", self.pick(&AGGREGATIONS)),
        }
    }

    fn with_vector(&mut self, depth: usize) -> String {
        let (lhs, rhs) = (self.vector(depth - 1), self.vector(depth - 1));
        let matching = match self.choose(6) {
            0 => format!("on {}", self.labels()),
            1 => format!("ignoring {}", self.labels()),
            2 => "on (job, instance)".to_owned(),
            _ => String::new(),
        };
        if self.chance(3) {
            let op = self.pick(&["and", "or", "unless"]);
            return format!("({lhs}) {op} {matching} ({rhs})");
        }
        let op = self.pick(&[
            "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=", "== bool", "> bool",
        ]);
        let group = match self.choose(4) {
            0 if !matching.is_empty() => "group_left (extra)",
            1 if !matching.is_empty() => "group_right ()",
            _ => "",
        };
        format!("({lhs}) {op} {matching} {group} ({rhs})")
    }

    fn with_scalar(&mut self, depth: usize) -> String {
        let op = self.pick(&["+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">= bool", "!= bool"]);
        let (vector, scalar) = (self.vector(depth - 1), self.scalar(depth - 1));
        if self.chance(3) { format!("{scalar} {op} ({vector})") } else { format!("({vector}) {op} {scalar}") }
    }

    fn function(&mut self, depth: usize) -> String {
        let scalar = self.scalar(depth - 1);
        match self.choose(20) {
            0 => format!("histogram_quantile({scalar}, {})", self.histogram(depth)),
            1 => format!(
                "histogram_quantile({}, {})",
                self.pick(&["0", "0.5", "0.9", "1"]),
                self.histogram(depth)
            ),
            2 => format!("histogram_fraction({}, {scalar}, {})", self.pick(&NUMBERS), self.histogram(depth)),
            3 => format!(
                "{}({})",
                self.pick(&[
                    "histogram_avg",
                    "histogram_count",
                    "histogram_sum",
                    "histogram_stddev",
                    "histogram_stdvar"
                ]),
                self.histogram(depth)
            ),
            4 => format!("quantile_over_time({scalar}, {})", self.matrix(depth)),
            5 => format!("predict_linear({}, {scalar})", self.matrix(depth)),
            6 => format!("clamp({}, {scalar}, {})", self.vector(depth - 1), self.pick(&NUMBERS)),
            7 => format!("clamp_max({}, {scalar})", self.vector(depth - 1)),
            8 => format!("clamp_min({}, {scalar})", self.vector(depth - 1)),
            9 => format!("round({}, {})", self.vector(depth - 1), self.pick(&["0.5", "5", "0.1", "3"])),
            10 => format!(
                "label_replace({}, \"{}\", \"{}\", \"{}\", \"(.*)\")",
                self.vector(depth - 1),
                self.pick(&["new", "job", "__name__"]),
                self.pick(&["$1", "x-$1", "", "fixed"]),
                self.pick(&["job", "instance", "missing"])
            ),
            11 => format!("label_join({}, \"new\", \"-\", \"job\", \"instance\")", self.vector(depth - 1)),
            12 => format!("sort({})", self.vector(depth - 1)),
            13 => format!("sort_desc({})", self.vector(depth - 1)),
            14 => format!("double_exponential_smoothing({}, 0.5, 0.3)", self.matrix(depth)),
            15 => format!("vector({scalar})"),
            16 => {
                format!("histogram_quantile(0.9, sum by (le) (rate(latency_bucket[{}])))", self.pick(&RANGES))
            }
            17 => format!("sum by (job) (rate(native[{}]))", self.pick(&RANGES)),
            18 => format!("sort_by_label({}, \"job\", \"instance\")", self.vector(depth - 1)),
            _ => format!("absent({})", self.vector(depth - 1)),
        }
    }

    /// Something that is, or may be, a histogram.
    fn histogram(&mut self, depth: usize) -> String {
        match self.choose(7) {
            0 => "latency_bucket".to_owned(),
            1 => format!("rate(latency_bucket[{}])", self.pick(&RANGES)),
            2 => self.pick(&HISTOGRAMS).to_owned(),
            3 => format!("rate({}[{}])", self.pick(&HISTOGRAMS), self.pick(&RANGES)),
            4 => format!("sum({})", self.pick(&HISTOGRAMS)),
            5 => format!("{}({})", self.pick(&["sum", "avg"]), self.pick(&HISTOGRAMS)),
            _ => self.vector(depth - 1),
        }
    }
}
