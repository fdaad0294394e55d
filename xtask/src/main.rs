//! The verbs of the project: each file beside this one is one verb; here is only the table.
//!
//! Exit codes are the same for every verb: 0 done, 1 a rule is violated, 2 anything that kept us from knowing
//! (usage, a missing tool, I/O, "not measured"), 130 after Ctrl-C.

mod api_test;
mod bench;
mod cache;
mod difftest;
mod dist;
mod docker;
mod doctor;
mod fetch_model;
mod format;
mod fuzz;
mod lint;
mod loadtest;
mod native;
mod progress;
mod setup;
mod stdout;
mod test;
mod vendor;
mod verify_elf;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use release::gate::GateFailure;
use release::mutants::MutantFailure;

/// Build, prove and package `inferd`.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Test the HTTP API of the packed server with schemathesis, the OpenAI client and the Prometheus parser
    ApiTest(api_test::Args),
    /// Measure throughput, latency, memory, start-up time and the gate, beside a reference
    Bench(bench::Args),
    /// Say what is in the cache, compare it with its digests, remove what is not used
    Cache(cache::Args),
    /// Compare the facts and the speed of the gate with readelf, LIEF and checksec on the files of this machine
    Difftest(difftest::Args),
    /// Build, prove and package everything; the result is in dist/
    Dist(dist::Args),
    /// Load the image of dist/ into the container engine and run it there
    Docker(docker::Args),
    /// Say what a build needs, what is here, and what would be fetched
    Doctor(doctor::Args),
    /// Run the fuzz targets for a given time
    Fuzz(fuzz::Args),
    /// Check format and lints
    Lint(lint::Args),
    /// Load the server of dist/ beyond its capacity, inject faults, and check its promises
    Loadtest(loadtest::Args),
    /// Fetch the model that tests and benchmarks use, and print its folder
    FetchModel(fetch_model::Args),
    /// Build the native libraries alone and show what was proved of their archives
    Native(native::Args),
    /// Run every test, product tests on the musl target
    Test(test::Args),
    /// Work on the patches of vendored libraries: status, diff, edit, refresh, bump
    Vendor(vendor::Args),
    /// Judge ELF files: the command line of elf-gate
    VerifyElf(verify_elf::Args),
}

/// What a verb found out, when it could find out.
enum Outcome {
    /// Everything that was asked for is done and holds.
    Pass,
    /// A rule is violated; the verb has printed which.
    Violated,
    /// Something kept the verb from knowing; it has printed what.
    NotMeasured,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::ApiTest(args) => api_test::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::Cache(args) => cache::run(args),
        Verb::Difftest(args) => difftest::run(&args),
        Verb::Dist(args) => dist::run(args),
        Verb::Docker(args) => docker::run(args),
        Verb::Doctor(args) => doctor::run(args),
        Verb::Fuzz(args) => fuzz::run(args),
        Verb::Lint(args) => lint::run(args),
        Verb::Loadtest(args) => loadtest::run(args),
        Verb::FetchModel(args) => fetch_model::run(args),
        Verb::Native(args) => native::run(args),
        Verb::Test(args) => test::run(args),
        Verb::Vendor(args) => vendor::run(&args),
        Verb::VerifyElf(args) => Ok(verify_elf::run(&args)),
    };
    match outcome {
        Ok(Outcome::Pass) => ExitCode::SUCCESS,
        Ok(Outcome::Violated) => ExitCode::from(1),
        Ok(Outcome::NotMeasured) => ExitCode::from(2),
        Err(error) => report(&error),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    let diagnostics = diag::collect(error);
    eprint!("{}", diag::render::human(&diagnostics, diag::render::Style::default()));
    let violated = error.downcast_ref::<GateFailure>().is_some_and(GateFailure::is_violation)
        || error.downcast_ref::<MutantFailure>().is_some();
    ExitCode::from(if violated { 1 } else { diag::exit_code(&diagnostics) })
}
