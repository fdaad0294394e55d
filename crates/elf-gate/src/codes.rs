//! The error codes of the gate, besides the rules: [`RULES`](crate::policy::RULES) have codes of their own.

use diag::Code;

pub use elf_facts::codes::{ELF_MALFORMED, ELF_TRUNCATED, NOT_ELF, READERS_DISAGREE};

diag::codes! {
    /// A file cannot be opened or read.
    pub UNREADABLE = Environment "unreadable": "a file, list or stream cannot be opened or read" {
        "cause": "the path does not exist, access is denied, or it is not a regular file",
        "fix": "check the path and its permissions with `ls -l`",
    }
    /// A named file contains no ELF file.
    pub NO_ELF_FILE = Environment "no-elf-file": "a named container or a whole run contains no ELF file" {
        "cause": "another archive or folder was meant, or the build wrote its files elsewhere",
        "fix": "name the file that holds the program",
    }
    /// A container is damaged.
    pub CONTAINER_DAMAGED = Environment "container-damaged": "an archive or compressed stream is damaged" {
        "cause": "the archive is cut off, a checksum differs, or bytes follow its end mark",
        "fix": "build or download the archive again and compare its digest with SHA256SUMS",
    }
    /// A container format or feature is not supported.
    pub UNSUPPORTED_FORMAT = Environment "unsupported-format": "a container uses a format or feature that the gate does not read" {
        "cause": "bzip2, thin archives and sparse tar entries are not supported",
        "fix": "decompress or unpack the file and judge the result; write images with layers of gzip or zstd",
    }
    /// A limit on nesting or on the number of entries is exceeded.
    pub CONTAINER_LIMIT = Environment "container-limit": "containers are nested too deep, or have too many entries" {
        "cause": "the limits bound the work for hostile archives",
        "fix": "unpack the outer archives and judge their contents",
    }
    /// A limit on sizes is exceeded.
    pub DECOMPRESSED_LIMIT = Environment "decompressed-limit": "a container decompresses to more bytes than allowed" {
        "cause": "the input is a decompression bomb, or a very large archive",
        "fix": "unpack the archive and judge the files, or raise `--decompressed-max`",
    }
    /// A policy file is not valid TOML, or has an unknown key or a wrong value.
    pub POLICY_SYNTAX = Usage "policy-syntax": "a policy file does not parse" {
        "cause": "a key is unknown, or a value has the wrong type or unit",
        "fix": "correct the line; docs/gates.md lists every key, and crates/elf-gate/presets has examples",
    }
    /// A preset does not exist.
    pub UNKNOWN_PRESET = Usage "unknown-preset": "a policy or a flag names a preset that does not exist" {
        "cause": "the name is misspelled",
        "fix": "use `static-musl`, `static-pie-musl`, `hardened-glibc` or `shared-library`",
    }
    /// A policy names a rule that does not exist.
    pub UNKNOWN_RULE = Usage "unknown-rule": "a policy names a rule that does not exist" {
        "cause": "the name is misspelled",
        "fix": "use a rule of docs/gates.md",
    }
    /// A policy contradicts itself.
    pub POLICY_CONTRADICTION = Usage "policy-contradiction": "no file can satisfy the policy" {
        "cause": "two keys exclude each other at the named stages",
        "fix": "change one of the two keys, at that stage or in the table that it inherits from",
    }
    /// A policy makes an exception for a rule that it does not enable.
    pub POLICY_UNUSED_EXCEPTION = Usage "policy-unused-exception": "a severity, reason or waiver applies to a rule that the policy does not enable" {
        "cause": "the exception can never have an effect",
        "fix": "remove the exception, or enable the rule at that stage",
    }
    /// An exception has no reason.
    pub POLICY_MISSING_REASON = Usage "policy-missing-reason": "an exception has an empty reason" {
        "cause": "`reason` of a waiver or a value of `cannot_tell` is blank",
        "fix": "state why the exception is acceptable",
    }
    /// A flag has a wrong value, or flags contradict each other.
    pub USAGE = Usage "gate-usage": "the command line of the gate is wrong" {
        "cause": "a flag is unknown, has a wrong value, or does not fit the other flags",
        "fix": "see `elf-gate --help`",
    }
    /// A baseline manifest cannot be parsed.
    pub BASELINE_INVALID = Usage "baseline-invalid": "the baseline is not the manifest of a release" {
        "cause": "another JSON file was given",
        "fix": "give the dist-manifest.json of the earlier release, or the same file of that release",
    }
    /// A waiver names no input.
    pub WAIVER_WITHOUT_FILE = Violation "waiver-without-file": "a waiver names a file that is not among the inputs" {
        "cause": "the file was renamed or removed, and its waiver stayed",
        "fix": "remove the waiver, or judge that file in the same run",
    }
    /// A rule could not be decided.
    pub NOT_DECIDED = NotMeasured "not-decided": "the evidence that a rule needs is missing" {
        "cause": "the file was stripped or packed, or a second file was not given",
        "fix": "follow the hint of the rule, or state in the policy why the rule may stay undecided (`cannot_tell`)",
    }
    /// A report cannot be written.
    pub REPORT_NOT_WRITTEN = Environment "report-not-written": "a report or the step summary cannot be written" {
        "cause": "the folder does not exist, access is denied, or the disk is full",
        "fix": "create the folder and check its permissions",
    }
}

/// The codes of the readers and of the gate, without the rules.
pub fn all() -> impl Iterator<Item = &'static Code> {
    elf_facts::codes::CODES.iter().chain(CODES).copied()
}

/// The fix of a code: its last section.
pub fn fix(code: &'static Code) -> &'static str {
    code.sections.last().map_or("", |(_, text)| *text)
}
