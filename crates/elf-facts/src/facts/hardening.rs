//! Traces of the protections that a compiler adds: stack canaries and checked string functions.
//!
//! Only symbol names show them. One C library with canaries puts `__stack_chk_fail` into a static program whose own code has
//! none. In a linked file the name therefore means "somewhere"; only objects and archives show where.

use serde::Serialize;

use crate::elf::symbols::SymbolTable;
use crate::facts::file_kind::FileKind;

/// Whether a protection is present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// These symbols show it.
    Present(Vec<String>),
    /// No symbol shows it.
    Absent,
    /// The file has no code.
    NoCode,
    /// The file has no symbol names.
    Unknown,
}

/// Compiler protections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hardening {
    /// `-fstack-protector`.
    pub stack_canary: Protection,
    /// `_FORTIFY_SOURCE`.
    pub fortify: Protection,
    /// Calls of libc functions that have a checked variant.
    pub unchecked: Vec<String>,
}

/// Functions with a `__NAME_chk` variant in glibc, limited to those that exploits use most.
const FORTIFIABLE: [&str; 20] = [
    "memcpy",
    "memmove",
    "memset",
    "mempcpy",
    "strcpy",
    "strncpy",
    "stpcpy",
    "strcat",
    "strncat",
    "sprintf",
    "snprintf",
    "vsprintf",
    "vsnprintf",
    "fgets",
    "gets",
    "read",
    "pread",
    "recv",
    "readlink",
    "realpath",
];
const CANARY: [&str; 3] = ["__stack_chk_fail", "__stack_chk_fail_local", "__stack_chk_guard"];

pub(super) fn hardening(
    kind: FileKind,
    has_code: bool,
    symbols: Option<&SymbolTable>,
    dynamic_symbols: Option<&SymbolTable>,
) -> Hardening {
    let mut canary = Vec::new();
    let mut checked = Vec::new();
    let mut unchecked = Vec::new();
    for entry in symbols.into_iter().chain(dynamic_symbols).flat_map(SymbolTable::entries) {
        let Ok(name) = std::str::from_utf8(entry.name) else { continue };
        let name = name.split('@').next().unwrap_or(name);
        let list = if CANARY.contains(&name) {
            &mut canary
        } else if name.starts_with("__") && name.ends_with("_chk") {
            &mut checked
        } else if !entry.is_defined && FORTIFIABLE.contains(&name) {
            &mut unchecked
        } else {
            continue;
        };
        if !list.iter().any(|known| known == name) {
            list.push(name.to_string());
        }
    }
    for list in [&mut canary, &mut checked, &mut unchecked] {
        list.sort_unstable();
        list.truncate(32);
    }
    // Without `.symtab`, `.dynsym` still lists the calls into a shared libc.
    let uses_shared_libc =
        matches!(kind, FileKind::Pie | FileKind::DynamicExecutable | FileKind::SharedObject);
    let is_known = symbols.is_some() || (uses_shared_libc && dynamic_symbols.is_some());
    let protection = |names: Vec<String>| match (names.is_empty(), has_code) {
        (false, _) => Protection::Present(names),
        (true, false) => Protection::NoCode,
        (true, true) if is_known => Protection::Absent,
        (true, true) => Protection::Unknown,
    };
    Hardening { stack_canary: protection(canary), fortify: protection(checked), unchecked }
}
