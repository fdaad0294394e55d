//! A tiny library for tests: its vendor folder and its source tree.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use diag::Diagnostic;
use store::sha256_hex;

use crate::input::Input;
use crate::prepare::{Prepared, prepare};

pub(crate) const BEFORE: &str = "int one(void)\n{\n  return 0;\n}\n";
pub(crate) const AFTER: &str = "int one(void)\n{\n  return 1;\n}\n";
pub(crate) const PATCH: &str = "Why: one is not zero\nUpstream: none\nSince: 1.0\nGuards: 0001-one.guard.toml\n\n\
                     --- a/one.c\n+++ b/one.c\n@@ -1,4 +1,4 @@\n int one(void)\n {\n-  return 0;\n+  return 1;\n }\n";

/// A vendor folder for a library of two files, of which one is patched, and its source tree.
pub(crate) struct Library {
    folder: tempfile::TempDir,
}

impl Library {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn list(&self, one_c: &str) {
        let list = format!("{}  one.c\n{}  sub/two.h\n", sha256_hex(one_c.as_bytes()), sha256_hex(b"two\n"));
        self.write("vendor/files.sha256", &list);
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn tarball(&self) -> PathBuf {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_dir_all("tiny-1.0", self.path("source")).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar.into_inner().unwrap()).unwrap();
        let path = self.path("tiny.tar.gz");
        fs::write(&path, gzip.finish().unwrap()).unwrap();
        path
    }

    pub(crate) fn prepare(&self) -> Result<Prepared> {
        prepare(Input::Tree(&self.path("source")), &self.path("vendor"), &self.path("out/prepared"))
    }

    /// The diagnostics of a preparation that must fail and must leave nothing.
    pub(crate) fn refused(&self) -> Vec<Diagnostic> {
        let error = self.prepare().expect_err("was prepared");
        let left: Vec<_> = fs::read_dir(self.path("out")).map(|folder| folder.collect()).unwrap_or_default();
        assert!(left.is_empty(), "{left:?} was left behind");
        diag::collect(&error)
    }

    /// As text for a terminal, without the temporary folder.
    pub(crate) fn human(&self, diagnostics: &[Diagnostic]) -> String {
        let text = diag::render::human(diagnostics, diag::render::Style::default());
        text.replace(&self.folder.path().display().to_string(), "TMP")
    }
}

pub(crate) fn guard(before: &str, after: &str) -> String {
    format!(
        "test = \"one\"\n[[file]]\npath = \"one.c\"\npre_sha256 = \"{}\"\npost_sha256 = \"{}\"\nbefore = [\"return 0;\"]\n\
         after = [\"return 1;\"]\nabsent_after = [\"return 0;\"]\n[[object]]\nmember = \"one.o\"\nfunction = \"one\"\nforbid_references = [\"abort\"]\n",
        sha256_hex(before.as_bytes()),
        sha256_hex(after.as_bytes())
    )
}
