//! Versions of glibc.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of glibc, written `2.31`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GlibcVersion(Vec<u32>);

impl GlibcVersion {
    /// From the symbol version `GLIBC_2.31`. `GLIBC_PRIVATE` and similar names are not versions.
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
            _ => Err(format!("`{text}` is not a glibc version: expected a version such as `2.31`")),
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
    use super::GlibcVersion;

    #[test]
    fn compares_versions_by_number() {
        let version = |text: &str| text.parse::<GlibcVersion>();
        assert!(version("2.9").unwrap() < version("2.31").unwrap());
        assert!(version("2.2.5").unwrap() > version("2.2").unwrap());
        assert!(version("2").is_err() && version("2.x").is_err());
        assert_eq!(GlibcVersion::of_symbol_version("GLIBC_PRIVATE"), None);
    }
}
