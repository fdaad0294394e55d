//! The executable. All code is in the library, so that it compiles before the native libraries exist.

use std::process::ExitCode;

/// mimalloc, with a report when an allocation fails. docs/allocator.md compares it with the allocator of the libc.
#[global_allocator]
static ALLOCATOR: inferd::crash::Allocator = inferd::crash::Allocator;

fn main() -> ExitCode {
    inferd::cli::run(std::env::args_os())
}
