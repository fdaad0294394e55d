//! A patch on trees that it was not written for.

use super::*;
use crate::tests::{AFTER, BEFORE, Library};

fn standing(one_c: Option<&str>) -> (Standing, String) {
    let library = Library::new();
    match one_c {
        Some(text) => library.write("source/one.c", text),
        None => std::fs::remove_file(library.path("source/one.c")).unwrap(),
    }
    let vendored = Vendored::read(&library.path("vendor")).unwrap();
    let laid = vendored.lay_all(&mut Texts::of(library.path("source"))).unwrap();
    (laid[0].standing(), told(&laid[0]))
}

#[test]
fn every_standing_is_told_apart() {
    let moved = format!("/* new */\n{BEFORE}");
    let longer = format!("{BEFORE}/* new */\n");
    let rewritten = BEFORE.replace("return 0", "return zero()");
    for (text, expected, word) in [
        (Some(BEFORE), Standing::Holds, ""),
        (Some(longer.as_str()), Standing::Fits, "[pre-image]"),
        (Some(moved.as_str()), Standing::Moved, "stands +1 lines away [elsewhere]"),
        (Some(AFTER), Standing::Applied, "applied already [already-applied]"),
        (Some(rewritten.as_str()), Standing::Conflict, "found `return zero();` [does-not-apply]"),
        (None, Standing::Conflict, "`one.c` is not in the tree"),
    ] {
        let (found, told) = standing(text);
        assert_eq!(found, expected, "{told}");
        assert!(told.contains(word) && (word.is_empty() == told.is_empty()), "{expected:?}: {told}");
    }
}

fn edit(path: &str, before: &str, after: &str) -> Edit {
    Edit { path: path.into(), before: before.into(), after: after.into() }
}

#[test]
fn what_need_not_change_stays_byte_for_byte() {
    let library = Library::new();
    let read = |name: &str| std::fs::read(library.path("vendor/patches").join(name)).unwrap();
    let (patch, guard) = (read("0001-one.patch"), String::from_utf8(read("0001-one.guard.toml")).unwrap());
    let files = [edit("one.c", BEFORE, AFTER)];
    let same = rewrite("0001-one", &patch, &guard, &files).unwrap();
    assert_eq!((same.patch, same.guard), (patch.clone(), guard.clone()));

    // another file instead: its guard comes, the old one's goes
    let files = [edit("two.c", "int two;\n", "int three;\n")];
    let other = rewrite("0001-one", &patch, &guard, &files).unwrap();
    let guard = Guard::parse(&other.guard).unwrap();
    assert_eq!(guard.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["two.c"]);
    assert_eq!(guard.objects.len(), 1);
    assert!(other.patch.starts_with(Patch::header_bytes(&patch)));
}

#[test]
fn a_patch_is_named_by_its_number_too() {
    assert!(is_number_of("0002", "0002-x") && is_number_of("2", "0002-x"));
    assert!(!is_number_of("", "0002-x") && !is_number_of("x", "0002-x") && !is_number_of("20", "0002-x"));
}
