//! Why a file yields no facts. Each error says what was expected, what was found, and what to run next.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactsError {
    /// The first bytes are not those of an ELF file.
    NotElf { found: String },
    /// A header, table, segment or section ends beyond the end of the file.
    Truncated { what: String, needed_bytes: u64, found_bytes: u64 },
    /// Neither library can read it.
    Malformed { goblin: String, object: String },
    /// The two libraries read different things from the same bytes.
    Disagreement { what: &'static str, goblin: String, object: String },
}

impl FactsError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            FactsError::NotElf { .. } => "give the executable itself; `file FILE` says what this file is",
            FactsError::Truncated { .. } => {
                "the file is cut off: build or download it again and compare its digest with SHA256SUMS"
            }
            FactsError::Malformed { .. } => {
                "`readelf -hlS FILE` shows which header is damaged; build the file again"
            }
            FactsError::Disagreement { .. } => {
                "the headers are ambiguous, so nothing can be promised about this file: build it again, and compare \
                 `readelf -hlSW FILE` with the readings above"
            }
        }
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
                write!(f, "malformed ELF file: goblin says `{goblin}`, object says `{object}`")
            }
            FactsError::Disagreement { what, goblin, object } => {
                write!(f, "two readers disagree on the {what}: goblin reads {goblin}, object reads {object}")
            }
        }
    }
}

impl std::error::Error for FactsError {}

pub(super) fn refuse_what_is_not_elf(bytes: &[u8]) -> Result<(), FactsError> {
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
