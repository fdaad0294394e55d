//! A patch on trees that it was not written for.

use super::*;
use crate::fixture::{AFTER, BEFORE, Library};

fn fit(one_c: Option<&str>) -> (PatchStatus, Vec<&'static str>) {
    let library = Library::new();
    match one_c {
        Some(text) => library.write("source/one.c", text),
        None => std::fs::remove_file(library.path("source/one.c")).unwrap(),
    }
    let vendored = Vendored::read(&library.path("vendor")).unwrap();
    let fits = vendored.apply_all(&mut Overlay::new(library.path("source"))).unwrap();
    (fits[0].status(), fits[0].violations().iter().map(|violation| violation.code().id).collect())
}

#[test]
fn distinguishes_every_status() {
    let moved = format!("/* new */\n{BEFORE}");
    let longer = format!("{BEFORE}/* new */\n");
    let rewritten = BEFORE.replace("return 0", "return zero()");
    assert_eq!(fit(Some(BEFORE)), (PatchStatus::Holds, vec![]));
    assert_eq!(fit(Some(&longer)), (PatchStatus::Fits, vec!["patch-pre-image", "patch-post-image"]));
    assert_eq!(fit(Some(&moved)), (PatchStatus::Moved, vec!["patch-moved", "patch-pre-image", "patch-post-image"]));
    assert_eq!(fit(Some(AFTER)), (PatchStatus::Applied, vec!["patch-already-applied"]));
    assert_eq!(fit(Some(&rewritten)), (PatchStatus::Conflict, vec!["patch-does-not-apply", "patch-anchor-before"]));
    assert_eq!(fit(None), (PatchStatus::Conflict, vec!["patch-does-not-apply"]));
}
