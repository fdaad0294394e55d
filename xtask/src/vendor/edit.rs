//! `cargo xtask vendor edit|diff|refresh`: a worktree, its edits, and the patch written again from it.

use std::path::PathBuf;

use anyhow::Context;
use patchset::refresh_plan::RefreshPlan;
use patchset::worktree::EditTarget;
use serde_json::json;

use super::{LibraryArgs, report};
use crate::Outcome;
use crate::format::{self, Format};
use crate::stdout;

#[derive(clap::Args)]
pub struct EditArgs {
    #[command(flatten)]
    pub library: LibraryArgs,
    /// The patch, by name or number
    #[arg(value_name = "PATCH", required_unless_present = "new")]
    patch: Option<String>,
    /// Start a new patch of this name, above all others: 0042-why-it-exists
    #[arg(long, value_name = "NAME", conflicts_with = "patch")]
    new: Option<String>,
    /// The worktree [default: target/muslin/vendor/LIBRARY]
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// Remove an existing worktree with all its edits
    #[arg(long)]
    discard: bool,
}

#[derive(clap::Args)]
pub struct DiffArgs {
    #[command(flatten)]
    pub library: LibraryArgs,
    /// Show this patch; without it, the edits since the last refresh
    #[arg(value_name = "PATCH")]
    patch: Option<String>,
    /// Lines of context around each change of a patch
    #[arg(long, short = 'U', value_name = "LINES", default_value_t = 10)]
    context: usize,
    /// The worktree [default: target/muslin/vendor/LIBRARY]
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct RefreshArgs {
    #[command(flatten)]
    pub library: LibraryArgs,
    /// The worktree [default: target/muslin/vendor/LIBRARY]
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// Write the patch even if later ones do not fit on top of it; edit those next
    #[arg(long)]
    leave_conflicts: bool,
    /// Print the files that would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn edit(args: &EditArgs) -> anyhow::Result<Outcome> {
    let library = args.library.open()?;
    let tree = args.library.tree(args.tree.as_deref())?;
    // Remove only a folder that `vendor edit` made.
    if args.discard && tree.join(".muslin/session.json").exists() {
        std::fs::remove_dir_all(&tree).with_context(|| format!("removing `{}`", tree.display()))?;
    }
    let target = match (&args.new, &args.patch) {
        (Some(name), _) => EditTarget::New(name),
        (None, patch) => EditTarget::Existing(patch.as_deref().unwrap_or_default()),
    };
    let session = library.vendored.open(library.input(), target, &tree)?;
    let json = json!({
        "tree": tree, "patch": session.patch, "files": session.files, "templates": session.templates,
        "rejected": session.rejected, "diagnostics": [],
    });
    let mut text = format!("{}\n", tree.display());
    text += &match &session.templates {
        Some(folder) => {
            format!("  new patch {}: fill `header` and `guard.toml` in {}\n", session.patch, folder.display())
        }
        None => format!(
            "  has the patches up to and including {}, which changes {}\n",
            session.patch,
            session.files.join(", ")
        ),
    };
    if let Some(rejected) = &session.rejected {
        text += &format!("  NOT applied, because they have no place: the hunks in {}\n", rejected.display());
    }
    let name = &args.library.name;
    text += &format!("  edit, then: cargo xtask vendor diff {name}; cargo xtask vendor refresh {name}\n");
    format::print(args.library.common.format, || text, json)?;
    Ok(Outcome::Pass)
}

pub fn diff(args: &DiffArgs) -> anyhow::Result<Outcome> {
    let library = args.library.open()?;
    let text = match &args.patch {
        Some(patch) => library.vendored.patch_diff(library.input(), patch, args.context)?,
        None => library.vendored.worktree_diff(library.input(), &args.library.tree(args.tree.as_deref())?)?,
    };
    let text = String::from_utf8_lossy(&text);
    let json = json!({ "patch": args.patch, "diff": text, "diagnostics": [] });
    format::print(args.library.common.format, || text.to_string(), json)?;
    Ok(Outcome::Pass)
}

pub fn refresh(args: &RefreshArgs) -> anyhow::Result<Outcome> {
    let format = args.library.common.format;
    let library = args.library.open()?;
    let tree = args.library.tree(args.tree.as_deref())?;
    let plan = library.vendored.refresh(library.input(), &library.folder, &tree)?;
    let head = format!("{}: changes {}\n", plan.name, plan.files.join(", "));
    format::print_part(format, &(head + &report::table(&plan.later)))?;
    write(&plan, args.leave_conflicts, args.dry_run, format)
}

/// Writes a plan unless there are violations, and prints files and violations.
pub fn write(
    plan: &RefreshPlan<'_>,
    leave_conflicts: bool,
    dry_run: bool,
    format: Format,
) -> anyhow::Result<Outcome> {
    let violations = [&plan.violations[..], &plan.later_violations].concat();
    let can_write = plan.violations.is_empty() && (plan.later_violations.is_empty() || leave_conflicts);
    if can_write && !dry_run {
        plan.write()?;
    }
    format::print_diagnostics(format, &violations);
    let paths: Vec<&PathBuf> = plan.writes.iter().map(|(path, _)| path).collect();
    match format {
        Format::Json => {
            let document = json!({
                "name": plan.name, "files": plan.files, "patches": report::patches_json(&plan.later), "paths": paths,
                "written": can_write && !dry_run, "diagnostics": violations,
            });
            format::print(format, String::new, document)?;
        }
        Format::Human if can_write => stdout::print(&written(&paths, dry_run))?,
        Format::Human => {
            eprintln!("nothing is written");
            eprintln!("hint: `cargo xtask vendor status --explain CODE` explains a code in brackets");
            eprintln!(
                "      {}",
                match plan.violations.is_empty() {
                    true => "`--leave-conflicts` writes the patches that fit; edit the others one by one",
                    false =>
                        "correct the patch in its worktree, its guard in the vendor folder, and run this again",
                }
            );
        }
    }
    Ok(format::outcome(&violations))
}

fn written(paths: &[&PathBuf], dry_run: bool) -> String {
    let (none, some) = match dry_run {
        true => ("nothing would be written", "would be written"),
        false => ("nothing to write: all files are up to date", "written"),
    };
    match paths.is_empty() {
        true => format!("{none}\n"),
        false => paths.iter().map(|path| format!("{some}  {}\n", path.display())).collect(),
    }
}
