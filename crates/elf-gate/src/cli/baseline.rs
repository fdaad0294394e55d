//! The earlier release that sizes are compared with.

use std::path::Path;

use diag::Diagnostic;
use elf_facts::size::SizeBreakdown;
use serde::Deserialize;

use crate::cli::input_bytes;
use crate::codes;
use crate::policy::Stage;

/// Sizes of the earlier release.
pub(super) enum Baseline {
    /// `dist-manifest.json` of that release.
    Manifest(Manifest),
    /// The same file of that release.
    File {
        /// Its size.
        size_bytes: u64,
        /// Its parts, if it is an ELF file.
        breakdown: Option<SizeBreakdown>,
    },
}

/// The part of a manifest that is compared. Other fields are ignored, so that older manifests are accepted.
#[derive(Deserialize)]
pub(super) struct Manifest {
    stages: Vec<StageSize>,
}

#[derive(Deserialize)]
struct StageSize {
    stage: Stage,
    size_bytes: u64,
    /// Absent in manifests of older releases.
    breakdown: Option<SizeBreakdown>,
}

impl Baseline {
    pub(super) fn read(path: &Path) -> Result<Baseline, Diagnostic> {
        let bytes = input_bytes::file(path)?;
        let json = std::str::from_utf8(&bytes).ok().filter(|text| text.trim_start().starts_with('{'));
        let Some(json) = json else {
            let breakdown = SizeBreakdown::of(&bytes, None, false).ok();
            return Ok(Baseline::File { size_bytes: bytes.len() as u64, breakdown });
        };
        let manifest = serde_json::from_str(json).map_err(|error| {
            Diagnostic::new(&codes::BASELINE_INVALID, "the baseline is not the manifest of a release")
                .file(path)
                .cause(error)
                .hint(codes::fix(&codes::BASELINE_INVALID))
        });
        manifest.map(Baseline::Manifest)
    }

    /// `None` when that release has no file of the stage.
    pub(super) fn size_bytes(&self, stage: Stage) -> Option<u64> {
        match self {
            Baseline::Manifest(manifest) => {
                manifest.stages.iter().find(|size| size.stage == stage).map(|size| size.size_bytes)
            }
            Baseline::File { size_bytes, .. } => Some(*size_bytes),
        }
    }

    /// `None` when that release has no file of the stage, or no breakdown of it.
    pub(super) fn breakdown(&self, stage: Stage) -> Option<&SizeBreakdown> {
        match self {
            Baseline::Manifest(manifest) => {
                manifest.stages.iter().find(|size| size.stage == stage)?.breakdown.as_ref()
            }
            Baseline::File { breakdown, .. } => breakdown.as_ref(),
        }
    }
}
