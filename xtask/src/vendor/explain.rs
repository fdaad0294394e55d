//! `cargo xtask vendor status --explain NAME`: a code, or the requirements of the guard of a patch.

use diag::Diagnostic;
use patchset::explain::requirements;
use patchset::{CODES, Vendored, VendoredPatch};

use super::folders;
use crate::setup::Common;

/// The explanation of a code or patch; without a name, of all codes.
pub fn explain(common: &Common, name: &str) -> anyhow::Result<String> {
    if name.is_empty() {
        return Ok(CODES.iter().map(|code| diag::explain(code)).collect::<Vec<_>>().join("\n"));
    }
    if let Some(code) = CODES.iter().find(|code| code.id == name) {
        return Ok(diag::explain(code));
    }
    let mut known: Vec<String> = CODES.iter().map(|code| code.id.into()).collect();
    for folder in folders(common)? {
        let vendored = Vendored::read(&folder)?;
        for patch in vendored.patches() {
            if patch.is_named(name) {
                return Ok(guard(patch));
            }
            known.push(patch.name.clone());
        }
    }
    Err(Diagnostic::new(
        &crate::codes::VENDOR_ARGUMENT,
        format!("neither a code nor a patch has the name `{name}`"),
    )
    .expected(known.join(", "))
    .hint("cargo xtask vendor status --explain")
    .into())
}

/// The reason of a patch and every requirement of its guard.
fn guard(patch: &VendoredPatch) -> String {
    let all = requirements(patch);
    let width = all.iter().map(|requirement| requirement.code.id.len()).max().unwrap_or(0);
    let row = |label: &str, text: &str| format!("  {label:width$}  {}\n", diag::wrap(text, width + 4));
    all.iter().fold(format!("{}\n{}", patch.name, row("why", &patch.why)), |text, requirement| {
        text + &row(requirement.code.id, &requirement.text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::workspace_root;

    #[test]
    fn explains_the_guard_of_a_real_patch() {
        let vendored = Vendored::read(&workspace_root().join("vendor/openblas")).unwrap();
        let patch = vendored.patches().find(|patch| patch.is_named("3")).unwrap();
        insta::assert_snapshot!(guard(patch));
    }
}
