//! What kind of program a file is. `e_type` alone does not tell: ET_DYN is a shared library, a position-independent
//! program with a loader, or one that relocates itself.

use serde::{Deserialize, Serialize};

use super::{Dynamic, Header, Kind};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// ET_EXEC that asks for nobody.
    StaticExecutable,
    /// ET_DYN that relocates itself.
    StaticPie,
    /// ET_EXEC with a loader or libraries.
    DynamicExecutable,
    /// ET_DYN program with a loader.
    Pie,
    SharedObject,
    Relocatable,
    /// What `--only-keep-debug` splits off.
    DebugFile,
    Core,
    /// ET_DYN that could be a library as well as a program.
    Undecided,
}

impl Form {
    pub fn name(self) -> &'static str {
        match self {
            Form::StaticExecutable => "static-executable",
            Form::StaticPie => "static-pie",
            Form::DynamicExecutable => "dynamic-executable",
            Form::Pie => "pie",
            Form::SharedObject => "shared-object",
            Form::Relocatable => "relocatable",
            Form::DebugFile => "debug-file",
            Form::Core => "core",
            Form::Undecided => "undecided",
        }
    }
}

/// The form, and what it was told by.
pub(super) fn form(
    header: &Header,
    interpreter: Option<&str>,
    dynamic: Option<&Dynamic>,
    is_debug_only: bool,
) -> (Form, &'static str) {
    const DF_1_PIE: u64 = 0x0800_0000;
    if is_debug_only {
        return (Form::DebugFile, "code without contents");
    }
    let needs = dynamic.is_some_and(|dynamic| !dynamic.needed.is_empty());
    let has_name = dynamic.is_some_and(|dynamic| dynamic.soname.is_some());
    let says_pie = dynamic.is_some_and(|dynamic| dynamic.flags_1 & DF_1_PIE != 0);
    match header.kind {
        Kind::Relocatable => (Form::Relocatable, "ET_REL"),
        Kind::Core => (Form::Core, "ET_CORE"),
        Kind::Other => (Form::Undecided, "an e_type of its own"),
        Kind::Executable if interpreter.is_some() => (Form::DynamicExecutable, "ET_EXEC with PT_INTERP"),
        Kind::Executable if needs => (Form::DynamicExecutable, "ET_EXEC with DT_NEEDED"),
        Kind::Executable => (Form::StaticExecutable, "ET_EXEC without PT_INTERP and DT_NEEDED"),
        Kind::Dynamic if says_pie && interpreter.is_some() => (Form::Pie, "DF_1_PIE and PT_INTERP"),
        Kind::Dynamic if says_pie && needs => (Form::Pie, "DF_1_PIE and DT_NEEDED"),
        Kind::Dynamic if says_pie => (Form::StaticPie, "DF_1_PIE without PT_INTERP and DT_NEEDED"),
        // libc.so.6 and ld.so can be run, and are libraries all the same.
        Kind::Dynamic if has_name => (Form::SharedObject, "DT_SONAME"),
        Kind::Dynamic if interpreter.is_some() => (Form::Pie, "PT_INTERP without DT_SONAME"),
        Kind::Dynamic if header.entry == 0 => (Form::SharedObject, "no entry point"),
        Kind::Dynamic if dynamic.is_none() => (Form::StaticPie, "an entry point and no dynamic section"),
        Kind::Dynamic if needs => (Form::SharedObject, "DT_NEEDED without PT_INTERP"),
        Kind::Dynamic => (Form::Undecided, "an entry point, and neither DF_1_PIE, DT_SONAME nor DT_NEEDED"),
    }
}
