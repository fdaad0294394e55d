//! The stack size of threads that call OpenBLAS.
//!
//! `release.toml` is the only source of the size. The pipeline passes it to the compiler in `MUSLIN_STACK_SIZE`; the
//! program does not read the default of its own header at run time, because that default is lost with the link flag, and
//! the explicit stack of the threads must hold regardless of the link line.

use std::cell::LazyCell;
use std::io;
use std::panic::resume_unwind;
use std::thread::{self, Builder};

/// Stack of a thread that calls OpenBLAS, in bytes.
///
/// A build without the pipeline (`cargo check`, `cargo clippy`, an editor) has no `MUSLIN_STACK_SIZE` and falls back to
/// 2 MiB, the default of `std::thread`. Such a build is never released: without the pipeline OpenBLAS is not linked.
pub const STACK_SIZE_BYTES: usize = match option_env!("MUSLIN_STACK_SIZE") {
    Some(text) => match usize::from_str_radix(text, 10) {
        Ok(bytes) => bytes,
        Err(_) => panic!("MUSLIN_STACK_SIZE must be a whole number of bytes"),
    },
    None => 2 << 20,
};

thread_local! {
    /// Whether the stack of this thread has the full size. On the main thread the C library finds the size by a search.
    static IS_FULL_SIZE: LazyCell<bool> = const { LazyCell::new(|| own_size_bytes() >= STACK_SIZE_BYTES) };
}

/// Runs `work` on this thread if its stack has at least [`STACK_SIZE_BYTES`], else on a thread that is started for it, which
/// takes some 50 µs. Fails when that thread cannot be started; a panic of `work` continues here.
pub(crate) fn with_full_size<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if IS_FULL_SIZE.with(|is_full_size| **is_full_size) {
        return Ok(work());
    }
    thread::scope(|scope| {
        let builder = Builder::new().name("embed-caller".into()).stack_size(STACK_SIZE_BYTES);
        let thread = builder.spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|payload| resume_unwind(payload)))
    })
}

/// Size of the stack of this thread in bytes; 0 when the C library does not tell.
pub(crate) fn own_size_bytes() -> usize {
    let (mut start, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: `pthread_attr_t` consists of integers and pointers, for which zero is valid.
    let mut attributes = unsafe { std::mem::zeroed() };
    // SAFETY: always safe to call.
    let thread = unsafe { libc::pthread_self() };
    // SAFETY: initializes `attributes`, which outlives the call, from a thread that runs.
    if unsafe { libc::pthread_getattr_np(thread, &raw mut attributes) } != 0 {
        return 0;
    }
    // SAFETY: `attributes` is initialized and both outputs are locals.
    let status = unsafe { libc::pthread_attr_getstack(&raw const attributes, &raw mut start, &raw mut size) };
    // SAFETY: `attributes` is initialized and not used afterwards.
    unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
    if status == 0 { size } else { 0 }
}
