//! Every code is emitted: each case here violates one check for real.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::CODES;
use crate::archive_facts::{self, ExpectedArchive};
use crate::archive_fixture::{archive_of, object_with};
use crate::fixture::{AFTER, BEFORE, Library, PATCH, guard};
use crate::guard::Guard;
use crate::kernels::{ExpectedKernels, VectorWidth, kernel_violations};
use crate::library::Vendored;
use crate::liveness::{LivenessReport, linked_violations, verify};
use crate::worktree::EditTarget;
use crate::{Input, prepare};

const PATCH_FILE: &str = "vendor/patches/0001-one.patch";
const GUARD_FILE: &str = "vendor/patches/0001-one.guard.toml";

type Ids = Vec<&'static str>;

fn ids(diagnostics: &[diag::Diagnostic]) -> Ids {
    diagnostics.iter().map(|diagnostic| diagnostic.code().id).collect()
}

/// Codes of a preparation after a change of the library.
fn preparing(change: impl FnOnce(&Library)) -> Ids {
    let library = Library::new();
    change(&library);
    ids(&library.refused())
}

/// The same with another one.c, which is the listed one.
fn preparing_source(one_c: &str) -> Ids {
    preparing(|library| {
        library.write("source/one.c", one_c);
        library.list(one_c);
    })
}

fn preparing_guard(from: &str, to: &str) -> Ids {
    let text = guard(BEFORE, AFTER);
    assert!(text.contains(from), "`{from}` is not in the guard");
    preparing(|library| library.write(GUARD_FILE, &text.replace(from, to)))
}

fn preparing_tarball(bytes: &[u8]) -> Ids {
    let library = Library::new();
    let tarball = library.path("source.tar.gz");
    fs::write(&tarball, bytes).unwrap();
    let error = prepare(Input::Tarball(&tarball), &library.path("vendor"), &library.path("out/p")).unwrap_err();
    ids(&diag::collect(&error))
}

fn compiled(source: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("one.c"), source).unwrap();
    let mut cc = Command::new("cc");
    cc.current_dir(folder.path()).args(["-O2", "-fPIC", "-c", "one.c"]);
    assert!(cc.status().expect("a C compiler, which Rust needs as well").success());
    fs::read(folder.path().join("one.o")).unwrap()
}

/// Codes of a guard with these requirements on `one` in one.o.
fn guarding(requirements: &str, archive: &[u8]) -> Ids {
    let text = guard(BEFORE, AFTER).replace("function = \"one\"\nforbid_references = [\"abort\"]\n", requirements);
    match Guard::parse(&text).unwrap().object_violations(archive) {
        Ok(violations) => ids(&violations),
        Err(error) => ids(&diag::collect(&error)),
    }
}

fn archive_judged(archive: &[u8], expected: &ExpectedArchive<'_>) -> Ids {
    ids(&archive_facts::violations(&archive_facts::read(archive, &["/machine".into()]).unwrap(), expected))
}

/// Codes of liveness, when the patch of the fixture changes one.c to `after`.
fn living(after: &str, log: &str) -> Ids {
    let library = Library::new();
    let mut prepared = library.prepare().unwrap();
    let file = &mut prepared.steps[0].files[0];
    let is_new = |number: &usize| !BEFORE.lines().any(|line| Some(line) == after.lines().nth(number - 1));
    file.added = (1..=after.lines().count()).filter(is_new).collect();
    file.after = after.into();
    let run = |folder: &Path, line: &str| {
        assert!(Command::new("sh").arg("-c").arg(line).current_dir(folder).status()?.success(), "{line}");
        Ok(())
    };
    ids(&verify(&prepared.steps, log, &prepared.tree, &run).unwrap().1)
}

fn opening(target: EditTarget<'_>, times: usize) -> Ids {
    let library = Library::new();
    let vendored = Vendored::read(&library.path("vendor")).unwrap();
    let source = library.path("source");
    let open = || vendored.open(Input::Tree(&source), target, &library.path("work"));
    (0..times).filter_map(|_| open().err()).flat_map(|error| ids(&diag::collect(&error))).collect()
}

