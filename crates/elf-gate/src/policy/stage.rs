//! The states in which a binary, and what belongs to it, is judged on its way to a release.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::facts::{Facts, Form};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// As the compiler or assembler wrote it: alone, or a member of a static library.
    Object,
    /// As the linker wrote it: symbols and debug information are there.
    Linked,
    /// Symbols and debug information are split off.
    Stripped,
    /// What was split off before stripping.
    Debug,
    /// Packed by UPX.
    Packed,
}

impl Stage {
    pub const ALL: [Stage; 5] = [Stage::Object, Stage::Linked, Stage::Stripped, Stage::Debug, Stage::Packed];

    /// The stage that the bytes look like, and why. A guess for people; a pipeline names the stage that it expects.
    pub fn detect(facts: &Facts) -> (Stage, &'static str) {
        match facts {
            Facts { upx: Some(_), .. } => (Stage::Packed, "it carries the marks of UPX"),
            Facts { form: Form::DebugFile, .. } => (Stage::Debug, "its code has no contents"),
            Facts { form: Form::Relocatable, .. } => (Stage::Object, "it is relocatable"),
            Facts { symbols: Some(_), .. } => (Stage::Linked, "it has a .symtab"),
            _ => (Stage::Stripped, "it has no .symtab and no mark of UPX"),
        }
    }

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownStage(String);

impl fmt::Display for UnknownStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Stage::ALL.map(|stage| format!("`{stage}`")).join(", ");
        write!(f, "unknown stage `{}`: there are {known}", self.0)
    }
}

impl std::error::Error for UnknownStage {}

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(name: &str) -> Result<Stage, UnknownStage> {
        Stage::ALL.into_iter().find(|stage| stage.name() == name).ok_or_else(|| UnknownStage(name.into()))
    }
}
