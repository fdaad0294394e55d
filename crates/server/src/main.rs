//! The executable. All code is in the library, so that it compiles before the native libraries exist.

use std::process::ExitCode;

/// musl's own allocator serializes all threads on one lock.
#[global_allocator]
static ALLOCATOR: mimalloc_sys::MiMalloc = mimalloc_sys::MiMalloc;

fn main() -> ExitCode {
    inferd::cli::run(std::env::args_os())
}
