//! The rules and codes as Markdown: docs/gates.md contains both texts, and a test compares them.

use std::fmt::Write;

use crate::codes;
use crate::image;
use crate::policy::stage::Stage;
use crate::policy::table::RULES;

/// A section for each rule, in the order of the table.
pub fn rules_markdown() -> String {
    let mut out = String::new();
    for rule in RULES {
        // Writing to a String cannot fail.
        let _ = write!(out, "### `{}`\n\n- **detects** {}\n", rule.id(), rule.code.summary);
        for (label, text) in rule.code.sections {
            let text = if *label == "stages" && rule.stages.len() == Stage::ALL.len() { "all" } else { text };
            let _ = writeln!(out, "- **{label}** {text}");
        }
        out.push('\n');
    }
    out
}

/// A table of the error codes that are not rules.
pub fn codes_markdown() -> String {
    diag::markdown(codes::all())
}

/// A section for each rule on images.
pub fn image_rules_markdown() -> String {
    let mut out = String::new();
    for rule in image::RULES {
        // Writing to a String cannot fail.
        let _ = write!(out, "### `{}`\n\n- **detects** {}\n", rule.id(), rule.code.summary);
        for (label, text) in rule.code.sections {
            let _ = writeln!(out, "- **{label}** {text}");
        }
        out.push('\n');
    }
    out
}
