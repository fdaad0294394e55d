//! [`Vendored::prepare`] from end to end, on a tiny library.

use super::*;
use crate::codes::{
    PATCH_ALREADY_APPLIED, PATCH_BEHAVIOUR, PATCH_DOES_NOT_APPLY, PATCH_MOVED, PATCH_SERIES, SOURCE_ARCHIVE,
    SOURCE_DIGEST,
};
use crate::fixture::{AFTER, BEFORE, Library, PATCH, guard};

#[test]
fn prepares_the_same_from_a_tree_and_a_tarball() {
    let library = Library::new();
    let from_tree = library.prepare().unwrap();
    let from_tarball =
        prepare(Input::Tarball(&library.tarball()), &library.path("vendor"), &library.path("out/again"))
            .unwrap();
    for prepared in [&from_tree, &from_tarball] {
        assert_eq!(fs::read_to_string(prepared.tree.join("one.c")).unwrap(), AFTER);
        assert_eq!(fs::read_to_string(prepared.tree.join("sub/two.h")).unwrap(), "two\n");
        assert!(!prepared.tree.join("README").exists());
    }
    assert_eq!(from_tree.digest, from_tarball.digest);
    assert_eq!(from_tree.patches[0].why, "one is not zero");
    // the input is unchanged, and no staging folder is left
    assert_eq!(fs::read_to_string(library.path("source/one.c")).unwrap(), BEFORE);
    assert_eq!(fs::read_dir(library.path("out")).unwrap().count(), 2);
}

#[test]
fn rejects_an_existing_destination() {
    let library = Library::new();
    library.prepare().unwrap();
    let error = library.prepare().unwrap_err();
    assert!(diag::has_code(&error, &PREPARED_EXISTS), "{error:#}");
}

#[test]
fn a_changed_guard_changes_the_digest() {
    let library = Library::new();
    let first = library.prepare().unwrap();
    fs::remove_dir_all(library.path("out")).unwrap();
    library.write("vendor/patches/0001-one.guard.toml", &format!("# a comment\n{}", guard(BEFORE, AFTER)));
    assert_ne!(library.prepare().unwrap().digest, first.digest);
}

#[test]
fn rejects_a_tarball_with_one_changed_byte() {
    let library = Library::new();
    library.write("source/sub/two.h", "twp\n");
    let tarball = library.tarball();
    let error =
        prepare(Input::Tarball(&tarball), &library.path("vendor"), &library.path("out/p")).unwrap_err();
    assert!(diag::has_code(&error, &SOURCE_DIGEST), "{error:#}");
    assert!(!library.path("out/p").exists());
}

#[test]
fn rejects_a_truncated_tarball_with_a_hint() {
    let library = Library::new();
    // Hard to compress, so that the cut is in the middle of this file.
    let text: String = (0..9999).map(|n| sha256_hex(format!("{n}").as_bytes())).collect();
    library.write("source/README", &text);
    let tarball = library.tarball();
    let bytes = fs::read(&tarball).unwrap();
    fs::write(&tarball, &bytes[..bytes.len() / 2]).unwrap();
    let error =
        prepare(Input::Tarball(&tarball), &library.path("vendor"), &library.path("out/p")).unwrap_err();
    assert!(diag::has_code(&error, &SOURCE_ARCHIVE), "{error:#}");
    insta::assert_snapshot!(diag::hint_of(&error).unwrap(), @"it is damaged or truncated: remove it (in the cache: its whole folder) and run this again");
    assert!(!library.path("out/p").exists());
}

/// The one code of a preparation of this one.c that must fail.
fn code_with(one_c: &str) -> &'static diag::Code {
    let library = Library::new();
    library.write("source/one.c", one_c);
    library.list(one_c);
    let refused = library.refused();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].fields().subject.rule.as_deref(), Some("0001-one"));
    refused[0].code()
}

#[test]
fn distinguishes_applied_moved_and_rewritten_text() {
    assert_eq!(*code_with(AFTER), PATCH_ALREADY_APPLIED);
    assert_eq!(*code_with(&format!("/* new */\n{BEFORE}")), PATCH_MOVED);
    assert_eq!(*code_with(&BEFORE.replace("return 0", "return zero()")), PATCH_DOES_NOT_APPLY);
}

#[test]
fn reports_all_violations_of_a_patch_together() {
    let library = Library::new();
    let longer = format!("{BEFORE}/* new */\n");
    library.write("source/one.c", &longer);
    library.list(&longer);
    let anchors = guard(BEFORE, AFTER).replace("before = [\"return 0;\"]", "before = [\"return 7;\"]");
    library.write("vendor/patches/0001-one.guard.toml", &anchors);
    let refused = library.refused();
    insta::assert_snapshot!(library.human(&refused));
}

#[test]
fn names_a_wrong_digest_after_the_patch() {
    let library = Library::new();
    library.write("vendor/patches/0001-one.guard.toml", &guard(BEFORE, "something else\n"));
    insta::assert_snapshot!(library.human(&library.refused()));
}

#[test]
fn rejects_a_re_import_without_the_patches() {
    for folder_exists in [true, false] {
        let library = Library::new();
        for name in ["0001-one.patch", "0001-one.guard.toml"] {
            fs::remove_file(library.path("vendor/patches").join(name)).unwrap();
        }
        if !folder_exists {
            fs::remove_dir(library.path("vendor/patches")).unwrap();
        }
        let refused = library.refused();
        assert_eq!(*refused[0].code(), PATCH_SERIES);
        insta::allow_duplicates! {
            insta::assert_snapshot!(library.human(&refused));
        }
    }
}

#[test]
fn rejects_a_header_that_names_another_guard() {
    let library = Library::new();
    library.write("vendor/patches/0001-one.patch", &PATCH.replace("Guards: 0001-one", "Guards: 0002-two"));
    insta::assert_snapshot!(library.human(&library.refused()));
}

#[test]
fn rejects_a_patch_without_guard_or_test() {
    for (path, code) in [
        ("vendor/patches/0001-one.guard.toml", &PATCH_SERIES),
        ("vendor/patches/0001-one.patch", &PATCH_SERIES),
        ("vendor/tests/one.c", &PATCH_BEHAVIOUR),
    ] {
        let library = Library::new();
        fs::remove_file(library.path(path)).unwrap();
        assert_eq!(library.refused()[0].code(), code, "{path}");
    }
    let library = Library::new();
    library.write("vendor/patches/0001-one.patch.orig", "");
    assert_eq!(*library.refused()[0].code(), PATCH_SERIES);
}
