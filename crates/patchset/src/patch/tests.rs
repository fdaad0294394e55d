//! Parsing, exact application and fit of one small diff.

use diag::Diagnostics;

use super::{HEADER_KEYS, HunkFit, Patch, Refusal};

const HEADER: &str = "Why: a test,\n on two lines\nUpstream: none\nSince: 1.0\nGuards: x.guard.toml\n\n";
const BEFORE: &str = "one\ntwo\nthree\nfour\nfive\nsix\n";
const AFTER: &str = "one\nTWO\nthree\nfour\nfive\nsix\nseven\n";
const DIFF: &str = "--- a/f.c\n+++ b/f.c\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n@@ -5,2 +5,3 @@ text\n five\n six\n+seven\n";

fn parse(diff: &str) -> Result<Patch, Diagnostics> {
    Patch::parse(format!("{HEADER}{diff}").as_bytes())
}

fn apply(before: &str) -> Result<String, Refusal> {
    parse(DIFF).unwrap().files[0].apply(before.as_bytes()).map(|after| String::from_utf8(after).unwrap())
}

#[test]
fn applies_exactly() {
    let patch = parse(DIFF).unwrap();
    assert_eq!(patch.header_value("Why"), Some("a test, on two lines"));
    assert_eq!(apply(BEFORE).unwrap(), AFTER);
    assert!(patch.files[0].is_applied(AFTER.as_bytes()));
    assert!(!patch.files[0].is_applied(BEFORE.as_bytes()));
}

#[test]
fn recognises_an_applied_patch() {
    assert_eq!(apply(AFTER), Err(Refusal::AlreadyApplied));
    assert_eq!(apply(&format!("new first line\n{AFTER}")), Err(Refusal::AlreadyApplied));
}

#[test]
fn names_the_new_line_of_moved_text() {
    assert_eq!(
        apply(&format!("new first line\nand another\n{BEFORE}")),
        Err(Refusal::Moved { hunk: 1, expected_line: 1, found_line: 3 })
    );
    assert_eq!(
        apply("one\ntwo\nthree\nfour\nnew\nfive\nsix\n"),
        Err(Refusal::Moved { hunk: 2, expected_line: 5, found_line: 6 })
    );
}

#[test]
fn rejects_changed_context() {
    // `patch` would take this with fuzz 1
    let refusal = apply("one\ntwo\nTHREE\nfour\nfive\nsix\n").unwrap_err();
    assert_eq!(
        refusal,
        Refusal::DoesNotApply { hunk: 1, line: 3, expected: "three".into(), found: "THREE".into() }
    );
    insta::assert_snapshot!(diag::render::human(
        &[refusal.diagnostic("f.c")],
        diag::render::Style::default()
    ));
    assert!(
        matches!(apply("one\ntwo\n"), Err(Refusal::DoesNotApply { found, .. }) if found == "end of file")
    );
}

#[test]
fn rejects_text_with_two_places() {
    assert!(matches!(apply(&format!("new\n{BEFORE}{BEFORE}")), Err(Refusal::DoesNotApply { hunk: 1, .. })));
}

#[test]
fn distinguishes_a_missing_last_line_end() {
    let diff = "--- a/f.c\n+++ b/f.c\n@@ -1,1 +1,1 @@\n-end\n\\ No newline at end of file\n+end\n";
    let patch = parse(diff).unwrap();
    assert_eq!(patch.files[0].apply(b"end").unwrap(), b"end\n");
    assert_eq!(patch.files[0].apply(b"end\n"), Err(Refusal::AlreadyApplied));
}

#[test]
fn reports_every_missing_header_field_together() {
    let problems = Patch::parse(format!("Reason: x\n{DIFF}").as_bytes()).unwrap_err();
    assert_eq!(problems.0.len(), HEADER_KEYS.len() + 1);
    insta::assert_snapshot!(diag::render::human(&problems.0, diag::render::Style::default()));
    assert_eq!(Patch::header_bytes(format!("{HEADER}{DIFF}").as_bytes()), HEADER.as_bytes());
}

#[test]
fn rejects_every_malformed_patch() {
    for (what, bad) in [
        ("no header", DIFF.to_owned()),
        ("no reason", format!("{}{DIFF}", HEADER.replace("Why: a test,\n on two lines\n", ""))),
        ("empty reason", format!("{}{DIFF}", HEADER.replace("Why: a test,\n on two lines\n", "Why:\n"))),
        ("unknown key", format!("Whence: x\n{HEADER}{DIFF}")),
        ("key twice", format!("Since: 2.0\n{HEADER}{DIFF}")),
        ("no diff", HEADER.to_owned()),
        ("renamed", format!("{HEADER}{}", DIFF.replace("b/f.c", "b/g.c"))),
        ("wrong count", format!("{HEADER}{}", DIFF.replace("-1,3 +1,3", "-1,4 +1,3"))),
        ("cut short", format!("{HEADER}{}", &DIFF[..DIFF.len() - 7])),
        ("trailing text", format!("{HEADER}{DIFF}and more\n")),
        ("bare line end", format!("{HEADER}{}", DIFF.replace(" five\n", "\n"))),
        ("file twice", format!("{HEADER}{DIFF}{DIFF}")),
        ("nothing changed", format!("{HEADER}--- a/f.c\n+++ b/f.c\n@@ -1,1 +1,1 @@\n one\n")),
        ("no context", format!("{HEADER}--- a/f.c\n+++ b/f.c\n@@ -0,0 +1,1 @@\n+one\n")),
        ("out of order", format!("{HEADER}{}", DIFF.replace("-5,2 +5,3", "-2,2 +2,3"))),
    ] {
        assert!(Patch::parse(bad.as_bytes()).is_err(), "{what} was accepted");
    }
}

fn fit(before: &str) -> (Vec<HunkFit>, String) {
    let fit = parse(DIFF).unwrap().files[0].fit(before.as_bytes());
    (fit.hunks, String::from_utf8(fit.after).unwrap())
}

#[test]
fn reports_the_place_of_each_hunk() {
    assert_eq!(fit(BEFORE), (vec![HunkFit::InPlace; 2], AFTER.to_owned()));
    assert_eq!(fit(AFTER), (vec![HunkFit::Applied; 2], AFTER.to_owned()));
    let (hunks, after) = fit(&format!("0\n{BEFORE}"));
    assert_eq!(hunks, vec![HunkFit::Moved { by: 1 }; 2]);
    assert_eq!(after, format!("0\n{AFTER}"));
}

#[test]
fn applies_the_other_hunks_beside_a_conflict() {
    let (hunks, after) = fit("one\nTOO\nthree\nfour\nfive\nsix\n");
    let conflict = HunkFit::Conflict { line: 2, expected: "two".into(), found: "TOO".into() };
    assert_eq!(hunks, [conflict, HunkFit::InPlace]);
    assert_eq!(after, "one\nTOO\nthree\nfour\nfive\nsix\nseven\n");
    let (hunks, _) = fit(&BEFORE.replace("two", "TWO"));
    assert_eq!(hunks, [HunkFit::Applied, HunkFit::InPlace], "half applied");
}

#[test]
fn shows_a_rejected_hunk_as_a_whole() {
    let diff = &parse(DIFF).unwrap().files[0];
    let text = diff.rejected(&diff.fit(b"one\nTOO\nthree\nfour\nfive\nsix\n"));
    // The second hunk is not among them.
    insta::assert_snapshot!(text, @"
    f.c: hunk 1, line 1
      this text was not found:
        one
        two
        three
      the patch changes it to:
        one
        TWO
        three
    ");
    assert_eq!(diff.counts(), (2, 1));
}
