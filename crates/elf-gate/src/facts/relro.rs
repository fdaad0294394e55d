//! How much of what the loader writes becomes read-only before the program runs.

use serde::{Deserialize, Serialize};

use super::{Dynamic, PT_GNU_RELRO, Segment};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relro {
    #[default]
    None,
    /// PT_GNU_RELRO, and a table of functions that stays writable because they are bound at their first call.
    Partial,
    /// PT_GNU_RELRO, and nothing left to bind later.
    Full,
}

/// What the file asks for. Who carries it out is the loader, or in a static program its libc: glibc does, musl does not.
pub(super) fn relro(segments: &[Segment], dynamic: Option<&Dynamic>) -> Relro {
    let has_range = segments.iter().any(|s| s.kind_number == PT_GNU_RELRO && s.memory_size_bytes > 0);
    match (has_range, dynamic) {
        (false, _) => Relro::None,
        (true, Some(dynamic)) if dynamic.has_lazy_bindings => Relro::Partial,
        (true, _) => Relro::Full,
    }
}
