//! Generates well-typed queries from a string of choices, so that fewer choices mean smaller queries.

/// Choices, taken one after the other; zeros when they run out.
pub(crate) struct Choices<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Whether a query may use what only Prometheus 3.14 knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Full,
    /// What promql-parser knows too.
    Common,
}

/// A query with an instant vector, a scalar or (seldom) a matrix or string as result.
pub(crate) fn query(bytes: &[u8], dialect: Dialect) -> String {
    let mut generator = Generator { choices: Choices { bytes, at: 0 }, dialect };
    match generator.choose(12) {
        1 => generator.scalar(4),
        2 => generator.matrix(3),
        3 => "\"text \\\"with\\\" 'quotes'\\n\"".to_owned(),
        _ => generator.vector(5),
    }
}

impl Choices<'_> {
    fn next(&mut self, n: usize) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte) % n
    }
}

struct Generator<'a> {
    choices: Choices<'a>,
    dialect: Dialect,
}

const NAMES: [&str; 8] = ["up", "http_requests_total", "a:b:c", "sum", "by", "offset", "start", "x"];
const LABELS: [&str; 7] = ["job", "instance", "le", "on", "avg", "\"b c\"", "bool"];
const MATCHERS: [&str; 8] = [
    "job=\"a\"",
    "le!='0.5'",
    "x=~\"a|b.*\"",
    "y!~`z[0-9]`",
    "\"k.v\"=\"\\u00e9\"",
    "sum=\"1\"",
    "by!=\"\"",
    "z=\"\"",
];
const DURATIONS: [&str; 6] = ["5m", "1h30m", "90", "1.5", "10s", "2w"];

