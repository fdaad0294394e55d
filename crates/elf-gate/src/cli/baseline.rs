//! The earlier release that sizes are compared with.

use std::path::Path;

use diag::Diagnostic;
use serde::Deserialize;

use crate::cli::input_bytes;
use crate::codes;
use crate::policy::Stage;

/// Sizes of the earlier release.
pub(super) enum Baseline {
    /// `dist-manifest.json` of that release.
    Manifest(Manifest),
    /// Size of the same file of that release.
    FileBytes(u64),
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
}

impl Baseline {
    pub(super) fn read(path: &Path) -> Result<Baseline, Diagnostic> {
        let bytes = input_bytes::file(path)?;
        let json = std::str::from_utf8(&bytes).ok().filter(|text| text.trim_start().starts_with('{'));
        let Some(json) = json else { return Ok(Baseline::FileBytes(bytes.len() as u64)) };
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
            Baseline::FileBytes(bytes) => Some(*bytes),
        }
    }
}
