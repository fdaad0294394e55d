//! The verbs of the project: each file beside this one is one verb; here is only the table.
//!
//! Exit codes are the same for every verb: 0 done, 1 a rule is violated, 2 anything that kept us from knowing
//! (usage, a missing tool, I/O, "not measured").

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, prove and package `inferd`.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome: anyhow::Result<Outcome> = match cli.verb {};
    match outcome {
        Ok(Outcome::Pass) => ExitCode::SUCCESS,
        Ok(Outcome::Violated) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// What a verb found out, when it could find out.
enum Outcome {
    /// Everything that was asked for is done and holds.
    Pass,
    /// A rule is violated; the verb has printed which.
    Violated,
}
