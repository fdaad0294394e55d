//! Edits of the patches of a tiny library, and the build of the result.

use super::*;
use crate::codes::{PATCH_ALREADY_APPLIED, PATCH_ANCHOR_AFTER, PATCH_BEHAVIOUR, PATCH_DOES_NOT_APPLY};
use crate::fixture::{AFTER, BEFORE, Library};

const TWO: &str = "int one(void)\n{\n  return 2;\n}\n";

impl Library {
    fn vendored(&self) -> Vendored {
        Vendored::read(&self.path("vendor")).unwrap()
    }

    fn open(&self, target: EditTarget<'_>) -> Result<EditSession> {
        self.vendored().open(Input::Tree(&self.path("source")), target, &self.path("work"))
    }

    /// Refreshes, writes when there is no violation, and returns the violations.
    fn refresh(&self) -> Result<Vec<Diagnostic>> {
        let vendored = self.vendored();
        let plan =
            vendored.refresh(Input::Tree(&self.path("source")), &self.path("vendor"), &self.path("work"))?;
        let violations: Vec<Diagnostic> =
            plan.violations.iter().chain(&plan.later_violations).cloned().collect();
        if violations.is_empty() {
            plan.write()?;
        }
        Ok(violations)
    }

    /// one.c of a build.
    fn built(&self) -> String {
        let tree = self.path("built");
        let _ = fs::remove_dir_all(&tree);
        self.vendored().prepare(Input::Tree(&self.path("source")), &tree).unwrap();
        fs::read_to_string(tree.join("one.c")).unwrap()
    }

    /// A second patch, on top of the first, made through a worktree.
    fn with_second(after: &str) -> Self {
        let library = Library::new();
        library.open(EditTarget::New("0002-two")).unwrap();
        library.write("work/one.c", after);
        library
            .write("work/.muslin/header", &templates::header("0002-two", "1.0").replace("Why:", "Why: two"));
        library.write(
            "work/.muslin/guard.toml",
            "test = \"one\"\n[[object]]\nmember = \"one.o\"\nforbid_references = [\"abort\"]\n",
        );
        assert_eq!(library.refresh().unwrap(), []);
        fs::remove_dir_all(library.path("work")).unwrap();
        library
    }
}

fn shown(library: &Library, error: &anyhow::Error) -> String {
    library.human(&diag::collect(error))
}

fn refresh_error(library: &Library) -> String {
    shown(library, &library.refresh().unwrap_err())
}

#[test]
fn a_refresh_without_an_edit_writes_nothing() {
    let library = Library::new();
    library.open(EditTarget::Existing("0001")).unwrap();
    assert_eq!(fs::read_to_string(library.path("work/one.c")).unwrap(), AFTER);
    let vendored = library.vendored();
    let source = library.path("source");
    let plan =
        vendored.refresh(Input::Tree(&source), &library.path("vendor"), &library.path("work")).unwrap();
    assert!(plan.writes.is_empty() && plan.violations.is_empty(), "{plan:?}");
    assert!(vendored.worktree_diff(Input::Tree(&source), &library.path("work")).unwrap().is_empty());
}