#[test]
fn every_code_is_emitted() {
    let calls_abort = archive_of(&[("one.o", &compiled("void abort(void); int one(void) { abort(); }"))]);
    let elsewhere = archive_of(&[(
        "one.o",
        &compiled("void abort(void); int one(void) { abort(); } int two(void) { abort(); }"),
    )]);
    let plain = archive_of(&[("one.o", &compiled("int one(void) { return 1; }"))]);
    let path = archive_of(&[("one.o", &compiled("const char *one = \"/machine/x\";"))]);
    let no_note = archive_of(&[("k.o", &object_with(&[("k", &[0xc3])]))]);
    let mut metadata = plain.clone();
    metadata[8 + 16] = b'7';
    let any = ExpectedArchive::default();
    let kernels = |function: &str| ExpectedKernels {
        core: "SET".into(),
        functions: vec![function.into()],
        vectors_at_least: VectorWidth::Zmm,
    };
    let (log, one) = ("cc -O2 -c one.c -o one.o\n", [String::from("one")]);
    let report = LivenessReport {
        patch: "0001-one".into(),
        compiled: Vec::new(),
        lines_added: 0,
        lines_live: 0,
        differs: Vec::new(),
        functions: vec!["one".into()],
        test: "one".into(),
    };
    let cases: Vec<(&str, Ids)> = vec![
        ("vendor-file", preparing(|library| library.write("vendor/build.toml", "x = 1\n"))),
        ("patch-series", preparing(|library| library.write("vendor/patches/x.orig", ""))),
        ("patch-syntax", preparing(|library| library.write(PATCH_FILE, &PATCH.replace("-1,4", "-1,5")))),
        ("patch-header", preparing(|library| library.write(PATCH_FILE, &PATCH.replace("Since: 1.0\n", "")))),
        ("patch-guard", preparing_guard("path = \"one.c\"", "path = \"two.c\"")),
        ("patch-behaviour", preparing_guard("test = \"one\"", "test = \"two\"")),
        ("source-archive", preparing_tarball(b"<html>")),
        ("source-digest", preparing(|library| library.write("source/one.c", "changed\n"))),
        ("prepared-exists", preparing_twice()),
        ("patch-already-applied", preparing_source(AFTER)),
        ("patch-moved", preparing_source(&format!("/* new */\n{BEFORE}"))),
        ("patch-does-not-apply", preparing_source(&BEFORE.replace("return 0", "return zero()"))),
        ("patch-anchor-before", preparing_guard("before = [\"return 0;\"]", "before = [\"return 7;\"]")),
        ("patch-pre-image", preparing_source(&format!("{BEFORE}/* new */\n"))),
        ("patch-anchor-after", preparing_guard("\nafter = [\"return 1;\"]", "\nafter = [\"return 7;\"]")),
        ("patch-absent-after", preparing_guard("absent_after = [\"return 0;\"]", "absent_after = [\"int one\"]")),
        ("patch-post-image", preparing_source(&format!("{BEFORE}/* new */\n"))),
        ("patch-compiled", living(AFTER, "")),
        ("patch-preprocessor", living(&format!("{AFTER}#if 0\nint two;\n#endif\n"), log)),
        ("patch-object", living(&BEFORE.replace("  return 0;\n", "  (void)0;\n  return 0;\n"), log)),
        ("patch-member", guarding("references = [\"x\"]\n", b"!<arch>\n")),
        ("patch-function", guarding("function = \"two\"\nreferences = [\"x\"]\n", &plain)),
        ("patch-reference", guarding("function = \"one\"\nreferences = [\"x\"]\n", &plain)),
        (
            "patch-only-here",
            guarding("function = \"one\"\nreferences = [\"abort\"]\nonly_here = [\"abort\"]\n", &elsewhere),
        ),
        ("patch-forbid-references", guarding("forbid_references = [\"abort\"]\n", &calls_abort)),
        ("patch-linked", ids(&linked_violations([&report], &BTreeSet::new()))),
        ("archive-unreadable", guarding("references = [\"x\"]\n", b"no archive")),
        ("archive-member", archive_judged(b"!<arch>\n", &any)),
        ("archive-metadata", archive_judged(&metadata, &any)),
        ("archive-exec-stack", archive_judged(&no_note, &any)),
        ("archive-machine-path", archive_judged(&path, &any)),
        ("archive-undefined", archive_judged(&calls_abort, &any)),
        ("archive-function", archive_judged(b"!<arch>\n", &ExpectedArchive { functions: &one, ..Default::default() })),
        (
            "archive-size",
            archive_judged(&plain, &ExpectedArchive { sizes: vec![("one.o", "table", 8)], ..Default::default() }),
        ),
        ("kernel-missing", ids(&kernel_violations(&no_note, &[kernels("absent")]).unwrap())),
        ("kernel-vectors", ids(&kernel_violations(&no_note, &[kernels("k")]).unwrap())),
        ("patch-name", opening(EditTarget::Existing("7"), 1)),
        ("worktree", opening(EditTarget::Existing("1"), 2)),
    ];
    for (expected, emitted) in &cases {
        assert!(emitted.contains(expected), "{expected} is not emitted: {emitted:?}");
    }
    let provoked: BTreeSet<&str> = cases.iter().map(|(id, _)| *id).collect();
    let listed: BTreeSet<&str> = CODES.iter().map(|code| code.id).collect();
    assert_eq!(provoked, listed);
}

fn preparing_twice() -> Ids {
    let library = Library::new();
    library.prepare().unwrap();
    ids(&diag::collect(&library.prepare().unwrap_err()))
}

#[test]
fn every_code_has_all_sections() {
    for code in CODES {
        let labels: Vec<&str> = code.sections.iter().map(|(label, _)| *label).collect();
        assert_eq!(labels, ["when", "catches", "incident", "fix"], "{}", code.id);
    }
}

#[test]
fn explains_a_code() {
    insta::assert_snapshot!(diag::explain(&super::PATCH_PREPROCESSOR));
}
