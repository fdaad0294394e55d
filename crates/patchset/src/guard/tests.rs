//! Guards on objects that the C compiler of the machine makes, on text, and new digests in their files.

use std::process::Command;

use diag::Diagnostic;
use store::sha256_hex;

use super::*;
use crate::ar;
use crate::archive_fixture::archive_of;
use crate::codes::{PATCH_FUNCTION, PATCH_MEMBER, PATCH_ONLY_HERE};
use crate::diff::unified;
use crate::patch::Patch;

/// The create site of a worker pool in small, with a hole for the repair. As in the real file, the macro that once
/// selected attributes is undefined at its top.
const POOL_C: &str = r#"
    #include <pthread.h>
    #include <stddef.h>
    #undef NEED_STACKATTR
    static pthread_t workers[4];
    static void *worker(void *arg) { return arg; }
    __attribute__((noinline)) int start_worker(long i) {
    #ifdef NEED_STACKATTR
      pthread_attr_t attr;
      pthread_attr_init(&attr);
      INSIDE
      return pthread_create(&workers[i], &attr, worker, NULL);
    #else
      pthread_attr_t *attr_in_use = NULL;
      OUTSIDE
      return pthread_create(&workers[i], attr_in_use, worker, NULL);
    #endif
    }
    int grow(long i) { OTHER return start_worker(i); }
"#;
const REPAIR_INSIDE: &str = "pthread_attr_setstacksize(&attr, 8UL << 20);";
const REPAIR_OUTSIDE: &str = "pthread_attr_t attr; pthread_attr_init(&attr); \
                              pthread_attr_setstacksize(&attr, 8UL << 20); attr_in_use = &attr;";

fn compiled(inside: &str, outside: &str, other: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let source = POOL_C.replace("INSIDE", inside).replace("OUTSIDE", outside).replace("OTHER", other);
    assert!(source.contains("pthread_attr_setstacksize") || (inside.is_empty() && outside.is_empty()));
    std::fs::write(folder.path().join("pool.c"), source).unwrap();
    let status = Command::new("cc")
        .args(["-O2", "-fPIC", "-c", "pool.c", "-o", "pool.o"])
        .current_dir(folder.path())
        .status()
        .expect("a C compiler, which Rust needs to link as well");
    assert!(status.success());
    archive_of(&[("pool.o", &std::fs::read(folder.path().join("pool.o")).unwrap())])
}

const GUARD: &str = r#"
    test = "stack"
    [[file]]
    path = "pool.c"
    pre_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    post_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    before = ["old"]
    after = ["new"]
    absent_after = ["old"]
    [[object]]
    member = "pool.o"
    function = "start_worker"
    references = ["pthread_create", "pthread_attr_setstacksize"]
    only_here = ["pthread_create"]
    [[object]]
    member = "pool.o"
    forbid_references = ["raise"]
"#;

fn violations(archive: &[u8]) -> Vec<Diagnostic> {
    Guard::parse(GUARD).unwrap().object_violations(archive).unwrap()
}

#[test]
fn accepts_a_repair_that_is_compiled() {
    assert_eq!(violations(&compiled("", REPAIR_OUTSIDE, "")), []);
}

/// As text for a terminal.
fn human(violations: &[Diagnostic]) -> String {
    diag::render::human(violations, diag::render::Style::default())
}

#[test]
fn rejects_a_repair_inside_an_ifdef_that_is_off() {
    insta::assert_snapshot!(human(&violations(&compiled(REPAIR_INSIDE, "", ""))));
}

#[test]
fn rejects_an_unguarded_second_create_site() {
    let second = "pthread_create(&workers[0], NULL, worker, NULL);";
    let found = violations(&compiled("", REPAIR_OUTSIDE, second));
    assert!(found.iter().all(|violation| *violation.code() == PATCH_ONLY_HERE), "{found:?}");
    insta::assert_snapshot!(human(&found));
}

#[test]
fn rejects_a_forbidden_reference() {
    insta::assert_snapshot!(human(&violations(&compiled(
        "",
        REPAIR_OUTSIDE,
        "extern int raise(int); raise(2);"
    ))));
}

#[test]
fn rejects_an_archive_without_the_guarded_code() {
    let good = compiled("", REPAIR_OUTSIDE, "");
    let object = ar::members(&good).unwrap()[0].1.to_vec();
    let found = violations(&archive_of(&[("other.o", &object)]));
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|violation| *violation.code() == PATCH_MEMBER), "{found:?}");
    let found = violations(&archive_of(&[("pool.o", &object), ("pool.o", &object)]));
    assert_eq!((found[0].code(), found[0].fields().found.as_deref()), (&PATCH_MEMBER, Some("2")));
    let renamed = Guard::parse(&GUARD.replace("start_worker", "start_workers")).unwrap();
    let found = renamed.object_violations(&good).unwrap();
    assert_eq!(*found[0].code(), PATCH_FUNCTION);
    assert!(renamed.object_violations(b"no archive").is_err());
    assert!(renamed.object_violations(&archive_of(&[("pool.o", b"no object")])).is_err());
}

