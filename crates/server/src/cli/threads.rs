//! The number of compute threads.

use std::num::NonZeroUsize;

/// OpenBLAS is built for fewer threads; a larger number is a typing error.
const THREADS_MAX: usize = 1024;

/// Parses a value of `--threads`.
pub fn parse(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(threads) if threads.get() <= THREADS_MAX => Ok(threads),
        _ => Err(format!("expected a whole number from 1 to {THREADS_MAX}")),
    }
}

/// The CPUs that the machine and the CPU quota allow; 1 when that is unknown.
pub fn available() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
