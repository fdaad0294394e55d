//! A file that is evidence for another file: its parent or its debug file.

use std::path::PathBuf;

use diag::Diagnostic;
use elf_facts::facts::{Facts, inspect};

use crate::cli::input_bytes::{self, InputBytes};

/// A file with its facts.
pub(super) struct EvidenceFile {
    pub(super) path: PathBuf,
    pub(super) bytes: InputBytes,
    pub(super) facts: Facts,
}

impl EvidenceFile {
    pub(super) fn read(path: PathBuf) -> Result<EvidenceFile, Diagnostic> {
        let bytes = input_bytes::file(&path)?;
        match inspect(&bytes) {
            Ok(facts) => Ok(EvidenceFile { path, bytes, facts }),
            Err(error) => Err(Diagnostic::from(error).file(path)),
        }
    }
}
