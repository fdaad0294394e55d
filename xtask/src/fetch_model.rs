//! `cargo xtask fetch-model`: fetches the fixtures of release.toml, checks their digests, and prints their folders.

use clap::Args as ClapArgs;
use serde_json::json;

use crate::Outcome;
use crate::format;
use crate::setup::Common;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// `[fixtures.NAME]` of release.toml
    #[arg(value_name = "NAME", default_value = "model")]
    name: String,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let (context, _) = args.common.context()?;
    let folder = release::fixtures::folder(&context, &args.common.config()?, &args.name)?;
    let document = json!({ "name": args.name, "folder": folder, "diagnostics": [] });
    format::print(args.common.format, || format!("{}\n", folder.display()), document)?;
    Ok(Outcome::Pass)
}
