//! The Plan of one native library: the choices of release.toml, checked against the library's `build.toml`.
//!
//! Every problem names its location in release.toml; all problems are reported together.

use serde::Serialize;

use crate::codes::NATIVE_OPTION;
use crate::config::{Located, Native};
use diag::Diagnostic;
use patchset::Vendored;
use patchset::build::{Build, Recipe};
use units::ByteSize;

/// One library with its checked options.
#[derive(Debug, Clone, Serialize)]
pub struct LibraryPlan {
    /// Name in release.toml and source.toml.
    pub name: String,
    /// Upstream version.
    pub version: String,
    /// SPDX expression.
    pub licence: String,
    /// Names of the patches, in their order.
    pub patches: Vec<String>,
    /// Digest of the list of source files, the patches and their guards.
    pub vendor_digest: String,
    /// Options of its make, or flags of its compiler.
    pub options: Vec<String>,
    /// The most threads that it starts.
    pub threads_max: Option<u32>,
    /// Kernel sets that are dispatched at run time.
    pub kernels: Vec<String>,
    /// The vendor folder as it was read.
    #[serde(skip)]
    pub vendored: Vendored,
}

/// Options that the pipeline sets for every make.
const TOOLS: [&str; 4] = ["CC", "HOSTCC", "AR", "RANLIB"];

