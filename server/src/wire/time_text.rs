//! Times and durations as text: RFC 3339, Prometheus' durations, float seconds.
//!
//! Calendar arithmetic is the proleptic Gregorian calendar in UTC (days-from-civil, after Howard Hinnant's
//! "chrono-Compatible Low-Level Date Algorithms"), so no calendar crate is needed.

use std::fmt::Write as _;
use std::time::Duration;
use storage_format::model::Timestamp;

/// Prometheus' text for the smallest time a client may name.
const MIN_TIME: &str = "-292273086-05-16T16:47:06Z";
/// Prometheus' text for the largest time a client may name.
const MAX_TIME: &str = "292277025-08-18T07:12:54.999999999Z";

/// The earliest time a client may name: far before any sample, and safe to do arithmetic on.
pub const MIN_TIMESTAMP: Timestamp = i64::MIN / 1000 + 62_135_596_801_000;
/// The latest time a client may name.
pub const MAX_TIMESTAMP: Timestamp = i64::MAX / 1000 - 62_135_596_801_000;

/// Reads float seconds (rounded to milliseconds) or RFC 3339.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        if !seconds.is_finite() {
            return None;
        }
        // Whole and fractional part apart, as the product would lose the milliseconds of large times.
        let whole = seconds.trunc() * 1000.0;
        let millis = (seconds.fract() * 1000.0).round();
        return Some(((whole + millis) as i64).clamp(MIN_TIMESTAMP, MAX_TIMESTAMP));
    }
    match text {
        MIN_TIME => Some(MIN_TIMESTAMP),
        MAX_TIME => Some(MAX_TIMESTAMP),
        _ => parse_rfc3339(text),
    }
}

fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || !text.is_ascii() {
        return None;
    }
    let number = |from: usize, len: usize| -> Option<i64> {
        let digits = &text[from..from + len];
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let punctuation = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if punctuation.iter().any(|(at, sign)| bytes[*at] != *sign) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = &text[19..];
    let mut millis = 0;
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let len = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if len == 0 {
            return None;
        }
        let digit = |i: usize| fraction.as_bytes()[..len].get(i).map_or(0, |b| i64::from(b - b'0'));
        millis = digit(0) * 100 + digit(1) * 10 + digit(2);
        rest = &fraction[len..];
    }
    let zone_seconds = parse_zone(rest)?;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds - zone_seconds) * 1000 + millis)
}

/// `Z` or `±hh:mm`, as seconds east of UTC.
fn parse_zone(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let bytes = text.as_bytes();
    if bytes.len() != 6 || bytes[3] != b':' {
        return None;
    }
    let number =
        |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?;
    let (hours, minutes) = (number(&text[1..3])?, number(&text[4..6])?);
    if hours > 24 || minutes > 60 {
        return None;
    }
    match bytes[0] {
        b'+' => Some(hours * 3600 + minutes * 60),
        b'-' => Some(-(hours * 3600 + minutes * 60)),
        _ => None,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// `2026-01-02T03:04:05.678Z`; the milliseconds are left out when they are zero and `millis` is false.
#[must_use]
pub fn format_rfc3339(timestamp: Timestamp, millis: bool) -> String {
    let (seconds, fraction) = (timestamp.div_euclid(1000), timestamp.rem_euclid(1000));
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let mut out = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if millis || fraction != 0 {
        let _ = write!(out, ".{fraction:03}");
    }
    out.push('Z');
    out
}

/// Reads a Prometheus duration (`1h30m`, `15d`, `250ms`, `0`) as milliseconds. Units are y, w, d, h, m, s,
/// ms, each at most once and in that order.
#[must_use]
pub fn parse_prometheus_duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let (mut rest, mut total, mut next_unit) = (text, 0i64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit_len = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let amount: i64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..digits + unit_len];
        let at = UNITS.iter().position(|(name, _)| *name == unit).filter(|at| *at >= next_unit)?;
        total = total.checked_add(amount.checked_mul(UNITS[at].1)?)?;
        next_unit = at + 1;
        rest = &rest[digits + unit_len..];
    }
    (!text.is_empty()).then_some(total)
}

/// Why a parameter is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadDuration {
    /// Neither a number nor a duration.
    Malformed,
    /// Longer than 292 years.
    Overflow,
}

