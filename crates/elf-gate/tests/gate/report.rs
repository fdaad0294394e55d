//! What people, programs and CI services get to see.

use elf_gate::policy::{RULES, Waived};
use elf_gate::report::{Diff, DiffSide, FileReport, FileState, Report, Style};
use elf_gate::{Evidence, Policy, Severity, Stage, Verdict, judge};
use serde_json::Value;

use crate::bytes::{MIB, facts, fixture};

const PLAIN: Style = Style { color: false, shows_passes: false };

fn judged(name: &str) -> FileReport {
    let facts = facts(&fixture(name));
    let (stage, because) = Stage::detect(&facts);
    let rules = judge(&facts, stage, &Policy::static_musl(stage, 8 * MIB), &Evidence::default());
    FileReport::judged(name, stage, Some(because.into()), facts.size_bytes, rules)
}

/// The same file, with its one violation waived or lowered.
fn eased(severity: Severity, reason: Option<&str>) -> FileReport {
    let FileState::Judged { stage, size_bytes, mut rules, .. } = judged("no-stack-size").state else {
        panic!("judged")
    };
    for outcome in rules.iter_mut().filter(|outcome| outcome.verdict != Verdict::Pass) {
        outcome.severity = severity;
        outcome.waived =
            reason.map(|reason| Waived { reason: reason.into(), until: Some("2031-01-31".parse().unwrap()) });
    }
    FileReport::judged("eased", stage, None, size_bytes, rules)
}

fn unreadable() -> FileReport {
    FileReport::unreadable("notes.txt", "not an ELF file", "give the executable")
}

/// Names and findings come out of files that nobody vouches for.
fn hostile() -> FileReport {
    FileReport {
        container: Some("dir/a,b:c %.tar".into()),
        ..FileReport::unreadable(
            "dir/a,b:c %.tar!\x1b[31m]]>|`<script>&\"\n::error::x\u{1}",
            "bad\r\n::warning::injected|`<b>",
            "look & see",
        )
    }
}

fn all() -> Report {
    let files = vec![
        judged("stripped"),
        judged("no-stack-size"),
        judged("packed-nrv2b"),
        eased(Severity::Error, Some("the loader of that host sets it")),
        eased(Severity::Warning, None),
        unreadable(),
        hostile(),
    ];
    Report::new(files).with_skipped(3, 1)
}

#[track_caller]
fn holds_against(schema: &str, document: &Value) {
    let path = format!("{}/../../schemas/{schema}", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert_eq!(errors, Vec::<String>::new());
}

fn is_valid_report(document: &Value) -> bool {
    let path = format!("{}/../../schemas/verify-elf-report-1.schema.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    jsonschema::is_valid(&schema, document)
}

#[test]
fn the_worst_verdict_counts() {
    let check = |files: Vec<FileReport>, expected| assert_eq!(Report::new(files).verdict, expected);
    check(vec![judged("stripped")], Verdict::Pass);
    check(vec![judged("stripped"), unreadable()], Verdict::CannotTell);
    check(vec![judged("no-stack-size"), unreadable()], Verdict::Violation);
    check(vec![judged("packed-nrv2b")], Verdict::CannotTell);
    check(vec![eased(Severity::Error, Some("why"))], Verdict::Pass);
    check(vec![eased(Severity::Warning, None)], Verdict::Pass);
    // Nothing judged is not a pass.
    check(vec![], Verdict::CannotTell);
}

#[test]
fn json_holds_against_its_schema_whatever_happened() {
    for report in [all(), Report::new(vec![]), Report::new(vec![unreadable()])] {
        let json: Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
        holds_against("verify-elf-report-1.schema.json", &json);
    }
    let json: Value = serde_json::from_str(&all().to_json().unwrap()).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["verdict"], "violation");
    assert_eq!(json["summary"]["files"], 7);
    assert_eq!(json["summary"]["not_elf"], 3);
    assert_eq!(json["files"][1]["stage"], "stripped");
    assert_eq!(json["files"][1]["rules"][0]["rule"], "stack-size");
    assert_eq!(json["files"][3]["rules"][0]["waived"]["until"], "2031-01-31");
    assert_eq!(json["files"][5]["verdict"], "cannot_tell");
    assert_eq!(json["files"][5]["error"], "not an ELF file");
}

#[test]
fn the_schema_refuses_what_is_no_report() {
    let good: Value = serde_json::from_str(&all().to_json().unwrap()).unwrap();
    assert!(is_valid_report(&good));
    let break_at = |pointer: &str, value: Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(!is_valid_report(&bad), "{pointer}");
    };
    break_at("/schema_version", 2.into());
    break_at("/verdict", "passed".into());
    break_at("/files/0/size_bytes", (-1).into());
    break_at("/files/0/rules/0/rule", "Stack Size".into());
    break_at("/files/5/verdict", "pass".into());
    let mut without = good.clone();
    without["files"][0].as_object_mut().unwrap().remove("rules");
    assert!(!is_valid_report(&without));
}

