//! The processor that a declared proof runs on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The build machine, or a CPU model that qemu-user emulates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Cpu {
    /// `native`: the processor of the build machine.
    Native,
    /// A name of `qemu-x86_64 -cpu help`, such as `Nehalem`; features may follow: `qemu64,+popcnt`.
    Emulated(String),
}

const NATIVE: &str = "native";

impl Cpu {
    /// The model of an emulated processor.
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Native => None,
            Self::Emulated(model) => Some(model),
        }
    }

    /// Whether the name can be that of a model, and no option of qemu.
    pub(super) fn is_plain(&self) -> bool {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.,+=".contains(c);
        self.model().is_none_or(|model| {
            model.starts_with(|c: char| c.is_ascii_alphanumeric()) && model.chars().all(is_plain)
        })
    }
}

impl From<String> for Cpu {
    fn from(name: String) -> Self {
        if name == NATIVE { Self::Native } else { Self::Emulated(name) }
    }
}

impl From<Cpu> for String {
    fn from(cpu: Cpu) -> Self {
        cpu.to_string()
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model().unwrap_or(NATIVE))
    }
}