impl Generator<'_> {
    fn choose(&mut self, n: usize) -> usize {
        self.choices.next(n)
    }

    fn pick<'x>(&mut self, from: &[&'x str]) -> &'x str {
        from[self.choose(from.len())]
    }

    fn full(&self) -> bool {
        self.dialect == Dialect::Full
    }

    fn labels(&mut self) -> String {
        let labels: Vec<&str> = (0..self.choose(3)).map(|_| self.pick(&LABELS)).collect();
        format!("({})", labels.join(", "))
    }

    fn selector(&mut self) -> String {
        let name = self.pick(&NAMES);
        let matchers: Vec<&str> = (0..self.choose(4)).map(|_| self.pick(&MATCHERS)).collect();
        let matchers = matchers.join(",");
        match self.choose(4) {
            0 => name.to_owned(),
            1 => format!("{{\"{name}\",{matchers}}}").replace(",}", "}"),
            2 => format!("{{job=\"a\",{matchers}}}"),
            _ => format!("{name}{{{matchers}}}"),
        }
    }

    fn modifiers(&mut self) -> String {
        let at = match self.choose(8) {
            5 => " @ start()",
            1 => " @ end()",
            2 => " @ 1603774568.5",
            3 => " @ 10",
            _ => "",
        };
        let offset = match self.choose(6) {
            5 => format!(" offset {}", self.pick(&DURATIONS)),
            1 => format!(" offset -{}", self.pick(&DURATIONS)),
            2 if self.full() => format!(" offset ({})", self.duration(3)),
            3 if self.full() => format!(" offset {}", self.duration_call(2)),
            _ => String::new(),
        };
        if self.choose(2) == 0 { format!("{at}{offset}") } else { format!("{offset}{at}") }
    }

    fn duration_call(&mut self, depth: usize) -> String {
        match self.choose(4) {
            0 => format!("min_of({}, {})", self.duration(depth - 1), self.duration(depth - 1)),
            1 => format!("max_of({}, {})", self.duration(depth - 1), self.duration(depth - 1)),
            2 => "range()".to_owned(),
            _ => "step()".to_owned(),
        }
    }

    fn duration(&mut self, depth: usize) -> String {
        if depth == 0 || !self.full() {
            return self.pick(&DURATIONS).to_owned();
        }
        match self.choose(7) {
            5 => format!("({} + {})", self.duration(depth - 1), self.duration(depth - 1)),
            1 => {
                let op = self.pick(&["+", "-", "*", "/", "%", "^"]);
                format!("{} {op} {}", self.duration(depth - 1), self.duration(depth - 1))
            }
            2 => self.duration_call(depth),
            // A minus in front of a plain literal would be refused: durations are positive.
            3 => format!("1y + -{}", self.duration_call(depth)),
            4 => format!("({})", self.duration(depth - 1)),
            _ => self.pick(&DURATIONS).to_owned(),
        }
    }

    fn matrix(&mut self, depth: usize) -> String {
        if depth > 0 && self.choose(3) == 1 {
            let step = if self.choose(2) == 0 { self.duration(2) } else { String::new() };
            let inner = self.primary(depth - 1);
            return format!("{inner}[{}:{step}]{}", self.duration(2), self.modifiers());
        }
        let extended = match self.choose(6) {
            0 if self.full() => " anchored",
            1 if self.full() => " smoothed",
            _ => "",
        };
        format!("{}[{}]{extended}{}", self.selector(), self.duration(2), self.modifiers())
    }

    fn scalar(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self
                .pick(&["1", "0.5", "-3", "1e3", "0x1F", "Inf", "+2", "5m", "time()", "pi()"])
                .to_owned();
        }
        match self.choose(6) {
            4 => format!("scalar({})", self.vector(depth - 1)),
            1 => format!("({})", self.scalar(depth - 1)),
            2 => {
                let op = self.pick(&["+", "-", "*", "/", "%", "^", "atan2", "== bool", "< bool"]);
                format!("{} {op} {}", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            3 => format!("-(-{})", self.scalar(depth - 1)),
            _ => self.scalar(0),
        }
    }

    /// A vector to which a suffix such as `[5m:]` may be attached.
    fn primary(&mut self, depth: usize) -> String {
        match self.choose(4) {
            0 => self.selector(),
            1 => format!("({})", self.vector(depth)),
            _ => self.call(depth),
        }
    }

    fn call(&mut self, depth: usize) -> String {
        let depth = depth.saturating_sub(1);
        match self.choose(9) {
            7 => {
                let name =
                    self.pick(&["rate", "increase", "delta", "irate", "max_over_time", "absent_over_time"]);
                format!("{name}({})", self.matrix(depth))
            }
            1 => {
                let name = self.pick(&["abs", "sort", "histogram_count", "timestamp", "hour", "absent"]);
                format!("{name}({})", self.vector(depth))
            }
            2 => format!("histogram_quantile({}, {})", self.scalar(depth), self.vector(depth)),
            3 => format!("clamp({}, {}, {})", self.vector(depth), self.scalar(depth), self.scalar(depth)),
            4 => format!("label_replace({}, \"a\", \"$1\", 'b', `(.*)`)", self.vector(depth)),
            5 => format!("quantile_over_time(0.9, {})", self.matrix(depth)),
            0 => "month()".to_owned(),
            _ => self.aggregate(depth),
        }
    }

    fn aggregate(&mut self, depth: usize) -> String {
        let clause = match self.choose(3) {
            0 => String::new(),
            1 => format!("by {}", self.labels()),
            _ => format!("WITHOUT {}", self.labels()),
        };
        let inner = self.vector(depth);
        let (op, args) = match self.choose(4) {
            0 => (self.pick(&["topk", "bottomk", "quantile"]), format!("({}, {inner})", self.scalar(depth))),
            1 => ("count_values", format!("(\"v\", {inner})")),
            _ => (self.pick(&["sum", "avg", "MIN", "max", "group", "stddev"]), format!("({inner})")),
        };
        if self.choose(2) == 0 { format!("{op} {clause} {args}") } else { format!("{op}{args} {clause}") }
    }

    fn matching(&mut self, set: bool) -> String {
        let on = match self.choose(5) {
            0 => format!(" on {}", self.labels()),
            1 => format!(" ignoring {}", self.labels()),
            _ => String::new(),
        };
        // No label may stand in `on` and in `group_left` at once; without a list, a parenthesis that follows is one.
        let group = match self.choose(4) {
            0 if !on.is_empty() && !set => " group_left (extra)",
            1 if !on.is_empty() && !set => " group_right ()",
            _ => "",
        };
        let fill = match self.choose(6) {
            0 if self.full() && !set => " fill(0)",
            1 if self.full() && !set => " fill_left(-1.5) fill_right(NaN)",
            _ => "",
        };
        format!("{on}{group}{fill}")
    }

    fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            return format!("{}{}", self.selector(), self.modifiers());
        }
        match self.choose(9) {
            1 => {
                let op = self.pick(&["and", "or", "unless"]);
                let matching = self.matching(true);
                self.matched(op, &matching, depth)
            }
            2 | 3 => {
                let ops =
                    ["+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "< bool", ">= bool", "</", ">/"];
                let op = self.pick(if self.full() { &ops } else { &ops[..12] });
                let matching = self.matching(false);
                self.matched(op, &matching, depth)
            }
            4 => {
                let op = self.pick(&["+", "-", "*", "/", "%", "^", "<", "== bool"]);
                format!("{} {op} {}", self.vector(depth - 1), self.scalar(depth - 1))
            }
            5 => format!("-{}", self.vector(depth - 1)),
            6 => format!("({})", self.vector(depth - 1)),
            7 | 8 => self.call(depth),
            _ => format!("{}{}", self.selector(), self.modifiers()),
        }
    }

    fn matched(&mut self, op: &str, matching: &str, depth: usize) -> String {
        let (lhs, rhs) = (self.vector(depth - 1), self.vector(depth - 1));
        // A scalar at the end of the left side would become the operand.
        let lhs = if matching.is_empty() { lhs } else { format!("({lhs})") };
        format!("{lhs} {op}{matching} {rhs}")
    }
}
