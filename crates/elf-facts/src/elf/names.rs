//! Common names of the numbers in ELF headers.

use crate::elf::types::ElfType;

/// Name of an `EI_OSABI` value, or the number of an unlisted one.
pub fn abi(number: u8) -> String {
    let name = match number {
        0 => "sysv",
        3 => "gnu",
        9 => "freebsd",
        64 => "arm-eabi",
        97 => "arm",
        255 => "standalone",
        _ => return number.to_string(),
    };
    name.into()
}

pub(super) fn machine(number: u16) -> String {
    let name = match number {
        3 => "i386",
        8 => "mips",
        20 => "powerpc",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        43 => "sparcv9",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv",
        258 => "loongarch",
        _ => return number.to_string(),
    };
    name.into()
}

pub(super) fn elf_type(number: u16) -> ElfType {
    match number {
        1 => ElfType::Relocatable,
        2 => ElfType::Executable,
        3 => ElfType::Dynamic,
        4 => ElfType::Core,
        _ => ElfType::Other,
    }
}

pub(super) fn segment(number: u32) -> String {
    let name = match number {
        0 => "PT_NULL",
        1 => "PT_LOAD",
        2 => "PT_DYNAMIC",
        3 => "PT_INTERP",
        4 => "PT_NOTE",
        5 => "PT_SHLIB",
        6 => "PT_PHDR",
        7 => "PT_TLS",
        0x6474_e550 => "PT_GNU_EH_FRAME",
        0x6474_e551 => "PT_GNU_STACK",
        0x6474_e552 => "PT_GNU_RELRO",
        0x6474_e553 => "PT_GNU_PROPERTY",
        _ => return format!("{number:#x}"),
    };
    name.into()
}

pub(super) fn flags(number: u32) -> String {
    let letter = |bit: u32, letter: char| if number & bit != 0 { letter } else { '-' };
    [letter(4, 'r'), letter(2, 'w'), letter(1, 'x')].iter().collect()
}
