//! Numbers as Prometheus writes them: shortest decimal digits that read back to the same bits.
//!
//! JSON results write all digits and no exponent for magnitudes in [1e-6, 1e21), and `d.ddde±XX` outside
//! (Go's `strconv` styles `f` and `e` with precision -1); the exposition format begins with exponents
//! below 1e-4. Timestamps are seconds, with exactly three decimals when there are milliseconds. Scalars and
//! strings are written by other code in Prometheus: their times have as few decimals as possible, and a
//! scalar's value never has an exponent.

use storage_format::model::Timestamp;

/// Largest integer below which every whole number is exact in an `f64`.
const EXACT_INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// Appends `value` in the style of JSON results.
pub fn push_value(out: &mut Vec<u8>, value: f64) {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) && value.is_finite() {
        return push_scientific(out, value);
    }
    push_plain(out, value);
}

/// Appends `value` in the style of the text exposition format.
pub fn push_exposition(out: &mut Vec<u8>, value: f64) {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) && value.is_finite() {
        return push_scientific(out, value);
    }
    push_plain(out, value);
}

/// Appends all digits of `value` without an exponent; `NaN`, `+Inf`, `-Inf` as words.
pub fn push_plain(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    if value == 0.0 {
        return out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
    }
    if value.abs() < EXACT_INTEGER_MAX && value.trunc() == value {
        return out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    }
    let mut buffer = zmij::Buffer::new();
    let digits = buffer.format_finite(value);
    if digits.contains('e') {
        // Only magnitudes far from one; the standard library writes those without exponent.
        return out.extend_from_slice(value.to_string().as_bytes());
    }
    out.extend_from_slice(digits.strip_suffix(".0").unwrap_or(digits).as_bytes());
}

/// `d.ddde±XX`, the exponent with a sign and at least two digits.
fn push_scientific(out: &mut Vec<u8>, value: f64) {
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    out.extend_from_slice(digits.as_bytes());
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => (b"e-", exponent),
        None => (b"e+", exponent),
    };
    out.extend_from_slice(sign);
    if exponent.len() < 2 {
        out.push(b'0');
    }
    out.extend_from_slice(exponent.as_bytes());
}

/// Appends a time as seconds since the epoch.
pub fn push_timestamp(out: &mut Vec<u8>, timestamp: Timestamp) {
    let (seconds, millis) = (timestamp.unsigned_abs() / 1000, timestamp.unsigned_abs() % 1000);
    if timestamp < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
    if millis != 0 {
        let digit = |n: u64| b'0' + (n % 10) as u8;
        out.extend_from_slice(&[b'.', digit(millis / 100), digit(millis / 10), digit(millis)]);
    }
}

/// Appends a time as seconds since the epoch, with no more decimals than needed.
pub fn push_seconds(out: &mut Vec<u8>, timestamp: Timestamp) {
    push_timestamp(out, timestamp);
    if timestamp % 1000 != 0 {
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Appends a whole number.
pub fn push_integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_written_as_go_writes_them() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e6, "1000000"),
            (1_700_000_000.5, "1700000000.5"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (1e16, "10000000000000000"),
            (1.234e17, "123400000000000000"),
            (1e20, "100000000000000000000"),
            (9.99e20, "999000000000000000000"),
            (1e21, "1e+21"),
            (-1e21, "-1e+21"),
            (1.5e300, "1.5e+300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (0.000_001, "0.000001"),
            (0.000_012_5, "0.0000125"),
            (9.9e-7, "9.9e-07"),
            (1e-7, "1e-07"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(text(|out| push_value(out, value)), expected);
        }
    }

    #[test]
    fn exposition_switches_to_exponents_earlier() {
        for (value, expected) in
            [(0.0001, "0.0001"), (0.00005, "5e-05"), (1e20, "100000000000000000000"), (1e21, "1e+21")]
        {
            assert_eq!(text(|out| push_exposition(out, value)), expected);
        }
    }

    #[test]
    fn timestamps_have_no_or_three_decimals() {
        for (timestamp, expected) in [
            (0, "0"),
            (1, "0.001"),
            (1010, "1.010"),
            (1100, "1.100"),
            (-1, "-0.001"),
            (-1500, "-1.500"),
            (1_700_000_000_000, "1700000000"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            assert_eq!(text(|out| push_timestamp(out, timestamp)), expected);
        }
        for (timestamp, expected) in [(1100, "1.1"), (10_010, "10.01"), (-1, "-0.001"), (100_000, "100")] {
            assert_eq!(text(|out| push_seconds(out, timestamp)), expected);
        }
    }
}
