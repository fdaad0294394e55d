//! The baseline of this release: the sizes in the `dist-manifest.json` of the previous one.

use std::path::Path;

use elf_gate::Stage;
use elf_gate::size::SizeBreakdown;
use serde::{Deserialize, Serialize};

use diag::Diagnostic;

use crate::codes::BASELINE_INVALID;

/// Read from a manifest. Fields that are not compared are not read, so older manifests work too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Name of the product.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Its target triple.
    pub target: String,
    stages: Vec<Size>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Size {
    stage: Stage,
    size_bytes: u64,
    /// Absent in older manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    breakdown: Option<SizeBreakdown>,
}

impl Baseline {
    /// Reads the manifest of the previous release.
    pub fn read(path: &Path) -> Result<Baseline, Diagnostic> {
        let hint = "name the dist-manifest.json that the previous `cargo xtask dist` wrote";
        let problem = |message: &str| Diagnostic::new(&BASELINE_INVALID, message).file(path).hint(hint);
        let text = std::fs::read_to_string(path)
            .map_err(|error| problem("the manifest of the previous release cannot be read").cause(error))?;
        Baseline::parse(&text).map_err(|error| problem("the file is no manifest of a release").cause(error))
    }

    /// Reads the text of a manifest.
    pub fn parse(text: &str) -> Result<Baseline, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The size of a file of that release, if it had one.
    pub fn size_bytes(&self, stage: Stage) -> Option<u64> {
        self.stages.iter().find(|size| size.stage == stage).map(|size| size.size_bytes)
    }

    /// The parts of a file of that release, if they are known.
    pub fn breakdown(&self, stage: Stage) -> Option<&SizeBreakdown> {
        self.stages.iter().find(|size| size.stage == stage)?.breakdown.as_ref()
    }

    /// An error for another product or target: their sizes show no growth.
    pub fn is_of(&self, product: &str, target: &str) -> Result<(), Diagnostic> {
        if (self.product.as_str(), self.target.as_str()) == (product, target) {
            return Ok(());
        }
        Err(Diagnostic::new(
            &BASELINE_INVALID,
            "the manifest of the previous release is of another product or target",
        )
        .expected(format!("{product} for {target}"))
        .found(format!("{} for {}", self.product, self.target))
        .hint("name the manifest of the previous release of the same product and target"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_sizes_of_a_manifest() {
        let baseline = Baseline::parse(
            r#"{"schema": 1, "product": "p", "version": "1", "target": "t", "files": [],
                "stages": [{"stage": "packed", "size_bytes": 7, "rules": []}]}"#,
        )
        .unwrap();
        assert_eq!(baseline.size_bytes(Stage::Packed), Some(7));
        assert_eq!(baseline.size_bytes(Stage::Linked), None);
        assert!(baseline.is_of("p", "t").is_ok());
        insta::assert_snapshot!(baseline.is_of("p", "other").unwrap_err(), @"
        the manifest of the previous release is of another product or target
          expected: p for other
          found:    p for t
        ");
        assert!(Baseline::parse("{}").is_err());
    }
}
