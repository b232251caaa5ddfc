//! Days, as bills count them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::value::{ValueError, as_text};

/// Seconds of a day; leap seconds have no number of their own (POSIX).
const SECONDS: u64 = 86_400;

/// A day in UTC, by the Gregorian calendar: "2026-11-22". Days before 1970 and after 9999 are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(u32);

impl Day {
    /// The last there is.
    pub const LAST: Self = Self(2_932_896);

    /// The day in which a time is: seconds since 1970.
    pub fn of_unix_seconds(seconds: u64) -> Self {
        Self::from_number(u32::try_from(seconds / SECONDS).unwrap_or(u32::MAX))
    }

    /// The day with this number: days since 1970-01-01. What is behind the last day is that.
    pub const fn from_number(number: u32) -> Self {
        if number > Self::LAST.0 { Self::LAST } else { Self(number) }
    }

    /// Days since 1970-01-01.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// So many days earlier, but not before 1970.
    #[must_use]
    pub const fn before(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days))
    }

    /// Year, month and day of the month. Years are counted from March, so that the day that some have more is their last.
    fn date(self) -> (u32, u32, u32) {
        // From 0000-03-01 on, in spans of 400 years, which all have as many days.
        let days = self.0 + 719_468;
        let (span, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let date = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (span * 400 + year + u32::from(month <= 2), month, date)
    }

    /// The day of a date; none if there is no such day.
    fn of_date(year: u32, month: u32, date: u32) -> Option<Self> {
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || date == 0 {
            return None;
        }
        let (from_march, in_march) = if month > 2 { (month - 3, year) } else { (month + 9, year - 1) };
        let (span, year_of_span) = (in_march / 400, in_march % 400);
        let day_of_year = (153 * from_march + 2) / 5 + date - 1;
        let day = year_of_span * 365 + year_of_span / 4 - year_of_span / 100 + day_of_year;
        let found = Self((span * 146_097 + day).checked_sub(719_468)?);
        // A date that the month does not have is one of the next month.
        (found.date() == (year, month, date)).then_some(found)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, date) = self.date();
        write!(f, "{year:04}-{month:02}-{date:02}")
    }
}

impl FromStr for Day {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::new(text, "a day is written YYYY-MM-DD", "write one like 2026-11-22");
        let mut parts = text.split('-');
        let mut number = |length: usize| {
            let part =
                parts.next().filter(|part| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit()));
            part.and_then(|part| part.parse::<u32>().ok())
        };
        let date = (number(4), number(2), number(2));
        let (Some(year), Some(month), Some(day)) = date else { return Err(wrong()) };
        if parts.next().is_some() {
            return Err(wrong());
        }
        Self::of_date(year, month, day).ok_or_else(wrong)
    }
}

as_text!(Day);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (86_399, "1970-01-01"),
            (86_400, "1970-01-02"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_795_305_600, "2026-11-22"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(Day::of_unix_seconds(seconds).to_string(), text);
        }
        assert_eq!(Day::LAST.to_string(), "9999-12-31");
        assert_eq!(Day::of_unix_seconds(u64::MAX), Day::LAST);
    }

    #[test]
    fn every_day_is_read_as_it_is_written() {
        for number in (0..=Day::LAST.number()).step_by(31) {
            let day = Day::from_number(number);
            assert_eq!(day.to_string().parse::<Day>().unwrap(), day);
        }
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "2026-11",
            "2026-11-31",
            "2026-02-29",
            "2100-02-29",
            "1969-12-31",
            "2026-1-1",
            "2026-11-22-",
            "+026-11-22",
        ] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
    }
}
