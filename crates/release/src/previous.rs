//! The release before, as far as this one is compared with it: the sizes in its `dist-manifest.json`.

use std::path::Path;

use anyhow::Context;
use elf_gate::Stage;
use serde::{Deserialize, Serialize};

use diag::Diagnostic;

/// Taken from a manifest. Fields that are not compared are not read, so that older manifests serve, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    pub product: String,
    pub version: String,
    pub target: String,
    stages: Vec<Size>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Size {
    stage: Stage,
    size_bytes: u64,
}

impl Previous {
    pub fn read(path: &Path) -> anyhow::Result<Previous> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the previous manifest `{}`", path.display()))?;
        Previous::parse(&text).map_err(|error| {
            Diagnostic::new(
                &crate::GENERAL,
                format!("`{}` is no manifest of a release: {error}", path.display()),
            )
            .hint("give the dist-manifest.json that the previous `cargo xtask dist` wrote")
            .into()
        })
    }

    pub fn parse(text: &str) -> Result<Previous, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Nothing when that release had no such file.
    pub fn size_bytes(&self, stage: Stage) -> Option<u64> {
        self.stages.iter().find(|size| size.stage == stage).map(|size| size.size_bytes)
    }

    /// Sizes of two products say nothing about growth.
    pub fn is_of(&self, product: &str, target: &str) -> Result<(), Diagnostic> {
        if (self.product.as_str(), self.target.as_str()) == (product, target) {
            return Ok(());
        }
        Err(Diagnostic::new(&crate::GENERAL, "the previous manifest is that of another product or target")
            .expected(format!("{product} for {target}"))
            .found(format!("{} for {}", self.product, self.target))
            .hint("give the manifest of the release before this one"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_a_manifest() {
        let previous = Previous::parse(
            r#"{"schema": 1, "product": "p", "version": "1", "target": "t", "files": [],
                "stages": [{"stage": "packed", "size_bytes": 7, "rules": []}]}"#,
        )
        .unwrap();
        assert_eq!(previous.size_bytes(Stage::Packed), Some(7));
        assert_eq!(previous.size_bytes(Stage::Linked), None);
        assert!(previous.is_of("p", "t").is_ok());
        assert!(previous.is_of("p", "other").unwrap_err().to_string().contains("p for t"));
        assert!(Previous::parse("{}").is_err());
    }
}
