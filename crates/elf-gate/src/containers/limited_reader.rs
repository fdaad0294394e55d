//! A reader that fails when a shared budget is spent. It stops decompression bombs.

use std::cell::Cell;
use std::io::{self, Read};

use diag::Diagnostic;

use crate::codes;
use crate::containers::sink;

/// Counts the bytes of `inner` against a budget.
pub(super) struct LimitedReader<'c, R> {
    inner: R,
    left: &'c Cell<u64>,
}

impl<'c, R: Read> LimitedReader<'c, R> {
    pub(super) fn new(inner: R, left: &'c Cell<u64>) -> Self {
        LimitedReader { inner, left }
    }
}

impl<R: Read> Read for LimitedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        // One byte above the limit distinguishes a stream that ends at the limit from a longer one.
        let max = usize::try_from(left.saturating_add(1)).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..max])?;
        match left.checked_sub(read as u64) {
            Some(left) => {
                self.left.set(left);
                Ok(read)
            }
            None => Err(io::Error::new(io::ErrorKind::QuotaExceeded, "more decompressed bytes than allowed")),
        }
    }
}

/// The diagnostic of a read error: a spent budget, or damaged data.
pub(super) fn problem(error: &io::Error, message: impl Into<String>) -> Diagnostic {
    let code = match error.kind() {
        io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => &codes::DECOMPRESSED_LIMIT,
        _ => &codes::CONTAINER_DAMAGED,
    };
    sink::problem(code, message)
}
