//! Why a file yields no facts.

use std::fmt;

use diag::{Code, Diagnostic};

use crate::codes;

/// Why a file yields no facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactsError {
    /// The file does not start with the ELF magic number.
    NotElf {
        /// The first bytes, and the format that they indicate.
        found: String,
    },
    /// A header, table, segment or section ends beyond the end of the file.
    Truncated {
        /// The part.
        what: String,
        /// Required size of the file.
        needed_bytes: u64,
        /// Size of the file.
        found_bytes: u64,
    },
    /// At least one of the libraries cannot read the file.
    Malformed {
        /// Result of goblin.
        goblin: String,
        /// Result of object.
        object: String,
    },
    /// The two libraries read different values from the same bytes.
    Disagreement {
        /// The structure.
        what: &'static str,
        /// Value that goblin reads.
        goblin: String,
        /// Value that object reads.
        object: String,
    },
}

impl FactsError {
    /// The kind of error, with its explanation and fix.
    pub fn code(&self) -> &'static Code {
        match self {
            FactsError::NotElf { .. } => &codes::NOT_ELF,
            FactsError::Truncated { .. } => &codes::ELF_TRUNCATED,
            FactsError::Malformed { .. } => &codes::ELF_MALFORMED,
            FactsError::Disagreement { .. } => &codes::READERS_DISAGREE,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        codes::fix(self.code())
    }
}

impl From<FactsError> for Diagnostic {
    fn from(error: FactsError) -> Diagnostic {
        Diagnostic::new(error.code(), error.to_string()).hint(error.hint())
    }
}

impl fmt::Display for FactsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FactsError::NotElf { found } => {
                write!(f, "not an ELF file: expected `7f 45 4c 46` at offset 0, found {found}")
            }
            FactsError::Truncated { what, needed_bytes, found_bytes } => {
                write!(f, "truncated ELF file: {what} needs {needed_bytes} bytes, the file has {found_bytes}")
            }
            FactsError::Malformed { goblin, object } => {
                write!(f, "malformed ELF file: goblin reports `{goblin}`, object reports `{object}`")
            }
            FactsError::Disagreement { what, goblin, object } => {
                write!(
                    f,
                    "the two readers disagree on the {what}: goblin reads {goblin}, object reads {object}"
                )
            }
        }
    }
}

impl std::error::Error for FactsError {}

/// Rejects files that are too short for an ELF header or do not start with the magic number.
pub(super) fn require_elf_magic(bytes: &[u8]) -> Result<(), FactsError> {
    const MAGIC: &[u8] = b"\x7fELF";
    if bytes.is_empty() {
        return Err(FactsError::NotElf { found: "an empty file".into() });
    }
    if !bytes.starts_with(&MAGIC[..MAGIC.len().min(bytes.len())]) {
        return Err(FactsError::NotElf { found: describe_start(bytes) });
    }
    let needed_bytes = if bytes.get(4) == Some(&1) { 52 } else { 64 };
    if (bytes.len() as u64) < needed_bytes {
        let found_bytes = bytes.len() as u64;
        return Err(FactsError::Truncated { what: "the ELF header".into(), needed_bytes, found_bytes });
    }
    Ok(())
}

fn describe_start(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(4)];
    let hex: Vec<String> = start.iter().map(|byte| format!("{byte:02x}")).collect();
    let sample = &bytes[..bytes.len().min(64)];
    let is_text = sample.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
    let kind = match bytes {
        _ if bytes.starts_with(b"!<arch>\n") => " (an ar archive)",
        _ if bytes.starts_with(&[0x1f, 0x8b]) => " (gzip data)",
        _ if bytes.starts_with(b"MZ") => " (a PE executable)",
        _ if is_text => " (text)",
        _ => "",
    };
    format!("`{}`{kind}", hex.join(" "))
}
