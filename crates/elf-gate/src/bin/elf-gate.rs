//! The ELF gate as a command. Exit codes: 0 all rules pass, 1 a rule is violated, 2 something could not be judged.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use diag::Diagnostic;
use elf_gate::cli::{self, Environment, Format};
use elf_gate::codes;

#[derive(Parser)]
#[command(name = "elf-gate", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    args: cli::Args,
}

fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    match Cli::try_parse() {
        Ok(cli) => {
            let status = cli::run(&cli.args, &Environment::from_process(), &mut out, &mut err);
            ExitCode::from(status.exit_code())
        }
        Err(error) => {
            let format = requested_format(std::env::args_os().skip(1));
            if let (true, Some(format)) = (error.use_stderr(), format) {
                let message = error.to_string();
                let message = message.trim().trim_start_matches("error: ");
                let diagnostic = Diagnostic::new(&codes::USAGE, message).hint(codes::fix(&codes::USAGE));
                if let Ok(document) = cli::error_document(format, diagnostic) {
                    // The usage error on stderr follows, with the exit code.
                    let _ = out.write_all(document.as_bytes());
                }
            }
            error.exit()
        }
    }
}

/// The value of `--format` on a command line that does not parse, if it is a document format.
fn requested_format(args: impl Iterator<Item = OsString>) -> Option<Format> {
    let args: Vec<String> = args.filter_map(|arg| arg.into_string().ok()).collect();
    let value = args.iter().enumerate().find_map(|(index, arg)| match arg.strip_prefix("--format") {
        Some("") => args.get(index + 1).map(String::as_str),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    Format::from_str(value?, false).ok().filter(|format| *format != Format::Human)
}
