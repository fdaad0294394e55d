//! `cargo xtask vendor edit|diff|refresh`: a tree to edit, what was edited, and the patch written anew from it.

use std::path::PathBuf;

use anyhow::Context;
use patchset::series::told_without_digests;
use patchset::working::{Proposal, Target};

use super::Library;
use crate::Outcome;
use crate::stdout;

#[derive(clap::Args)]
pub struct EditArgs {
    #[command(flatten)]
    library: Library,
    /// The patch to work on, by its name or its number
    #[arg(value_name = "PATCH", required_unless_present = "new")]
    patch: Option<String>,
    /// Begin a patch of this name on top of all others: 0042-why-it-is-there
    #[arg(long, value_name = "NAME", conflicts_with = "patch")]
    new: Option<String>,
    /// Where the tree is made [default: target/muslin/vendor/LIBRARY]
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// Throw away the tree that is there, with everything that was edited in it
    #[arg(long)]
    discard: bool,
}

#[derive(clap::Args)]
pub struct DiffArgs {
    #[command(flatten)]
    library: Library,
    /// Show this patch; without it, what was edited since the last refresh
    #[arg(value_name = "PATCH")]
    patch: Option<String>,
    /// Lines around each change
    #[arg(long, short = 'U', value_name = "LINES", default_value_t = 10)]
    context: usize,
    /// The edited tree [default: target/muslin/vendor/LIBRARY]
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct RefreshArgs {
    #[command(flatten)]
    library: Library,
    /// The edited tree [default: target/muslin/vendor/LIBRARY]
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// Write the patch also when later ones do not fit on top of it; they have to be edited next
    #[arg(long)]
    leave_conflicts: bool,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn edit(args: &EditArgs) -> anyhow::Result<Outcome> {
    let opened = args.library.open()?;
    let tree = args.library.tree(args.tree.as_deref())?;
    // Only a tree that we made is thrown away.
    if args.discard && tree.join(".muslin/session.json").exists() {
        std::fs::remove_dir_all(&tree).with_context(|| format!("removing `{}`", tree.display()))?;
    }
    let target = match (&args.new, &args.patch) {
        (Some(name), _) => Target::New(name),
        (None, patch) => Target::Patch(patch.as_deref().unwrap_or_default()),
    };
    let made = opened.vendored.open(opened.input(), target, &tree)?;
    let mut text = format!("{}\n", tree.display());
    if let Some(templates) = &made.templates {
        text += &format!(
            "  new patch {}: fill `header` and `guard.toml` in {}\n",
            made.patch,
            templates.display()
        );
    } else {
        text += &format!(
            "  holds the patches up to and including {}, which changes {}\n",
            made.patch,
            made.files.join(", ")
        );
    }
    if let Some(rejected) = &made.rejected {
        text += &format!("  NOT in it, because it has no place: {}\n", rejected.display());
    }
    let library = &args.library.name;
    text +=
        &format!("  edit, then: cargo xtask vendor diff {library}; cargo xtask vendor refresh {library}\n");
    stdout::print(&text)?;
    Ok(Outcome::Pass)
}

pub fn diff(args: &DiffArgs) -> anyhow::Result<Outcome> {
    let opened = args.library.open()?;
    let text = match &args.patch {
        Some(patch) => opened.vendored.shown(opened.input(), patch, args.context)?,
        None => opened.vendored.edited(opened.input(), &args.library.tree(args.tree.as_deref())?)?,
    };
    stdout::print(&String::from_utf8_lossy(&text))?;
    Ok(Outcome::Pass)
}

pub fn refresh(args: &RefreshArgs) -> anyhow::Result<Outcome> {
    let opened = args.library.open()?;
    let tree = args.library.tree(args.tree.as_deref())?;
    let proposal = opened.vendored.refresh(opened.input(), &opened.folder, &tree)?;
    let mut text = format!("{}: changes {}\n", proposal.name, proposal.files.join(", "));
    text += &super::table(&proposal.later, told_without_digests);
    stdout::print(&text)?;
    settle(&proposal, args.leave_conflicts, args.dry_run)
}

/// Writes a proposal unless something stands against it; all that does is told.
pub fn settle(proposal: &Proposal<'_>, leave_conflicts: bool, dry_run: bool) -> anyhow::Result<Outcome> {
    for violation in proposal.violations.iter().chain(&proposal.later_violations) {
        eprintln!("error: {violation}");
    }
    if !proposal.violations.is_empty() || !(proposal.later_violations.is_empty() || leave_conflicts) {
        eprintln!("nothing is written");
        eprintln!("hint: what a check in brackets is for: cargo xtask vendor status --explain CHECK");
        if proposal.violations.is_empty() {
            eprintln!("      to write what fits and edit the others one by one: --leave-conflicts");
        } else {
            eprintln!(
                "      correct the patch in its tree, its guard in the vendor folder, and run this again"
            );
        }
        return Ok(Outcome::Violated);
    }
    if !dry_run {
        proposal.write()?;
    }
    let (none, some) = match dry_run {
        true => ("nothing would be written", "would be written"),
        false => ("nothing to write: all files are as they must be", "written"),
    };
    let mut text = String::new();
    match proposal.writes.len() {
        0 => text += &format!("{none}\n"),
        _ => proposal.writes.iter().for_each(|(path, _)| text += &format!("{some}  {}\n", path.display())),
    }
    stdout::print(&text)?;
    Ok(if proposal.later_violations.is_empty() { Outcome::Pass } else { Outcome::Violated })
}
