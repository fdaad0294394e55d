//! The last check of the patches before the behavioural tests: the functions of the guards are in the linked file.

use std::collections::BTreeSet;

use anyhow::Context;
use diag::{Diagnostic, Diagnostics};
use object::{Object, ObjectSymbol};
use store::Digest;

use super::NativeLibs;
use crate::artifact::Artifact;
use crate::codes::PATCH_NOT_LINKED;

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
    let wanted = native.libraries().iter().flat_map(|library| library.liveness()).flat_map(|chain| {
        chain.functions.iter().map(move |function| (chain.patch.clone(), function.clone()))
    });
    require_functions(wanted.collect(), linked)
}

fn require_functions(functions: Vec<(String, String)>, linked: &Artifact) -> anyhow::Result<PatchesLinked> {
    let bytes = linked.read()?;
    let file =
        object::File::parse(&*bytes).with_context(|| format!("reading {}", linked.path().display()))?;
    let names: BTreeSet<&str> = file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    functions
        .iter()
        .filter(|(_, function)| !names.contains(function.as_str()))
        .map(|(patch, function)| {
            Diagnostic::new(&PATCH_NOT_LINKED, format!("the linked file lacks a function of patch {patch}"))
                .file(linked.path())
                .stage("link")
                .rule(patch)
                .expected(format!("`{function}` in the symbol table"))
                .hint("`cargo xtask build-native` names the archive; check that its member is linked")
        })
        .collect::<Diagnostics>()
        .into_result()?;
    Ok(PatchesLinked { sha256: linked.sha256().clone(), functions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_a_file_without_a_patched_function() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/elf/linked");
        let linked = Artifact::of(path).unwrap();
        let function = |name: &str| vec![("0001-x".to_string(), name.to_string())];
        let shown = require_functions(function("required_function"), &linked).unwrap();
        assert_eq!((shown.functions().len(), shown.sha256()), (1, linked.sha256()));
        let error = require_functions(function("absent_function"), &linked).unwrap_err();
        assert!(diag::has_code(&error, &PATCH_NOT_LINKED), "{error:#}");
    }
}
