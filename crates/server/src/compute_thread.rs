//! Threads with an explicit stack size. Every thread that may call BLAS starts here.
//!
//! The defaults are unsafe: musl gives a thread 128 KiB unless the link flag raises it, std requests 2 MiB regardless of the
//! flag, and the main thread has the `ulimit -s` of its user. OpenBLAS's level-3 driver can put megabytes on the stack of its
//! caller. A command therefore does its work on a compute thread, and the main thread waits. The workers of the engine and of
//! the patched OpenBLAS set their own stack sizes; `selftest` measures all of them.

use std::io;
use std::thread::{Builder, JoinHandle};

use engine::STACK_SIZE_BYTES;

/// Name in `/proc/self/task/*/comm`; the kernel keeps 15 bytes.
pub const NAME: &str = "inferd-compute";

/// Starts `work` on a thread that may call BLAS.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    spawn_named(NAME.to_string(), work)
}

/// The same with another name.
pub fn spawn_named<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name).stack_size(STACK_SIZE_BYTES).spawn(work)
}
