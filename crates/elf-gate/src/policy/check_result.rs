//! The result of a check, before waivers, severity and the default hint.

use crate::policy::outcome::Verdict;

/// The result of a check, before waivers, severity and the default hint.
pub(crate) struct CheckResult {
    pub(crate) verdict: Verdict,
    pub(crate) expected: String,
    pub(crate) found: String,
    pub(crate) hint: Option<String>,
    /// The single items that violate the rule, for waivers of items.
    pub(crate) items: Vec<String>,
}

impl CheckResult {
    pub(crate) fn pass_if(holds: bool, expected: impl Into<String>, found: impl Into<String>) -> CheckResult {
        let verdict = if holds { Verdict::Pass } else { Verdict::Violation };
        CheckResult { verdict, expected: expected.into(), found: found.into(), hint: None, items: Vec::new() }
    }

    pub(crate) fn pass_if_none(items: Vec<String>, expected: impl Into<String>) -> CheckResult {
        let found = list(&items);
        CheckResult { items, ..CheckResult::pass_if(found == "none", expected, found) }
    }

    pub(crate) fn cannot_tell(
        expected: impl Into<String>,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> CheckResult {
        let mut result = CheckResult::pass_if(false, expected, found);
        result.verdict = Verdict::CannotTell;
        result.hint = Some(hint.into());
        result
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> CheckResult {
        self.hint = Some(hint.into());
        self
    }
}

/// `none`, or the first items in one line with the number of the others.
pub(crate) fn list(items: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<&str> = items.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match items.len() {
        0 => "none".into(),
        count if count > SHOWN => format!("{} and {} more", shown.join(", "), count - SHOWN),
        _ => shown.join(", "),
    }
}
