//! The ELF gate as a command. Exit codes: 0 all rules pass, 1 a rule is violated, 2 something could not be judged.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use elf_gate::cli::{self, Environment};

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
            if let Some(document) = cli::usage_document(&error, std::env::args_os().skip(1)) {
                // The usage error on stderr follows, with the exit code.
                let _ = out.write_all(document.as_bytes());
            }
            error.exit()
        }
    }
}
