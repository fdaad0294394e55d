//! `cargo xtask model`: fetches the real all-MiniLM-L6-v2 weights, checks their digest, and says where they are.

use clap::Args as ClapArgs;

use crate::Outcome;
use crate::setup::Common;
use crate::stdout;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let (site, _) = args.common.site()?;
    let folder = release::model::folder(&site, &args.common.config()?)?;
    stdout::print(&format!("{}\n", folder.display()))?;
    Ok(Outcome::Pass)
}
