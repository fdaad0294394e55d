//! Relocations that call a resolver at the start of a program. Each reader reads the tables of its own.

/// The number of `R_*_IRELATIVE`, or `None` for a machine without IFUNC.
pub(super) fn irelative_type(machine: u16) -> Option<u32> {
    match machine {
        2 | 18 | 43 => Some(249), // SPARC
        3 => Some(42),            // i386
        20 | 21 => Some(248),     // PowerPC
        22 => Some(61),           // S/390
        40 => Some(160),          // ARM
        62 => Some(37),           // x86-64
        183 => Some(1032),        // AArch64
        243 => Some(58),          // RISC-V
        258 => Some(12),          // LoongArch
        _ => None,
    }
}

/// Only loaded tables are applied at run time. Those of objects and of debug information are not loaded.
pub(super) const SHF_ALLOC: u64 = 2;
