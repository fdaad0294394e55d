//! Reports in all formats. The snapshots show the exact text.

use diag::Diagnostic;
use elf_gate::codes;
use elf_gate::policy::{Waived, all_codes};
use elf_gate::report::{Diff, DiffSide, FileReport, FileState, GateReport, SizeReport, Style};
use elf_gate::size::SizeBreakdown;
use elf_gate::{Evidence, Policy, Severity, Stage, Verdict, judge};
use quick_junit::{NonSuccessKind, TestCaseStatus};
use serde_json::Value;

use crate::fixtures::{MIB, facts, fixture};

const PLAIN: Style = Style { color: false, shows_passes: false };

fn judged(name: &str) -> FileReport {
    let facts = facts(&fixture(name));
    let (stage, because) = Stage::detect(&facts);
    let rules = judge(&facts, stage, &Policy::static_musl(stage, 8 * MIB), &Evidence::default());
    FileReport::judged(name, stage, Some(because.into()), facts.size_bytes, rules)
}

/// The same file, with its violation waived or of lower severity.
fn accepted(severity: Severity, reason: Option<&str>) -> FileReport {
    let FileState::Judged { stage, size_bytes, mut rules, .. } = judged("no-stack-size").state else {
        panic!("judged")
    };
    for outcome in rules.iter_mut().filter(|outcome| outcome.verdict != Verdict::Pass) {
        outcome.severity = severity;
        outcome.waived =
            reason.map(|reason| Waived { reason: reason.into(), until: Some("2031-01-31".parse().unwrap()) });
    }
    FileReport::judged("accepted", stage, None, size_bytes, rules)
}

fn unreadable() -> FileReport {
    let error = Diagnostic::new(&codes::NOT_ELF, "not an ELF file").found("text").hint("give the executable");
    FileReport::unreadable("notes.txt", error)
}

/// Names and messages of untrusted files.
fn hostile() -> FileReport {
    let error = Diagnostic::new(&codes::CONTAINER_DAMAGED, "bad\r\n::warning::injected|`<b>\x1b[31m")
        .hint("look & see");
    FileReport {
        container: Some("dir/a,b:c %.tar".into()),
        ..FileReport::unreadable("dir/a,b:c %.tar!\x1b[31m]]>|`<script>&\"\n::error::x\u{1}", error)
    }
}

fn all() -> GateReport {
    let files = vec![
        judged("stripped"),
        judged("no-stack-size"),
        judged("packed-nrv2b"),
        accepted(Severity::Error, Some("the loader of that host sets it")),
        accepted(Severity::Warning, None),
        unreadable(),
        hostile(),
    ];
    let unused = Diagnostic::new(
        &codes::WAIVER_WITHOUT_FILE,
        "the waiver for `relro` names `old`, which matches no file",
    )
    .rule("relro")
    .hint("remove the waiver");
    GateReport::new(files).with_skipped(3, 1).with_diagnostics(vec![unused])
}

