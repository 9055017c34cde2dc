//! Strings and numbers as Go writes them, which is how PromQL's printer and error texts write them.
//!
//! Where it sits: below the printer and the errors of the parser; the evaluator's annotations use it too.

use std::fmt::Write as _;

/// `text` in double quotes, escaped like Go's `%q`.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    text.chars().for_each(|c| push_escaped(&mut out, c, '"'));
    out.push('"');
    out
}

/// A character in single quotes, escaped like Go's `%q`; `None` (the end of the input) is U+FFFD.
pub(crate) fn quote_char(c: Option<char>) -> String {
    let mut out = String::from('\'');
    push_escaped(&mut out, c.unwrap_or('\u{fffd}'), '\'');
    out.push('\'');
    out
}

/// A character as Go's `%#U` writes it: `U+0041 'A'`.
pub(crate) fn code_point(c: char) -> String {
    let code = u32::from(c);
    if is_printable(c) { format!("U+{code:04X} '{c}'") } else { format!("U+{code:04X}") }
}

fn push_escaped(out: &mut String, c: char, quote: char) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        c if c == quote => {
            out.push('\\');
            out.push(c);
        }
        c if is_printable(c) => out.push(c),
        c => {
            let code = u32::from(c);
            // Writing to a string cannot fail.
            let _ = match code {
                0..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
                ..0x10000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
        }
    }
}

fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // `escape_debug` escapes what is not printable; a combining character only where it comes first.
    let mut pair = String::from("a");
    pair.push(c);
    pair.escape_debug().nth(1) == Some(c)
}

/// A float with the fewest digits that tell it apart and without an exponent: Go's `'f', -1`.
#[must_use]
pub fn float(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    value.to_string()
}

/// A float as Go's `%v` writes it: with an exponent below 1e-4 and from 1e21 on.
#[must_use]
pub fn float_v(value: f64) -> String {
    let magnitude = value.abs();
    if !value.is_finite() || magnitude == 0.0 || (1e-4..1e21).contains(&magnitude) {
        return float(value);
    }
    let text = format!("{value:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// A duration of `ms` milliseconds in Prometheus' notation: `1h30m`, `0s`; years and weeks only where
/// nothing remains below them.
#[must_use]
pub fn duration(ms: i64) -> String {
    const UNITS: [(&str, i64, bool); 7] = [
        ("y", 365 * 86_400_000, true),
        ("w", 7 * 86_400_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1000, false),
        ("ms", 1, false),
    ];
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    let mut rest = ms.unsigned_abs();
    if ms < 0 {
        out.push('-');
    }
    for (unit, size, exact) in UNITS {
        let size = size.unsigned_abs();
        if exact && !rest.is_multiple_of(size) {
            continue;
        }
        if rest >= size {
            let _ = write!(out, "{}{unit}", rest / size);
            rest %= size;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_like_go() {
        assert_eq!(quote("a\"b\\c\n\t\u{1}é\u{200b}'\u{10ffff}"), r#""a\"b\\c\n\t\x01é\u200b'\U0010ffff""#);
        assert_eq!(quote_char(Some('\'')), r"'\''");
        assert_eq!(quote_char(None), "'\u{fffd}'");
        assert_eq!(code_point('x'), "U+0078 'x'");
    }

    #[test]
    fn writes_floats_like_go() {
        assert_eq!(float(1e21), "1000000000000000000000");
        assert_eq!(float(f64::INFINITY), "+Inf");
        assert_eq!(float(-0.0), "-0");
        assert_eq!(float_v(1e21), "1e+21");
        assert_eq!(float_v(1.5e-7), "1.5e-07");
        assert_eq!(float_v(0.0001), "0.0001");
        assert_eq!(float_v(-123.5), "-123.5");
    }

    #[test]
    fn writes_durations_like_prometheus() {
        assert_eq!(duration(5_400_000), "1h30m");
        assert_eq!(duration(365 * 86_400_000), "1y");
        assert_eq!(duration(366 * 86_400_000), "366d");
        assert_eq!(duration(14 * 86_400_000), "2w");
        assert_eq!(duration(-1001), "-1s1ms");
        assert_eq!(duration(0), "0s");
    }
}
