//! What a Plan holds of one library: release.toml's choices, checked against the library's own `build.toml`.
//!
//! Every problem names its place in release.toml, and all are told at once.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{CONFIG_VALUE, Located, Native};
use diag::Diagnostic;
use patchset::Vendored;
use patchset::build::{Build, Recipe};

#[derive(Debug, Clone, Serialize)]
pub struct LibraryPlan {
    pub name: String,
    pub version: String,
    pub licence: String,
    pub patches: Vec<String>,
    /// Digest of the list of source files, the patches and their guards.
    pub vendor_digest: String,
    /// What its make is given, or the flags of its compiler.
    pub options: Vec<String>,
    pub threads_max: Option<u32>,
    pub kernels: Vec<String>,
    /// Folder with `source.toml`, `build.toml`, patches and tests.
    #[serde(skip)]
    pub vendor: PathBuf,
    /// A tarball that is on disk already.
    #[serde(skip)]
    pub source: Option<PathBuf>,
    #[serde(skip)]
    pub vendored: Vendored,
}

/// Options that the pipeline sets for every make.
const TOOLS: [&str; 4] = ["CC", "HOSTCC", "AR", "RANLIB"];

impl LibraryPlan {
    pub fn new(
        root: &Path,
        name: &str,
        choices: &Native,
        source: Option<PathBuf>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let vendor = root.join(&choices.vendor);
        let vendored = Vendored::read(&vendor).map_err(|error| {
            let hint = diag::hint_of(&error).unwrap_or_else(|| {
                format!("`git status {}` shows what changed in it", choices.vendor.display())
            });
            vec![Diagnostic::new(&crate::GENERAL, format!("{error:#}")).hint(hint)]
        })?;
        // Nothing else of it would fit; one mistake is one problem.
        if vendored.manifest.name != name {
            return Err(vec![
                Diagnostic::new(
                    &crate::GENERAL,
                    format!("`native.{name}.vendor` is the folder of another library"),
                )
                .expected(format!("name = \"{name}\" in {}/source.toml", choices.vendor.display()))
                .found(format!("name = \"{}\"", vendored.manifest.name)),
            ]);
        }
        let mut problems = Vec::new();
        let options = options(name, &vendored.build, choices, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            name: name.into(),
            version: vendored.manifest.version.clone(),
            licence: vendored.manifest.licence.clone(),
            patches: vendored.patches().map(|patch| patch.name.clone()).collect(),
            vendor_digest: vendored.digest.clone(),
            options,
            threads_max: choices.threads_max.as_ref().map(|threads| threads.value),
            kernels: choices.kernels.iter().map(|kernel| kernel.value.clone()).collect(),
            vendor,
            source,
            vendored,
        })
    }

    pub fn build(&self) -> &Build {
        &self.vendored.build
    }
}

