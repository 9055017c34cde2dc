//! Numbers as text, the way Prometheus writes them in label values and annotations.

use std::fmt::Write;

/// The special values, spelled as Go does.
fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("+Inf")
    } else if value == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}

/// Shortest notation, with an exponent below 1e-4 and from 1e6 on (Go's `%g`).
pub(crate) fn general(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    // Shortest digits and the exponent, in one go.
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    with_exponent(digits, exponent)
}

fn with_exponent(digits: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `digits` significant digits, trailing zeros cut (Go's `%.2g` and the like).
pub(crate) fn significant(value: f64, digits: usize) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let cut = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if exponent < -4 || exponent >= digits as i32 {
        return with_exponent(&cut(mantissa), exponent);
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    cut(&format!("{value:.decimals$}"))
}

/// OpenMetrics' float: as [`general`], but integers carry `.0`.
pub(crate) fn open_metrics(value: f64) -> String {
    let mut text = general(value);
    if special(value).is_none() && !text.contains(['.', 'e']) {
        text.push_str(".0");
    }
    text
}

/// Seconds since the epoch as RFC 3339 in UTC, whole seconds.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let date = crate::functions::time::Date::from_seconds(seconds);
    let mut text = String::new();
    let of_day = seconds.rem_euclid(86_400);
    let _ = write!(
        text,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year,
        date.month,
        date.day,
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_like_gos() {
        for (value, text) in [
            (0.5, "0.5"),
            (1e6, "1e+06"),
            (123_456.0, "123456"),
            (1_234_567.5, "1.2345675e+06"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (-0.0, "-0"),
            (1e100, "1e+100"),
        ] {
            assert_eq!(general(value), text);
        }
        assert_eq!(significant(0.012_345, 2), "0.012");
        assert_eq!(significant(12_345.0, 2), "1.2e+04");
        assert_eq!(significant(5.0, 2), "5");
        assert_eq!(open_metrics(1.0), "1.0");
        assert_eq!(open_metrics(0.9), "0.9");
        assert_eq!(rfc3339(86_400 * 365), "1971-01-01T00:00:00Z");
    }
}