#[test]
fn an_edit_reaches_patch_guard_and_build() {
    let library = Library::new();
    library.open(EditTarget::Existing("0001-one")).unwrap();
    library.write("work/one.c", &AFTER.replace("  return 1;", "  int extra = 0;\n  return 1;"));
    let source = library.path("source");
    let edited = library.vendored().worktree_diff(Input::Tree(&source), &library.path("work")).unwrap();
    insta::assert_snapshot!(String::from_utf8(edited).unwrap(), @"
    --- a/one.c
    +++ b/one.c
    @@ -1,4 +1,5 @@
     int one(void)
     {
    +  int extra = 0;
       return 1;
     }
    ");
    assert_eq!(library.refresh().unwrap(), []);
    assert!(library.built().contains("extra"));
    let patch = fs::read_to_string(library.path("vendor/patches/0001-one.patch")).unwrap();
    assert!(patch.starts_with("Why: one is not zero\nUpstream: none\n"), "{patch}");
}

#[test]
fn rejects_an_edit_that_violates_its_guard() {
    let library = Library::new();
    library.open(EditTarget::Existing("1")).unwrap();
    library.write("work/one.c", TWO);
    let violations = library.refresh().unwrap();
    assert_eq!(*violations[0].code(), PATCH_ANCHOR_AFTER);
    insta::assert_snapshot!(library.human(&violations));
    assert_eq!(library.built(), AFTER, "something was written");
}

#[test]
fn reports_what_a_new_patch_lacks() {
    let library = Library::new();
    let opened = library.open(EditTarget::New("0002-two.patch")).unwrap();
    assert_eq!(opened.templates, Some(library.path("work/.muslin")));
    let mut errors = refresh_error(&library);
    library.write("work/one.c", &AFTER.replace("one(", "two("));
    errors += &refresh_error(&library);
    library.write("work/.muslin/header", &templates::header("0002-two", "1.0").replace("Why:", "Why: two"));
    errors += &refresh_error(&library);
    insta::assert_snapshot!(errors);
    library.write(
        "work/.muslin/guard.toml",
        "test = \"two\"\n[[object]]\nmember = \"one.o\"\nforbid_references = [\"abort\"]\n",
    );
    assert_eq!(*library.refresh().unwrap()[0].code(), PATCH_BEHAVIOUR);
    for name in ["2-two", "0001-again", "0002", "two"] {
        let _ = fs::remove_dir_all(library.path("work"));
        assert!(library.open(EditTarget::New(name)).is_err(), "`{name}` was accepted");
    }
}

#[test]
fn rewrites_a_later_patch_that_moves() {
    let library = Library::with_second(&AFTER.replace("}\n", "}\nint second;\n"));
    assert_eq!(library.vendored().manifest.patches, ["0001-one", "0002-two"]);
    library.open(EditTarget::Existing("0001")).unwrap();
    library.write("work/one.c", &format!("/* line */\n/* more */\n{AFTER}"));
    assert_eq!(library.refresh().unwrap(), []);
    let built = library.built();
    assert!(built.starts_with("/* line */") && built.ends_with("int second;\n"), "{built}");
}

#[test]
fn reports_a_later_conflict_that_can_be_edited() {
    let library = Library::with_second(&AFTER.replace("return 1", "return 1 + 1"));
    library.open(EditTarget::Existing("0001")).unwrap();
    library.write("work/one.c", &AFTER.replace("return 1;", "return 1; /* one */"));
    let violations = library.refresh().unwrap();
    assert_eq!(*violations[0].code(), PATCH_DOES_NOT_APPLY);
    insta::assert_snapshot!(library.human(&violations));
    assert!(library.built().contains("1 + 1"), "something was written");

    // written all the same, as with `--leave-conflicts`
    let vendored = library.vendored();
    let source = library.path("source");
    vendored
        .refresh(Input::Tree(&source), &library.path("vendor"), &library.path("work"))
        .unwrap()
        .write()
        .unwrap();
    fs::remove_dir_all(library.path("work")).unwrap();
    let opened = library.open(EditTarget::Existing("0002")).unwrap();
    let rejected = fs::read_to_string(opened.rejected.unwrap()).unwrap();
    insta::assert_snapshot!(rejected, @"
    one.c: hunk 1, line 1
      this text was not found:
        int one(void)
        {
          return 1;
        }
      the patch changes it to:
        int one(void)
        {
          return 1 + 1;
        }
    ");
    library.write("work/one.c", &AFTER.replace("return 1;", "return 1 + 1; /* one */"));
    // the anchors were chosen for the old text and are corrected by hand
    let guard = library.path("vendor/patches/0002-two.guard.toml");
    let text = fs::read_to_string(&guard).unwrap().replace("\"  return 1;\"", "\"return 1; /* one */\"");
    fs::write(&guard, text.replace("\"  return 1 + 1;\"", "\"return 1 + 1; /*\"")).unwrap();
    assert_eq!(library.refresh().unwrap(), []);
    assert!(library.built().contains("return 1 + 1; /* one */"));
}

#[test]
fn accepts_changed_source_files_only() {
    let library = Library::new();
    library.open(EditTarget::Existing("0001")).unwrap();
    let mut errors = shown(&library, &library.open(EditTarget::Existing("0001")).map(|_| ()).unwrap_err());
    library.write("work/one.c.orig", BEFORE);
    fs::remove_file(library.path("work/sub/two.h")).unwrap();
    errors += &refresh_error(&library);
    fs::remove_dir_all(library.path("work/.muslin")).unwrap();
    errors += &refresh_error(&library);
    insta::assert_snapshot!(errors);
}

#[test]
fn rejects_a_worktree_with_another_base() {
    let library = Library::new();
    library.open(EditTarget::Existing("0001")).unwrap();
    library.write("source/sub/two.h", "another\n");
    let list = fs::read_to_string(library.path("vendor/files.sha256")).unwrap();
    let digest = store::sha256_hex;
    library.write("vendor/files.sha256", &list.replace(&digest(b"two\n"), &digest(b"another\n")));
    insta::assert_snapshot!(refresh_error(&library));
}

#[test]
fn a_bump_plans_files_that_a_build_accepts() {
    let library = Library::with_second(&AFTER.replace("}\n", "}\nint second;\n"));
    library.write("new/one.c", &format!("/* of 2.0 */\n{BEFORE}"));
    library.write("new/sub/two.h", "two\n");
    library.write("new/sub/three.h", "three\n");
    let vendored = library.vendored();
    let (files, plan) = vendored.bump(&library.path("new"), "2.0", None, &library.path("vendor")).unwrap();
    assert_eq!(
        (files.unchanged, &files.changed[..], &files.unlisted[..]),
        (1, &["one.c".into()][..], &["sub/three.h".into()][..])
    );
    assert!(plan.later.iter().all(|patch| patch.status() == PatchStatus::Moved), "{plan:?}");
    assert_eq!(plan.later_violations, []);
    plan.write().unwrap();
    fs::rename(library.path("new"), library.path("source2")).unwrap();
    fs::remove_dir_all(library.path("source")).unwrap();
    fs::rename(library.path("source2"), library.path("source")).unwrap();
    assert_eq!(library.vendored().manifest.version, "2.0");
    assert!(library.built().starts_with("/* of 2.0 */") && library.built().contains("int second"));
}

#[test]
fn a_bump_reports_a_patch_that_upstream_merged() {
    let library = Library::with_second(&AFTER.replace("}\n", "}\nint second;\n"));
    library.write("new/one.c", AFTER);
    let vendored = library.vendored();
    let (files, plan) = vendored.bump(&library.path("new"), "2.0", None, &library.path("vendor")).unwrap();
    assert_eq!(files.missing, ["sub/two.h"]);
    assert_eq!(plan.later[0].status(), PatchStatus::Applied);
    assert_eq!(plan.later[1].status(), PatchStatus::Holds, "later patches are judged too");
    assert!(plan.later_violations.iter().any(|violation| *violation.code() == PATCH_ALREADY_APPLIED));
}
