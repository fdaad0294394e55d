//! `cargo xtask vendor bump`: how patches and guards fit another version of a library.

use std::path::{Path, PathBuf};

use anyhow::Context;
use diag::Diagnostic;
use patchset::bump::FileChanges;
use patchset::refresh_plan::RefreshPlan;
use patchset::series::PatchStatus;
use process::Task;
use release::context::BuildContext;
use serde_json::json;

use super::{LibraryArgs, input, report};
use crate::Outcome;
use crate::format::{self, Format};
use crate::stdout;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub library: LibraryArgs,
    /// The tarball of the other version, or a folder that holds it
    #[arg(long, value_name = "FILE|DIR")]
    from: PathBuf,
    /// The new version for source.toml
    #[arg(long, value_name = "VERSION")]
    to: String,
    /// Write the new list of files, the version and the patches, if all of them fit
    #[arg(long)]
    write: bool,
    /// With `--write`: write even if some patches do not fit; edit those next, one by one
    #[arg(long, requires = "write")]
    leave_conflicts: bool,
}

/// Names in one line of the report.
const NAMES_SHOWN_MAX: usize = 6;

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let format = args.library.common.format;
    let library = args.library.open()?;
    let staging = tempfile::tempdir()?;
    let source = std::path::absolute(&args.from).context("resolving the file of `--from`")?;
    if !source.exists() {
        return Err(Diagnostic::new(
            &crate::codes::VENDOR_ARGUMENT,
            "the source of the other version does not exist",
        )
        .file(source)
        .hint("name a tarball of the other version, or a folder that holds it")
        .into());
    }
    let tree = input(&source).unpacked(staging.path())?;
    let list = list_files(&library.context, &library.folder, &tree)?;
    let (changes, plan) = library.vendored.bump(&tree, &args.to, list.as_deref(), &library.folder)?;
    let manifest = &library.vendored.manifest;
    if format == Format::Human {
        let head =
            format!("{} {} -> {}, from {}\n", manifest.name, manifest.version, args.to, source.display());
        stdout::print(&(head + &report(&changes, &plan)))?;
    }
    if !args.write {
        if format == Format::Json {
            let document = json!({
                "name": manifest.name, "version": args.to,
                "files": {
                    "unchanged": changes.unchanged, "changed": changes.changed, "missing": changes.missing,
                    "unlisted": changes.unlisted,
                },
                "patches": report::patches_json(&plan.later), "written": false,
                "diagnostics": plan.later_violations,
            });
            format::print(format, String::new, document)?;
        } else {
            if !plan.later_violations.is_empty() {
                eprintln!("error: {} violations with this version", plan.later_violations.len());
            }
            eprintln!("nothing is written without `--write`");
        }
        return Ok(format::outcome(&plan.later_violations));
    }
    let outcome = super::edit::write(&plan, args.leave_conflicts, false, format)?;
    if format == Format::Human {
        eprintln!("hint: `[[source]]` in source.toml still names {}: correct it by hand,", manifest.version);
        eprintln!("      then run `cargo xtask vendor status`, and read the diff before you commit");
    }
    Ok(outcome)
}

/// Runs `list-files.sh` of the library, if it has one: a version can change which files are built.
fn list_files(context: &BuildContext, folder: &Path, tree: &Path) -> anyhow::Result<Option<String>> {
    let program = folder.join("list-files.sh");
    if !program.exists() {
        return Ok(None);
    }
    let mut sh = context.command("sh");
    sh.arg(&program).arg(tree);
    Ok(Some(context.runner.run(Task::new("list the files of the other version", sh))?.stdout_text()))
}

fn report(changes: &FileChanges, plan: &RefreshPlan<'_>) -> String {
    let row = |label: &str, names: &[String]| {
        let shown = match names.len() {
            0 => String::new(),
            many if many > NAMES_SHOWN_MAX => {
                format!(": {}, and {} more", names[..NAMES_SHOWN_MAX].join(", "), many - NAMES_SHOWN_MAX)
            }
            _ => format!(": {}", names.join(", ")),
        };
        format!("         {} {label}{shown}\n", names.len())
    };
    let mut text = format!("  files: {} unchanged\n", changes.unchanged);
    text += &row("changed", &changes.changed);
    text += &row("missing", &changes.missing);
    text += &row("not listed, in the same folders", &changes.unlisted);
    text += &report::table(&plan.later);
    let counts = PatchStatus::ALL.iter().filter_map(|status| {
        let count = plan.later.iter().filter(|fit| fit.status() == *status).count();
        (count > 0).then(|| format!("{count} {}", report::word(*status).to_lowercase()))
    });
    text + &format!("patches: {}\n", counts.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::workspace_root;
    use patchset::Vendored;

    #[test]
    fn reports_every_patch_on_a_version_without_its_files() {
        let folder = workspace_root().join("vendor/mimalloc");
        let vendored = Vendored::read(&folder).unwrap();
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("c_src/mimalloc/v3/src")).unwrap();
        std::fs::write(tree.path().join("c_src/mimalloc/v3/src/os.c"), "int os;\n").unwrap();
        std::fs::write(tree.path().join("c_src/mimalloc/v3/src/new.c"), "int new;\n").unwrap();
        let (changes, plan) = vendored.bump(tree.path(), "4.0.0", None, &folder).unwrap();
        insta::assert_snapshot!(report(&changes, &plan));
    }
}
