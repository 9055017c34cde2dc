//! The calendar in UTC, for the date functions.
//!
//! Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms" (days from civil and back). Valid for
//! every `i64` second: like Go's calendar it begins 292,277,022,400 years before year 1 and wraps around
//! after 2^64 seconds.

use crate::parse::FunctionId;

const DAY: i64 = 86_400;
/// From the calendar's beginning to the epoch, seconds; a multiple of a day.
const EPOCH: u64 = 9_223_372_028_715_321_600;

/// Days since the epoch and seconds of the day, `seconds` after the epoch.
fn split(seconds: i64) -> (i64, i64) {
    const SECONDS: u64 = DAY as u64;
    let since_beginning = (seconds as u64).wrapping_add(EPOCH);
    let days = (since_beginning / SECONDS) as i64 - (EPOCH / SECONDS) as i64;
    (days, (since_beginning % SECONDS) as i64)
}

/// A date of the proleptic Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: i64,
    /// 1..=12
    pub(crate) month: i64,
    /// 1..=31
    pub(crate) day: i64,
}

impl Date {
    /// The day on which `seconds` since the epoch falls.
    pub(crate) fn from_seconds(seconds: i64) -> Self {
        Self::from_days(split(seconds).0)
    }
    /// The day that is `days` after the epoch.
    fn from_days(days: i64) -> Self {
        let days = days + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
        }
    }
    fn is_leap(self) -> bool {
        self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0)
    }
    fn days_in_month(self) -> i64 {
        match self.month {
            2 => 28 + i64::from(self.is_leap()),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
    fn day_of_year(self) -> i64 {
        const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let before = BEFORE[(self.month - 1) as usize];
        before + self.day + i64::from(self.month > 2 && self.is_leap())
    }
}

/// The date function `id` of `value` seconds since the epoch (fractions are cut towards zero).
pub(crate) fn date_function(id: FunctionId, value: f64) -> f64 {
    // What Go's conversion gives for values outside int64 (on amd64): the most negative one.
    let seconds =
        if value.is_nan() || value.abs() >= 9.223_372_036_854_775e18 { i64::MIN } else { value as i64 };
    let (days, of_day) = split(seconds);
    let date = Date::from_days(days);
    let number = match id {
        FunctionId::Year => date.year,
        FunctionId::Month => date.month,
        FunctionId::DayOfMonth => date.day,
        FunctionId::DayOfWeek => (days + 4).rem_euclid(7),
        FunctionId::DayOfYear => date.day_of_year(),
        FunctionId::DaysInMonth => date.days_in_month(),
        FunctionId::Hour => of_day / 3600,
        _ => of_day / 60 % 60,
    };
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar() {
        assert_eq!(Date::from_seconds(0), Date { year: 1970, month: 1, day: 1 });
        assert_eq!(Date::from_seconds(-1), Date { year: 1969, month: 12, day: 31 });
        assert_eq!(Date::from_seconds(951_782_400), Date { year: 2000, month: 2, day: 29 });
        assert_eq!(date_function(FunctionId::DayOfWeek, 0.0), 4.0);
        assert_eq!(date_function(FunctionId::DayOfYear, 951_868_800.0), 61.0);
        assert_eq!(date_function(FunctionId::DaysInMonth, 951_782_400.0), 29.0);
        assert_eq!(date_function(FunctionId::Minute, 3_660.9), 1.0);
        // As Prometheus answers on amd64.
        assert_eq!(date_function(FunctionId::Year, f64::INFINITY), 292_277_026_596.0);
        assert_eq!(date_function(FunctionId::Hour, f64::NAN), 15.0);
    }
}
