//! `cargo xtask native`: the native libraries alone, for work on their patches; with `--repeat`, whether builds repeat.

use std::fmt::Write;

use clap::Args as ClapArgs;
use release::jobs::Jobs;
use release::native::{StaticLib, build, repeat};
use release::toolchain::provide;
use units::ByteSize;

use crate::Outcome;
use crate::setup::Common;
use crate::stdout;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Only these libraries of release.toml [default: all]
    #[arg(value_name = "LIBRARY")]
    libraries: Vec<String>,
    /// Build each library N times from nothing, in other folders, at other times and in another order, and compare the bytes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=1000))]
    repeat: Option<u16>,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let setup = args.common.setup(None)?;
    let (plan, site) = (&setup.plan, &setup.site);
    let chosen = plan.libraries(&args.libraries)?;
    plan.check_tools()?;
    let toolchain = provide(site, &plan.config, &plan.target, plan.std)?;
    if let Some(times) = args.repeat {
        let mut same = true;
        for library in chosen {
            let report = repeat::repeat(plan, site, &toolchain, library, times.into())?;
            same &= report.differences.is_empty();
            stdout::print(&report.human())?;
        }
        return Ok(if same { Outcome::Pass } else { Outcome::Violated });
    }
    let jobs = Jobs::new(plan.jobs)?;
    for library in chosen {
        stdout::print(&shown(&build(plan, site, &toolchain, &jobs, library)?)?)?;
    }
    Ok(Outcome::Pass)
}

fn shown(library: &StaticLib) -> Result<String, std::fmt::Error> {
    let made = if library.reused { "in the cache" } else { "built" };
    let mut text = String::new();
    let size = ByteSize(library.archive.size_bytes).rounded();
    writeln!(text, "{} {} ({made}), {size}, {}", library.name, library.version, library.licence)?;
    writeln!(text, "archive      {}", library.archive.path.display())?;
    writeln!(text, "sha256       {}", library.archive.sha256)?;
    writeln!(text, "fingerprint  {}", library.fingerprint)?;
    for time in &library.times {
        writeln!(text, "time         {time}")?;
    }
    for proof in &library.proofs {
        writeln!(text, "proved       {proof}")?;
    }
    for chain in &library.liveness {
        writeln!(
            text,
            "live         {}: {} of {} lines compiled in {}; changed: {}; test {}",
            chain.patch,
            chain.lines_live,
            chain.lines_added,
            chain.compiled.join(", "),
            chain.differs.join(", "),
            chain.test
        )?;
    }
    Ok(text)
}
