//! `cargo xtask native`: OpenBLAS alone, for work on its patches.

use clap::Args as ClapArgs;
use release::jobs::Jobs;
use release::native::build;
use release::toolchain::provide;
use release::units::human_bytes;

use crate::Outcome;
use crate::setup::Common;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let setup = args.common.setup(None)?;
    let (plan, site) = (&setup.plan, &setup.site);
    let toolchain = provide(site, &plan.config, &plan.target, plan.std)?;
    let library = build(plan, site, &toolchain, &Jobs::new(plan.jobs)?)?;
    let made = if library.reused { "in the cache" } else { "built" };
    println!("{} {} ({made}), {}", library.name, library.version, human_bytes(library.archive.size_bytes));
    println!("archive      {}", library.archive.path.display());
    println!("sha256       {}", library.archive.sha256);
    println!("fingerprint  {}", library.fingerprint);
    for proof in &library.proofs {
        println!("proved       {proof}");
    }
    for chain in &library.liveness {
        println!(
            "live         {}: {} of {} lines compiled in {}; changed: {}; test {}",
            chain.patch,
            chain.lines_live,
            chain.lines_added,
            chain.compiled.join(", "),
            chain.differs.join(", "),
            chain.test
        );
    }
    Ok(Outcome::Pass)
}
