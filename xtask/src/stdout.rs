//! Results on stdout. `println!` panics when the disk is full or the reader has closed the pipe; a verb reports the first and
//! ignores the second.

use std::io::Write;

use anyhow::Context;

/// A reader that went away (`| head`) is no error of ours.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
}
