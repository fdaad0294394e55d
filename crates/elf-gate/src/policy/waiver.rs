//! Waivers of a policy: exceptions with a reason and an end.

use serde::{Deserialize, Serialize};

use crate::policy::date::Date;

/// Accepts violations of a rule until a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// Name of the rule.
    pub rule: String,
    /// Pattern of file names; without it, the waiver applies to every file. `*` matches any characters.
    pub file: Option<String>,
    /// Pattern of items: a symbol, a path, a library. Without it, the waiver applies to all items.
    pub item: Option<String>,
    /// Why the violation is acceptable.
    pub reason: String,
    /// The last day on which the waiver applies.
    pub until: Date,
}
