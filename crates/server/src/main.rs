//! The program file. Everything is in the library, so that it compiles before the native libraries are there to be linked.

use std::process::ExitCode;

/// musl's allocator takes one lock for all threads.
#[global_allocator]
static ALLOCATOR: mimalloc_sys::MiMalloc = mimalloc_sys::MiMalloc;

fn main() -> ExitCode {
    inferd::cli::run(std::env::args_os())
}
