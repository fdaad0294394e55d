//! `cargo xtask vendor bump`: which patches and guards hold on another version of a library.

use std::path::{Path, PathBuf};

use anyhow::Context;
use diag::Diagnostic;
use patchset::bump::Files;
use patchset::series::{Standing, told_without_digests};
use process::Task;
use release::context::BuildContext;

use super::{Library, input};
use crate::Outcome;
use crate::stdout;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    library: Library,
    /// The other version's tarball, or a folder that holds it
    #[arg(long, value_name = "FILE|DIR")]
    source: PathBuf,
    /// What source.toml is to call it
    #[arg(long, value_name = "VERSION")]
    to: String,
    /// Write the new list of files, the version and the patches, if all of them fit
    #[arg(long)]
    write: bool,
    /// With `--write`: also when some do not fit; they have to be edited next, one by one
    #[arg(long, requires = "write")]
    leave_conflicts: bool,
}

/// How many names a line of the report has.
const NAMES_SHOWN_MAX: usize = 6;

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let opened = args.library.open()?;
    let staging = tempfile::tempdir()?;
    let source = std::path::absolute(&args.source).context("the file of `--source`")?;
    if !source.exists() {
        return Err(Diagnostic::new(&crate::codes::VENDOR_ARGUMENT, format!("`{}` is not there", source.display()))
            .hint("name a tarball of the other version, or a folder that holds it")
            .into());
    }
    let tree = input(&source).unpacked(staging.path())?;
    let list = list(&opened.context, &opened.folder, &tree)?;
    let (files, proposal) = opened.vendored.bump(&tree, &args.to, list.as_deref(), &opened.folder)?;
    let manifest = &opened.vendored.manifest;
    let mut text =
        format!("{} {} on {}, as {}\n", manifest.name, manifest.version, source.display(), args.to);
    text += &told_files(&files);
    text += &super::table(&proposal.later, told_without_digests);
    let counts: Vec<String> =
        [Standing::Holds, Standing::Fits, Standing::Moved, Standing::Applied, Standing::Conflict]
            .iter()
            .map(|wanted| {
                (super::word(*wanted), proposal.later.iter().filter(|p| p.standing() == *wanted).count())
            })
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!("{count} {}", word.to_lowercase()))
            .collect();
    text += &format!("patches: {}\n", counts.join(", "));
    stdout::print(&text)?;
    if !args.write {
        if !proposal.later_violations.is_empty() {
            eprintln!("error: {} things stand against this version", proposal.later_violations.len());
        }
        eprintln!("nothing is written without `--write`");
        return Ok(if proposal.later_violations.is_empty() { Outcome::Pass } else { Outcome::Violated });
    }
    let outcome = super::edit::settle(&proposal, args.leave_conflicts, false)?;
    eprintln!(
        "hint: `[[source]]` in source.toml still names where {} is had: correct it by hand,",
        manifest.version
    );
    eprintln!("      then `cargo xtask vendor status`, and read the diff before you commit");
    Ok(outcome)
}

/// By the library's own program, if it has one: which files are built can change with the version.
fn list(context: &BuildContext, folder: &Path, tree: &Path) -> anyhow::Result<Option<String>> {
    let program = folder.join("list-files.sh");
    if !program.exists() {
        return Ok(None);
    }
    let mut sh = context.command("sh");
    sh.arg(&program).arg(tree);
    Ok(Some(context.runner.run(Task::new("list the files of the other version", sh))?.stdout_text()))
}

fn told_files(files: &Files) -> String {
    let names = |names: &[String]| match names.len() {
        0 => String::new(),
        many if many > NAMES_SHOWN_MAX => {
            format!(": {}, and {} more", names[..NAMES_SHOWN_MAX].join(", "), many - NAMES_SHOWN_MAX)
        }
        _ => format!(": {}", names.join(", ")),
    };
    format!(
        "  files: {} the same\n         {} changed{}\n         {} missing{}\n         {} not listed, beside listed ones{}\n",
        files.same,
        files.changed.len(),
        names(&files.changed),
        files.missing.len(),
        names(&files.missing),
        files.beside.len(),
        names(&files.beside)
    )
}
