use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ParseError, Unit, display, parse};

/// A duration in whole milliseconds, written with a unit: `60 s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan(pub Duration);

const UNITS: [Unit; 4] = [("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

impl TimeSpan {
    /// The same as the standard library's type.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for TimeSpan {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let millis = parse(text, &UNITS, "a whole number and ms, s, min or h, such as `60 s`")?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl TryFrom<String> for TimeSpan {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<TimeSpan> for String {
    fn from(span: TimeSpan) -> String {
        span.to_string()
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every value comes from a u64 of milliseconds, or from code that names whole ones.
        display(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &UNITS, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_whole_number_with_a_unit() {
        for (text, millis) in
            [("60 s", 60_000), ("500ms", 500), ("2 min", 120_000), ("1h", 3_600_000), ("0", 0)]
        {
            assert_eq!(text.parse(), Ok(TimeSpan(Duration::from_millis(millis))), "{text}");
        }
    }

    #[test]
    fn refuses_a_missing_or_unknown_unit() {
        for text in ["60", "1 d", "s", "", "1.5 s", "-1 s", "18446744073709551615 s"] {
            assert!(text.parse::<TimeSpan>().is_err(), "{text}");
        }
    }

    #[test]
    fn prints_the_largest_unit_that_divides_it() {
        for (millis, text) in [(90_000, "90 s"), (120_000, "2 min"), (1, "1 ms"), (0, "0 ms")] {
            assert_eq!(TimeSpan(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
