//! `cargo xtask native`: OpenBLAS alone, for work on its patches.

use std::fmt::Write;

use clap::Args as ClapArgs;
use release::jobs::Jobs;
use release::native::build;
use release::toolchain::provide;
use release::units::human_bytes;

use crate::Outcome;
use crate::setup::Common;
use crate::stdout;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let setup = args.common.setup(None)?;
    let (plan, site) = (&setup.plan, &setup.site);
    plan.check_tools()?;
    let toolchain = provide(site, &plan.config, &plan.target, plan.std)?;
    let library = build(plan, site, &toolchain, &Jobs::new(plan.jobs)?)?;
    let made = if library.reused { "in the cache" } else { "built" };
    let mut text = String::new();
    writeln!(
        text,
        "{} {} ({made}), {}",
        library.name,
        library.version,
        human_bytes(library.archive.size_bytes)
    )?;
    writeln!(text, "archive      {}", library.archive.path.display())?;
    writeln!(text, "sha256       {}", library.archive.sha256)?;
    writeln!(text, "fingerprint  {}", library.fingerprint)?;
    for proof in &library.proofs {
        writeln!(text, "proved       {proof}")?;
    }
    stdout::print(&text)?;
    Ok(Outcome::Pass)
}
