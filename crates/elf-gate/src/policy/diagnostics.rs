//! Outcomes as diagnostics, for programs that stop at the first file that does not pass.

use std::path::Path;

use diag::{Code, Diagnostic};

use crate::codes;
use crate::image;
use crate::policy::outcome::{RuleOutcome, Verdict};
use crate::policy::stage::Stage;
use crate::policy::table::{RULES, rule};

/// All codes of the gate: the rules, the error codes, and the rules on images.
pub fn all_codes() -> impl Iterator<Item = &'static Code> {
    let image_rules = image::RULES.iter().map(|rule| &rule.code);
    RULES.iter().map(|rule| &rule.code).chain(codes::all()).chain(image_rules)
}

/// The outcomes that stop a file. A violation has the code of its rule, an undecided rule the code
/// [`NOT_DECIDED`](codes::NOT_DECIDED).
pub fn diagnostics(file: &Path, stage: Stage, outcomes: &[RuleOutcome]) -> Vec<Diagnostic> {
    let failed = outcomes.iter().filter(|outcome| outcome.effective() != Verdict::Pass);
    let diagnostics = failed.map(|outcome| {
        let (code, message) = match (outcome.verdict, rule(outcome.rule)) {
            (Verdict::Violation, Some(rule)) => (&rule.code, format!("{} is violated", outcome.rule)),
            _ => (&codes::NOT_DECIDED, format!("{} cannot be decided", outcome.rule)),
        };
        Diagnostic::new(code, message)
            .file(file)
            .stage(stage.name())
            .rule(outcome.rule)
            .expected(&outcome.expected)
            .found(&outcome.found)
            .hint(&outcome.hint)
    });
    diagnostics.collect()
}
