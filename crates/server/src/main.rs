//! The program file. Everything is in the library, so that it compiles before OpenBLAS is there to be linked.

use std::process::ExitCode;

fn main() -> ExitCode {
    inferd::cli::run(std::env::args_os())
}
