//! The kind of a file. `e_type` is not sufficient: ET_DYN stands for a shared library, a position-independent program with a
//! loader, and a program that relocates itself.

use serde::{Deserialize, Serialize};

use crate::elf::types::{Dynamic, ElfType, Header};

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// ET_EXEC without a loader and without libraries.
    StaticExecutable,
    /// ET_DYN that relocates itself.
    StaticPie,
    /// ET_EXEC with a loader or libraries.
    DynamicExecutable,
    /// ET_DYN program with a loader.
    Pie,
    /// ET_DYN library.
    SharedObject,
    /// ET_REL.
    Relocatable,
    /// Output of `objcopy --only-keep-debug`.
    DebugFile,
    /// ET_CORE.
    Core,
    /// ET_DYN that may be a library or a program.
    Undecided,
}

impl FileKind {
    /// As policies and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            FileKind::StaticExecutable => "static-executable",
            FileKind::StaticPie => "static-pie",
            FileKind::DynamicExecutable => "dynamic-executable",
            FileKind::Pie => "pie",
            FileKind::SharedObject => "shared-object",
            FileKind::Relocatable => "relocatable",
            FileKind::DebugFile => "debug-file",
            FileKind::Core => "core",
            FileKind::Undecided => "undecided",
        }
    }
}

/// The kind, and the structures from which it follows.
pub(super) fn classify(
    header: &Header,
    interpreter: Option<&str>,
    dynamic: Option<&Dynamic>,
    is_debug_only: bool,
) -> (FileKind, &'static str) {
    const DF_1_PIE: u64 = 0x0800_0000;
    if is_debug_only {
        return (FileKind::DebugFile, "code without contents");
    }
    let needs = dynamic.is_some_and(|dynamic| !dynamic.needed.is_empty());
    let has_name = dynamic.is_some_and(|dynamic| dynamic.soname.is_some());
    let says_pie = dynamic.is_some_and(|dynamic| dynamic.flags_1 & DF_1_PIE != 0);
    match header.elf_type {
        ElfType::Relocatable => (FileKind::Relocatable, "ET_REL"),
        ElfType::Core => (FileKind::Core, "ET_CORE"),
        ElfType::Other => (FileKind::Undecided, "an unknown e_type"),
        ElfType::Executable if interpreter.is_some() => {
            (FileKind::DynamicExecutable, "ET_EXEC with PT_INTERP")
        }
        ElfType::Executable if needs => (FileKind::DynamicExecutable, "ET_EXEC with DT_NEEDED"),
        ElfType::Executable => (FileKind::StaticExecutable, "ET_EXEC without PT_INTERP and DT_NEEDED"),
        ElfType::Dynamic if says_pie && interpreter.is_some() => (FileKind::Pie, "DF_1_PIE and PT_INTERP"),
        ElfType::Dynamic if says_pie && needs => (FileKind::Pie, "DF_1_PIE and DT_NEEDED"),
        ElfType::Dynamic if says_pie => (FileKind::StaticPie, "DF_1_PIE without PT_INTERP and DT_NEEDED"),
        // libc.so.6 and ld.so are executable, and libraries.
        ElfType::Dynamic if has_name => (FileKind::SharedObject, "DT_SONAME"),
        ElfType::Dynamic if interpreter.is_some() => (FileKind::Pie, "PT_INTERP without DT_SONAME"),
        ElfType::Dynamic if header.entry == 0 => (FileKind::SharedObject, "no entry point"),
        ElfType::Dynamic if dynamic.is_none() => {
            (FileKind::StaticPie, "an entry point and no dynamic section")
        }
        ElfType::Dynamic if needs => (FileKind::SharedObject, "DT_NEEDED without PT_INTERP"),
        ElfType::Dynamic => {
            (FileKind::Undecided, "an entry point, and neither DF_1_PIE, DT_SONAME nor DT_NEEDED")
        }
    }
}