/// Reads float seconds or a Prometheus duration, in milliseconds (fractions cut off).
///
/// # Errors
/// When it is neither, or too long.
pub fn parse_duration_ms(text: &str) -> Result<f64, BadDuration> {
    if let Ok(seconds) = text.parse::<f64>() {
        if seconds.is_nan() || seconds.abs() * 1e9 > i64::MAX as f64 {
            return Err(BadDuration::Overflow);
        }
        return Ok(seconds * 1000.0);
    }
    parse_prometheus_duration(text).map(|ms| ms as f64).ok_or(BadDuration::Malformed)
}

/// A duration as Prometheus writes it (`1h30m`, `15d`, `0s`); whole milliseconds.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    // Years and weeks only when nothing remains, as `90d` reads better than `12w6d`.
    for (unit, ms, exact) in [
        ("y", 31_536_000_000, true),
        ("w", 604_800_000, true),
        ("d", 86_400_000, false),
        ("h", 3_600_000, false),
        ("m", 60_000, false),
        ("s", 1000, false),
        ("ms", 1, false),
    ] {
        if exact && rest % ms != 0 {
            continue;
        }
        if rest >= ms {
            let _ = write!(out, "{}{unit}", rest / ms);
            rest %= ms;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc3339() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1.5", Some(1500)),
            ("-1.001", Some(-1001)),
            ("1136239445.123", Some(1_136_239_445_123)),
            ("1543578564.705", Some(1_543_578_564_705)),
            ("1767225600000", Some(1_767_225_600_000_000)),
            ("1e300", Some(MAX_TIMESTAMP)),
            ("2015-06-03T13:21:58.555Z", Some(1_433_337_718_555)),
            ("2015-06-03T14:21:58.555+01:00", Some(1_433_337_718_555)),
            ("2006-01-02T15:04:05-07:00", Some(1_136_239_445_000)),
            ("1969-12-31T23:59:59.999999999Z", Some(-1)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000)),
            ("-292273086-05-16T16:47:06Z", Some(MIN_TIMESTAMP)),
            ("292277025-08-18T07:12:54.999999999Z", Some(MAX_TIMESTAMP)),
            ("2023-02-29T00:00:00Z", None),
            ("2024-01-01 00:00:00Z", None),
            ("2024-01-01T00:00:00", None),
            ("2024-01-01T00:00:00.Z", None),
            ("30s", None),
            ("", None),
            ("NaN", None),
            ("now", None),
            ("２０２４-01-01T00:00:00Z", None),
        ] {
            assert_eq!(parse_time(text), expected, "{text}");
        }
    }

    #[test]
    fn rfc3339_round_trips() {
        for ms in [0, 1, -1, 951_782_400_000, 1_709_164_799_999, -62_135_596_800_000, 253_402_300_799_000] {
            assert_eq!(parse_time(&format_rfc3339(ms, false)), Some(ms));
        }
        assert_eq!(format_rfc3339(1_433_337_718_000, true), "2015-06-03T13:21:58.000Z");
        assert_eq!(format_rfc3339(1_433_337_718_000, false), "2015-06-03T13:21:58Z");
    }

    #[test]
    fn durations_combine_units_in_order() {
        for (text, expected) in [
            ("0", Some(0)),
            ("15d", Some(1_296_000_000)),
            ("1h30m", Some(5_400_000)),
            ("1s500ms", Some(1500)),
            ("1y1w", Some(32_140_800_000)),
            ("1m1h", None),
            ("1m1m", None),
            ("5", None),
            ("m", None),
            ("", None),
            ("99999999999y", None),
            ("1m ", None),
            ("1é", None),
        ] {
            assert_eq!(parse_prometheus_duration(text), expected, "{text}");
        }
        assert_eq!(parse_duration_ms("0.5"), Ok(500.0));
        assert_eq!(parse_duration_ms("2m"), Ok(120_000.0));
        assert_eq!(parse_duration_ms("1e30"), Err(BadDuration::Overflow));
        assert_eq!(parse_duration_ms("soon"), Err(BadDuration::Malformed));
    }

    #[test]
    fn durations_are_written_back() {
        for text in ["0s", "15d", "1h30m", "250ms", "1y", "2w", "1d12h"] {
            let ms = parse_prometheus_duration(text).unwrap();
            assert_eq!(format_duration(Duration::from_millis(ms as u64)), text);
        }
    }
}