#[test]
fn requires_each_anchor_exactly_once() {
    let file = &Guard::parse(GUARD).unwrap().files[0];
    assert!(file.anchors_before(b"the old text").is_empty());
    assert_eq!(file.anchors_before(b"no text").len(), 1);
    assert_eq!(file.anchors_before(b"old and old").len(), 1);
    // anchor missing, removed text still there, digest
    assert_eq!(file.after_violations(b"the old text").len(), 3);
    assert_eq!(file.after_violations(b"the new text").len(), 1);
}

#[test]
fn rejects_every_invalid_guard() {
    for (what, bad) in [
        ("unknown key", GUARD.replace("forbid_references", "forbid_reference")),
        ("no file", GUARD.replace("[[file]]", "[[files]]")),
        ("no anchor", GUARD.replace("[\"new\"]", "[]")),
        ("empty anchor", GUARD.replace("[\"new\"]", "[\"\"]")),
        ("short digest", GUARD.replace("e3b0", "e3")),
        ("nothing required", GUARD.replace("forbid_references = [\"raise\"]", "")),
        (
            "only_here without references",
            GUARD.replace("only_here = [\"pthread_create\"]", "only_here = [\"free\"]"),
        ),
        ("no object", GUARD[..GUARD.find("[[object]]").unwrap()].to_owned()),
    ] {
        assert!(Guard::parse(&bad).is_err(), "{what} was accepted");
    }
}

/// As `vendor edit` writes the guard of a new patch.
#[test]
fn an_empty_member_or_digest_is_named() {
    let digest = "pre_sha256 = \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"";
    let bad = GUARD
        .replace(digest, "pre_sha256 = \"\"")
        .replace("member = \"pool.o\"\n    forbid_references = [\"raise\"]", "member = \"\"");
    insta::assert_snapshot!(human(&Guard::parse(&bad).unwrap_err().0), @r"
    error[patch-guard]: a digest is not 64 lower-case hex digits
      found:    an empty text
    error[patch-guard]: an `[[object]]` has neither `references` nor `forbid_references`
      found:    `[[object]]` number 2, with an empty `member`
    ");
}

const PIN_GUARD: &str = "# a comment\ntest = \"t\"\n[[file]]\npath = \"a.c\"\n# why\npre_sha256 = \"0\"\npost_sha256 = \"0\"\n\
    before = ['''x''']\nafter = [\"y\"]\n[[file]]\npath = \"b.c\"\npre_sha256 = \"1\"\npost_sha256 = \"1\"\n\
    before = [\"x\"]\nafter = [\"y\"]\n[[object]]\nmember = \"a.o\"\nforbid_references = [\"abort\"]\n";

fn pin_guard() -> String {
    PIN_GUARD
        .replace("\"0\"", &format!("\"{}\"", "0".repeat(64)))
        .replace("\"1\"", &format!("\"{}\"", "1".repeat(64)))
}

#[test]
fn pins_the_digests_of_one_file_only() {
    let pinned = pin_digests(&pin_guard(), "b.c", b"before", b"after").unwrap();
    let changed: Vec<(String, String)> = pin_guard()
        .lines()
        .map(String::from)
        .zip(pinned.lines().map(String::from))
        .filter(|(old, new)| old != new)
        .collect();
    assert_eq!(changed.len(), 2);
    assert_eq!(changed[0].1, format!("pre_sha256 = \"{}\"", sha256_hex(b"before")));
    assert_eq!(pin_digests(&pinned, "b.c", b"before", b"after").unwrap(), pinned);
    insta::assert_snapshot!(pin_digests(&pin_guard(), "c.c", b"", b"").unwrap_err(), @r#"
    a `[[file]]` of a guard was not found
      expected: `path = "c.c"` on a line of its own
    "#);
    let odd = pin_guard().replace("path = \"a.c\"", "path = 'a.c'");
    assert!(pin_digests(&odd, "a.c", b"", b"").is_err(), "another notation is not rewritten");
}

#[test]
fn writes_a_complete_block_for_a_new_file() {
    let before = b"int one;\nint two;\nint two;\nint three;\n";
    let after = b"int one;\nint two;\nint two;\nint \"four\";\n";
    let text =
        [b"Why: x\nUpstream: x\nSince: 1\nGuards: x\n\n", &unified("a.c", before, after, 3)[..]].concat();
    let diff = &Patch::parse(&text).unwrap().files[0];
    let block = new_file_block(diff, before, after).unwrap();
    let whole =
        format!("test = \"t\"\n{block}[[object]]\nmember = \"a.o\"\nforbid_references = [\"abort\"]\n");
    let file = &Guard::parse(&whole).unwrap().files[0];
    assert_eq!(
        (&file.before[..], &file.after[..]),
        (&["int three;".to_string()][..], &["int \"four\";".to_string()][..])
    );
    assert!(file.anchors_before(before).is_empty() && file.after_violations(after).is_empty());
}
