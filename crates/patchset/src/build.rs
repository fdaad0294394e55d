//! `build.toml`: the facts of one library. How it is compiled, what its archive must hold, and what release.toml can choose.
//! A new library is a new file of this kind; no module of the pipeline names a library.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use diag::{Diagnostic, Diagnostics};
use serde::{Deserialize, Serialize};

use crate::codes::VENDOR_FILE;
use crate::kernels::VectorWidth;
use crate::toml_file;

/// The recipe and the requirements of a library. Their digest is part of a build's fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// File name of the archive: `libNAME.a`.
    pub archive: String,
    /// How it is compiled.
    pub recipe: Recipe,
    /// Files that the build writes and that tests need to compile one object again; kept beside the archive.
    #[serde(default)]
    pub keep_files: Vec<String>,
    /// Kernel sets, by the names that release.toml chooses from.
    #[serde(default)]
    pub kernels: BTreeMap<String, KernelSet>,
    /// Functions that the archive must define with every choice.
    #[serde(default)]
    pub functions: Vec<String>,
    /// Symbols that no member defines, sorted. A `*` at the end matches any text. An entry without a symbol is an error.
    pub undefined: Vec<String>,
    /// Requirements on the files of the configuration step.
    #[serde(default)]
    pub configured: Vec<ConfiguredFile>,
    /// Sizes of data that depend on `threads_max`.
    #[serde(default)]
    pub sizes: Vec<SymbolSize>,
}

/// How a library is compiled.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Recipe {
    /// The library's own make.
    Make {
        /// The goal of the makefile.
        goal: String,
        /// Options of every build, besides those of release.toml.
        #[serde(default)]
        fixed_options: Vec<String>,
        /// Path of the finished archive, or of a link to it.
        output: String,
        /// The option that takes `threads_max` of release.toml, and the range of its value.
        threads_max: Option<ThreadsMax>,
        /// The option that takes the chosen kernel sets, separated by spaces.
        kernels: Option<String>,
        /// Options that release.toml must not set.
        #[serde(default)]
        reserved_options: Vec<String>,
        /// Options that must not be set at all, with the reason.
        #[serde(default)]
        forbidden_options: BTreeMap<String, String>,
    },
    /// One call of the compiler for each source, made by the pipeline itself.
    Cc {
        /// C sources; each becomes one member.
        sources: Vec<String>,
        /// Folders for `-I`.
        #[serde(default)]
        includes: Vec<String>,
        /// Flags of the compiler.
        flags: Vec<String>,
    },
}

/// The option that takes the maximum number of threads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ThreadsMax {
    /// Name of the option.
    pub option: String,
    /// Smallest value.
    pub from: u32,
    /// Largest value.
    pub to: u32,
}

/// The kernels of one processor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KernelSet {
    /// Required width of the vector registers of each function.
    pub vectors: VectorWidth,
    /// Functions that the archive must define.
    pub functions: Vec<String>,
}

/// Required and forbidden lines of a file of the configuration step. A `*` at the end matches any text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConfiguredFile {
    /// Relative to the top of the source tree.
    pub file: String,
    /// Lines that the file must have.
    #[serde(default)]
    pub require_lines: Vec<String>,
    /// Lines that the file must not have.
    #[serde(default)]
    pub forbid_lines: Vec<String>,
    /// Cause of a violation, and where to look.
    pub hint: String,
}

/// A symbol whose size depends on `threads_max`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SymbolSize {
    /// Member of the archive.
    pub member: String,
    /// Name of the symbol.
    pub symbol: String,
    /// Bytes for each of `threads_max`.
    pub bytes_per_thread: u64,
}

impl Build {
    /// Reads and checks `build.toml`.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        let text = toml_file::read(path, &VENDOR_FILE)?;
        Self::parse(&text).map_err(|invalid| toml_file::in_file(path, invalid))
    }

    /// Reports all invalid entries together. A recipe that checks nothing is invalid.
    pub fn parse(text: &str) -> Result<Self, Diagnostics> {
        let build: Self = toml_file::parse(text, &VENDOR_FILE)?;
        let problems: Diagnostics = build.problems().into_iter().collect();
        if problems.0.is_empty() { Ok(build) } else { Err(problems) }
    }

    fn problems(&self) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        let mut invalid = |message: String| problems.push(Diagnostic::new(&VENDOR_FILE, message));
        let library = self.archive.strip_prefix("lib").and_then(|name| name.strip_suffix(".a"));
        if library.is_none_or(|name| name.is_empty() || name.contains('/')) {
            invalid(format!("`archive` must be `libNAME.a`, found `{}`", self.archive));
        }
        if self.functions.is_empty() && self.kernels.values().all(|set| set.functions.is_empty()) {
            invalid("neither `functions` nor `kernels` names a function: every archive would pass".into());
        }
        if !self.undefined.is_sorted() {
            invalid("`undefined` is not sorted".into());
        }
        for configured in &self.configured {
            if configured.require_lines.is_empty() && configured.forbid_lines.is_empty() {
                invalid(format!("`{}` of `[[configured]]` has no requirement", configured.file));
            }
        }
        if let Recipe::Cc { sources, .. } = &self.recipe {
            let mut members: Vec<_> = sources.iter().map(|source| object_name(source)).collect();
            members.sort();
            if members.is_empty() {
                invalid("`sources` is empty".into());
            }
            for twin in members.windows(2).filter(|pair| pair[0] == pair[1]) {
                invalid(format!("two sources make the member `{}`", twin[0]));
            }
        }
        problems
    }

    /// The content for a fingerprint, independent of layout and comments.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).context("serializing a recipe")
    }
}

/// The member that a source of the recipe `cc` becomes.
pub fn object_name(source: &str) -> String {
    let name = source.rsplit('/').next().unwrap_or(source);
    format!("{}.o", name.rsplit_once('.').map_or(name, |(stem, _)| stem))
}

/// Whether a line or symbol matches a pattern of build.toml: `*` at the end matches any text.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        archive = "libtiny.a"
        functions = ["one"]
        undefined = ["abort", "pthread_*"]
        [recipe]
        kind = "cc"
        sources = ["src/one.c", "src/two.c"]
        flags = ["-O2"]
    "#;

    #[test]
    fn rejects_every_invalid_recipe() {
        Build::parse(GOOD).unwrap();
        let errors = [
            ("libtiny.a", "tiny.a"),
            ("[\"one\"]", "[]"),
            ("\"abort\", \"pthread_*\"", "\"pthread_*\", \"abort\""),
            ("src/two.c", "other/one.c"),
            ("[\"src/one.c\", \"src/two.c\"]", "[]"),
            ("kind = \"cc\"", "kind = \"cmake\""),
            ("flags", "flag"),
        ]
        .map(|(from, to)| {
            assert!(GOOD.contains(from), "`{from}` is not in the example");
            format!("## {to}\n{}\n", Build::parse(&GOOD.replace(from, to)).expect_err(to))
        });
        insta::assert_snapshot!(errors.concat());
    }

    #[test]
    fn a_star_at_the_end_matches_any_text() {
        assert!(matches_pattern("NO_AVX*", "NO_AVX512=1") && matches_pattern("abort", "abort"));
        assert!(!matches_pattern("abort", "abort_") && !matches_pattern("NO_AVX*", "XNO_AVX"));
    }
}
