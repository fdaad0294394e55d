//! The executable. All code is in the library, so that it compiles before the native libraries exist.

use std::process::ExitCode;

/// musl's own allocator serializes all threads on one lock.
#[global_allocator]
static ALLOCATOR: inferd::crash::Allocator = inferd::crash::Allocator;

fn main() -> ExitCode {
    inferd::cli::run(std::env::args_os())
}
