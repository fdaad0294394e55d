//! The states of a binary, and of its objects and debug file, between compilation and release.

use std::fmt;
use std::str::FromStr;

use elf_facts::facts::{Facts, FileKind};
use serde::{Deserialize, Serialize};

/// The state of a file. It decides which rules apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Output of the compiler or assembler: a file, or a member of a static library.
    Object,
    /// Output of the linker, with symbols and debug information.
    Linked,
    /// Without symbols and debug information.
    Stripped,
    /// The split debug file.
    Debug,
    /// Packed by UPX.
    Packed,
}

impl Stage {
    /// All stages, in the order of a build.
    pub const ALL: [Stage; 5] = [Stage::Object, Stage::Linked, Stage::Stripped, Stage::Debug, Stage::Packed];

    /// The most likely stage of a file, and why. Interactive use only: a pipeline must name the expected stage.
    pub fn detect(facts: &Facts) -> (Stage, &'static str) {
        match facts {
            Facts { upx: Some(_), .. } => (Stage::Packed, "it has a UPX magic number"),
            Facts { kind: FileKind::DebugFile, .. } => (Stage::Debug, "its code has no contents"),
            Facts { kind: FileKind::Relocatable, .. } => (Stage::Object, "it is relocatable"),
            Facts { symbols: Some(_), .. } => (Stage::Linked, "it has a .symtab"),
            _ => (Stage::Stripped, "it has neither a .symtab nor a UPX magic number"),
        }
    }

    /// As flags, policies and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Object => "object",
            Stage::Linked => "linked",
            Stage::Stripped => "stripped",
            Stage::Debug => "debug",
            Stage::Packed => "packed",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is not a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownStage(String);

impl fmt::Display for UnknownStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Stage::ALL.map(|stage| format!("`{stage}`")).join(", ");
        write!(f, "unknown stage `{}`: expected {known}", self.0)
    }
}

impl std::error::Error for UnknownStage {}

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(name: &str) -> Result<Stage, UnknownStage> {
        Stage::ALL.into_iter().find(|stage| stage.name() == name).ok_or_else(|| UnknownStage(name.into()))
    }
}

/// The stages of a rule, and their names for explanations.
#[derive(Clone, Copy)]
pub(super) struct StageSet {
    pub(super) stages: &'static [Stage],
    pub(super) text: &'static str,
}

macro_rules! stage_sets {
    ($($(#[$doc:meta])* $set:ident = $($name:literal $stage:ident),+;)+) => {
        $(
            $(#[$doc])*
            pub(super) const $set: StageSet =
                StageSet { stages: &[$(Stage::$stage),+], text: stage_sets!(@text $($name),+) };
        )+
    };
    (@text $first:literal $(, $rest:literal)*) => { concat!($first $(, ", ", $rest)*) };
}

// Properties of a program do not apply to objects and debug files, which are never loaded.
stage_sets! {
    EVERY = "object" Object, "linked" Linked, "stripped" Stripped, "debug" Debug, "packed" Packed;
    PROGRAM = "linked" Linked, "stripped" Stripped, "packed" Packed;
    WITH_CODE = "object" Object, "linked" Linked, "stripped" Stripped, "packed" Packed;
    UNPACKED = "linked" Linked, "stripped" Stripped;
    BEFORE_PACKING = "object" Object, "linked" Linked, "stripped" Stripped;
    WITH_DEBUG_SECTIONS = "object" Object, "linked" Linked, "debug" Debug;
    IDENTIFIED = "linked" Linked, "stripped" Stripped, "debug" Debug;
    COMPILED = "object" Object, "linked" Linked;
    OBJECT = "object" Object;
    LINKED = "linked" Linked;
    STRIPPED = "stripped" Stripped;
    DEBUG = "debug" Debug;
    PACKED = "packed" Packed;
}