#[test]
fn human_lines() {
    let plain = all().to_human(PLAIN);
    for line in [
        "  stripped, 14.5 KiB, 12 rules hold\n",
        "FAIL  no-stack-size                                     stripped, 14.4 KiB, 11 of 12 rules hold, 1 violated\n",
        "      FAIL  stack-size  expected one PT_GNU_STACK of 8388608 bytes (8 MiB)\n",
        "                        found    one of 0 bytes\n",
        "      okay  stack-size  expected",
        "waived until 2031-01-31: the loader of that host sets it\n",
        "      warn  stack-size  expected",
        "????  notes.txt                                         not judged\n      not an ELF file\n      hint: give the executable\n",
    ] {
        assert!(plain.contains(line), "`{line}` in\n{plain}");
    }
    assert!(
        plain.ends_with(
            "FAIL  7 files: 3 passed, 1 in violation, 3 not decided; 3 skipped, not ELF; 1 name seen before\n"
        ),
        "{plain}"
    );
    assert!(!plain.contains('\x1b') && !plain.contains("stack-not-executable"), "{plain}");
    let colored = all().to_human(Style { color: true, shows_passes: true });
    assert!(colored.contains("\x1b[1;31mFAIL\x1b[0m") && colored.contains("stack-not-executable"));
    assert!(!colored.contains("\x1b[31m]"), "a name steers the terminal");
}

/// The structure that SARIF 2.1.0 asks for, and what services need beyond it. The whole log was held once against models
/// that are generated from the official schema and refuse unknown keys (the Python packages pydantic-sarif and
/// sarif-pydantic).
#[test]
fn sarif() {
    let log: Value = serde_json::from_str(&all().to_sarif().unwrap()).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), RULES.len() + 1);
    let results = run["results"].as_array().unwrap();
    let said: Vec<(&str, &str)> = results
        .iter()
        .map(|result| (result["ruleId"].as_str().unwrap(), result["level"].as_str().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            ("stack-size", "error"),
            ("round-trip", "error"),
            ("stack-size", "error"),
            ("stack-size", "warning"),
            ("not-judged", "error"),
            ("not-judged", "error"),
        ]
    );
    for result in results {
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
        let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
        assert!(uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'<'), "{uri}");
    }
    assert!(results[0].get("suppressions").is_none());
    assert_eq!(
        results[2]["suppressions"][0]["justification"],
        "waived until 2031-01-31: the loader of that host sets it"
    );
    assert_eq!(results[5]["locations"][0]["logicalLocations"][0]["kind"], "member");
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
    let log: Value = serde_json::from_str(&Report::new(vec![unreadable()]).to_sarif().unwrap()).unwrap();
    assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], false);
}

