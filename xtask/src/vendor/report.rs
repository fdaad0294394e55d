//! Patches and their violations as lines of a report.

use diag::Diagnostic;
use patchset::series::{PatchFit, PatchStatus};
use serde_json::{Value, json};

/// A status as one word; capitals need work.
pub fn word(status: PatchStatus) -> &'static str {
    match status {
        PatchStatus::Holds => "holds",
        PatchStatus::Fits => "fits",
        PatchStatus::Moved => "MOVED",
        PatchStatus::Applied => "APPLIED",
        PatchStatus::Conflict => "CONFLICT",
    }
}

/// One line for a violation: `FILE:LINE: message: expected …, found … [code]`.
pub fn line(violation: &Diagnostic) -> String {
    let fields = violation.fields();
    let mut text = fields.subject.file.as_ref().map(|file| format!("{}", file.display())).unwrap_or_default();
    if let Some(location) = fields.subject.location {
        text += &format!(":{}", location.line);
    }
    if !text.is_empty() {
        text += ": ";
    }
    text += &fields.message;
    let parts: Vec<String> = [("expected", &fields.expected), ("found", &fields.found)]
        .iter()
        .filter_map(|(label, part)| Some(format!("{label} {}", part.as_ref()?.replace('\n', ", "))))
        .collect();
    if !parts.is_empty() {
        text += &format!(": {}", parts.join(", "));
    }
    text + &format!(" [{}]", fields.code.id)
}

/// One line for each patch, with its violations below.
pub fn table(patches: &[PatchFit<'_>]) -> String {
    let width = patches.iter().map(|fit| fit.patch.name.len()).max().unwrap_or(0);
    patches.iter().fold(String::new(), |text, fit| {
        let violations = fit.violations_without_digests();
        let below: String =
            violations.iter().map(|violation| format!("      {}\n", line(violation))).collect();
        text + &format!("  {:width$}  {}\n{below}", fit.patch.name, word(fit.status()))
    })
}

/// The same as data.
pub fn patches_json(patches: &[PatchFit<'_>]) -> Vec<Value> {
    let row = |fit: &PatchFit<'_>| {
        json!({
            "name": fit.patch.name, "status": fit.status(), "violations": fit.violations_without_digests(),
        })
    };
    patches.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use diag::Location;
    use patchset::codes::{PATCH_DOES_NOT_APPLY, PATCH_MOVED};

    #[test]
    fn a_violation_is_one_line() {
        let moved =
            Diagnostic::new(&PATCH_MOVED, "hunk 2 is +1 lines away").file("driver/a.c").rule("0001-x");
        let conflict = Diagnostic::new(&PATCH_DOES_NOT_APPLY, "hunk 1 does not apply")
            .file("a.c")
            .at(Location { line: 139, column: 1 })
            .expected("`extern int one;`")
            .found("`extern int two;`");
        insta::assert_snapshot!([line(&moved), line(&conflict)].join("\n"));
    }
}
