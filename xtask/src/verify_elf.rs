//! `cargo xtask verify-elf FILE...`: the command line of the binary `elf-gate`.

use elf_gate::cli::{self, Environment, Status};

use crate::Outcome;

pub use cli::Args;

pub fn run(args: &Args) -> Outcome {
    let environment = Environment::from_process();
    match cli::run(args, &environment, &mut std::io::stdout(), &mut std::io::stderr()) {
        Status::Pass => Outcome::Pass,
        Status::Violation => Outcome::Violated,
        Status::Undecided => Outcome::NotMeasured,
    }
}
