//! [`Vendored::prepare`] from end to end: on a tiny library that the test writes, and on the real patches and guards.

use std::io::Write;

use super::*;

pub(super) const BEFORE: &str = "int one(void)\n{\n  return 0;\n}\n";
pub(super) const AFTER: &str = "int one(void)\n{\n  return 1;\n}\n";
const PATCH: &str = "Why: one is not zero\nUpstream: none\nSince: 1.0\nGuards: 0001-one.guard.toml\n\n\
                     --- a/one.c\n+++ b/one.c\n@@ -1,4 +1,4 @@\n int one(void)\n {\n-  return 0;\n+  return 1;\n }\n";

/// A vendor folder for a library of two files, of which one is patched, and its source tree.
pub(super) struct Library {
    folder: tempfile::TempDir,
}

impl Library {
    pub(super) fn new() -> Self {
        let library = Self { folder: tempfile::tempdir().unwrap() };
        library.write("source/one.c", BEFORE);
        library.write("source/sub/two.h", "two\n");
        library.write("source/README", "not listed\n");
        library.write(
            "vendor/source.toml",
            "name = \"tiny\"\nversion = \"1.0\"\nlicence = \"MIT\"\nhomepage = \"https://example.org/\"\n\
             files = \"files.sha256\"\npatches = [\"0001-one\"]\n[[source]]\nkind = \"archive\"\nurl = \"https://example.org/tiny.tar.gz\"\n",
        );
        library.write(
            "vendor/build.toml",
            "archive = \"libtiny.a\"\nfunctions = [\"one\"]\nundefined = []\n[recipe]\nkind = \"cc\"\nsources = [\"one.c\"]\n\
             flags = [\"-O2\"]\n",
        );
        library.list(BEFORE);
        library.write("vendor/patches/0001-one.patch", PATCH);
        library.write("vendor/patches/0001-one.guard.toml", &guard(BEFORE, AFTER));
        library.write("vendor/tests/one.c", "int main(void) { return 0; }\n");
        library
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn list(&self, one_c: &str) {
        let list = format!("{}  one.c\n{}  sub/two.h\n", sha256_hex(one_c.as_bytes()), sha256_hex(b"two\n"));
        self.write("vendor/files.sha256", &list);
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn tarball(&self) -> PathBuf {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_dir_all("tiny-1.0", self.path("source")).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar.into_inner().unwrap()).unwrap();
        let path = self.path("tiny.tar.gz");
        fs::write(&path, gzip.finish().unwrap()).unwrap();
        path
    }

    fn prepare(&self) -> Result<Prepared> {
        prepare(Input::Tree(&self.path("source")), &self.path("vendor"), &self.path("out/prepared"))
    }

    /// The message of a preparation that must fail and must leave nothing.
    fn refused(&self) -> String {
        let message = format!("{:#}", self.prepare().expect_err("was prepared"));
        let left: Vec<_> = fs::read_dir(self.path("out")).map(|folder| folder.collect()).unwrap_or_default();
        assert!(left.is_empty(), "{left:?} was left behind");
        message
    }
}

pub(super) fn guard(before: &str, after: &str) -> String {
    format!(
        "test = \"one\"\n[[file]]\npath = \"one.c\"\npre_sha256 = \"{}\"\npost_sha256 = \"{}\"\nbefore = [\"return 0;\"]\n\
         after = [\"return 1;\"]\ngone = [\"return 0;\"]\n[[object]]\nmember = \"one.o\"\nfunction = \"one\"\nnever = [\"abort\"]\n",
        sha256_hex(before.as_bytes()),
        sha256_hex(after.as_bytes())
    )
}

#[test]
fn tree_and_tarball_give_the_same() {
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
    // the input is untouched, and nothing but the results stands
    assert_eq!(fs::read_to_string(library.path("source/one.c")).unwrap(), BEFORE);
    assert_eq!(fs::read_dir(library.path("out")).unwrap().count(), 2);
}

#[test]
fn a_prepared_tree_is_not_continued() {
    let library = Library::new();
    library.prepare().unwrap();
    assert!(format!("{:#}", library.prepare().unwrap_err()).contains("is there already"));
}

#[test]
fn a_changed_guard_changes_the_digest() {
    let library = Library::new();
    let first = library.prepare().unwrap();
    fs::remove_dir_all(library.path("out")).unwrap();
    library.write("vendor/patches/0001-one.guard.toml", &format!("# read again\n{}", guard(BEFORE, AFTER)));
    assert_ne!(library.prepare().unwrap().digest, first.digest);
}

#[test]
fn a_tarball_with_one_changed_byte_is_refused() {
    let library = Library::new();
    library.write("source/sub/two.h", "twp\n");
    let message = format!(
        "{:#}",
        prepare(Input::Tarball(&library.tarball()), &library.path("vendor"), &library.path("out/p"))
            .unwrap_err()
    );
    assert!(
        message.contains("1 of 2 listed files") && message.contains("`sub/two.h`: expected sha256"),
        "{message}"
    );
    assert!(message.contains("hint:"), "{message}");
    assert!(!library.path("out/p").exists());
}

#[test]
fn a_patch_that_is_applied_already_is_refused() {
    let library = Library::new();
    library.write("source/one.c", AFTER);
    library.list(AFTER);
    let message = library.refused();
    assert!(message.contains("patch `0001-one`") && message.contains("is applied already"), "{message}");
}

#[test]
fn a_patch_whose_anchor_moved_is_refused() {
    let library = Library::new();
    let moved = format!("/* new */\n{BEFORE}");
    library.write("source/one.c", &moved);
    library.list(&moved);
    let message = library.refused();
    assert!(message.contains("hunk 1 is for line 1, its text stands at line 2"), "{message}");
}

#[test]
fn a_patch_that_fits_another_file_than_the_one_read_is_refused() {
    let library = Library::new();
    let longer = format!("{BEFORE}/* new */\n");
    library.write("source/one.c", &longer);
    library.list(&longer);
    let message = library.refused();
    assert!(
        message.contains("before the patch, found") && message.contains("after the patch, found"),
        "{message}"
    );
}

#[test]
fn an_anchor_that_is_not_there_is_refused() {
    let library = Library::new();
    library.write(
        "vendor/patches/0001-one.guard.toml",
        &guard(BEFORE, AFTER).replace("before = [\"return 0;\"]", "before = [\"return 7;\"]"),
    );
    let message = library.refused();
    assert!(message.contains("expected `return 7;` once before the patch, found it 0 times"), "{message}");
}

/// The re-import that dropped merged patches, in its three shapes.
#[test]
fn a_re_import_that_drops_a_patch_is_refused() {
    // 1. the vendor folder was made anew, and the patches were not carried over
    let library = Library::new();
    for name in ["0001-one.patch", "0001-one.guard.toml"] {
        fs::remove_file(library.path("vendor/patches").join(name)).unwrap();
    }
    let told = library.refused();
    assert!(told.contains("[series]") && told.contains("0001-one"), "{told}");
    // 2. the list was made from a tree that somebody had patched: the patch looks merged
    let library = Library::new();
    library.write("source/one.c", AFTER);
    library.list(AFTER);
    assert!(library.refused().contains("[already-applied]"));
    // 3. the list was made from another version, and the patch stayed behind
    let library = Library::new();
    let rewritten = BEFORE.replace("return 0", "return zero()");
    library.write("source/one.c", &rewritten);
    library.list(&rewritten);
    assert!(library.refused().contains("[does-not-apply]"));
}

#[test]
fn the_header_names_its_guard() {
    let library = Library::new();
    library.write("vendor/patches/0001-one.patch", &PATCH.replace("Guards: 0001-one", "Guards: 0002-two"));
    let told = library.refused();
    assert!(told.contains("expected `Guards: 0001-one.guard.toml`") && told.contains("[header]"), "{told}");
}

#[test]
fn patches_without_guard_or_test_are_refused() {
    for (what, path, expected) in [
        ("guard", "vendor/patches/0001-one.guard.toml", "stands alone"),
        ("patch", "vendor/patches/0001-one.patch", "stands alone"),
        ("test", "vendor/tests/one.c", "names test `one`"),
    ] {
        let library = Library::new();
        fs::remove_file(library.path(path)).unwrap();
        let message = library.refused();
        assert!(message.contains(expected), "{what}: {message}");
    }
    let library = Library::new();
    library.write("vendor/patches/0001-one.patch.orig", "");
    assert!(library.refused().contains("neither a patch nor a guard"));
}

/// The real patches, checked without the real source: their files parse, pair up, name tests that exist, and the chain of
/// digests closes (what one patch leaves is what the next one on that file starts from).
#[test]
fn the_patches_of_this_repository_hold_together() {
    let vendor_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendor/openblas");
    let vendored = Vendored::read(&vendor_dir).unwrap();
    assert!(vendored.patches().count() >= 3);
    let mut digests: std::collections::BTreeMap<&str, &str> =
        vendored.list.files().iter().map(|file| (file.path.as_str(), file.sha256.as_str())).collect();
    for patch in vendored.patches() {
        for file in &patch.guard.files {
            assert_eq!(
                digests.get(file.path.as_str()),
                Some(&file.pre_sha256.as_str()),
                "{}: {}",
                patch.name,
                file.path
            );
            digests.insert(&file.path, &file.post_sha256);
        }
    }
}

#[test]
fn regression_a_cut_off_tarball_had_no_remedy() {
    let library = Library::new();
    // Hard to compress, so that the cut is in the middle of this file.
    library.write(
        "source/README",
        &(0..9999).map(|n| sha256_hex(format!("{n}").as_bytes())).collect::<String>(),
    );
    let tarball = library.tarball();
    let bytes = fs::read(&tarball).unwrap();
    fs::write(&tarball, &bytes[..bytes.len() / 2]).unwrap();
    let error =
        prepare(Input::Tarball(&tarball), &library.path("vendor"), &library.path("out/p")).unwrap_err();
    assert!(error.to_string().contains("cannot be unpacked"), "{error:#}");
    assert!(diag::collect(&error)[0].fields().hint.clone().unwrap().contains("remove it"), "{error:#}");
    assert!(!library.path("out/p").exists());
}

#[test]
fn regression_a_wrong_digest_after_the_patch_had_no_remedy() {
    let library = Library::new();
    library.write("vendor/patches/0001-one.guard.toml", &guard(BEFORE, "something else\n"));
    let told = library.refused();
    assert!(
        told.contains("after the patch, found") && told.contains("pin the digest in the guard"),
        "{told}"
    );
}
