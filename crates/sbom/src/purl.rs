//! Package URLs: `pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS#SUBPATH`.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// A package URL. Qualifiers are sorted, values are encoded.
///
/// ```
/// use sbom::Purl;
/// assert_eq!(Purl::cargo("toml", "1.2.1+spec-1.1.0").to_string(), "pkg:cargo/toml@1.2.1%2Bspec-1.1.0");
/// let debian = Purl::new("deb", "openblas", "0.3.34+ds-2").namespace("debian").qualifier("arch", "source");
/// assert_eq!(debian.to_string(), "pkg:deb/debian/openblas@0.3.34%2Bds-2?arch=source");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purl {
    kind: String,
    namespace: Option<String>,
    name: String,
    version: String,
    qualifiers: BTreeMap<String, String>,
    subpath: Option<String>,
}

impl Purl {
    /// `pkg:KIND/NAME@VERSION`.
    pub fn new(kind: &str, name: &str, version: &str) -> Self {
        Self {
            kind: kind.into(),
            namespace: None,
            name: name.into(),
            version: version.into(),
            qualifiers: BTreeMap::new(),
            subpath: None,
        }
    }

    /// A crate of crates.io.
    pub fn cargo(name: &str, version: &str) -> Self {
        Self::new("cargo", name, version)
    }

    /// A package without a registry.
    pub fn generic(name: &str, version: &str) -> Self {
        Self::new("generic", name, version)
    }

    /// The distribution, for types that have one.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// A qualifier such as `checksum`.
    #[must_use]
    pub fn qualifier(mut self, key: &str, value: &str) -> Self {
        self.qualifiers.insert(key.into(), value.into());
        self
    }

    /// A folder or file in the package.
    #[must_use]
    pub fn subpath(mut self, path: &str) -> Self {
        self.subpath = Some(path.into());
        self
    }
}

impl fmt::Display for Purl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg:{}/", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{}/", encoded(namespace))?;
        }
        write!(f, "{}@{}", encoded(&self.name), encoded(&self.version))?;
        for (index, (key, value)) in self.qualifiers.iter().enumerate() {
            write!(f, "{}{key}={}", if index == 0 { '?' } else { '&' }, encoded(value))?;
        }
        if let Some(path) = &self.subpath {
            let parts: Vec<String> = path.split('/').map(encoded).collect();
            write!(f, "#{}", parts.join("/"))?;
        }
        Ok(())
    }
}

/// All but unreserved characters and the colon as `%XX`.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes any text");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_qualifiers_and_encodes_values() {
        let purl = Purl::generic("zig", "0.17.0")
            .qualifier("download_url", "https://example.org/a b?c")
            .qualifier("checksum", "sha256:00ff")
            .subpath("lib/c");
        assert_eq!(
            purl.to_string(),
            "pkg:generic/zig@0.17.0?checksum=sha256:00ff&download_url=https:%2F%2Fexample.org%2Fa%20b%3Fc#lib/c"
        );
    }
}
