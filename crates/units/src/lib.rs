//! Sizes and durations with units, as configuration files and flags spell them: `8 MiB`, `30s`.
//!
//! A bare number is refused, except `0`: a size of `8` where `8 MiB` was meant is the mistake that this project exists to
//! prevent. Both types print what they parse, so a value survives a round trip through a file.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod byte_size;
mod time_span;

pub use byte_size::ByteSize;
pub use time_span::TimeSpan;

use std::fmt;

/// A text that is no size or duration: what was expected and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    text: String,
    problem: Problem,
    expected: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    NoNumber,
    NoUnit,
    UnknownUnit(String),
    OutOfRange,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, problem, expected } = self;
        match problem {
            Problem::NoNumber => write!(f, "`{text}` does not start with a whole number")?,
            Problem::NoUnit => write!(f, "`{text}` has no unit")?,
            Problem::UnknownUnit(unit) => write!(f, "`{text}` has the unknown unit `{unit}`")?,
            Problem::OutOfRange => write!(f, "`{text}` is out of range")?,
        }
        write!(f, "; expected {expected}")
    }
}

impl std::error::Error for ParseError {}

/// A unit and how many of the base unit it is.
type Unit = (&'static str, u64);

/// The number of base units in `text`.
fn parse(text: &str, units: &[Unit], expected: &'static str) -> Result<u64, ParseError> {
    let fail = |problem| ParseError { text: text.into(), problem, expected };
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = (&trimmed[..digits], trimmed[digits..].trim_start());
    if number.is_empty() {
        return Err(fail(Problem::NoNumber));
    }
    let number: u64 = number.parse().map_err(|_| fail(Problem::OutOfRange))?;
    let factor = match unit {
        "" if number == 0 => 1,
        "" => return Err(fail(Problem::NoUnit)),
        unit => match units.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None => return Err(fail(Problem::UnknownUnit(unit.into()))),
        },
    };
    number.checked_mul(factor).ok_or_else(|| fail(Problem::OutOfRange))
}

/// The largest unit that divides the value, so that nothing is rounded.
fn display(value: u64, units: &[Unit], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let divides = |factor: u64| value != 0 && value.is_multiple_of(factor);
    let (name, factor) = units.iter().find(|(_, factor)| divides(*factor)).unwrap_or(&units[units.len() - 1]);
    f.pad(&format!("{} {name}", value / factor))
}
