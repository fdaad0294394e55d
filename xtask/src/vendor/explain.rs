//! `cargo xtask vendor status --explain NAME`: a check, or what the guard of a patch demands.

use diag::Diagnostic;
use patchset::Vendored;
use patchset::checks;
use patchset::series::is_number_of;

use super::folders;
use crate::setup::Common;

/// Without a name: all checks.
pub fn explain(common: &Common, name: &str) -> anyhow::Result<String> {
    if name.is_empty() {
        return Ok(checks::all().map(checks::explain).collect::<Vec<_>>().join("\n"));
    }
    if let Some(check) = checks::all().find(|check| check.name == name) {
        return Ok(checks::explain(check));
    }
    let mut known: Vec<String> = checks::all().map(|check| check.name.into()).collect();
    for folder in folders(common)? {
        let vendored = Vendored::read(&folder)?;
        for patch in vendored.patches() {
            if patch.name == name || is_number_of(name, &patch.name) {
                return Ok(checks::explain_guard(patch));
            }
            known.push(patch.name.clone());
        }
    }
    Err(Diagnostic::new(&crate::codes::VENDOR_ARGUMENT, format!("neither a check nor a patch is named `{name}`"))
        .expected(known.join(", "))
        .hint("cargo xtask vendor status --explain")
        .into())
}
