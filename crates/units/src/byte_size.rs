use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ParseError, Unit, display, parse};

/// A number of bytes, written with a binary unit: `8 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

const UNITS: [Unit; 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl ByteSize {
    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// Rounded to one decimal of the largest unit that fits: `3.7 MiB`. For tables; [`fmt::Display`] is exact.
    pub fn rounded(self) -> String {
        match UNITS.iter().find(|(_, factor)| self.0 >= *factor) {
            None | Some((_, 1)) => format!("{} B", self.0),
            Some((name, factor)) => format!("{:.1} {name}", self.0 as f64 / *factor as f64),
        }
    }
}

impl FromStr for ByteSize {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text, &UNITS, "a whole number and B, KiB, MiB or GiB, such as `8 MiB`").map(Self)
    }
}

impl TryFrom<String> for ByteSize {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> String {
        size.to_string()
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display(self.0, &UNITS, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_whole_number_with_a_binary_unit() {
        for (text, bytes) in
            [("8 MiB", 8 << 20), ("128KiB", 128 << 10), (" 2 GiB ", 2 << 30), ("1B", 1), ("0", 0)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_ambiguous_or_out_of_range() {
        let errors = [
            "8",
            "8 MB",
            "1.5 MiB",
            "-1 MiB",
            "MiB",
            "",
            "99999999999999999999 B",
            "18446744073709551615 GiB",
        ]
        .map(|text| text.parse::<ByteSize>().expect_err(text).to_string());
        insta::assert_snapshot!(errors.join("\n"), @"
        `8` has no unit; expected a whole number and B, KiB, MiB or GiB, such as `8 MiB`
        `8 MB` has the unknown unit `MB`; expected a whole number and B, KiB, MiB or GiB, such as `8 MiB`
        `1.5 MiB` has the unknown unit `.5 MiB`; expected a whole number and B, KiB, MiB or GiB, such as `8 MiB`
        `-1 MiB` does not start with a whole number; expected a whole number and B, KiB, MiB or GiB, such as `8 MiB`
        `MiB` does not start with a whole number; expected a whole number and B, KiB, MiB or GiB, such as `8 MiB`
        `` does not start with a whole number; expected a whole number and B, KiB, MiB or GiB, such as `8 MiB`
        `99999999999999999999 B` is out of range; expected a whole number and B, KiB, MiB or GiB, such as `8 MiB`
        `18446744073709551615 GiB` is out of range; expected a whole number and B, KiB, MiB or GiB, such as `8 MiB`
        ");
    }

    #[test]
    fn prints_exactly_and_rounded() {
        for (bytes, exact, rounded) in [
            (8 << 20, "8 MiB", "8.0 MiB"),
            (1536, "1536 B", "1.5 KiB"),
            (1 << 10, "1 KiB", "1.0 KiB"),
            (1023, "1023 B", "1023 B"),
            (0, "0 B", "0 B"),
        ] {
            assert_eq!(
                (ByteSize(bytes).to_string(), ByteSize(bytes).rounded()),
                (exact.into(), rounded.into())
            );
        }
    }

    #[test]
    fn survives_a_round_trip_through_json() {
        let json = serde_json::to_string(&ByteSize(3 << 20)).unwrap();
        assert_eq!(json, "\"3 MiB\"");
        assert_eq!(serde_json::from_str::<ByteSize>(&json).unwrap(), ByteSize(3 << 20));
        assert!(serde_json::from_str::<ByteSize>("8").is_err(), "a bare number is refused");
    }
}
