//! The thread that a command computes on, with an explicit stack.
//!
//! musl's default for a thread is 128 KiB unless the link flag survives, std asks for 2 MiB whatever the flag says, and the main
//! thread has what the user's `ulimit -s` gives; OpenBLAS's level-3 driver may put megabytes on its caller's stack. So nothing
//! that may call BLAS is left to a default: a command's work runs here and the main thread waits. The engine's own workers and
//! those of the patched OpenBLAS ask for their sizes themselves; `selftest` measures all of them.

use std::io;
use std::thread::{Builder, JoinHandle};

use crate::build_info::STACK_SIZE_BYTES;

/// What `/proc/self/task/*/comm` shows; the kernel keeps 15 bytes.
pub const NAME: &str = "inferd-compute";

/// Starts `work` on a thread that may call BLAS. Joining it is the caller's business.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    spawn_named(NAME.to_string(), work)
}

/// The same under a name of its own.
pub fn spawn_named<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name).stack_size(STACK_SIZE_BYTES as usize).spawn(work)
}
