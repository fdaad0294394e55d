//! Relocated data that becomes read-only before the program runs.

use serde::{Deserialize, Serialize};

use crate::elf::types::{Dynamic, PT_GNU_RELRO, Segment};

/// Extent of the protection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relro {
    /// No PT_GNU_RELRO.
    #[default]
    None,
    /// PT_GNU_RELRO, with a function table that stays writable for lazy binding.
    Partial,
    /// PT_GNU_RELRO without lazy binding.
    Full,
}

/// The protection that the file requests. The loader applies it, or the libc of a static program: glibc does, musl does not.
pub(super) fn relro(segments: &[Segment], dynamic: Option<&Dynamic>) -> Relro {
    let has_range = segments.iter().any(|s| s.kind_number == PT_GNU_RELRO && s.memory_size_bytes > 0);
    match (has_range, dynamic) {
        (false, _) => Relro::None,
        (true, Some(dynamic)) if dynamic.has_lazy_bindings => Relro::Partial,
        (true, _) => Relro::Full,
    }
}
