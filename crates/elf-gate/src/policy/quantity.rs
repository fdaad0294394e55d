//! Quantities in policy files: sizes carry a unit, versions their dots.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes, written `8 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        let (number, unit) = (&text[..digits], text[digits..].trim());
        let unit = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
        let size = number.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
        size.map(Size).ok_or_else(|| {
            format!("`{text}` is no size: expected a whole number with `B`, `KiB`, `MiB` or `GiB`")
        })
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Size, String> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        size.to_string()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |unit: u64| self.0 != 0 && self.0.is_multiple_of(unit);
        let (name, unit) = UNITS.into_iter().find(|(_, unit)| whole(*unit)).unwrap_or(("B", 1));
        write!(f, "{} {name}", self.0 / unit)
    }
}

/// A version of glibc's symbols, written `2.31`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GlibcVersion(Vec<u32>);

impl GlibcVersion {
    /// `GLIBC_2.31` as it stands in a file. `GLIBC_PRIVATE` and the like are no versions.
    pub(super) fn of_symbol_version(name: &str) -> Option<GlibcVersion> {
        name.strip_prefix("GLIBC_")?.parse().ok()
    }
}

impl FromStr for GlibcVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<GlibcVersion, String> {
        let parts: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        match parts {
            Ok(parts) if parts.len() >= 2 => Ok(GlibcVersion(parts)),
            _ => Err(format!("`{text}` is no version of glibc: expected one such as `2.31`")),
        }
    }
}

impl TryFrom<String> for GlibcVersion {
    type Error = String;

    fn try_from(text: String) -> Result<GlibcVersion, String> {
        text.parse()
    }
}

impl From<GlibcVersion> for String {
    fn from(version: GlibcVersion) -> String {
        version.to_string()
    }
}

impl fmt::Display for GlibcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::{GlibcVersion, Size};

    #[test]
    fn sizes() {
        let check = |text: &str, bytes: u64| assert_eq!(text.parse(), Ok(Size(bytes)));
        check("8 MiB", 8 << 20);
        check("1B", 1);
        check("0 B", 0);
        for bad in ["8", "8 MB", "MiB", "-1 B", "8.5 MiB", "99999999999 GiB", ""] {
            assert!(bad.parse::<Size>().unwrap_err().contains("expected a whole number"), "{bad}");
        }
        for (bytes, text) in [(8 << 20, "8 MiB"), (1 << 10, "1 KiB"), (1025, "1025 B"), (0, "0 B")] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn versions_are_numbers() {
        let version = |text: &str| text.parse::<GlibcVersion>();
        assert!(version("2.9").unwrap() < version("2.31").unwrap());
        assert!(version("2.2.5").unwrap() > version("2.2").unwrap());
        assert!(version("2").is_err() && version("2.x").is_err());
        assert_eq!(GlibcVersion::of_symbol_version("GLIBC_PRIVATE"), None);
    }
}