fn options(name: &str, build: &Build, choices: &Native, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let known: Vec<&str> = build.kernels.keys().map(String::as_str).collect();
    for kernel in choices.kernels.iter().filter(|kernel| !known.contains(&kernel.value.as_str())) {
        problems.push(
            kernel
                .diagnostic(
                    &CONFIG_VALUE,
                    format!("`native.{name}.kernels` names a kernel set that the library's build.toml does not have"),
                )
                .expected(known.join(", "))
                .found(kernel.value.as_str()),
        );
    }
    match &build.recipe {
        Recipe::Cc { flags, .. } => {
            for option in choices.options.iter().filter(|flag| !flag.value.starts_with('-')) {
                problems.push(
                    option
                        .diagnostic(
                            &CONFIG_VALUE,
                            format!("`native.{name}.options` holds something else than flags of a compiler"),
                        )
                        .expected("a word that starts with `-`")
                        .found(option.value.as_str()),
                );
            }
            if let Some(threads) = &choices.threads_max {
                problems.push(
                    threads.diagnostic(&CONFIG_VALUE, format!("{name} has no maximum of threads to choose")),
                );
            }
            flags.iter().cloned().chain(choices.options.iter().map(|flag| flag.value.clone())).collect()
        }
        Recipe::Make {
            fixed_options: always,
            threads_max,
            kernels,
            reserved_options: reserved,
            forbidden_options: refused,
            ..
        } => {
            let set: Vec<&str> = TOOLS
                .into_iter()
                .chain(reserved.iter().map(String::as_str))
                .chain(threads_max.iter().map(|threads| threads.option.as_str()))
                .chain(kernels.as_deref())
                .chain(always.iter().filter_map(|option| Some(option.split_once('=')?.0)))
                .collect();
            for option in &choices.options {
                problems.extend(make_option(option, &set, refused));
            }
            let mut all: Vec<String> = choices.options.iter().map(|option| option.value.clone()).collect();
            match (threads_max, &choices.threads_max) {
                (Some(known), Some(threads)) => {
                    let value = threads.value;
                    if !(known.from..=known.to).contains(&value) {
                        problems.push(
                            threads
                                .diagnostic(
                                    &CONFIG_VALUE,
                                    format!("`native.{name}.threads_max` is out of range"),
                                )
                                .expected(format!("{} to {}", known.from, known.to))
                                .found(value.to_string()),
                        );
                    }
                    all.push(format!("{}={value}", known.option));
                }
                (None, None) => {}
                (Some(_), None) => problems.push(
                    Diagnostic::new(
                        &crate::GENERAL,
                        format!("`native.{name}.threads_max` is missing in release.toml"),
                    )
                    .hint("without it the build machine's core count would decide"),
                ),
                (None, Some(threads)) => {
                    problems.push(
                        threads
                            .diagnostic(&CONFIG_VALUE, format!("{name} has no maximum of threads to choose")),
                    );
                }
            }
            if let Some(option) = kernels {
                if choices.kernels.is_empty() {
                    problems.push(
                        Diagnostic::new(&crate::GENERAL, format!(
                            "`native.{name}.kernels` is empty in release.toml: nothing would be dispatched"
                        ))
                        .expected(known.join(", ")),
                    );
                }
                let names: Vec<&str> = choices.kernels.iter().map(|kernel| kernel.value.as_str()).collect();
                all.push(format!("{option}={}", names.join(" ")));
            }
            all.extend(always.iter().cloned());
            all
        }
    }
}

fn make_option(
    option: &Located<String>,
    set: &[&str],
    refused: &std::collections::BTreeMap<String, String>,
) -> Option<Diagnostic> {
    let at = |text: String| option.diagnostic(&CONFIG_VALUE, text);
    let name = option.value.split_once('=').map(|(name, _)| name);
    match name {
        None | Some("") => Some(
            at("an option of make without a value".into())
                .expected("NAME=value")
                .found(option.value.as_str()),
        ),
        Some(name) if set.contains(&name) => Some(
            at(format!("`{name}` is set by the pipeline from a checked value"))
                .hint("use `threads_max`, `kernels`, [toolchain] or `--jobs` instead"),
        ),
        Some(name) => refused.get(name).map(|why| at(why.clone()).hint("remove it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const GOOD: &str = include_str!("../../../../release.toml");

    fn problems(library: &str, from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "the anchor `{from}` is gone from release.toml");
        let config = Config::parse(&GOOD.replacen(from, to, 1), Path::new("release.toml"))
            .expect("only a Plan can tell");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let found = LibraryPlan::new(&root, library, &config.native[library], None).expect_err(to);
        assert_eq!(found.len(), 1, "one mistake is told as many: {found:?}");
        format!("{} {}", found[0], found[0].fields().hint.clone().unwrap_or_default())
    }

    #[test]
    fn choices_that_do_not_fit_the_library_are_refused_with_line_and_reason() {
        for (from, to, wanted) in [
            ("threads_max = 64", "threads_max = 1", "2 to 1024"),
            ("\"SAPPHIRERAPIDS\"]", "\"ZEN9\"]", "ZEN9"),
            ("\"USE_THREAD=1\"", "\"NUM_THREADS=4\"", "threads_max"),
            ("\"USE_THREAD=1\"", "\"MAKE_NB_JOBS=4\"", "threads_max"),
            ("\"USE_THREAD=1\"", "\"CC=gcc\"", "threads_max"),
            ("\"USE_THREAD=1\"", "\"USE_THREAD\"", "NAME=value"),
            ("\"USE_THREAD=1\"", "\"USE_TLS=1\"", "remove it"),
        ] {
            let told = problems("openblas", from, to);
            assert!(told.contains("--> release.toml:") && told.contains(wanted), "{told}");
        }
        let told = problems("openblas", "kernels = [\"HASWELL\"", "kernels = [] # [\"HASWELL\"");
        assert!(told.contains("nothing would be dispatched"), "{told}");
        let told = problems("openblas", "vendor = \"vendor/openblas\"", "vendor = \"vendor/mimalloc\"");
        assert!(told.contains("another library"), "{told}");
    }
}
