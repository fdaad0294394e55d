//! The error codes of the readers.

diag::codes! {
    /// The file is not an ELF file.
    pub NOT_ELF = Environment "not-elf": "a named file is not an ELF file" {
        "cause": "the first bytes are not `7f 45 4c 46`; a script, an archive or another executable format was given",
        "fix": "give the executable itself; `file FILE` shows the format of a file",
    }
    /// The ELF file is cut off.
    pub ELF_TRUNCATED = Environment "elf-truncated": "a header, table, segment or section ends beyond the end of the file" {
        "cause": "a download or copy was interrupted, or the file was edited",
        "fix": "build or download the file again and compare its digest with SHA256SUMS",
    }
    /// A reader cannot parse the file.
    pub ELF_MALFORMED = Environment "elf-malformed": "goblin or object cannot parse the file" {
        "cause": "a header or table is damaged, or contradicts the ELF specification",
        "fix": "build the file again; `readelf -hlS FILE` shows the damaged header",
    }
    /// The two readers disagree.
    pub READERS_DISAGREE = Environment "readers-disagree": "goblin and object read different values from the same bytes" {
        "cause": "the headers are ambiguous, so a loader may read other values than the gate",
        "fix": "build the file again and compare `readelf -hlSW FILE` with the two values of the message",
    }
}

/// The fix of a code: its last section.
pub(crate) fn fix(code: &'static diag::Code) -> &'static str {
    code.sections.last().map_or("", |(_, text)| *text)
}
