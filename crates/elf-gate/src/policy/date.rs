//! Calendar days.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A calendar day, written `2027-06-30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The day of a Unix time, in UTC.
    pub fn of_unix_time(seconds: u64) -> Date {
        // Days since 1970 to a civil date, by eras of 400 years that start on 1 March.
        let days = seconds / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        Date { year: year.min(9999) as u16, month: month as u8, day: day as u8 }
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Date, String> {
        let invalid = || format!("`{text}` is not a date: expected a date such as `2027-06-30`");
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts[..] else { return Err(invalid()) };
        let is_plain = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !is_plain(year, 4) || !is_plain(month, 2) || !is_plain(day, 2) {
            return Err(invalid());
        }
        let number = |part: &str| part.parse::<u16>().map_err(|_| invalid());
        let (year, month, day) = (number(year)?, number(month)?, number(day)?);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + u16::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return Err(invalid()),
        };
        if day == 0 || day > days {
            return Err(invalid());
        }
        Ok(Date { year, month: month as u8, day: day as u8 })
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
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
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
        for bad in [
            "2025-02-29",
            "2025-13-01",
            "2025-00-10",
            "2025-04-31",
            "25-01-01",
            "2025-1-1",
            "soon",
            "2025-01-+1",
        ] {
            assert!(bad.parse::<Date>().unwrap_err().contains("2027-06-30"), "{bad}");
        }
        assert!("2026-12-31".parse::<Date>().unwrap() < "2027-01-01".parse::<Date>().unwrap());
    }
}
