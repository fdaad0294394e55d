//! Files of the workspace that a proof compares with.

use std::path::Path;

use anyhow::Context;
use diag::Diagnostic;

use crate::codes::PROOF_INPUT;

/// A JSON document of the workspace.
pub(super) fn read_json(path: &Path) -> anyhow::Result<serde_json::Value> {
    let text = read_input(path)?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is no JSON", path.display()))
        .map_err(|error| Diagnostic::new(&PROOF_INPUT, format!("{error:#}")).file(path).into())
}

/// A file of the workspace.
pub(super) fn read_input(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Diagnostic::new(&PROOF_INPUT, "an input of a proof cannot be read")
            .file(path)
            .cause(error)
            .hint(format!("restore it: git checkout {}", path.display()))
            .into()
    })
}
