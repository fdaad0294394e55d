//! `cargo xtask vendor status`: every library and patch, and each check that needs no build.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use diag::{Diagnostic, Diagnostics};
use patchset::Vendored;
use patchset::codes::PATCH_PRE_IMAGE;
use patchset::series::{Overlay, PatchFit, PatchStatus};
use release::context::BuildContext;
use release::native_inputs::NativeInputs;
use release::stages::toolchain;
use serde_json::{Value, json};

use super::{folders, input, report, source};
use crate::Outcome;
use crate::format::{self, Format};
use crate::setup::Common;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// Explain a code or the guard of a patch; without a name, every code
    #[arg(long, value_name = "CODE|PATCH", num_args = 0..=1, default_missing_value = "")]
    explain: Option<String>,
}

/// The archive of the present plan.
enum Archive {
    /// Violations; the rule of each is its patch.
    Checked(Vec<Diagnostic>),
    NotMeasured(String),
}

/// One library of release.toml.
struct LibraryStatus {
    name: String,
    version: String,
    licence: String,
    listed_files: usize,
    source: String,
    is_source_verified: bool,
    patches: Vec<PatchRow>,
    /// The reason why the archive was not checked.
    not_measured: Option<String>,
}

struct PatchRow {
    name: String,
    why: String,
    upstream: String,
    since: String,
    test: String,
    files: Vec<String>,
    added: usize,
    removed: usize,
    source: PatchStatus,
    archive: &'static str,
    violations: Vec<Diagnostic>,
}

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    if let Some(name) = &args.explain {
        let text = super::explain::explain(&args.common, name)?;
        let json = json!({ "name": name, "explanation": text, "diagnostics": [] });
        format::print(args.common.format, || text, json)?;
        return Ok(Outcome::Pass);
    }
    let format = args.common.format;
    let (context, _) = args.common.context()?;
    let (mut libraries, mut problems) = (Vec::new(), Diagnostics::default());
    for folder in folders(&args.common)? {
        match Vendored::read(&folder) {
            Ok(vendored) => libraries.push(library(&args.common, &context, &vendored, &mut problems)?),
            Err(error) => problems.push_error(&error),
        }
    }
    format::print_diagnostics(format, &problems.0);
    let document =
        json!({ "libraries": libraries.iter().map(data).collect::<Vec<_>>(), "diagnostics": problems });
    format::print(format, || libraries.iter().map(text).collect(), document)?;
    let is_not_measured = libraries.iter().any(|library| library.not_measured.is_some());
    let patches = libraries.into_iter().flat_map(|library| library.patches);
    let all: Vec<Diagnostic> =
        problems.0.into_iter().chain(patches.flat_map(|patch| patch.violations)).collect();
    if all.is_empty() {
        return Ok(if is_not_measured { Outcome::NotMeasured } else { Outcome::Pass });
    }
    if format == Format::Human {
        eprintln!("hint: `cargo xtask vendor status --explain CODE` explains a code in brackets");
    }
    Ok(format::outcome(&all))
}

fn library(
    common: &Common,
    context: &BuildContext,
    vendored: &Vendored,
    problems: &mut Diagnostics,
) -> anyhow::Result<LibraryStatus> {
    let archive = check_archive(common, context, vendored);
    let source = source(common, context, vendored)?;
    let staging = tempfile::tempdir()?;
    let pristine = vendored.verified(input(&source), staging.path());
    let mut status = LibraryStatus {
        name: vendored.manifest.name.clone(),
        version: vendored.manifest.version.clone(),
        licence: vendored.manifest.licence.clone(),
        listed_files: vendored.listed_files().len(),
        source: source.display().to_string(),
        is_source_verified: pristine.is_ok(),
        patches: Vec::new(),
        not_measured: None,
    };
    match pristine {
        Ok(pristine) => {
            let fits = vendored.apply_all(&mut Overlay::new(pristine))?;
            status.patches = fits.iter().map(|fit| row(fit, vendored, &archive)).collect();
        }
        Err(error) => problems.push_error(&error),
    }
    if let Archive::NotMeasured(reason) = archive {
        status.not_measured = Some(reason);
    }
    Ok(status)
}

fn row(fit: &PatchFit<'_>, vendored: &Vendored, archive: &Archive) -> PatchRow {
    let patch = fit.patch;
    let is_of_patch = |violation: &&Diagnostic| violation.fields().subject.rule.as_ref() == Some(&patch.name);
    let mut violations: Vec<Diagnostic> = match archive {
        Archive::Checked(violations) => violations.iter().filter(is_of_patch).cloned().collect(),
        Archive::NotMeasured(_) => Vec::new(),
    };
    let in_archive = match (archive, violations.is_empty()) {
        (Archive::NotMeasured(_), _) => "not measured",
        (_, true) => "holds",
        (_, false) => "VIOLATED",
    };
    // A build takes listed files only, so a patched file of the tarball that is not listed does not count.
    let is_listed = |path: &str| vendored.listed_files().iter().any(|file| file.path == path);
    for file in fit.files.iter().filter(|file| !is_listed(&file.path)) {
        violations.push(
            Diagnostic::new(&PATCH_PRE_IMAGE, "a patched file is not among the listed files")
                .file(&file.path)
                .rule(&patch.name),
        );
    }
    violations.extend(fit.violations());
    let (added, removed) = vendored.counts(&patch.name);
    PatchRow {
        name: patch.name.clone(),
        why: patch.why.clone(),
        upstream: patch.upstream.clone(),
        since: patch.since.clone(),
        test: patch.test.clone(),
        files: fit.files.iter().map(|file| file.path.clone()).collect(),
        added,
        removed,
        source: fit.status(),
        archive: in_archive,
        violations,
    }
}

