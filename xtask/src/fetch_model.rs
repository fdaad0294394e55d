//! `cargo xtask fetch-model`: fetches the fixtures of release.toml, checks their digests, and prints their folders.

use clap::Args as ClapArgs;

use crate::Outcome;
use crate::setup::Common;
use crate::stdout;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// `[fixtures.NAME]` of release.toml
    #[arg(value_name = "NAME", default_value = "model")]
    name: String,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let (site, _) = args.common.site()?;
    let folder = release::fixtures::folder(&site, &args.common.config()?, &args.name)?;
    stdout::print(&format!("{}\n", folder.display()))?;
    Ok(Outcome::Pass)
}
