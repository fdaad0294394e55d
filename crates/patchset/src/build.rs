//! `build.toml`: what is known of a library itself. How it is compiled, what its archive must then show, and what may be
//! chosen of it in release.toml. A library that somebody adds tomorrow is added here, in data; no module of the pipeline
//! knows a library by name.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::kernels::Vectors;

/// Its digest is part of a build's fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// File name of the archive: `libNAME.a`.
    pub archive: String,
    pub recipe: Recipe,
    /// Files that the build writes and that tests need to compile one object again.
    #[serde(default)]
    pub keeps: Vec<String>,
    /// Kernel sets by the names that release.toml chooses from.
    #[serde(default)]
    pub kernels: BTreeMap<String, Kernels>,
    /// Functions that must be there whatever is chosen.
    #[serde(default)]
    pub functions: Vec<String>,
    /// Symbols that no member defines, sorted; a `*` at the end stands for any text. One that nothing uses is an error.
    pub undefined: Vec<String>,
    /// What the configuration step must have written.
    #[serde(default)]
    pub configured: Vec<Configured>,
    /// Sizes of data that show in the bytes what was chosen.
    #[serde(default)]
    pub sizes: Vec<Size>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Recipe {
    /// The library's own make.
    Make {
        goal: String,
        /// Given besides what release.toml chooses.
        #[serde(default)]
        always: Vec<String>,
        /// Where the build leaves the archive, or a link to it.
        made: String,
        /// The option that takes `threads_max` of release.toml, and the range of its value.
        threads_max: Option<ThreadsMax>,
        /// The option that takes the chosen kernel sets, separated by spaces.
        kernels: Option<String>,
        /// Options that release.toml must not set.
        #[serde(default)]
        reserved: Vec<String>,
        /// Options that must not be set at all, with the reason.
        #[serde(default)]
        refused: BTreeMap<String, String>,
    },
    /// One call of the compiler for each source, made by the pipeline itself.
    Cc {
        sources: Vec<String>,
        #[serde(default)]
        includes: Vec<String>,
        flags: Vec<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ThreadsMax {
    pub option: String,
    pub from: u32,
    pub to: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Kernels {
    /// The narrowest registers that make the set worth dispatching to.
    pub vectors: Vectors,
    pub functions: Vec<String>,
}

/// Lines of a file that the configuration step wrote. A `*` at the end stands for any text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Configured {
    pub file: String,
    #[serde(default)]
    pub lines: Vec<String>,
    #[serde(default)]
    pub never: Vec<String>,
    /// What a violation means, and what to look at.
    pub hint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    pub member: String,
    pub symbol: String,
    /// Bytes for each of `threads_max`.
    pub bytes_per_thread: u64,
}

impl Build {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading `{}`", path.display()))?;
        Self::parse(&text).with_context(|| format!("in `{}`", path.display()))
    }

    /// Strict: a recipe that would judge nothing is an error.
    pub fn parse(text: &str) -> Result<Self> {
        let build: Self = toml::from_str(text)?;
        let library = build.archive.strip_prefix("lib").and_then(|name| name.strip_suffix(".a"));
        ensure!(
            library.is_some_and(|name| !name.is_empty() && !name.contains('/')),
            "`archive` must be `libNAME.a`, found `{}`",
            build.archive
        );
        ensure!(
            !build.functions.is_empty() || build.kernels.values().any(|set| !set.functions.is_empty()),
            "neither `functions` nor `kernels` name a function: any archive would do"
        );
        ensure!(build.undefined.is_sorted(), "`undefined` is not sorted");
        for configured in &build.configured {
            ensure!(
                !(configured.lines.is_empty() && configured.never.is_empty()),
                "`{}` of `[[configured]]` is asked for nothing",
                configured.file
            );
        }
        if let Recipe::Cc { sources, .. } = &build.recipe {
            let mut stems: Vec<_> = sources.iter().map(|source| object_of(source)).collect();
            stems.sort();
            ensure!(!stems.is_empty(), "`sources` is empty");
            let twin = stems.windows(2).find(|pair| pair[0] == pair[1]);
            ensure!(twin.is_none(), "two sources make the member `{}`", twin.map_or("", |pair| &pair[0]));
        }
        Ok(build)
    }

    /// For the fingerprint: what it says, not how it is written down.
    pub fn text(&self) -> Result<String> {
        serde_json::to_string(self).context("writing a recipe as text")
    }
}

/// The member that a source of the recipe `cc` becomes.
pub fn object_of(source: &str) -> String {
    let name = source.rsplit('/').next().unwrap_or(source);
    format!("{}.o", name.rsplit_once('.').map_or(name, |(stem, _)| stem))
}

/// A line or symbol against a pattern of this file.
pub fn fits(pattern: &str, text: &str) -> bool {
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
    fn bad_recipes_are_refused() {
        Build::parse(GOOD).unwrap();
        for (from, to, wanted) in [
            ("libtiny.a", "tiny.a", "libNAME.a"),
            ("[\"one\"]", "[]", "any archive would do"),
            ("\"abort\", \"pthread_*\"", "\"pthread_*\", \"abort\"", "not sorted"),
            ("src/two.c", "other/one.c", "two sources make the member `one.o`"),
            ("[\"src/one.c\", \"src/two.c\"]", "[]", "`sources` is empty"),
            ("kind = \"cc\"", "kind = \"cmake\"", "cmake"),
            ("flags", "flag", "flag"),
        ] {
            assert!(GOOD.contains(from), "the anchor `{from}` is gone");
            let told = format!("{:#}", Build::parse(&GOOD.replace(from, to)).expect_err(to));
            assert!(told.contains(wanted), "`{wanted}` is missing from: {told}");
        }
    }

    #[test]
    fn a_star_stands_for_the_rest() {
        assert!(fits("NO_AVX*", "NO_AVX512=1") && fits("abort", "abort"));
        assert!(!fits("abort", "abort_") && !fits("NO_AVX*", "XNO_AVX"));
    }
}
