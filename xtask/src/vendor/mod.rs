//! `cargo xtask vendor status|diff|edit|refresh|bump`: work on the patches of vendored libraries.
//!
//! Here are the flags and the libraries; each verb has its file.

mod bump;
mod edit;
mod explain;
mod status;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand};
use diag::Diagnostic;
use patchset::series::{OnTree, Standing};
use patchset::{Input, Vendored};
use release::stages::sources;
use release::context::BuildContext;

use crate::Outcome;
use crate::setup::{Common, workspace_root};

#[derive(ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Say of each patch why it is there and whether it holds: on the source, in its guard, in the archive
    Status(status::Args),
    /// Show what a patch changes, or what was edited and not refreshed yet
    Diff(edit::DiffArgs),
    /// Make a plain tree with the patches up to and including one, to be edited
    Edit(edit::EditArgs),
    /// Write the patch of an edited tree anew, and those above it where they moved
    Refresh(edit::RefreshArgs),
    /// Say which patches and guards hold on another version of the library
    Bump(bump::Args),
}

/// Which library, and its source.
#[derive(ClapArgs)]
struct Library {
    /// As `source.toml` names it
    #[arg(value_name = "LIBRARY")]
    name: String,
    #[command(flatten)]
    common: Common,
}

/// A vendor folder that was read, with what is needed to work on it.
struct Opened {
    vendored: Vendored,
    folder: PathBuf,
    context: BuildContext,
    source: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    match &args.verb {
        Verb::Status(args) => status::run(args),
        Verb::Diff(args) => edit::diff(args),
        Verb::Edit(args) => edit::edit(args),
        Verb::Refresh(args) => edit::refresh(args),
        Verb::Bump(args) => bump::run(args),
    }
}

/// The vendor folders that release.toml names.
fn folders(common: &Common) -> anyhow::Result<Vec<PathBuf>> {
    Ok(common.config()?.native.into_values().map(|native| workspace_root().join(native.vendor)).collect())
}

impl Library {
    fn open(&self) -> anyhow::Result<Opened> {
        let mut names = Vec::new();
        for folder in folders(&self.common)? {
            let vendored = Vendored::read(&folder)?;
            if vendored.manifest.name == self.name {
                let (context, _) = self.common.context()?;
                let source = source(&self.common, &context, &vendored)?;
                return Ok(Opened { vendored, folder, context, source });
            }
            names.push(vendored.manifest.name);
        }
        Err(Diagnostic::new(&crate::codes::VENDOR_ARGUMENT, format!("release.toml has no library `{}`", self.name))
            .expected(names.join(", "))
            .hint("`cargo xtask vendor status` lists them with their patches")
            .into())
    }

    /// Where a tree for editing is, unless somebody names another place.
    fn tree(&self, named: Option<&Path>) -> anyhow::Result<PathBuf> {
        match named {
            Some(tree) => std::path::absolute(tree).context("the folder of `--tree`"),
            None => Ok(workspace_root().join("target/muslin/vendor").join(&self.name)),
        }
    }
}

impl Opened {
    fn input(&self) -> Input<'_> {
        input(&self.source)
    }
}

fn input(path: &Path) -> Input<'_> {
    if path.is_dir() { Input::Tree(path) } else { Input::Tarball(path) }
}

fn source(common: &Common, context: &BuildContext, vendored: &Vendored) -> anyhow::Result<PathBuf> {
    let named = common.source.iter().find(|(library, _)| *library == vendored.manifest.name);
    match named {
        Some((_, path)) => Ok(path.clone()),
        None => sources::archive(context, &vendored.manifest),
    }
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Holds => "holds",
        Standing::Fits => "fits",
        Standing::Moved => "MOVED",
        Standing::Applied => "APPLIED ALREADY",
        Standing::Conflict => "CONFLICT",
    }
}

/// One line for each patch, and what stands against it below.
fn table(patches: &[OnTree<'_>], told: impl Fn(&OnTree<'_>) -> String) -> String {
    let width = patches.iter().map(|patch| patch.patch.name.len()).max().unwrap_or(0);
    patches.iter().fold(String::new(), |text, patch| {
        let told = told(patch);
        let below = if told.is_empty() {
            String::new()
        } else {
            format!("\n      {}", told.replace('\n', "\n      "))
        };
        text + &format!("  {:width$}  {}{below}\n", patch.patch.name, word(patch.standing()))
    })
}
