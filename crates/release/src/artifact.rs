//! The states of the shipped binary, one type each. A stage takes the type that the one before it gave back, so a linked
//! binary cannot be packed unjudged, nor an unproved one be shipped: there is no way to make the value.

use std::path::{Path, PathBuf};

use anyhow::Context;
use elf_gate::RuleOutcome;
use serde::Serialize;

use crate::mutants::KillMatrix;
use crate::prove::Proof;
use store::Digest;

/// A file by its bytes.
#[derive(Debug, Clone, Serialize)]
pub struct Artifact {
    #[serde(skip)]
    pub path: PathBuf,
    pub sha256: Digest,
    pub size_bytes: u64,
}

impl Artifact {
    pub fn of(path: impl Into<PathBuf>) -> anyhow::Result<Self> {
        let path = path.into();
        let size_bytes = path.metadata().with_context(|| format!("reading {}", path.display()))?.len();
        Ok(Self { sha256: Digest::of_file(&path)?, size_bytes, path })
    }

    pub fn read(&self) -> anyhow::Result<Vec<u8>> {
        read(&self.path)
    }
}

pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// As the linker wrote it; symbols and debug information are inside.
#[derive(Debug)]
pub struct Linked {
    pub file: Artifact,
    pub verdicts: Vec<RuleOutcome>,
}

/// Without symbols; the debug file was split off before.
#[derive(Debug)]
pub struct Stripped {
    pub linked: Linked,
    pub file: Artifact,
    pub debug: Artifact,
    pub verdicts: Vec<RuleOutcome>,
}

/// After UPX. Gives back the stripped file byte for byte.
#[derive(Debug)]
pub struct Packed {
    pub stripped: Stripped,
    pub file: Artifact,
    pub verdicts: Vec<RuleOutcome>,
}

/// Damaged copies of all three files were made, and the gate refused each of them.
#[derive(Debug)]
pub struct Challenged {
    pub packed: Packed,
    pub kills: KillMatrix,
}

/// The packed bytes were run, and kept what was promised.
#[derive(Debug)]
pub struct Proved {
    pub packed: Packed,
    pub kills: KillMatrix,
    pub proofs: Vec<Proof>,
}
