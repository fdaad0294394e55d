//! Diagnostics as text for terminals and as JSON for programs.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::{Code, Diagnostic, Diagnostics, Severity};

/// Version of the JSON document; raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Use ANSI colours.
    pub color: bool,
}

/// Every diagnostic as text for a terminal: `error[code]: message`, its parts indented, then `hint:`.
pub fn human(diagnostics: &[Diagnostic], style: Style) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let fields = diagnostic.fields();
        let (word, color) = match fields.severity {
            Severity::Error => ("error", "\x1b[1;31m"),
            Severity::Warning => ("warning", "\x1b[1;33m"),
            Severity::Note => ("note", "\x1b[1;36m"),
        };
        let (on, off) = if style.color { (color, "\x1b[0m") } else { ("", "") };
        let _ = writeln!(text, "{on}{word}[{}]{off}: {}", fields.code.id, body(diagnostic));
        if let Some(hint) = &fields.hint {
            let _ = writeln!(text, "hint: {}", indented(hint, 6));
        }
    }
    text
}

/// One JSON document with all of them, and a newline at the end.
pub fn json(diagnostics: &[Diagnostic]) -> String {
    #[derive(Serialize)]
    struct Document<'a> {
        schema_version: u32,
        diagnostics: &'a [Diagnostic],
    }
    let document = Document { schema_version: SCHEMA_VERSION, diagnostics };
    // Strings, numbers and lists of them cannot fail to serialize; paths that are not UTF-8 can.
    serde_json::to_string_pretty(&document).unwrap_or_else(|error| {
        serde_json::json!({ "schema_version": SCHEMA_VERSION, "diagnostics": [], "error": error.to_string() }).to_string()
    }) + "\n"
}

/// The explanation of a code as one JSON document, and a newline at the end.
pub fn explanation_json(code: &Code) -> String {
    let document =
        serde_json::json!({ "schema_version": SCHEMA_VERSION, "codes": [code], "diagnostics": [] });
    format!("{document:#}\n")
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&body(self))
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&numbered(&self.0))
    }
}

/// Message and parts, without severity, code and hint.
fn body(diagnostic: &Diagnostic) -> String {
    let fields = diagnostic.fields();
    let mut text = fields.message.clone();
    if let Some(place) = place(diagnostic) {
        let _ = write!(text, "\n  --> {place}");
    }
    for context in &fields.context {
        let _ = write!(text, "\n  while:    {}", indented(context, 12));
    }
    for (label, part) in [("expected:", &fields.expected), ("found:", &fields.found)] {
        if let Some(part) = part {
            let _ = write!(text, "\n  {label:9} {}", indented(part, 12));
        }
    }
    for cause in &fields.causes {
        let _ = write!(text, "\n  because:  {}", indented(cause, 12));
    }
    text
}

/// A numbered list with the hints, for the text of an error that holds several.
fn numbered(diagnostics: &[Diagnostic]) -> String {
    let mut text = format!("{} problems", diagnostics.len());
    for (number, diagnostic) in diagnostics.iter().enumerate() {
        let _ = write!(text, "\n{:>3}. {}", number + 1, indented(&body(diagnostic), 5));
        if let Some(hint) = &diagnostic.fields().hint {
            let _ = write!(text, "\n     hint: {}", indented(hint, 11));
        }
    }
    text
}

/// `release.toml:14:8 (stage link, rule stack-size)`, as far as it is known.
fn place(diagnostic: &Diagnostic) -> Option<String> {
    let subject = &diagnostic.fields().subject;
    let mut text = subject.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    if let Some(location) = subject.location {
        let _ = write!(text, ":{}:{}", location.line, location.column);
    }
    let named = [("stage", &subject.stage), ("rule", &subject.rule)];
    let named: Vec<String> =
        named.iter().filter_map(|(label, name)| Some(format!("{label} {}", name.as_ref()?))).collect();
    match (text.is_empty(), named.is_empty()) {
        (true, true) => None,
        (true, false) => Some(named.join(", ")),
        (false, true) => Some(text),
        (false, false) => Some(format!("{text} ({})", named.join(", "))),
    }
}

fn indented(text: &str, columns: usize) -> String {
    text.replace('\n', &format!("\n{:columns$}", ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Location;

    crate::codes! {
        pub STACK = Violation "stack-size": "PT_GNU_STACK has another size" { "fix": "link with -z stack-size" }
    }

    fn example() -> Diagnostic {
        Diagnostic::new(&STACK, "the stack is too small")
            .file("dist/inferd")
            .at(Location { line: 3, column: 7 })
            .stage("link")
            .rule("stack-size")
            .expected("8 MiB")
            .found("128 KiB\nand more")
            .cause("objcopy")
            .hint("link it again\nand again")
    }

    #[test]
    fn human_text_has_every_part_in_order() {
        assert_eq!(
            human(&[example()], Style::default()),
            "error[stack-size]: the stack is too small\n  \
               --> dist/inferd:3:7 (stage link, rule stack-size)\n  \
               expected: 8 MiB\n  \
               found:    128 KiB\n            and more\n  \
               because:  objcopy\n\
             hint: link it again\n      and again\n"
        );
        assert!(
            human(&[example()], Style { color: true }).starts_with("\x1b[1;31merror[stack-size]\x1b[0m: ")
        );
    }

    #[test]
    fn json_has_flat_subject_fields_and_omits_what_is_absent() {
        let value: serde_json::Value = serde_json::from_str(&json(&[example()])).unwrap();
        let first = &value["diagnostics"][0];
        assert_eq!(value["schema_version"], SCHEMA_VERSION);
        assert_eq!((&first["code"], &first["stage"]), (&"stack-size".into(), &"link".into()));
        assert_eq!(first["location"]["line"], 3);
        assert!(first.get("context").is_none(), "{first}");
    }

    #[test]
    fn an_explanation_has_the_sections_as_data() {
        let value: serde_json::Value = serde_json::from_str(&explanation_json(&STACK)).unwrap();
        let expected = serde_json::json!({
            "schema_version": SCHEMA_VERSION,
            "codes": [{
                "code": "stack-size", "class": "violation", "summary": "PT_GNU_STACK has another size",
                "sections": [{ "label": "fix", "text": "link with -z stack-size" }],
            }],
            "diagnostics": [],
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn several_problems_are_numbered_with_their_hints() {
        let text = Diagnostics(vec![example(), Diagnostic::new(&STACK, "second")]).to_string();
        assert_eq!(
            text,
            "2 problems\n  \
               1. the stack is too small\n       \
                    --> dist/inferd:3:7 (stage link, rule stack-size)\n       \
                    expected: 8 MiB\n       \
                    found:    128 KiB\n                 and more\n       \
                    because:  objcopy\n     \
                  hint: link it again\n           and again\n  \
               2. second"
        );
    }
}
