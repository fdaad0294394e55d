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
use diag::Diagnostic;
use format::Format;
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
    /// These make the run fail. A document on stdout has them already; `main` prints them as text and derives the exit status from
    /// their codes.
    Problems(Vec<Diagnostic>),
}

impl Verb {
    /// The one place that decides in which form results and errors are printed.
    fn format(&self) -> Format {
        match self {
            Self::ApiTest(args) => args.common.format,
            Self::Audit(args) => args.common.format,
            Self::Bench(args) => args.common.format,
            Self::BuildNative(args) => args.common.format,
            Self::Cache(args) => args.common().format,
            Self::Difftest(args) => args.format(),
            Self::Dist(args) => args.common.format,
            Self::Docker(args) => args.format,
            Self::Docs(args) => args.format,
            Self::Doctor(args) => args.common.format,
            Self::Explain(args) => args.format,
            Self::Fuzz(args) => args.common.format,
            Self::Lint(args) => args.common.format,
            Self::Loadtest(args) => args.common.format,
            Self::FetchModel(args) => args.common.format,
            Self::Test(args) => args.common.format,
            Self::Vendor(args) => args.common().format,
            // The process of a sandbox has no result of its own.
            Self::Sandbox(_) => Format::Human,
            // The gate has more formats, and prints its errors itself.
            Self::VerifyElf(_) => Format::Human,
        }
    }
}

fn main() -> ExitCode {
    // The total time of `dist` counts from here.
    let times = StageTimes::since(Instant::now(), CpuTime::now());
    let verb = match Cli::try_parse() {
        Ok(cli) => cli.verb,
        Err(error) => return reject(&error),
    };
    let format = verb.format();
    let outcome = match verb {
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
        Ok(Outcome::Problems(problems)) => report(Format::Human, &problems),
        Err(error) => report(format, &diag::collect(&error)),
    }
}

fn report(format: Format, problems: &[Diagnostic]) -> ExitCode {
    format::print_errors(format, problems, progress::style());
    ExitCode::from(diag::exit_code(problems))
}

/// Reports a command line that does not parse, with status 2; or prints the text of `--help` or `--version`.
fn reject(error: &clap::Error) -> ExitCode {
    let args = || std::env::args_os().skip(1);
    let document = match args().next().is_some_and(|verb| verb == "verify-elf") {
        true => elf_gate::cli::usage_document(error, args()),
        false => format::usage_document(error, args()),
    };
    if let Some(document) = document {
        // clap's text on stderr follows, with the exit status.
        let _ = stdout::print(&document);
    }
    error.exit()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The names of the verbs below a command that do not take `--format`. `above`: what is global above them.
    fn without_format(command: &clap::Command, above: bool) -> Vec<String> {
        let format = command.get_arguments().find(|argument| argument.get_long() == Some("format"));
        let is_global = above || format.is_some_and(clap::Arg::is_global_set);
        let below = command.get_subcommands().flat_map(|below| without_format(below, is_global));
        // A group of verbs is no verb.
        let is_verb = !command.is_subcommand_required_set();
        let own = (is_verb && !above && format.is_none()).then(|| command.get_name().to_string());
        own.into_iter().chain(below).collect()
    }

    #[test]
    fn every_verb_has_a_format() {
        // The sandbox is a process of `difftest kernel`. A policy, which `verify-elf init` prints, is data.
        assert_eq!(without_format(&Cli::command(), false), ["sandbox", "init"]);
    }

    /// clap panics on the first use of a verb with two arguments of one name.
    #[test]
    fn no_verb_has_two_arguments_of_one_name() {
        Cli::command().debug_assert();
    }
}