fn schema(name: &str) -> Value {
    let path = format!("{}/../../schemas/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[track_caller]
fn assert_valid(name: &str, document: &Value) {
    let schema = schema(name);
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert_eq!(errors, Vec::<String>::new());
}

fn is_valid_report(document: &Value) -> bool {
    jsonschema::is_valid(&schema("elf-gate-report-1.schema.json"), document)
}

fn json(report: &GateReport) -> Value {
    serde_json::from_str(&report.to_json().unwrap()).unwrap()
}

#[test]
fn the_worst_verdict_is_the_verdict_of_the_report() {
    let check = |files: Vec<FileReport>, expected| assert_eq!(GateReport::new(files).verdict, expected);
    check(vec![judged("stripped")], Verdict::Pass);
    check(vec![judged("stripped"), unreadable()], Verdict::CannotTell);
    check(vec![judged("no-stack-size"), unreadable()], Verdict::Violation);
    check(vec![judged("packed-nrv2b")], Verdict::CannotTell);
    check(vec![accepted(Severity::Error, Some("why"))], Verdict::Pass);
    check(vec![accepted(Severity::Warning, None)], Verdict::Pass);
    // An empty report is not a pass.
    check(vec![], Verdict::CannotTell);
    let with =
        |diagnostic| GateReport::new(vec![judged("stripped")]).with_diagnostics(vec![diagnostic]).verdict;
    assert_eq!(with(Diagnostic::new(&codes::WAIVER_WITHOUT_FILE, "x")), Verdict::Violation);
    assert_eq!(with(Diagnostic::new(&codes::POLICY_SYNTAX, "x")), Verdict::CannotTell);
}

#[test]
fn json_is_valid_for_every_result() {
    let failed =
        GateReport::new(vec![]).with_diagnostics(vec![Diagnostic::new(&codes::USAGE, "x").hint("y")]);
    for report in [all(), GateReport::new(vec![]), GateReport::new(vec![unreadable()]), failed] {
        assert_valid("elf-gate-report-1.schema.json", &json(&report));
    }
    let document = json(&all());
    assert_eq!(document["verdict"], "violation");
    assert_eq!(document["summary"]["files"], 7);
    assert_eq!(document["summary"]["not_elf"], 3);
    assert_eq!(document["files"][1]["stage"], "stripped");
    assert_eq!(document["files"][1]["rules"][0]["rule"], "stack-size");
    assert_eq!(document["files"][3]["rules"][0]["waived"]["until"], "2031-01-31");
    assert_eq!(document["files"][5]["verdict"], "cannot_tell");
    assert_eq!(document["files"][5]["error"]["code"], "not-elf");
    assert_eq!(document["diagnostics"][0]["code"], "waiver-without-file");
}

#[test]
fn the_schema_rejects_invalid_reports() {
    let valid = json(&all());
    assert!(is_valid_report(&valid));
    let reject = |pointer: &str, value: Value| {
        let mut invalid = valid.clone();
        *invalid.pointer_mut(pointer).unwrap() = value;
        assert!(!is_valid_report(&invalid), "{pointer}");
    };
    reject("/schema_version", 2.into());
    reject("/verdict", "passed".into());
    reject("/files/0/size_bytes", (-1).into());
    reject("/files/0/rules/0/rule", "Stack Size".into());
    reject("/files/5/verdict", "pass".into());
    reject("/files/5/error", "a text".into());
    reject("/diagnostics/0/severity", "fatal".into());
    let mut incomplete = valid.clone();
    incomplete["files"][0].as_object_mut().unwrap().remove("rules");
    assert!(!is_valid_report(&incomplete));
}

#[test]
fn human_text_folds_passes_and_cannot_control_the_terminal() {
    let plain = all().to_human(PLAIN);
    assert!(!plain.contains('\x1b') && !plain.contains("stack-not-executable"), "{plain}");
    insta::assert_snapshot!(plain);
    let colored = all().to_human(Style { color: true, shows_passes: true });
    assert!(colored.contains("\x1b[1;31mFAIL\x1b[0m") && colored.contains("stack-not-executable"));
    assert!(!colored.contains("\x1b[31m"), "a name controls the terminal");
}

/// `cargo xtask difftest` validates whole documents with the schema of OASIS.
#[test]
fn sarif_results_refer_to_rules_and_have_valid_locations() {
    let log: Value = serde_json::from_str(&all().to_sarif().unwrap()).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), all_codes().count());
    let results = run["results"].as_array().unwrap();
    for result in results {
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
        let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
        assert!(uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'<'), "{uri}");
    }
    assert!(results[0].get("suppressions").is_none());
    let results = serde_json::to_string_pretty(&run["results"]).unwrap();
    insta::assert_snapshot!(results);
    insta::assert_snapshot!(serde_json::to_string_pretty(&run["invocations"]).unwrap());
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
    let log: Value = serde_json::from_str(&GateReport::new(vec![unreadable()]).to_sarif().unwrap()).unwrap();
    assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], false);
}

/// quick-junit parses the document and compares no counts, so the counts are compared here.
#[test]
fn junit_is_read_by_another_implementation() {
    let xml = all().to_junit();
    assert!(xml.chars().all(|c| c == '\n' || !c.is_control()), "{xml}");
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    assert_eq!((report.tests, report.failures, report.errors), (104, 1, 4));
    assert_eq!(report.test_suites.len(), 8);
    for suite in &report.test_suites {
        assert_eq!(suite.tests, suite.test_cases.len(), "{:?}", suite.name);
        let of_kind = |kind: NonSuccessKind| {
            suite
                .test_cases
                .iter()
                .filter(|case| matches!(&case.status, TestCaseStatus::NonSuccess { kind: found, .. } if *found == kind))
                .count()
        };
        assert_eq!(suite.failures, of_kind(NonSuccessKind::Failure), "{:?}", suite.name);
        assert_eq!(suite.errors, of_kind(NonSuccessKind::Error), "{:?}", suite.name);
    }
    let exceptions: Vec<&str> =
        xml.lines().filter(|line| !line.ends_with("\"/>") || line.contains("skipped")).collect();
    insta::assert_snapshot!(exceptions.join("\n"));
}