/// Checks the archive of the present plan, if it exists. Builds and fetches nothing.
fn check_archive(common: &Common, context: &BuildContext, vendored: &Vendored) -> Archive {
    let check = || -> anyhow::Result<Archive> {
        let path = archive_path(common, context, vendored)?;
        if !path.exists() {
            return Ok(Archive::NotMeasured("it is not built; `cargo xtask build-native` builds it".into()));
        }
        Ok(Archive::Checked(vendored.archive_violations(&std::fs::read(path)?)?))
    };
    check().unwrap_or_else(|error| Archive::NotMeasured(format!("{error:#}")))
}

fn archive_path(
    common: &Common,
    context: &BuildContext,
    vendored: &Vendored,
) -> anyhow::Result<std::path::PathBuf> {
    let setup = Common { offline: true, ..common.clone() }.setup(None)?;
    let toolchain = toolchain::install(&setup.plan, &setup.context)?;
    let name = &vendored.manifest.name;
    let library = setup.plan.native.iter().find(|library| library.name == *name);
    let library = library.with_context(|| format!("the plan has no library `{name}`"))?;
    let inputs = NativeInputs::new(&setup.plan.target, context, &toolchain, library)?;
    let folder = inputs.folder();
    Ok(Path::new(&folder).join(&vendored.build.archive))
}

fn text(library: &LibraryStatus) -> String {
    let LibraryStatus { name, version, licence, listed_files, source, .. } = library;
    let verified = if library.is_source_verified { "all digests match" } else { "NOT THE LISTED FILES" };
    let mut text = format!("{name} {version} ({licence}), {listed_files} files from {source}: {verified}\n");
    let width = library.patches.iter().map(|patch| patch.name.len()).max().unwrap_or(0);
    if !library.patches.is_empty() {
        let _ = writeln!(
            text,
            "  {:width$}  files    lines  source    archive       since     test                     upstream",
            "patch"
        );
    }
    for patch in &library.patches {
        let _ = writeln!(
            text,
            "  {:width$}  {:>5}  {:>7}  {:8}  {:12}  {:8}  {:23}  {}",
            patch.name,
            patch.files.len(),
            format!("+{}-{}", patch.added, patch.removed),
            report::word(patch.source),
            patch.archive,
            patch.since,
            patch.test,
            patch.upstream
        );
        for violation in &patch.violations {
            let _ = writeln!(text, "      {}", report::line(violation));
        }
    }
    if let Some(reason) = &library.not_measured {
        let _ = writeln!(text, "  archive not measured: {reason}");
    }
    text
}

fn data(library: &LibraryStatus) -> Value {
    let patches: Vec<Value> = library
        .patches
        .iter()
        .map(|patch| {
            json!({
                "name": patch.name, "why": patch.why, "upstream": patch.upstream, "since": patch.since,
                "test": patch.test, "files": patch.files, "added": patch.added, "removed": patch.removed,
                "source": patch.source, "archive": patch.archive, "violations": patch.violations,
            })
        })
        .collect();
    json!({
        "name": library.name, "version": library.version, "source": library.source,
        "source_verified": library.is_source_verified, "patches": patches,
        "archive_not_measured": library.not_measured,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::workspace_root;
    use patchset::codes::PATCH_REFERENCE;

    /// The real patches of OpenBLAS on an empty tree, with one violation in the archive.
    fn example() -> LibraryStatus {
        let vendored = Vendored::read(&workspace_root().join("vendor/openblas")).unwrap();
        let fits = vendored.apply_all(&mut Overlay::new("/nonexistent".into())).unwrap();
        let violation = Diagnostic::new(&PATCH_REFERENCE, "start in a.o does not reference `prctl`")
            .file("a.o")
            .rule(&fits[2].patch.name);
        let archive = Archive::Checked(vec![violation]);
        LibraryStatus {
            name: "openblas".into(),
            version: "0.3.34".into(),
            licence: "BSD-3-Clause".into(),
            listed_files: 1363,
            source: "openblas.tar.xz".into(),
            is_source_verified: true,
            patches: fits[1..3].iter().map(|fit| row(fit, &vendored, &archive)).collect(),
            not_measured: None,
        }
    }

    #[test]
    fn shows_each_patch_with_its_violations() {
        insta::assert_snapshot!(text(&example()));
    }

    #[test]
    fn violations_are_data_in_json() {
        let violations = &data(&example())["patches"][1]["violations"];
        insta::assert_snapshot!(format!("{violations:#}"));
    }

    #[test]
    fn states_why_an_archive_is_not_measured() {
        let reason = Some("it is not built; `cargo xtask build-native` builds it".into());
        let status = LibraryStatus {
            is_source_verified: false,
            patches: Vec::new(),
            not_measured: reason,
            ..example()
        };
        insta::assert_snapshot!(text(&status));
    }
}
