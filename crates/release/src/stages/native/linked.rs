//! The last check of the patches before the behavioural tests: the functions of the guards are in the linked file.

use std::collections::BTreeSet;

use anyhow::Context;
use diag::Diagnostics;
use object::{Object, ObjectSymbol};
use patchset::liveness::{self, LivenessReport};
use store::Digest;

use super::NativeLibs;
use crate::artifact::Artifact;

/// Shows that one linked file has every function that a patch changes.
///
/// ```compile_fail,E0451
/// fn forge(sha256: store::Digest) -> release::stages::native::PatchesLinked {
///     release::stages::native::PatchesLinked { sha256, functions: Vec::new() }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct PatchesLinked {
    sha256: Digest,
    functions: Vec<(String, String)>,
}

impl PatchesLinked {
    /// Digest of the file that was read.
    pub fn sha256(&self) -> &Digest {
        &self.sha256
    }

    /// Patch and function, for each function that was found.
    pub fn functions(&self) -> &[(String, String)] {
        &self.functions
    }

    #[cfg(test)]
    pub(crate) fn none(file: &Artifact) -> Self {
        Self { sha256: file.sha256().clone(), functions: Vec::new() }
    }
}

/// Reads the symbol table of the linked file and looks up each function of each guard.
pub fn require_linked(native: &NativeLibs, linked: &Artifact) -> anyhow::Result<PatchesLinked> {
    let reports: Vec<&LivenessReport> =
        native.libraries().iter().flat_map(|library| library.liveness()).collect();
    require_functions(&reports, linked)
}

fn require_functions(reports: &[&LivenessReport], linked: &Artifact) -> anyhow::Result<PatchesLinked> {
    let bytes = linked.read()?;
    let file = object::File::parse(bytes).with_context(|| format!("reading {}", linked.path().display()))?;
    let names: BTreeSet<&str> = file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    Diagnostics(liveness::linked_violations(reports.iter().copied(), &names))
        .into_result()
        .with_context(|| format!("checking the patches in {}", linked.path().display()))?;
    let functions = reports.iter().flat_map(|report| {
        report.functions.iter().map(move |function| (report.patch.clone(), function.clone()))
    });
    Ok(PatchesLinked { sha256: linked.sha256().clone(), functions: functions.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_a_file_without_a_patched_function() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/elf/linked");
        let linked = Artifact::of(path).unwrap();
        let report = |function: &str| -> LivenessReport {
            serde_json::from_value(serde_json::json!({
                "patch": "0001-x", "compiled": [], "lines_added": 1, "lines_live": 1, "differs": [],
                "functions": [function], "test": "none"
            }))
            .unwrap()
        };
        let shown = require_functions(&[&report("required_function")], &linked).unwrap();
        assert_eq!((shown.functions().len(), shown.sha256()), (1, linked.sha256()));
        let error = require_functions(&[&report("absent_function")], &linked).unwrap_err();
        assert!(diag::has_code(&error, &patchset::codes::PATCH_LINKED), "{error:#}");
    }
}
