//! The checks of an archive before the link: the configuration, the patches in the code of their functions, every selected
//! kernel with its registers, and the facts of [`archive_facts`]. All expectations are data of the library.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;

use crate::codes::NATIVE_CONFIGURATION;
use crate::library::LibraryPlan;
use diag::{Diagnostic, Diagnostics};
use patchset::archive_facts::{self, ExpectedArchive};
use patchset::build::{ConfiguredFile, matches_pattern};
use patchset::kernels::{ExpectedKernels, kernel_violations};

/// The results in sentences. `tree` is the compiled tree, `paths` are folders of the machine.
pub fn check(
    library: &LibraryPlan,
    tree: &Path,
    archive: &[u8],
    paths: &[String],
    log: &Path,
) -> anyhow::Result<Vec<String>> {
    let build = library.build();
    let mut violations = Diagnostics::default();
    for configured in &build.configured {
        let path = tree.join(&configured.file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        violations.extend(configured_violations(configured, &text));
    }
    let configuration: Vec<&str> = build.configured.iter().map(|configured| &*configured.file).collect();
    violations.extend(late_configuration(tree, &configuration)?);
    let expected: Vec<ExpectedKernels> = library
        .kernels
        .iter()
        .filter_map(|name| {
            let set = build.kernels.get(name)?;
            Some(ExpectedKernels {
                core: name.clone(),
                functions: set.functions.clone(),
                vectors_at_least: set.vectors,
            })
        })
        .collect();
    let threads_max = u64::from(library.threads_max.unwrap_or(0));
    let facts = archive_facts::read(archive, paths)?;
    violations.extend(archive_facts::violations(
        &facts,
        &ExpectedArchive {
            undefined: &build.undefined,
            functions: &build.functions,
            sizes: build
                .sizes
                .iter()
                .map(|size| (size.member.as_str(), size.symbol.as_str(), size.bytes_per_thread * threads_max))
                .collect(),
        },
    ));
    violations.extend(library.vendored.archive_violations(archive)?);
    violations.extend(kernel_violations(archive, &expected)?);
    violations.into_result().with_context(|| {
        format!("checking the archive of {}; the log of the native build is {}", library.name, log.display())
    })?;
    let patches =
        library.vendored.patches().map(|patch| format!("patch {} is in the object code", patch.name));
    let kernels = expected.iter().map(|kernels| {
        format!(
            "{}: {} with {:?} registers",
            kernels.core,
            kernels.functions.join(", "),
            kernels.vectors_at_least
        )
    });
    let members = format!(
        "{} members: no executable stack, no time, no user, no path of this machine; {} undefined symbols, all declared",
        facts.members.len(),
        facts.undefined.len()
    );
    let frozen = (!configuration.is_empty())
        .then(|| format!("{} written before the first object and not again", configuration.join(" and ")));
    let sizes = build
        .sizes
        .iter()
        .map(|size| format!("{} of {} is for {threads_max} threads", size.symbol, size.member));
    Ok(frozen.into_iter().chain(patches).chain(kernels).chain(sizes).chain([members]).collect())
}

fn configured_violations(configured: &ConfiguredFile, text: &str) -> Vec<Diagnostic> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let problem = |message: &str| {
        Diagnostic::new(&NATIVE_CONFIGURATION, message).file(&configured.file).hint(&*configured.hint)
    };
    let missing = configured.require_lines.iter().filter_map(|required| {
        let is_present = lines.iter().any(|line| matches_pattern(required, line));
        (!is_present).then(|| problem("the configuration lacks a line").expected(format!("`{required}`")))
    });
    let forbidden = configured.forbid_lines.iter().filter_map(|forbidden| {
        let line = lines.iter().find(|line| matches_pattern(forbidden, line))?;
        let problem = problem("the configuration has a forbidden line");
        Some(problem.expected(format!("no line `{forbidden}`")).found(format!("`{line}`")))
    });
    missing.chain(forbidden).collect()
}

/// Configuration files that were written after the first object: that object may be compiled with another configuration,
/// and with several jobs the order is random.
fn late_configuration(tree: &Path, configuration: &[&str]) -> anyhow::Result<Vec<Diagnostic>> {
    if configuration.is_empty() {
        return Ok(Vec::new());
    }
    let mut first: Option<(SystemTime, PathBuf)> = None;
    oldest_object(tree, &mut first)
        .with_context(|| format!("searching for objects in {}", tree.display()))?;
    let Some((first, object)) = first else { return Ok(Vec::new()) };
    let object = object.strip_prefix(tree).unwrap_or(&object).display();
    let mut found = Vec::new();
    for file in configuration {
        if tree.join(file).metadata()?.modified()? > first {
            found.push(
                Diagnostic::new(&NATIVE_CONFIGURATION, "the configuration is written after the first object")
                    .file(file)
                    .expected("written before the first object")
                    .found(format!("newer than {object}"))
                    .hint("the library's make must configure first and compile then"),
            );
        }
    }
    Ok(found)
}

fn oldest_object(folder: &Path, oldest: &mut Option<(SystemTime, PathBuf)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            oldest_object(&path, oldest)?;
        } else if path.extension().is_some_and(|extension| extension == "o") {
            let time = entry.metadata()?.modified()?;
            if oldest.as_ref().is_none_or(|(first, _)| time < *first) {
                *oldest = Some((time, path));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_a_configuration_that_is_written_after_the_first_object() {
        let tree = tempfile::tempdir().unwrap();
        let write = |name: &str, second: u64| {
            let path = tree.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
            std::fs::File::create(path).unwrap().set_modified(time).unwrap();
        };
        write("config.h", 10);
        write("Makefile.conf", 11);
        assert!(late_configuration(tree.path(), &["config.h", "Makefile.conf"]).unwrap().is_empty());
        write("kernel/a.o", 12);
        write("b.o", 13);
        assert!(late_configuration(tree.path(), &["config.h", "Makefile.conf"]).unwrap().is_empty());
        write("config.h", 13);
        let found = late_configuration(tree.path(), &["config.h", "Makefile.conf"]).unwrap();
        insta::assert_snapshot!(diag::render::human(&found, diag::render::Style::default()), @"
        error[native-configuration]: the configuration is written after the first object
          --> config.h
          expected: written before the first object
          found:    newer than kernel/a.o
        hint: the library's make must configure first and compile then
        ");
    }

    #[test]
    fn checks_the_lines_of_the_configuration() {
        let configured = ConfiguredFile {
            file: "config.h".into(),
            require_lines: vec!["#define CORE_generic".into()],
            forbid_lines: vec!["NO_AVX*".into()],
            hint: "look".into(),
        };
        assert!(configured_violations(&configured, "#define CORE_generic\n").is_empty());
        let found = configured_violations(&configured, "#define CORE_ZEN\nNO_AVX512=1\n");
        insta::assert_snapshot!(diag::render::human(&found, diag::render::Style::default()), @r"
        error[native-configuration]: the configuration lacks a line
          --> config.h
          expected: `#define CORE_generic`
        hint: look
        error[native-configuration]: the configuration has a forbidden line
          --> config.h
          expected: no line `NO_AVX*`
          found:    `NO_AVX512=1`
        hint: look
        ");
    }
}
