//! Two clients of one server on loopback: the address is the same, so API keys tell them apart.

use std::io::Write;

use anyhow::Context;
use tempfile::NamedTempFile;

/// A file for `--api-keys`, removed when it is dropped.
pub struct KeyFile(NamedTempFile);

/// The client that sends the load.
pub const LOAD: &str = "load-client-0123456789";
/// A client beside it.
pub const OTHER: &str = "other-client-0123456789";

impl KeyFile {
    /// A file with both keys.
    pub fn create() -> anyhow::Result<Self> {
        let mut file = NamedTempFile::new().context("creating a file of API keys")?;
        writeln!(file, "load {LOAD}\nother {OTHER}").context("writing the API keys")?;
        Ok(Self(file))
    }

    /// Value of `--api-keys`.
    pub fn path(&self) -> String {
        self.0.path().display().to_string()
    }
}