#[test]
fn junit() {
    let xml = all().to_junit();
    assert!(
        xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"elf-gate\""),
        "{xml}"
    );
    assert!(
        xml.contains("<failure type=\"violation\" message=\"stack-size is violated: expected one"),
        "{xml}"
    );
    assert!(xml.contains("<error type=\"cannot_tell\" message=\"round-trip cannot be told"), "{xml}");
    assert!(xml.contains("<skipped message=\"stack-size is violated"), "{xml}");
    assert!(xml.contains("failures=\"1\" errors=\"3\" skipped=\"2\">"), "{xml}");
    assert!(xml.chars().all(|c| c == '\n' || !c.is_control()), "{xml}");
    assert!(!xml.contains("<script>") && !xml.contains("\"\n::"), "{xml}");
    let open = |tag: &str| xml.matches(&format!("<{tag} ")).count();
    let close = |tag: &str| xml.matches(&format!("</{tag}>")).count();
    for tag in ["testsuites", "testsuite", "failure", "error"] {
        assert_eq!(open(tag), close(tag), "{tag}");
    }
}

#[test]
fn github_annotations_cannot_be_injected() {
    let text = all().to_github();
    let commands: Vec<&str> = text.lines().filter(|line| line.starts_with("::")).collect();
    assert_eq!(commands.len(), 6, "{text}");
    assert!(
        commands[0].starts_with(
            "::error file=no-stack-size,title=elf-gate%3A stack-size::no-stack-size: stack-size is violated"
        ),
        "{text}"
    );
    assert!(commands[3].starts_with("::warning file=eased"), "{text}");
    assert!(commands[2].starts_with("::notice file=eased"), "{text}");
    assert!(commands[5].starts_with("::error file=dir/a%2Cb%3Ac %25.tar,title="), "{text}");
    assert!(text.ends_with(
        "elf-gate: violation, 7 files: 3 passed, 1 in violation, 3 not decided; 3 skipped, not ELF\n"
    ));
    let many = Report::new((0..30).map(|_| unreadable()).collect()).to_github();
    assert!(many.contains("found 30 errors, of which GitHub shows 10"), "{many}");
}

#[test]
fn step_summary() {
    let page = all().to_step_summary();
    assert!(page.starts_with("## ELF gate: violation\n\n7 files: 3 passed"), "{page}");
    assert!(page.contains("| `no-stack-size` | `stack-size` | violation |"), "{page}");
    assert!(page.contains("| `eased` | `stack-size` | waived |"), "{page}");
    assert!(!page.contains("<script>") && !page.contains("<b>") && !page.contains('\x1b'), "{page}");
    let huge = Report::new((0..2000).map(|_| FileReport::unreadable("f", "x".repeat(1000), "y")).collect());
    let page = huge.to_step_summary();
    assert!(page.len() < 1 << 20 && page.contains("more are left out"), "{}", page.len());
}

#[test]
fn a_diff_says_what_changed() {
    let (old, new) = (facts(&fixture("linked")), facts(&fixture("no-stack-size")));
    let rules =
        |facts, stage| judge(facts, stage, &Policy::static_musl(stage, 8 * MIB), &Evidence::default());
    let (old_rules, new_rules) = (rules(&old, Stage::Linked), rules(&new, Stage::Linked));
    let diff = Diff::between(
        &DiffSide { file: "old", facts: &old, rules: &old_rules },
        &DiffSide { file: "new", facts: &new, rules: &new_rules },
    );
    let json: Value = serde_json::from_str(&diff.to_json().unwrap()).unwrap();
    holds_against("verify-elf-diff-1.schema.json", &json);
    assert_eq!(json["segments"]["PT_GNU_STACK 0"]["old"]["memory_size_bytes"], 8 * MIB);
    assert_eq!(json["segments"]["PT_GNU_STACK 0"]["new"]["memory_size_bytes"], 0);
    assert_eq!(json["rules"]["stack-size"]["new"], "violation");
    let text = diff.to_human(PLAIN);
    assert!(text.contains("rules\n  stack-size  pass -> FAIL"), "{text}");
    let same = Diff::between(
        &DiffSide { file: "old", facts: &old, rules: &old_rules },
        &DiffSide { file: "old", facts: &old, rules: &old_rules },
    );
    assert!(same.properties.is_empty() && same.segments.is_empty() && same.sections.is_empty());
    assert!(same.rules.is_empty());
    let symbols = same.symbols.unwrap();
    assert!(symbols.added.is_empty() && symbols.removed.is_empty());
}
