//! docs/gates.md and the table of rules say the same. `MUSLIN_WRITE_DOCS=1 cargo test -p elf-gate` writes the page anew.

use std::path::PathBuf;

use elf_gate::policy::{PRESETS, RULES, markdown};

const BEGIN: &str = "<!-- rules: made of the table in crates/elf-gate/src/policy/rules.rs -->\n";
const END: &str = "<!-- end of rules -->\n";

#[test]
fn the_page_says_what_the_table_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/gates.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the mark before the rules");
    let (rules, after) = rest.split_once(END).expect("the mark behind the rules");
    let expected = format!("\n{}", markdown());
    if std::env::var_os("MUSLIN_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
        return;
    }
    assert!(
        rules == expected,
        "docs/gates.md differs from the table: `MUSLIN_WRITE_DOCS=1 cargo test -p elf-gate`"
    );
    for (preset, _) in PRESETS {
        assert!(before.contains(&format!("`{preset}`")), "the preset `{preset}` is not on the page");
    }
}

#[test]
fn every_rule_explains_itself() {
    let mut ids = Vec::new();
    for rule in RULES {
        let texts = [rule.demanded_by, rule.catches, rule.why, rule.incident, rule.peers, rule.fix];
        assert!(texts.iter().all(|text| text.len() > 3 && !text.ends_with('.')), "{}", rule.id);
        assert!(rule.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", rule.id);
        assert!(!ids.contains(&rule.id), "{} twice", rule.id);
        ids.push(rule.id);
    }
}
