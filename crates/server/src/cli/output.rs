//! Data on stdout: buffered, and honest about what could not be written.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use crate::failure::Failure;

const BUFFER_BYTES: usize = 64 << 10;

/// Why no more can be written.
pub enum Stop {
    /// The reader went away, as `head` does: a quiet end.
    ReaderGone,
    Failed(Failure),
}

pub struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub fn stdout() -> Self {
        Self(BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()))
    }

    /// One line; the newline is added here.
    pub fn line(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.0.write_all(bytes).and_then(|()| self.0.write_all(b"\n")).map_err(stop)
    }

    /// Everything so far reaches the reader. Must be called at the end: a drop would swallow the error.
    pub fn flush(&mut self) -> Result<(), Stop> {
        self.0.flush().map_err(stop)
    }
}

pub fn stop(error: io::Error) -> Stop {
    match error.kind() {
        ErrorKind::BrokenPipe => Stop::ReaderGone,
        ErrorKind::StorageFull => Stop::Failed(
            Failure::new(error)
                .context("cannot write to stdout")
                .hint("Free some space, or write elsewhere."),
        ),
        _ => Stop::Failed(Failure::new(error).context("cannot write to stdout")),
    }
}
