//! `cargo xtask doctor`: what a build needs, what is here, what would be fetched and from where.

use clap::Args as ClapArgs;
use release::plan::describe;
use release::toolchain::provide;

use crate::Outcome;
use crate::setup::Common;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Fetch what is missing into the cache, so that later runs can be `--offline`
    #[arg(long)]
    fetch: bool,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let config = args.common.config()?;
    if args.fetch {
        let setup = args.common.setup(None)?;
        let (plan, site) = (&setup.plan, &setup.site);
        provide(site, &config, &plan.target, plan.std)?;
        release::native::fetch_source(plan, site)?;
        release::model::folder(site, &config)?;
        release::cargo::fetch(plan, site)?;
    }
    let (site, surroundings) = args.common.site()?;
    println!("cache     {}", surroundings.cache_dir.display());
    println!("cores     {}", surroundings.cores);
    let findings = args.common.survey(&site, &config);
    for finding in &findings {
        println!("{}", describe(finding));
    }
    for (name, value) in &surroundings.hostile {
        println!(
            "{name:<9} IN THE WAY: \"{value}\" would replace the link flags\n{:<9} hint: unset {name}",
            ""
        );
    }
    let missing = findings.iter().filter(|finding| finding.is_missing()).count() + surroundings.hostile.len();
    if missing == 0 {
        return Ok(Outcome::Pass);
    }
    eprintln!("{missing} thing(s) stand in the way of a build");
    Ok(Outcome::NotMeasured)
}
