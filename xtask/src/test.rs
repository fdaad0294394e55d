//! `cargo xtask test`: sets up what tests need, builds what they look at, and runs every one of them.

use clap::Args as ClapArgs;

use crate::Outcome;
use crate::setup::Common;
use crate::stdout;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Passed on to `cargo test`, such as a part of a test's name
    #[arg(last = true, value_name = "ARGUMENT")]
    filter: Vec<String>,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let setup = args.common.setup(None)?;
    let totals = release::testing::test(&setup.plan, &setup.site, &args.filter)?;
    for name in &totals.broken {
        eprintln!("error: the tests of the {name} did not run to their end");
    }
    // The closing line, over all test programs: the last one alone may well have no test.
    let skipped = if totals.ignored == 0 { String::new() } else { format!(", {} skipped", totals.ignored) };
    stdout::print(&format!("\n{} passed, {} failed{skipped}\n", totals.passed, totals.failed))?;
    Ok(if totals.ok() { Outcome::Pass } else { Outcome::Violated })
}
