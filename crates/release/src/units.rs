//! Sizes and durations as people write them in `release.toml`: a number, a space if they like, and a unit.
//!
//! A bare number is refused: a size of `8` is the mistake that this project exists to prevent.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (number, unit) = split(&text)?;
        let wanted = "expected a whole number and B, KiB, MiB or GiB, such as \"8 MiB\"";
        let Some((_, scale)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
            let found = if unit.is_empty() { "no unit".into() } else { format!("the unit `{unit}`") };
            return Err(format!("`{text}` has {found}; {wanted}"));
        };
        let number: u64 = number.parse().map_err(|_| format!("`{text}` is no size; {wanted}"))?;
        number.checked_mul(*scale).map(ByteSize).ok_or_else(|| format!("`{text}` is more than 2^64 bytes"))
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit that divides the size: exact, and what a person would have written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, scale) = SIZE_UNITS
            .iter()
            .find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale))
            .unwrap_or(&("B", 1));
        write!(f, "{} {name}", self.0 / scale)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (number, unit) = split(&text)?;
        let wanted = "expected a whole number and ms, s or min, such as \"60 s\"";
        let number: u64 = number.parse().map_err(|_| format!("`{text}` is no duration; {wanted}"))?;
        let millis = match unit {
            "ms" => Some(number),
            "s" => number.checked_mul(1_000),
            "min" => number.checked_mul(60_000),
            _ => return Err(format!("`{text}` has no known unit; {wanted}")),
        };
        millis.map(|ms| Span(Duration::from_millis(ms))).ok_or_else(|| format!("`{text}` is too long"))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.as_millis() as u64)
    }
}

fn split(text: &str) -> Result<(&str, &str), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!("`{text}` does not start with a number"));
    }
    Ok((number, unit.trim_start()))
}

/// A size for people: one decimal, binary unit.
pub fn human_bytes(bytes: u64) -> String {
    match SIZE_UNITS.iter().find(|(_, scale)| bytes >= *scale) {
        Some((name, 1)) => format!("{bytes} {name}"),
        Some((name, scale)) => format!("{:.1} {name}", bytes as f64 / *scale as f64),
        None => "0 B".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_units() {
        let parse = |text: &str| ByteSize::try_from(text.to_string());
        assert_eq!(parse("8 MiB"), Ok(ByteSize(8 << 20)));
        assert_eq!(parse("128KiB"), Ok(ByteSize(128 << 10)));
        for bad in [
            "8",
            "8 MB",
            "-1 MiB",
            "MiB",
            "",
            "1.5 MiB",
            "99999999999999999999 B",
            "18446744073709551615 GiB",
        ] {
            assert!(parse(bad).is_err(), "`{bad}` was taken for a size");
        }
        assert_eq!(ByteSize(8 << 20).to_string(), "8 MiB");
        assert_eq!(ByteSize(1536).to_string(), "1536 B");
    }

    #[test]
    fn durations_need_units() {
        let parse = |text: &str| Span::try_from(text.to_string());
        assert_eq!(parse("60 s"), Ok(Span(Duration::from_secs(60))));
        for bad in ["60", "1 h", "s"] {
            assert!(parse(bad).is_err(), "`{bad}` was taken for a duration");
        }
    }
}