impl LibraryPlan {
    /// Checks the choices of release.toml against the vendor folder. `{stack_size}` in an option is replaced by `stack_size`
    /// in bytes, so that a library that sets the stack of its own threads takes the size from its one source.
    pub fn new(
        name: &str,
        choices: &Native,
        vendored: Vendored,
        stack_size: ByteSize,
    ) -> Result<Self, Vec<Diagnostic>> {
        // Nothing else of another library's folder would fit; one mistake is one problem.
        if vendored.manifest.name != name {
            return Err(vec![
                Diagnostic::new(
                    &NATIVE_OPTION,
                    format!("`native.{name}.vendor` is the folder of another library"),
                )
                .file(choices.vendor.join("source.toml"))
                .expected(format!("name = \"{name}\""))
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
            options: options.into_iter().map(|option| expand(&option, stack_size)).collect(),
            threads_max: choices.threads_max.as_ref().map(|threads| threads.value),
            kernels: choices.kernels.iter().map(|kernel| kernel.value.clone()).collect(),
            vendored,
        })
    }

    /// Its build.toml.
    pub fn build(&self) -> &Build {
        &self.vendored.build
    }
}

fn expand(option: &str, stack_size: ByteSize) -> String {
    option.replace("{stack_size}", &stack_size.bytes().to_string())
}

fn options(name: &str, build: &Build, choices: &Native, problems: &mut Vec<Diagnostic>) -> Vec<String> {
    let known: Vec<&str> = build.kernels.keys().map(String::as_str).collect();
    for kernel in choices.kernels.iter().filter(|kernel| !known.contains(&kernel.value.as_str())) {
        problems.push(
            kernel
                .diagnostic(&NATIVE_OPTION, format!("build.toml of {name} has no kernel set of this name"))
                .expected(known.join(", "))
                .found(kernel.value.as_str()),
        );
    }
    match &build.recipe {
        Recipe::Cc { flags, .. } => {
            for flag in choices.options.iter().filter(|flag| !flag.value.starts_with('-')) {
                problems.push(
                    flag.diagnostic(&NATIVE_OPTION, "the option is no compiler flag")
                        .expected("a word that starts with `-`")
                        .found(flag.value.as_str()),
                );
            }
            if let Some(threads) = &choices.threads_max {
                problems.push(
                    threads.diagnostic(
                        &NATIVE_OPTION,
                        format!("{name} has no option for the maximum of threads"),
                    ),
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
                                    &NATIVE_OPTION,
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
                        &NATIVE_OPTION,
                        format!("`native.{name}.threads_max` is missing in release.toml"),
                    )
                    .hint("without it the core count of the build machine decides"),
                ),
                (None, Some(threads)) => {
                    problems.push(threads.diagnostic(
                        &NATIVE_OPTION,
                        format!("{name} has no option for the maximum of threads"),
                    ));
                }
            }
            if let Some(option) = kernels {
                if choices.kernels.is_empty() {
                    problems.push(
                        Diagnostic::new(
                            &NATIVE_OPTION,
                            format!(
                                "`native.{name}.kernels` is empty in release.toml: no kernel is dispatched"
                            ),
                        )
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
    let at = |text: String| option.diagnostic(&NATIVE_OPTION, text);
    let name = option.value.split_once('=').map(|(name, _)| name);
    match name {
        None | Some("") => Some(
            at("the option of make has no value".into()).expected("NAME=value").found(option.value.as_str()),
        ),
        Some(name) if set.contains(&name) => Some(
            at(format!("the pipeline sets `{name}` from a checked value"))
                .hint("use `threads_max`, `kernels`, [toolchain] or `--jobs` instead"),
        ),
        Some(name) => refused.get(name).map(|why| at(why.clone()).hint("remove it")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    const GOOD: &str = include_str!("../../../release.toml");

    fn problems(library: &str, from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "the anchor `{from}` is gone from release.toml");
        let config = Config::parse(&GOOD.replacen(from, to, 1), Path::new("release.toml"))
            .expect("only the Plan rejects it");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let choices = &config.native[library];
        let vendored = Vendored::read(&root.join(&choices.vendor)).unwrap();
        let found = LibraryPlan::new(library, choices, vendored, config.stack_size).expect_err(to);
        assert_eq!(found.len(), 1, "one mistake is reported as several: {found:?}");
        let text = diag::render::human(&found, diag::render::Style::default());
        // The lines of release.toml move with every edit of it.
        let text = match text.split_once("--> release.toml:") {
            Some((before, place)) => {
                let after = place.trim_start_matches(|c: char| c == ':' || c.is_ascii_digit());
                format!("{before}--> release.toml:LINE{after}")
            }
            None => text,
        };
        format!("## {to}\n{text}")
    }

    #[test]
    fn the_stack_of_workers_follows_the_stack_size_of_the_link() {
        let text = GOOD.replacen("stack_size = \"8 MiB\"", "stack_size = \"4 MiB\"", 1);
        let config = Config::parse(&text, Path::new("release.toml")).unwrap();
        let choices = &config.native["openblas"];
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let vendored = Vendored::read(&root.join(&choices.vendor)).unwrap();
        let library = LibraryPlan::new("openblas", choices, vendored, config.stack_size).unwrap();
        let options = library.options.join(" ");
        assert!(options.contains("-DBLAS_WORKER_STACK_SIZE=4194304"), "{options}");
        assert!(!options.contains('{'), "a placeholder is left: {options}");
    }

    #[test]
    fn rejects_choices_that_do_not_fit_the_library_with_line_and_reason() {
        let texts = [
            ("threads_max = 64", "threads_max = 1"),
            ("\"SAPPHIRERAPIDS\"]", "\"ZEN9\"]"),
            ("\"USE_THREAD=1\"", "\"NUM_THREADS=4\""),
            ("\"USE_THREAD=1\"", "\"MAKE_NB_JOBS=4\""),
            ("\"USE_THREAD=1\"", "\"CC=gcc\""),
            ("\"USE_THREAD=1\"", "\"USE_THREAD\""),
            ("\"USE_THREAD=1\"", "\"USE_TLS=1\""),
            ("kernels = [\"HASWELL\"", "kernels = [] # [\"HASWELL\""),
            ("vendor = \"vendor/openblas\"", "vendor = \"vendor/mimalloc\""),
        ]
        .map(|(from, to)| problems("openblas", from, to));
        insta::assert_snapshot!(texts.join("\n"));
    }
}
