//! `cargo xtask test`: fetches what tests need, builds what they look at, and runs every one of them.

use clap::{Args as ClapArgs, ValueEnum};
use release::test_runner::{self, RunnerChoice};

use crate::Outcome;
use crate::setup::Common;
use crate::stdout;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Which program runs the tests
    #[arg(long, value_enum, default_value_t = RunnerFlag::Auto)]
    runner: RunnerFlag,
    /// Passed on to the test program, such as a part of a test's name
    #[arg(last = true, value_name = "ARGUMENT")]
    filter: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum RunnerFlag {
    /// cargo-nextest where it is installed, else `cargo test`
    Auto,
    /// `cargo test`
    Cargo,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let choice = match args.runner {
        RunnerFlag::Auto => RunnerChoice::Auto,
        RunnerFlag::Cargo => RunnerChoice::Cargo,
    };
    let setup = args.common.setup(None)?;
    let totals = test_runner::test(&setup.plan, &setup.context, &args.filter, choice)?;
    for name in &totals.broken {
        eprintln!("error: the tests of the {name} did not run to their end");
    }
    // The closing line is the sum over all test programs: the last one alone may have no test.
    stdout::print(&format!("\n{}\n", totals.summary()))?;
    Ok(match totals.ok() {
        true if totals.unlisted.is_empty() => Outcome::Pass,
        true => Outcome::NotMeasured,
        false => Outcome::Violated,
    })
}
