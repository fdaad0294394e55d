//! `source.toml`: what a library is, and where its source can be fetched.
//!
//! [`crate::file_list`] verifies the source; this module fetches and unpacks nothing, and has nothing about the build.

use std::path::{Component, Path};

use diag::{Diagnostic, Diagnostics};
use serde::{Deserialize, Serialize};
use store::is_sha256_hex;

use crate::codes::VENDOR_FILE;
use crate::toml_file;

/// `source.toml`: a library, and where its source can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SourceManifest {
    /// Name of the library.
    pub name: String,
    /// Version of the library.
    pub version: String,
    /// SPDX expression.
    pub licence: String,
    /// Address of the project.
    pub homepage: String,
    /// File name of the list of digests, beside `source.toml`.
    pub files: String,
    /// Names of the patches, in order. The list is outside of their folder, so that a re-import that drops a patch differs from
    /// a decision to drop it.
    #[serde(default)]
    pub patches: Vec<String>,
    /// In order of preference.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// One place from which the source can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A Debian source package, of which only the upstream tarball is used.
    DebianSource {
        /// Name of the source package.
        package: String,
        /// Version of the package.
        version: String,
        /// File name of the upstream tarball.
        orig_tarball: String,
        /// Digest of the upstream tarball.
        orig_sha256: String,
    },
    /// A package of crates.io that carries the C source of the library, such as the crate that binds it.
    Crate {
        /// Name of the crate.
        package: String,
        /// Version of the crate.
        version: String,
        /// Digest of the `.crate` file.
        sha256: String,
    },
    /// A tarball at a fixed address. Without a digest of its own, the list of files verifies it.
    Archive {
        /// Address of the tarball.
        url: String,
        /// Digest of the tarball, when it is known.
        sha256: Option<String>,
    },
}

impl Source {
    /// For messages and records.
    pub fn describe(&self) -> String {
        match self {
            Source::DebianSource { package, .. } => format!("Debian's source package `{package}`"),
            Source::Crate { package, version, .. } => format!("the crate `{package}` {version}"),
            Source::Archive { url, .. } => url.clone(),
        }
    }

    fn digest(&self) -> Option<&String> {
        match self {
            Source::DebianSource { orig_sha256, .. } => Some(orig_sha256),
            Source::Crate { sha256, .. } => Some(sha256),
            Source::Archive { sha256, .. } => sha256.as_ref(),
        }
    }
}

impl SourceManifest {
    /// Reads and checks `source.toml`.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        let text = toml_file::read(path, &VENDOR_FILE)?;
        Self::parse(&text).map_err(|invalid| toml_file::in_file(path, invalid))
    }

    /// Reports all invalid values together.
    pub(crate) fn parse(text: &str) -> Result<Self, Diagnostics> {
        let manifest: Self = toml_file::parse(text, &VENDOR_FILE)?;
        let mut invalid = Diagnostics::default();
        for (key, value) in [
            ("name", &manifest.name),
            ("version", &manifest.version),
            ("licence", &manifest.licence),
            ("homepage", &manifest.homepage),
        ] {
            if value.trim().is_empty() {
                invalid.push(Diagnostic::new(&VENDOR_FILE, format!("`{key}` is empty")));
            }
        }
        if !is_plain_relative(&manifest.files) {
            invalid.push(
                Diagnostic::new(&VENDOR_FILE, "`files` is not a path beside source.toml")
                    .found(&manifest.files),
            );
        }
        if manifest.sources.is_empty() {
            invalid.push(Diagnostic::new(&VENDOR_FILE, "no `[[source]]`: the library could not be fetched"));
        }
        let digests = manifest.sources.iter().filter_map(Source::digest);
        for digest in digests.filter(|digest| !is_sha256_hex(digest)) {
            invalid.push(
                Diagnostic::new(&VENDOR_FILE, "a digest of a `[[source]]` is malformed")
                    .expected("64 lower-case hex digits")
                    .found(digest),
            );
        }
        if invalid.0.is_empty() { Ok(manifest) } else { Err(invalid) }
    }
}

/// Whether `path` stays below the folder that it is relative to.
pub(crate) fn is_plain_relative(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
        name = "tiny"
        version = "1.0"
        licence = "MIT"
        homepage = "https://example.org/"
        files = "files.sha256"
        [[source]]
        kind = "archive"
        url = "https://example.org/tiny-1.0.tar.gz"
    "#;

    #[test]
    fn rejects_every_invalid_manifest() {
        assert_eq!(SourceManifest::parse(SOURCE).unwrap().sources.len(), 1);
        for (what, bad) in [
            ("unknown key", SOURCE.replace("licence", "license")),
            ("unknown key in a source", SOURCE.replace("url =", "sha = \"x\"\nurl =")),
            ("unknown kind", SOURCE.replace("\"archive\"", "\"git\"")),
            ("no source", SOURCE[..SOURCE.find("[[").unwrap()].to_owned()),
            ("short digest", format!("{SOURCE}\nsha256 = \"abc\"")),
            ("list outside of the folder", SOURCE.replace("files.sha256", "../files.sha256")),
            ("empty version", SOURCE.replace("1.0\"\n        lic", "\"\n        lic")),
        ] {
            assert!(SourceManifest::parse(&bad).is_err(), "{what} was accepted");
        }
    }

    #[test]
    fn names_the_line_of_an_unknown_key() {
        let invalid = SourceManifest::parse(&SOURCE.replace("licence", "license")).unwrap_err();
        insta::assert_snapshot!(diag::render::human(&invalid.0, diag::render::Style::default()));
    }
}
