//! The rules as a page for people: docs/gates.md is made of it, and a test compares the two.

use std::fmt::Write;

use super::{RULES, Stage};

/// A chapter for each rule, in the order of the table.
pub fn markdown() -> String {
    let mut out = String::new();
    for rule in RULES {
        let stages: Vec<&str> = match rule.stages.len() {
            count if count == Stage::ALL.len() => vec!["every stage"],
            _ => rule.stages.iter().map(|stage| stage.name()).collect(),
        };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "### `{}`\n\n{}; demanded by {}.\n\n- **catches** {}\n- **why** {}\n- **would have stopped** {}\n- **peers** {}\n- **fix** {}\n\n",
            rule.id,
            stages.join(", "),
            rule.demanded_by,
            rule.catches,
            rule.why,
            rule.incident,
            rule.peers,
            rule.fix
        );
    }
    out
}
