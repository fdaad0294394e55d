//! docs/gates.md contains the texts of all rules and codes. `MUSLIN_WRITE_DOCS=1 cargo test -p elf-gate` updates the page.

use std::path::PathBuf;

use elf_gate::policy::{PRESETS, RULES, all_codes, codes_markdown, image_rules_markdown, rules_markdown};

/// A generated part of the page, between two marks.
struct Part {
    name: &'static str,
    text: fn() -> String,
}

const PARTS: [Part; 3] = [
    Part { name: "rules", text: rules_markdown },
    Part { name: "image rules", text: image_rules_markdown },
    Part { name: "codes", text: codes_markdown },
];

#[expect(clippy::disallowed_methods, reason = "the user requests the update by a variable")]
#[test]
fn page_equals_the_tables_of_rules_and_codes() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/gates.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let mut updated = page.clone();
    for Part { name, text } in PARTS {
        let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->\n"));
        let (before, rest) = updated.split_once(&begin).expect("the mark before the part");
        let (_, after) = rest.split_once(&end).expect("the mark after the part");
        updated = format!("{before}{begin}\n{}\n{end}{after}", text().trim_end());
    }
    if std::env::var_os("MUSLIN_WRITE_DOCS").is_some() {
        std::fs::write(&path, updated).unwrap();
        return;
    }
    assert!(page == updated, "docs/gates.md is outdated: run `MUSLIN_WRITE_DOCS=1 cargo test -p elf-gate`");
    for (preset, _) in PRESETS {
        assert!(page.contains(&format!("`{preset}`")), "the page does not describe the preset `{preset}`");
    }
}

#[test]
fn every_code_is_unique_and_complete() {
    let mut ids = Vec::new();
    for code in all_codes() {
        let texts = code.sections.iter().map(|(_, text)| *text).chain([code.summary]);
        for text in texts {
            assert!(text.len() > 2 && !text.ends_with('.'), "{}: `{text}`", code.id);
        }
        assert_eq!(code.sections.last().map(|(label, _)| *label), Some("fix"), "{}", code.id);
        assert!(code.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", code.id);
        assert!(!ids.contains(&code.id), "{} exists twice", code.id);
        ids.push(code.id);
    }
}

#[test]
fn stages_in_the_text_of_a_rule_equal_its_stages() {
    for rule in RULES {
        let (_, text) = rule.code.sections.iter().find(|(label, _)| *label == "stages").unwrap();
        let stages: Vec<&str> = rule.stages.iter().map(|stage| stage.name()).collect();
        assert_eq!(*text, stages.join(", "), "{}", rule.id());
    }
}

#[test]
fn explanations_fit_the_width_of_a_terminal() {
    for code in all_codes() {
        let text = diag::explain(code);
        assert!(text.lines().skip(1).all(|line| line.chars().count() <= 100), "{text}");
    }
    let rule = elf_gate::policy::rule("inner-stack-size").unwrap();
    insta::assert_snapshot!(diag::explain(&rule.code));
}
