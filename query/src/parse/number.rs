//! The values of number and duration literals and of quoted strings.
//!
//! Where it sits: between the lexer, which only finds where a literal ends, and the parser. The rules are
//! Go's (`strconv`) and Prometheus' (durations), with their error texts.

use super::text;

const NANOSECONDS_MAX: u64 = i64::MAX as u64;

/// The value of a number literal: decimal, octal with a leading zero, hexadecimal, `Inf`, `NaN`.
pub(crate) fn number(literal: &str) -> Result<f64, String> {
    if let Some(value) = integer(literal) {
        return Ok(value as f64);
    }
    let fail = |why: &str| {
        Err(format!("error parsing number: strconv.ParseFloat: parsing {}: {why}", text::quote(literal)))
    };
    let digits = if literal.contains('_') {
        if !underscores_separate_digits(literal) {
            return fail("invalid syntax");
        }
        &literal.replace('_', "")
    } else {
        literal
    };
    match digits.parse::<f64>() {
        Ok(value) if value.is_infinite() && !is_infinity(digits) => fail("value out of range"),
        Ok(value) => Ok(value),
        Err(_) => fail("invalid syntax"),
    }
}

fn is_infinity(literal: &str) -> bool {
    literal.trim_start_matches(['+', '-']).get(..3).is_some_and(|word| word.eq_ignore_ascii_case("inf"))
}

/// An integer in Go's notation with the base in its prefix.
fn integer(literal: &str) -> Option<i64> {
    if !literal.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if literal.contains('_') && !underscores_separate_digits(literal) {
        return None;
    }
    let digits = literal.replace('_', "");
    let lower = digits.get(..2).map(str::to_ascii_lowercase);
    let (base, digits) = match lower.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits.as_str()),
    };
    i64::from_str_radix(digits, base).ok()
}

/// Whether every underscore stands between digits or right after a base prefix.
fn underscores_separate_digits(literal: &str) -> bool {
    let bytes = literal.as_bytes();
    let hex = bytes.len() > 1 && bytes[0] == b'0' && bytes[1].eq_ignore_ascii_case(&b'x');
    let is_digit = |b: u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
    bytes.iter().enumerate().all(|(i, b)| {
        let before = i > 0 && (is_digit(bytes[i - 1]) || (hex && i == 2));
        *b != b'_' || (before && bytes.get(i + 1).is_some_and(|next| is_digit(*next)))
    })
}

/// The length of a duration literal in nanoseconds: `1h30m`, units from large to small, each once.
pub(crate) fn duration(literal: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * 86_400_000_000_000),
        ("w", 7 * 86_400_000_000_000),
        ("d", 86_400_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
    ];
    let invalid = || format!("not a valid duration string: {}", text::quote(literal));
    if literal == "0" {
        return Ok(0);
    }
    if literal.is_empty() {
        return Err("empty duration string".to_owned());
    }
    let (mut rest, mut total, mut next_unit) = (literal, 0_u64, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
        let count: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let name = &rest[..letters];
        rest = &rest[letters..];
        let Some(unit) = UNITS.iter().position(|(unit, _)| *unit == name) else {
            return Err(format!("unknown unit {} in duration {}", text::quote(name), text::quote(literal)));
        };
        if unit < next_unit {
            return Err(invalid());
        }
        next_unit = unit + 1;
        total = count
            .checked_mul(UNITS[unit].1)
            .and_then(|n| n.checked_add(total))
            .filter(|n| *n <= NANOSECONDS_MAX)
            .ok_or("duration out of range")?;
    }
    Ok(total)
}

/// The text of a string literal that the lexer has accepted, quotes included. Bytes that are no UTF-8
/// become U+FFFD.
pub(crate) fn unquote(literal: &str) -> String {
    let inner = literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default();
    if literal.starts_with('`') || !inner.contains('\\') {
        return inner.to_owned();
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = unescape(&rest[at + 1..], &mut out);
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Appends what the escape sequence at the beginning of `rest` (after its backslash) stands for, and
/// returns what follows it.
fn unescape<'a>(rest: &'a str, out: &mut Vec<u8>) -> &'a str {
    let Some(c) = rest.chars().next() else { return rest };
    let simple = match c {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        'x' | 'u' | 'U' | '0'..='7' => {
            let (skip, digits, base) = match c {
                'x' => (1, 2, 16),
                'u' => (1, 4, 16),
                'U' => (1, 8, 16),
                _ => (0, 3, 8),
            };
            let end = (skip + digits).min(rest.len());
            let code = rest.get(skip..end).and_then(|d| u32::from_str_radix(d, base).ok()).unwrap_or(0);
            if matches!(c, 'u' | 'U') {
                let decoded = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.push(code as u8);
            }
            return rest.get(end..).unwrap_or_default();
        }
        other => {
            out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
            return &rest[other.len_utf8()..];
        }
    };
    out.push(simple);
    &rest[1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_values_go_gives_them() {
        for (literal, value) in [
            ("0755", 493.0),
            ("08", 8.0),
            ("0xc", 12.0),
            ("0x_53_AB", 21419.0),
            ("1_000.5", 1000.5),
            (".5", 0.5),
            ("3.", 3.0),
            ("1e-3", 0.001),
            ("Inf", f64::INFINITY),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
        ] {
            assert_eq!(number(literal), Ok(value), "{literal}");
        }
        assert!(number("NaN").is_ok_and(f64::is_nan));
        assert!(number("1e1000").is_err_and(|e| e.ends_with("value out of range")));
        assert!(number("1._5").is_err());
        assert!(number(".5.5").is_err());
    }

    #[test]
    fn durations_have_ordered_units() {
        assert_eq!(duration("1h30m"), Ok(5_400_000_000_000));
        assert_eq!(duration("4s18ms"), Ok(4_018_000_000));
        assert_eq!(duration("5m1h"), Err("not a valid duration string: \"5m1h\"".to_owned()));
        assert_eq!(duration("5m1m"), Err("not a valid duration string: \"5m1m\"".to_owned()));
        assert_eq!(duration("5y1hs"), Err("unknown unit \"hs\" in duration \"5y1hs\"".to_owned()));
        assert_eq!(duration("300y"), Err("duration out of range".to_owned()));
    }

    #[test]
    fn strings_are_unquoted() {
        assert_eq!(unquote(r#""a\tb\"\x41\101é\U0001F600☺""#), "a\tb\"AAé😀☺");
        assert_eq!(unquote(r"'it\'s'"), "it's");
        assert_eq!(unquote(r"`a\nb`"), r"a\nb");
        assert_eq!(unquote(r#""\xc3\xa9 \xff""#), "é \u{fffd}");
    }
}
