//! The table of verbs; each module is one verb.
//!
//! Exit status of every verb: 0 done, 1 a rule is violated, 2 anything that prevents a result (usage, a missing tool, I/O,
//! "not measured"), 130 after Ctrl-C.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

mod api_test;
mod audit;
mod bench;
mod build_native;
mod cache;
mod codes;
mod difftest;
mod dist;
mod docker;
mod docs;
mod doctor;
mod explain;
mod fetch_model;
mod format;
mod fuzz;
mod lint;
mod loadtest;
mod progress;
mod sbom_validators;
mod setup;
mod stdout;
mod test;
mod vendor;
mod verify_elf;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use process::CpuTime;
use release::stage::StageTimes;

/// Build, prove and package the product of release.toml.
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
    /// Check the crates of dist/ for known vulnerabilities, and list its C libraries with their versions
    Audit(audit::Args),
    /// Measure throughput, latency, memory, start-up time and the gate, beside a reference
    Bench(bench::Args),
    /// Build the native libraries alone and print what their archives show
    BuildNative(build_native::Args),
    /// List the cache, compare entries with their digests, remove unused entries
    Cache(cache::Args),
    /// Compare the facts and the speed of the gate with readelf, LIEF and checksec on the files of this machine
    Difftest(difftest::Args),
    /// Build, prove and package everything; the result is in dist/
    Dist(dist::Args),
    /// Load the image of dist/ into the container engine and run it there
    Docker(docker::Args),
    /// Write the generated parts of the documentation
    Docs(docs::Args),
    /// List what a build needs, what is present, and what would be downloaded
    Doctor(doctor::Args),
    /// Explain a diagnostic code or a rule of the ELF gate
    Explain(explain::Args),
    /// Run the fuzz targets for a given time
    Fuzz(fuzz::Args),
    /// Check format and lints
    Lint(lint::Args),
    /// Load the server of dist/ beyond its capacity, inject faults, and check its promises
    Loadtest(loadtest::Args),
    /// Fetch the model that tests and benchmarks use, and print its folder
    FetchModel(fetch_model::Args),
    /// The process of a sandbox of `difftest kernel`
    #[command(hide = true)]
    Sandbox(difftest::kernel::SandboxArgs),
    /// Run every test, product tests on the musl target
    Test(test::Args),
    /// Work on the patches of vendored libraries: status, diff, edit, refresh, bump
    Vendor(vendor::Args),
    /// Judge ELF files: the command line of elf-gate
    VerifyElf(verify_elf::Args),
}

/// Result of a verb that came to one.
enum Outcome {
    /// Everything is done and every check holds.
    Pass,
    /// A rule is violated; the verb has printed which.
    Violated,
    /// Something prevents a result; the verb has printed what.
    NotMeasured,
    /// The verb has printed its diagnostics as data; their exit status.
    Failed(u8),
}

fn main() -> ExitCode {
    // The total time of `dist` counts from here.
    let times = StageTimes::since(Instant::now(), CpuTime::now());
    let outcome = match Cli::parse().verb {
        Verb::ApiTest(args) => api_test::run(args),
        Verb::Audit(args) => audit::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::BuildNative(args) => build_native::run(args),
        Verb::Cache(args) => cache::run(args),
        Verb::Difftest(args) => difftest::run(&args),
        Verb::Dist(args) => dist::run(args, times),
        Verb::Docker(args) => docker::run(args),
        Verb::Docs(args) => docs::run(&args),
        Verb::Doctor(args) => doctor::run(args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Fuzz(args) => fuzz::run(args),
        Verb::Lint(args) => lint::run(args),
        Verb::Loadtest(args) => loadtest::run(args),
        Verb::FetchModel(args) => fetch_model::run(args),
        Verb::Sandbox(args) => difftest::kernel::serve_sandbox(&args),
        Verb::Test(args) => test::run(args),
        Verb::Vendor(args) => vendor::run(&args),
        Verb::VerifyElf(args) => Ok(verify_elf::run(&args)),
    };
    match outcome {
        Ok(Outcome::Pass) => ExitCode::SUCCESS,
        Ok(Outcome::Violated) => ExitCode::from(1),
        Ok(Outcome::NotMeasured) => ExitCode::from(2),
        Ok(Outcome::Failed(code)) => ExitCode::from(code),
        Err(error) => report(&error),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    let diagnostics = diag::collect(error);
    eprint!("{}", diag::render::human(&diagnostics, progress::style()));
    ExitCode::from(diag::exit_code(&diagnostics))
}
