//! Traces of the protections that a compiler adds: stack canaries and checked string functions.
//!
//! They show in names only. One C library that was built with canaries puts `__stack_chk_fail` into a static program whose
//! own code has none, so the names of a linked file say "somewhere"; only objects and archives say where.

use serde::Serialize;

use super::{Form, SymbolTable};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// By these names.
    Seen(Vec<String>),
    NotSeen,
    /// There is no code to protect.
    NoCode,
    /// The names are gone.
    CannotTell,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hardening {
    pub stack_canary: Protection,
    pub fortify: Protection,
    /// Functions of the C library that have a checked twin and are called without the check.
    pub unchecked: Vec<String>,
}

/// Functions with a `__NAME_chk` twin in glibc, those that writers of exploits ask for first.
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
    form: Form,
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
    // A program without `.symtab` whose C library is shared still lists what it calls there.
    let is_linked_to_shared_libc = matches!(form, Form::Pie | Form::DynamicExecutable | Form::SharedObject);
    let can_tell = symbols.is_some() || (is_linked_to_shared_libc && dynamic_symbols.is_some());
    let protection = |names: Vec<String>| match (names.is_empty(), has_code) {
        (false, _) => Protection::Seen(names),
        (true, false) => Protection::NoCode,
        (true, true) if can_tell => Protection::NotSeen,
        (true, true) => Protection::CannotTell,
    };
    Hardening { stack_canary: protection(canary), fortify: protection(checked), unchecked }
}
