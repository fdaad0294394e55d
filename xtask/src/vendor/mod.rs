//! `cargo xtask vendor status|diff|edit|refresh|bump`: work on the patches of vendored libraries.
//!
//! This file holds the flags and finds the library; each verb has its own file.

mod bump;
mod edit;
mod explain;
mod report;
mod status;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand};
use diag::Diagnostic;
use patchset::{Input, Vendored};
use release::context::BuildContext;
use release::stages::sources;

use crate::Outcome;
use crate::setup::{Common, workspace_root};

#[derive(ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show each patch: its reason, and whether source, guard and archive match it
    Status(status::Args),
    /// Show the diff of a patch, or the edits that are not in the patch yet
    Diff(edit::DiffArgs),
    /// Make a plain tree to edit, with the patches up to and including one
    Edit(edit::EditArgs),
    /// Write the patch of an edited tree, and the later patches that moved
    Refresh(edit::RefreshArgs),
    /// Show how patches and guards fit another version of the library
    Bump(bump::Args),
}

/// A library and its source.
#[derive(ClapArgs)]
struct LibraryArgs {
    /// Name of the library in `source.toml`
    #[arg(value_name = "LIBRARY")]
    name: String,
    #[command(flatten)]
    common: Common,
}

/// A vendor folder and its source on disk.
struct OpenLibrary {
    vendored: Vendored,
    folder: PathBuf,
    context: BuildContext,
    source: PathBuf,
}

impl Args {
    pub fn common(&self) -> &Common {
        match &self.verb {
            Verb::Status(args) => &args.common,
            Verb::Diff(args) => &args.library.common,
            Verb::Edit(args) => &args.library.common,
            Verb::Refresh(args) => &args.library.common,
            Verb::Bump(args) => &args.library.common,
        }
    }
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

/// The vendor folders of release.toml.
fn folders(common: &Common) -> anyhow::Result<Vec<PathBuf>> {
    Ok(common.config()?.native.into_values().map(|native| workspace_root().join(native.vendor)).collect())
}

impl LibraryArgs {
    fn open(&self) -> anyhow::Result<OpenLibrary> {
        let mut names = Vec::new();
        for folder in folders(&self.common)? {
            let vendored = Vendored::read(&folder)?;
            if vendored.manifest.name == self.name {
                let (context, _) = self.common.context()?;
                let source = source(&self.common, &context, &vendored)?;
                return Ok(OpenLibrary { vendored, folder, context, source });
            }
            names.push(vendored.manifest.name);
        }
        Err(Diagnostic::new(
            &crate::codes::VENDOR_ARGUMENT,
            format!("release.toml has no library `{}`", self.name),
        )
        .expected(names.join(", "))
        .hint("`cargo xtask vendor status` lists the libraries with their patches")
        .into())
    }

    /// The worktree: `--tree`, or its default place.
    fn tree(&self, named: Option<&Path>) -> anyhow::Result<PathBuf> {
        match named {
            Some(tree) => std::path::absolute(tree).context("resolving the folder of `--tree`"),
            None => Ok(workspace_root().join("target/muslin/vendor").join(&self.name)),
        }
    }
}

impl OpenLibrary {
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
