//! Buffered data on stdout. Write errors are reported.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::process::ExitCode;

use diag::Diagnostic;

use super::exit::CommandResult;
use crate::codes;

const BUFFER_BYTES: usize = 64 << 10;

/// Reason to write no more.
pub enum Stop {
    /// The reader closed the pipe, as `head` does. The command ends with success.
    ReaderGone,
    /// Another failure.
    Failed(Diagnostic),
}

/// stdout of the process.
pub struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    /// Locks stdout.
    pub fn stdout() -> Self {
        Self(BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock()))
    }

    /// Writes a line and its newline.
    pub fn line(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.0.write_all(bytes).and_then(|()| self.0.write_all(b"\n")).map_err(stop)
    }

    /// Writes the buffer. Must be called at the end: dropping the buffer would ignore the error.
    pub fn flush(&mut self) -> Result<(), Stop> {
        self.0.flush().map_err(stop)
    }
}

/// Prints a text with a newline at its end.
pub fn print(text: &str) -> CommandResult {
    let mut output = Output::stdout();
    match output.line(text.trim_end().as_bytes()).and_then(|()| output.flush()) {
        Ok(()) | Err(Stop::ReaderGone) => Ok(ExitCode::SUCCESS),
        Err(Stop::Failed(diagnostic)) => Err(diagnostic),
    }
}

/// Classifies a write error of stdout.
pub fn stop(error: io::Error) -> Stop {
    let code = match error.kind() {
        ErrorKind::BrokenPipe => return Stop::ReaderGone,
        ErrorKind::StorageFull => &diag::DISK_FULL,
        _ => &codes::STDOUT_FAILED,
    };
    let hint = match code == &diag::DISK_FULL {
        true => "free space, or write to another disk",
        false => codes::fix(code),
    };
    Stop::Failed(codes::caused(code, "cannot write to stdout", &error).hint(hint))
}
