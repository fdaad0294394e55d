//! What people and programs get to see.

use elf_gate::report::{FileReport, Report};
use elf_gate::{Evidence, Policy, Stage, Verdict, judge};

use crate::bytes::{MIB, facts, fixture};

fn judged(name: &str) -> FileReport {
    let facts = facts(&fixture(name));
    let (stage, because) = Stage::detect(&facts);
    let rules = judge(&facts, stage, &Policy::static_musl(stage, 8 * MIB), &Evidence::default());
    FileReport::judged(name, stage, Some(because.into()), facts.size_bytes, rules)
}

fn unreadable() -> FileReport {
    FileReport::unreadable("notes.txt", "not an ELF file", "give the executable")
}

#[test]
fn the_worst_verdict_counts() {
    let check = |files: Vec<FileReport>, expected| assert_eq!(Report::new(files).verdict, expected);
    check(vec![judged("stripped")], Verdict::Pass);
    check(vec![judged("stripped"), unreadable()], Verdict::CannotTell);
    check(vec![judged("no-stack-size"), unreadable()], Verdict::Violation);
    check(vec![judged("packed-nrv2b")], Verdict::CannotTell);
    // Nothing judged is not a pass.
    check(vec![], Verdict::CannotTell);
}

#[test]
fn json_is_whole_when_a_file_is_unreadable() {
    let report = Report::new(vec![judged("no-stack-size"), unreadable()]);
    let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["verdict"], "violation");
    assert_eq!(json["files"][0]["stage"], "stripped");
    assert_eq!(json["files"][0]["rules"][0]["rule"], "stack-size");
    assert_eq!(json["files"][0]["rules"][0]["verdict"], "violation");
    assert_eq!(json["files"][1]["verdict"], "cannot_tell");
    assert_eq!(json["files"][1]["error"], "not an ELF file");
}

#[test]
fn human_lines() {
    let report = Report::new(vec![judged("no-stack-size"), unreadable()]);
    let plain = report.to_human(false);
    let line = "  FAIL  stack-size                      expected one PT_GNU_STACK of 8388608 bytes (8 MiB), found one of 0 bytes";
    assert!(plain.contains(line), "{plain}");
    assert!(
        plain.contains("no-stack-size: stage stripped, detected: it has no .symtab and no mark of UPX"),
        "{plain}"
    );
    assert!(plain.contains("hint: give the executable"), "{plain}");
    assert!(plain.ends_with("FAIL  2 files: 0 passed, 1 in violation, 1 not decided\n"), "{plain}");
    assert!(!plain.contains('\x1b') && report.to_human(true).contains("\x1b[1;31mFAIL\x1b[0m"));
}
