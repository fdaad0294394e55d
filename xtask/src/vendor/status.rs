//! `cargo xtask vendor status`: every library and patch, and each link that can be checked without a build.

use std::fmt::Write;

use anyhow::Context;
use clap::ValueEnum;
use patchset::Vendored;
use patchset::series::{Standing, Texts, told};
use release::context::BuildContext;
use release::native_inputs::NativeInputs;
use release::stages::toolchain;
use serde_json::json;

use super::{folders, input, source, word};
use crate::Outcome;
use crate::setup::Common;
use crate::stdout;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Explain a check or the guard of a patch; without a name, every check
    #[arg(long, value_name = "CHECK|PATCH", num_args = 0..=1, default_missing_value = "")]
    explain: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Human,
    Json,
}

/// What an archive says of the patches.
enum Archive {
    /// Violations, each of which begins with the name of its patch.
    Judged(Vec<String>),
    NotMeasured(String),
}

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    if let Some(name) = &args.explain {
        stdout::print(&super::explain::explain(&args.common, name)?)?;
        return Ok(Outcome::Pass);
    }
    let (context, _) = args.common.context()?;
    let (mut text, mut libraries) = (String::new(), Vec::new());
    let (mut is_violated, mut is_unknown) = (false, false);
    for folder in folders(&args.common)? {
        let vendored = match Vendored::read(&folder) {
            Ok(vendored) => vendored,
            Err(error) => {
                eprintln!("error: {error:#}");
                if let Some(hint) = diag::hint_of(&error) {
                    eprintln!("hint: {hint}");
                }
                is_violated = true;
                continue;
            }
        };
        let archive = archive(&args.common, &context, &vendored);
        let source = source(&args.common, &context, &vendored)?;
        let staging = tempfile::tempdir()?;
        let pristine = vendored.verified(input(&source), staging.path());
        let manifest = &vendored.manifest;
        writeln!(
            text,
            "{} {} ({}), {} files, of {}: {}",
            manifest.name,
            manifest.version,
            manifest.licence,
            vendored.listed_files().len(),
            source.display(),
            if pristine.is_ok() { "all digests hold" } else { "NOT THE LISTED FILES" }
        )?;
        let pristine = match pristine {
            Ok(pristine) => pristine,
            Err(error) => {
                eprintln!("error: {error:#}");
                is_violated = true;
                continue;
            }
        };
        let patches = vendored.lay_all(&mut Texts::of(pristine))?;
        let width = patches.iter().map(|patch| patch.patch.name.len()).max().unwrap_or(0);
        writeln!(
            text,
            "  {:width$}  files    lines  source    archive       since     test                     upstream",
            "patch"
        )?;
        let mut rows = Vec::new();
        for patch in &patches {
            let of = patch.patch;
            let standing = patch.standing();
            let (added, removed) = vendored.counts(&of.name);
            let found: Vec<&String> = match &archive {
                Archive::Judged(violations) => {
                    violations.iter().filter(|text| text.starts_with(&of.name)).collect()
                }
                Archive::NotMeasured(_) => Vec::new(),
            };
            let in_archive = match (&archive, found.is_empty()) {
                (Archive::NotMeasured(_), _) => "not measured",
                (_, true) => "holds",
                (_, false) => "VIOLATED",
            };
            // A build takes listed files alone, whatever else the tarball holds.
            let is_listed = |path: &str| vendored.listed_files().iter().any(|file| file.path == path);
            let unlisted: Vec<String> = patch
                .files
                .iter()
                .filter(|file| !is_listed(&file.path))
                .map(|file| format!("`{}` is not among the listed files [pre-image]", file.path))
                .collect();
            is_violated |= standing != Standing::Holds || !found.is_empty() || !unlisted.is_empty();
            writeln!(
                text,
                "  {:width$}  {:>5}  {:>7}  {:8}  {in_archive:12}  {:8}  {:23}  {}",
                of.name,
                patch.files.len(),
                format!("+{added}-{removed}"),
                word(standing),
                of.since,
                of.test,
                of.upstream
            )?;
            let mut violations: Vec<String> = found.into_iter().cloned().chain(unlisted).collect();
            if standing != Standing::Holds {
                violations.extend(told(patch).lines().map(String::from));
            }
            for violation in &violations {
                writeln!(text, "      {violation}")?;
            }
            rows.push(json!({
                "name": of.name, "why": of.why, "upstream": of.upstream, "since": of.since, "test": of.test,
                "files": patch.files.iter().map(|file| &file.path).collect::<Vec<_>>(),
                "added": added, "removed": removed, "source": standing, "archive": in_archive, "violations": violations,
            }));
        }
        if let Archive::NotMeasured(why) = &archive {
            is_unknown = true;
            writeln!(text, "  archive not measured: {why}")?;
        }
        libraries.push(json!({ "name": manifest.name, "version": manifest.version, "patches": rows }));
    }
    match args.format {
        Format::Human => stdout::print(&text)?,
        Format::Json => stdout::print(&format!("{:#}\n", json!({ "libraries": libraries })))?,
    }
    if is_violated {
        eprintln!("hint: `cargo xtask vendor status --explain CHECK` says what a check in brackets is for");
        return Ok(Outcome::Violated);
    }
    Ok(if is_unknown { Outcome::NotMeasured } else { Outcome::Pass })
}

/// The archive of the present plan, if it was built. Builds and fetches nothing.
fn archive(common: &Common, context: &BuildContext, vendored: &Vendored) -> Archive {
    let judge = || -> anyhow::Result<Archive> {
        let setup = Common { offline: true, ..common.clone() }.setup(None)?;
        let toolchain = toolchain::install(&setup.plan, &setup.context)?;
        let name = &vendored.manifest.name;
        let library = setup.plan.native.iter().find(|library| library.name == *name);
        let library = library.with_context(|| format!("the plan has no library `{name}`"))?;
        let inputs = NativeInputs::new(&setup.plan.target, context, &toolchain, library)?;
        let path = inputs.folder().join(&vendored.build.archive);
        if !path.exists() {
            return Ok(Archive::NotMeasured("it is not built; `cargo xtask build-native` builds it".into()));
        }
        Ok(Archive::Judged(vendored.archive_violations(&std::fs::read(path)?)?))
    };
    judge().unwrap_or_else(|error| Archive::NotMeasured(format!("{error:#}")))
}
