//! Information beyond the bytes of the file.

use elf_facts::facts::{DebugLink, Facts};
use elf_facts::size::SizeBreakdown;

use crate::policy::date::Date;

/// Information beyond the bytes of the file. A rule whose evidence is missing cannot tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// Facts of the split debug file.
    pub debug_file: Option<&'a Facts>,
    /// Its name without folders, as in `.gnu_debuglink`.
    pub debug_file_name: Option<&'a str>,
    /// Its bytes, for the CRC-32 in `.gnu_debuglink`.
    pub debug_file_bytes: Option<&'a [u8]>,
    /// The program from which a debug file was split.
    pub program: Option<&'a Program>,
    /// The bytes of the judged file, for the CRC-32 that `program` holds, and for the rule that decodes instructions.
    pub own_bytes: Option<&'a [u8]>,
    /// Facts of the file before packing.
    pub parent: Option<&'a Facts>,
    /// SHA-256 of the file before packing, lower-case hexadecimal.
    pub parent_sha256: Option<&'a str>,
    /// SHA-256 of the unpacked file, lower-case hexadecimal, or why it cannot be unpacked.
    pub unpacked_sha256: Option<Result<&'a str, &'a str>>,
    /// Name of the file, for waivers that name files.
    pub file_name: Option<&'a str>,
    /// Folders of the build, ending in `/`; forbidden in the bytes like `local_paths`. They are not part of the policy, so
    /// that a policy is the same on every machine.
    pub build_folders: &'a [String],
    /// Size of the same file in the baseline release.
    pub baseline_size_bytes: Option<u64>,
    /// The parts of that file, for the message of a violation. Needs `own_bytes`.
    pub baseline_breakdown: Option<&'a SizeBreakdown>,
    /// The day of the judgement, for the expiry of waivers: the gate reads no clock.
    pub today: Option<Date>,
}

/// The program from which a debug file was split: the values that both files share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// File name, for reports.
    pub name: String,
    /// Build-id.
    pub build_id: Option<String>,
    /// `.gnu_debuglink`.
    pub debug_link: Option<DebugLink>,
}

impl Program {
    /// The values of a program with these facts.
    pub fn new(name: impl Into<String>, facts: &Facts) -> Program {
        Program { name: name.into(), build_id: facts.build_id.clone(), debug_link: facts.debug_link.clone() }
    }
}
