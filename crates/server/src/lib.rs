//! `inferd`, the inference server that muslin releases.
//!
//! [`cli`] parses the command line and sets exit codes. [`serve`] is the server; `memory` reads the memory limits
//! before it starts; `crash` reports signals and failed allocations; `log` formats and writes its events. `selftest` checks the executable file that it runs in.
//! `compute_thread` is the only place that starts a thread which calls BLAS. Only `cli` prints to stdout or ends the
//! process.
//!
//! No module depends on the release pipeline; its values arrive through `build_info`.
#![deny(missing_docs)]

mod build_info;
pub mod cli;
mod codes;
mod compute_thread;
pub mod crash;
mod log;
mod memory;
mod selftest;
pub mod serve;
mod text_lines;

/// Tests of the library run with the allocator of the program.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: mimalloc_sys::MiMalloc = mimalloc_sys::MiMalloc;
