//! Which waivers of a policy apply to a file, and which of them are used.

use std::cell::Cell;

use crate::policy::check_result::{CheckResult, list};
use crate::policy::date::Date;
use crate::policy::evidence::Evidence;
use crate::policy::outcome::Waived;
use crate::policy::schema::Policy;
use crate::policy::waiver::Waiver;
use elf_facts::patterns as glob;

/// The waivers that apply to one file.
pub(super) struct WaiverUsage<'a> {
    pub(super) today: Option<Date>,
    pub(super) entries: Vec<UsedWaiver<'a>>,
}

/// A waiver, and whether it accepted a violation.
pub(super) struct UsedWaiver<'a> {
    pub(super) waiver: &'a Waiver,
    pub(super) was_used: Cell<bool>,
}

impl<'a> WaiverUsage<'a> {
    pub(super) fn new(policy: &'a Policy, evidence: &Evidence) -> WaiverUsage<'a> {
        let applies_to_file = |waiver: &&Waiver| match (&waiver.file, evidence.file_name) {
            (None, _) => true,
            (Some(pattern), Some(name)) => glob::matches(pattern.as_bytes(), name.as_bytes()),
            (Some(_), None) => false,
        };
        let waivers = policy.waivers.iter().filter(applies_to_file);
        let entries = waivers.map(|waiver| UsedWaiver { waiver, was_used: Cell::new(false) });
        WaiverUsage { today: evidence.today, entries: entries.collect() }
    }

    /// Removes waived items from the result. Returns the waiver when no item is left.
    pub(super) fn waive(&self, rule: &str, result: &mut CheckResult) -> Option<Waived> {
        let in_force = |entry: &&UsedWaiver| {
            entry.waiver.rule == rule && self.today.is_some_and(|today| today <= entry.waiver.until)
        };
        let mut last: Option<Waived> = None;
        let mut left = result.items.clone();
        for UsedWaiver { waiver, was_used } in self.entries.iter().filter(in_force) {
            let waived = Waived { reason: waiver.reason.clone(), until: Some(waiver.until) };
            let Some(pattern) = &waiver.item else {
                was_used.set(true);
                return Some(waived);
            };
            let before = left.len();
            left.retain(|item| !glob::matches(pattern.as_bytes(), item.as_bytes()));
            if left.len() < before {
                was_used.set(true);
                last = Some(waived);
            }
        }
        let last = last?;
        if left.is_empty() {
            return Some(last);
        }
        result.found = format!("{} ({} more waived)", list(&left), result.items.len() - left.len());
        result.items = left;
        None
    }
}
