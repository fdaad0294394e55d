//! The command line: flags, dispatch, exit codes. One module a command.
//!
//! Exit codes: 0 done, 1 a self-test check failed or a server is not ready, 2 everything else that went wrong. Data goes to stdout, talk to stderr.

mod config;
mod embed;
mod healthcheck;
mod output;
mod panic_report;
mod selftest;
mod serve;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::config::Settings;
use self::output::Stop;
use crate::build_info;
use crate::failure::Failure;

const EXIT_FAILURE: u8 = 2;

#[derive(Parser)]
#[command(name = build_info::NAME, about = "The inference server", version = build_info::short(), long_version = build_info::long())]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Turn texts into vectors: one JSON object a line
    Embed(embed::Flags),
    /// Serve models over HTTP
    Serve(Box<serve::Flags>),
    /// Ask a server on this machine whether it takes work
    Healthcheck(healthcheck::Flags),
    /// Check this file on this machine: thread stacks, OpenBLAS, a known embedding
    Selftest(selftest::Flags),
}

/// The whole program.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    panic_report::install();
    let args: Vec<_> = args.into_iter().collect();
    let (command, settings) = match read(&args) {
        Ok(read) => read,
        Err(Unread::Failure(failure)) => return report(&failure),
        Err(Unread::Said(error)) => {
            // Also `--help` and `--version`, which print to stdout.
            return match error.print().map_err(output::stop) {
                Ok(()) | Err(Stop::ReaderGone) => ExitCode::from(error.exit_code() as u8),
                Err(Stop::Failed(failure)) => report(&failure),
            };
        }
    };
    let result = std::panic::catch_unwind(|| match command {
        Command::Embed(flags) => embed::run(flags, &args),
        Command::Serve(flags) => serve::run(*flags, settings),
        Command::Healthcheck(flags) => healthcheck::run(flags),
        Command::Selftest(flags) => selftest::run(flags),
    });
    match result {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => report(&failure),
        // The hook has reported it.
        Err(_) => ExitCode::from(EXIT_FAILURE),
    }
}

enum Unread {
    /// clap's own words, on the stream that it chose.
    Said(clap::Error),
    Failure(Failure),
}

/// The command line; for `serve` once more, when a file has been named, with what stands in it.
fn read(args: &[OsString]) -> Result<(Command, Settings), Unread> {
    let fresh = || config::with_variables(Cli::command());
    let mut matches = fresh().try_get_matches_from(args).map_err(Unread::Said)?;
    let mut settings = Settings::default();
    if let Some(serve) = matches.subcommand_matches(config::COMMAND) {
        // A fresh one: clap does not expect a command to change after it has been used.
        let mut command = config::with_file(fresh(), serve).map_err(Unread::Failure)?;
        let file = serve.get_one::<PathBuf>("config").cloned();
        // It was read without complaint before, so what is wrong now is in the file.
        matches = command.try_get_matches_from_mut(args).map_err(|error| match &file {
            Some(file) => Unread::Failure(
                Failure::message(format_args!("{}: {}", file.display(), first_line(&error)))
                    .hint("`inferd serve --help` says what each option takes."),
            ),
            None => Unread::Said(error),
        })?;
        if let Some(serve) = matches.subcommand_matches(config::COMMAND) {
            settings = config::settings(&fresh(), serve);
        }
    }
    let cli = Cli::from_arg_matches(&matches).map_err(Unread::Said)?;
    Ok((cli.command, settings))
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn report(failure: &Failure) -> ExitCode {
    // With stderr gone there is nobody to tell; the exit code remains.
    let _ = writeln!(std::io::stderr(), "{failure}");
    ExitCode::from(EXIT_FAILURE)
}

type CommandResult = Result<ExitCode, Failure>;

#[cfg(test)]
mod tests {
    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory;
        super::config::with_variables(super::Cli::command()).debug_assert();
    }
}