#[test]
fn github_annotations_cannot_be_injected() {
    let text = all().to_github();
    let commands = text.lines().filter(|line| line.starts_with("::")).count();
    assert_eq!(commands, 7, "{text}");
    insta::assert_snapshot!(text);
    let many = GateReport::new((0..30).map(|_| unreadable()).collect()).to_github();
    insta::assert_snapshot!(many);
}

#[test]
fn step_summary_is_escaped_and_bounded() {
    let page = all().to_step_summary();
    assert!(!page.contains("<script>") && !page.contains("<b>") && !page.contains('\x1b'), "{page}");
    insta::assert_snapshot!(page);
    let huge = (0..2000)
        .map(|_| FileReport::unreadable("f", Diagnostic::new(&codes::NOT_ELF, "x".repeat(1000)).hint("y")));
    let page = GateReport::new(huge.collect()).to_step_summary();
    assert!(page.len() < 1 << 20, "{}", page.len());
    insta::assert_snapshot!(page.lines().last().unwrap(), @"1115 files omitted; the log lists all.");
}

#[test]
fn sizes_are_valid_with_and_without_symbols_and_baseline() {
    const SCHEMA: &str = "elf-gate-size-1.schema.json";
    let json = |name: &str, baseline: Option<&SizeBreakdown>| -> Value {
        let bytes = fixture(name);
        let (stage, _) = Stage::detect(&facts(&bytes));
        let report = SizeReport {
            file: name.into(),
            stage,
            size_bytes: bytes.len() as u64,
            symbols_from: None,
            baseline_size_bytes: baseline.map(|old| old.sections.values().sum()),
            baseline,
            breakdown: &SizeBreakdown::of(&bytes, None, true).unwrap(),
        };
        serde_json::from_str(&report.to_json().unwrap()).unwrap()
    };
    let mut old = SizeBreakdown::of(&fixture("linked"), None, false).unwrap();
    old.sections.insert(".removed".into(), 7);
    let (with_symbols, without) = (json("linked", None), json("stripped", None));
    let with_baseline = json("linked", Some(&old));
    assert!(with_symbols["crates"].is_array() && without["crates"].is_null());
    let sections = with_baseline["sections"].as_array().unwrap();
    let removed = sections.iter().find(|row| row["name"] == ".removed").unwrap();
    assert_eq!((&removed["size_bytes"], &removed["baseline_bytes"]), (&0.into(), &7.into()));
    for document in [&with_symbols, &without, &with_baseline, &json("packed-nrv2b", None)] {
        assert_valid(SCHEMA, document);
    }
    let edits: [fn(&mut Value); 5] = [
        |document| document["schema_version"] = 2.into(),
        |document| document["sections"] = Value::Null,
        |document| document["crates"][0]["size_bytes"] = "1 KiB".into(),
        |document| drop(document.as_object_mut().unwrap().remove("symbols")),
        |document| document["stage"] = "archive".into(),
    ];
    for edit in edits {
        let mut document = with_symbols.clone();
        edit(&mut document);
        assert!(!jsonschema::is_valid(&schema(SCHEMA), &document), "{document}");
    }
}

#[test]
fn diff_shows_changes_and_omits_equal_values() {
    let (old, new) = (facts(&fixture("linked")), facts(&fixture("no-stack-size")));
    let rules =
        |facts, stage| judge(facts, stage, &Policy::static_musl(stage, 8 * MIB), &Evidence::default());
    let (old_rules, new_rules) = (rules(&old, Stage::Linked), rules(&new, Stage::Linked));
    let diff = Diff::between(
        &DiffSide { file: "old", facts: &old, rules: &old_rules },
        &DiffSide { file: "new", facts: &new, rules: &new_rules },
    );
    let json: Value = serde_json::from_str(&diff.to_json().unwrap()).unwrap();
    assert_valid("elf-gate-diff-1.schema.json", &json);
    assert_eq!(json["segments"]["PT_GNU_STACK 0"]["old"]["memory_size_bytes"], 8 * MIB);
    assert_eq!(json["segments"]["PT_GNU_STACK 0"]["new"]["memory_size_bytes"], 0);
    assert_eq!(json["rules"]["stack-size"]["new"], "violation");
    insta::assert_snapshot!(diff.to_human(PLAIN));
    let same = Diff::between(
        &DiffSide { file: "old", facts: &old, rules: &old_rules },
        &DiffSide { file: "old", facts: &old, rules: &old_rules },
    );
    assert!(same.properties.is_empty() && same.segments.is_empty() && same.sections.is_empty());
    assert!(same.rules.is_empty());
    let symbols = same.symbols.unwrap();
    assert!(symbols.added.is_empty() && symbols.removed.is_empty());
}
