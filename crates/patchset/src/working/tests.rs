//! Editing the patches of a tiny library, and what a build makes of the result.

use super::*;
use crate::series::Standing;
use crate::tests::{AFTER, BEFORE, Library};

const TWO: &str = "int one(void)\n{\n  return 2;\n}\n";

impl Library {
    fn vendored(&self) -> Vendored {
        Vendored::read(&self.path("vendor")).unwrap()
    }

    fn open(&self, target: Target<'_>) -> Result<Opened> {
        self.vendored().open(Input::Tree(&self.path("source")), target, &self.path("work"))
    }

    /// Refreshes, writes unless something stands against it, and gives back what does.
    fn refresh(&self) -> Result<Vec<String>> {
        let vendored = self.vendored();
        let proposal =
            vendored.refresh(Input::Tree(&self.path("source")), &self.path("vendor"), &self.path("work"))?;
        let violations: Vec<String> =
            proposal.violations.iter().chain(&proposal.later_violations).cloned().collect();
        if violations.is_empty() {
            proposal.write()?;
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

    /// A second patch, on top of the first, made by the way that people take.
    fn with_second(after: &str) -> Self {
        let library = Library::new();
        library.open(Target::New("0002-two")).unwrap();
        library.write("work/one.c", after);
        library.write("work/.muslin/header", &header_template("0002-two", "1.0").replace("Why:", "Why: two"));
        library.write(
            "work/.muslin/guard.toml",
            "test = \"one\"\n[[object]]\nmember = \"one.o\"\nnever = [\"abort\"]\n",
        );
        assert_eq!(library.refresh().unwrap(), Vec::<String>::new());
        fs::remove_dir_all(library.path("work")).unwrap();
        library
    }
}

#[test]
fn a_refresh_without_a_change_writes_nothing() {
    let library = Library::new();
    library.open(Target::Patch("0001")).unwrap();
    assert_eq!(fs::read_to_string(library.path("work/one.c")).unwrap(), AFTER);
    let vendored = library.vendored();
    let source = library.path("source");
    let proposal =
        vendored.refresh(Input::Tree(&source), &library.path("vendor"), &library.path("work")).unwrap();
    assert!(proposal.writes.is_empty() && proposal.violations.is_empty(), "{proposal:?}");
    assert!(vendored.edited(Input::Tree(&source), &library.path("work")).unwrap().is_empty());
}

#[test]
fn an_edit_gets_into_patch_guard_and_build() {
    let library = Library::new();
    library.open(Target::Patch("0001-one")).unwrap();
    library.write("work/one.c", &AFTER.replace("  return 1;", "  int extra = 0;\n  return 1;"));
    let source = library.path("source");
    let edited = library.vendored().edited(Input::Tree(&source), &library.path("work")).unwrap();
    assert!(String::from_utf8(edited).unwrap().contains("\n+  int extra = 0;\n"));
    assert_eq!(library.refresh().unwrap(), Vec::<String>::new());
    assert!(library.built().contains("extra"));
    let patch = fs::read_to_string(library.path("vendor/patches/0001-one.patch")).unwrap();
    assert!(patch.starts_with("Why: one is not zero\nUpstream: none\n"), "{patch}");
}

#[test]
fn an_edit_that_breaks_its_guard_is_refused() {
    let library = Library::new();
    library.open(Target::Patch("1")).unwrap();
    library.write("work/one.c", TWO);
    let told = library.refresh().unwrap().join("\n");
    assert!(
        told.contains("expected `return 1;` once after the patch") && told.contains("[anchor-after]"),
        "{told}"
    );
    assert_eq!(library.built(), AFTER, "something was written");
}

#[test]
fn a_new_patch_says_what_it_lacks() {
    let library = Library::new();
    let opened = library.open(Target::New("0002-two.patch")).unwrap();
    assert_eq!(opened.templates, Some(library.path("work/.muslin")));
    assert!(format!("{:#}", library.refresh().unwrap_err()).contains("holds nothing of `0002-two`"));
    library.write("work/one.c", &AFTER.replace("one(", "two("));
    assert!(format!("{:#}", library.refresh().unwrap_err()).contains("`Why:` in the header is empty"));
    library.write("work/.muslin/header", &header_template("0002-two", "1.0").replace("Why:", "Why: two"));
    assert!(format!("{:#}", library.refresh().unwrap_err()).contains("proves nothing"));
    library.write(
        "work/.muslin/guard.toml",
        "test = \"two\"\n[[object]]\nmember = \"one.o\"\nnever = [\"abort\"]\n",
    );
    assert!(library.refresh().unwrap()[0].contains("there is no tests/two.c [behaviour]"));
    for name in ["2-two", "0001-again", "0002", "two"] {
        fs::remove_dir_all(library.path("work")).ok();
        assert!(library.open(Target::New(name)).is_err(), "`{name}` was taken");
    }
}

#[test]
fn a_later_patch_that_moves_is_written_anew() {
    let library = Library::with_second(&AFTER.replace("}\n", "}\nint second;\n"));
    assert_eq!(library.vendored().manifest.patches, ["0001-one", "0002-two"]);
    library.open(Target::Patch("0001")).unwrap();
    library.write("work/one.c", &format!("/* line */\n/* more */\n{AFTER}"));
    assert_eq!(library.refresh().unwrap(), Vec::<String>::new());
    let built = library.built();
    assert!(built.starts_with("/* line */") && built.ends_with("int second;\n"), "{built}");
}

#[test]
fn a_later_patch_that_conflicts_is_told_and_can_be_edited() {
    let library = Library::with_second(&AFTER.replace("return 1", "return 1 + 1"));
    library.open(Target::Patch("0001")).unwrap();
    library.write("work/one.c", &AFTER.replace("return 1;", "return 1; /* one */"));
    let told = library.refresh().unwrap().join("\n");
    assert!(told.contains("patch `0002-two`") && told.contains("[does-not-apply]"), "{told}");
    assert!(library.built().contains("1 + 1"), "something was written");

    // left for later, as `--leave-conflicts` does
    let vendored = library.vendored();
    let source = library.path("source");
    vendored
        .refresh(Input::Tree(&source), &library.path("vendor"), &library.path("work"))
        .unwrap()
        .write()
        .unwrap();
    fs::remove_dir_all(library.path("work")).unwrap();
    let opened = library.open(Target::Patch("0002")).unwrap();
    let rejected = fs::read_to_string(opened.rejected.unwrap()).unwrap();
    assert!(rejected.contains("it was to become:") && rejected.contains("return 1 + 1;"), "{rejected}");
    library.write("work/one.c", &AFTER.replace("return 1;", "return 1 + 1; /* one */"));
    // the anchors were chosen for the old text, and are a person's to correct
    let guard = library.path("vendor/patches/0002-two.guard.toml");
    let text = fs::read_to_string(&guard).unwrap().replace("\"  return 1;\"", "\"return 1; /* one */\"");
    fs::write(&guard, text.replace("\"  return 1 + 1;\"", "\"return 1 + 1; /*\"")).unwrap();
    assert_eq!(library.refresh().unwrap(), Vec::<String>::new());
    assert!(library.built().contains("return 1 + 1; /* one */"));
}

#[test]
fn only_changed_source_is_taken() {
    let library = Library::new();
    library.open(Target::Patch("0001")).unwrap();
    assert!(format!("{:#}", library.open(Target::Patch("0001")).unwrap_err()).contains("is there already"));
    library.write("work/one.c.orig", BEFORE);
    fs::remove_file(library.path("work/sub/two.h")).unwrap();
    let told = format!("{:#}", library.refresh().unwrap_err());
    assert!(told.contains("`one.c.orig`: is not of the source") && told.contains("`sub/two.h`"), "{told}");
    fs::remove_dir_all(library.path("work/.muslin")).unwrap();
    assert!(
        format!("{:#}", library.refresh().unwrap_err()).contains("is not a tree that `vendor edit` made")
    );
}

#[test]
fn a_tree_of_another_source_is_refused() {
    let library = Library::new();
    library.open(Target::Patch("0001")).unwrap();
    library.write("source/sub/two.h", "another\n");
    let list = fs::read_to_string(library.path("vendor/files.sha256")).unwrap();
    let digest = store::sha256_hex;
    library.write("vendor/files.sha256", &list.replace(&digest(b"two\n"), &digest(b"another\n")));
    let told = format!("{:#}", library.refresh().unwrap_err());
    assert!(told.contains("has changed since its tree was made"), "{told}");
}

#[test]
fn a_bump_says_what_holds_and_writes_what_a_build_takes() {
    let library = Library::with_second(&AFTER.replace("}\n", "}\nint second;\n"));
    library.write("new/one.c", &format!("/* of 2.0 */\n{BEFORE}"));
    library.write("new/sub/two.h", "two\n");
    library.write("new/sub/three.h", "three\n");
    let vendored = library.vendored();
    let (files, proposal) =
        vendored.bump(&library.path("new"), "2.0", None, &library.path("vendor")).unwrap();
    assert_eq!(
        (files.same, &files.changed[..], &files.beside[..]),
        (1, &["one.c".into()][..], &["sub/three.h".into()][..])
    );
    assert!(proposal.later.iter().all(|patch| patch.standing() == Standing::Moved), "{proposal:?}");
    assert_eq!(proposal.later_violations, Vec::<String>::new());
    proposal.write().unwrap();
    fs::rename(library.path("new"), library.path("source2")).unwrap();
    fs::remove_dir_all(library.path("source")).unwrap();
    fs::rename(library.path("source2"), library.path("source")).unwrap();
    assert_eq!(library.vendored().manifest.version, "2.0");
    assert!(library.built().starts_with("/* of 2.0 */") && library.built().contains("int second"));
}

#[test]
fn a_bump_to_a_version_that_took_a_patch_is_told() {
    let library = Library::with_second(&AFTER.replace("}\n", "}\nint second;\n"));
    library.write("new/one.c", AFTER);
    let vendored = library.vendored();
    let (files, proposal) =
        vendored.bump(&library.path("new"), "2.0", None, &library.path("vendor")).unwrap();
    assert_eq!(files.missing, ["sub/two.h"]);
    assert_eq!(proposal.later[0].standing(), Standing::Applied);
    assert_eq!(proposal.later[1].standing(), Standing::Holds, "later ones are judged all the same");
    assert!(
        proposal
            .later_violations
            .iter()
            .any(|text| text.contains("0001-one") && text.contains("[already-applied]"))
    );
}

#[test]
fn a_name_is_added_to_every_form_of_the_list() {
    let toml = |patches: &str| {
        format!(
            "name = \"t\"\nversion = \"1\"\nlicence = \"x\"\nhomepage = \"x\"\nfiles = \"f\"{patches}\n[[source]]\nkind = \"archive\"\nurl = \"u\"\n"
        )
    };
    for form in ["", "\npatches = []", "\npatches = [\"a\"]", "\npatches = [\n  \"a\",\n]"] {
        let added = with_patch(&toml(form), "b").unwrap();
        assert_eq!(SourceManifest::parse(&added).unwrap().patches.last().unwrap(), "b", "{added}");
    }
}
