//! Calendar days.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use serde::{Deserialize, Serialize};

/// A calendar day, written `2027-06-30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date(civil::Date);

impl Date {
    /// The day of a Unix time, in UTC. Times that jiff cannot represent give its last day.
    pub fn of_unix_time(seconds: u64) -> Date {
        let timestamp = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        Date(TimeZone::UTC.to_datetime(timestamp.unwrap_or(Timestamp::MAX)).date())
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Date, String> {
        // jiff also accepts other forms, such as `20270630` and dates with a time.
        let date = text.parse::<civil::Date>().ok().filter(|date| date.to_string() == text);
        let invalid = || format!("`{text}` is not a date: expected a date such as `2027-06-30`");
        date.map(Date).ok_or_else(invalid)
    }
}

impl TryFrom<String> for Date {
    type Error = String;

    fn try_from(text: String) -> Result<Date, String> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> String {
        date.to_string()
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Date;

    #[test]
    fn converts_unix_time_and_rejects_invalid_dates() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(Date::of_unix_time(seconds).to_string(), expected);
            assert_eq!(expected.parse(), Ok(Date::of_unix_time(seconds)));
        };
        check(0, "1970-01-01");
        check(951_782_400, "2000-02-29");
        check(951_868_800, "2000-03-01");
        check(1_735_689_599, "2024-12-31");
        assert_eq!(Date::of_unix_time(u64::MAX).to_string(), "9999-12-30");
        let mut errors = String::new();
        for bad in [
            "2025-02-29",
            "2025-13-01",
            "2025-00-10",
            "2025-04-31",
            "25-01-01",
            "2025-1-1",
            "soon",
            "2025-01-+1",
            "20250101",
            "2025-01-01T00:00:00",
        ] {
            errors += &format!("{bad}: {}\n", bad.parse::<Date>().unwrap_err());
        }
        insta::assert_snapshot!(errors, @"
        2025-02-29: `2025-02-29` is not a date: expected a date such as `2027-06-30`
        2025-13-01: `2025-13-01` is not a date: expected a date such as `2027-06-30`
        2025-00-10: `2025-00-10` is not a date: expected a date such as `2027-06-30`
        2025-04-31: `2025-04-31` is not a date: expected a date such as `2027-06-30`
        25-01-01: `25-01-01` is not a date: expected a date such as `2027-06-30`
        2025-1-1: `2025-1-1` is not a date: expected a date such as `2027-06-30`
        soon: `soon` is not a date: expected a date such as `2027-06-30`
        2025-01-+1: `2025-01-+1` is not a date: expected a date such as `2027-06-30`
        20250101: `20250101` is not a date: expected a date such as `2027-06-30`
        2025-01-01T00:00:00: `2025-01-01T00:00:00` is not a date: expected a date such as `2027-06-30`
        ");
        assert!("2026-12-31".parse::<Date>().unwrap() < "2027-01-01".parse::<Date>().unwrap());
    }
}
