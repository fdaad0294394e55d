//! A reader that ends in an error once a shared allowance is used up: what stops a decompression bomb.

use std::cell::Cell;
use std::io::{self, Read};

use super::{DAMAGED_HINT, SIZE_HINT};

pub(super) struct Metered<'c, R> {
    inner: R,
    left: &'c Cell<u64>,
}

impl<'c, R: Read> Metered<'c, R> {
    pub(super) fn new(inner: R, left: &'c Cell<u64>) -> Self {
        Metered { inner, left }
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        // One byte more than allowed tells a stream that ends at the limit from one that goes on.
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

pub(super) fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => SIZE_HINT,
        _ => DAMAGED_HINT,
    }
}
