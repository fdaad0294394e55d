//! A small worker pool, compiled by the C compiler of the machine: a live patch, and one for each check that must refuse it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use diag::Diagnostic;

use super::*;
use crate::guard::Guard;
use crate::library::VendoredPatch;
use crate::prepare::{AppliedPatch, ChangedFile};

const BEFORE: &str = "#undef NEED_ATTR\nvoid create(int);\nvoid start(void) {\n#ifdef NEED_ATTR\n  create(1);\n#endif\n  create(2);\n}\n";

struct Library {
    folder: tempfile::TempDir,
}

impl Library {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("pool")).unwrap();
        Self { folder }
    }

    fn log(&self) -> String {
        format!(
            "make[1]: Entering directory '{0}/pool'\ncc -O2 -c pool.c -o pool.o && true\nmake[1]: Leaving directory '{0}/pool'\n",
            self.folder.path().display()
        )
    }

    fn verify(&self, path: &str, after: &str, allowed: &[&str]) -> (Vec<LivenessReport>, Vec<Diagnostic>) {
        fs::write(self.folder.path().join("pool/other.c"), "").unwrap();
        let added: Vec<usize> = (1..=after.lines().count())
            .filter(|number| !BEFORE.lines().any(|line| Some(line) == after.lines().nth(number - 1)))
            .collect();
        let step = step(path, BEFORE, after, added, allowed, "pool.o", "start");
        verify(&[step], &self.log(), self.folder.path(), &shell).unwrap()
    }
}

fn shell(folder: &Path, line: &str) -> Result<()> {
    let made = Command::new("sh").arg("-c").arg(line).current_dir(folder).output()?;
    ensure!(made.status.success(), "{line}\n{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

fn step(
    path: &str,
    before: &str,
    after: &str,
    added: Vec<usize>,
    allowed: &[&str],
    member: &str,
    function: &str,
) -> AppliedPatch {
    let digest = "0".repeat(64);
    let mut guard = Guard::parse(&format!(
        "test = \"t\"\n[[file]]\npath = \"{path}\"\npre_sha256 = \"{digest}\"\npost_sha256 = \"{digest}\"\n\
         before = [\"x\"]\nafter = [\"x\"]\n[[object]]\nmember = \"{member}\"\nfunction = \"{function}\"\nforbid_references = [\"y\"]\n"
    ))
    .unwrap();
    guard.files[0].allow_uncompiled = allowed.iter().map(ToString::to_string).collect();
    let patch = VendoredPatch {
        name: "0001-attr".into(),
        why: String::new(),
        upstream: String::new(),
        since: String::new(),
        sha256: String::new(),
        text: Vec::new(),
        guard_sha256: String::new(),
        test: "t".into(),
        guard,
    };
    let file = ChangedFile { path: path.into(), before: before.into(), after: after.into(), added };
    AppliedPatch { patch, files: vec![file] }
}

#[test]
fn accepts_a_patch_that_is_compiled() {
    let after = BEFORE.replace("  create(2);\n", "  create(2);\n  /* a worker\n     more */\n  create(3);\n");
    let (reports, violations) = Library::new().verify("pool/pool.c", &after, &[]);
    assert_eq!(violations, []);
    assert_eq!((reports[0].lines_added, reports[0].lines_live), (1, 1));
    assert_eq!(reports[0].differs, ["start in pool.o"]);
}

/// As text for a terminal.
fn human(violations: &[Diagnostic]) -> String {
    diag::render::human(violations, diag::render::Style::default())
}

#[test]
fn rejects_a_line_inside_an_ifdef_that_is_off() {
    let after = BEFORE.replace("  create(1);\n", "  create(1);\n  create(8);\n");
    let (_, violations) = Library::new().verify("pool/pool.c", &after, &[]);
    insta::assert_snapshot!(human(&violations));
}

#[test]
fn allows_an_uncompiled_line_only_when_it_is_uncompiled() {
    let both = BEFORE.replace("  create(1);\n", "  create(8);\n").replace("  create(2);\n", "  create(3);\n");
    let (reports, violations) = Library::new().verify("pool/pool.c", &both, &["create(8);"]);
    assert_eq!(violations, []);
    assert_eq!(reports[0].lines_added, 1);
    let (_, violations) = Library::new().verify("pool/pool.c", &both, &["create(8);", "create(3);"]);
    insta::assert_snapshot!(human(&violations));
}

#[test]
fn rejects_a_file_that_no_call_compiles() {
    let library = Library::new();
    fs::write(library.folder.path().join("pool/pool.c"), BEFORE).unwrap();
    let after = BEFORE.replace("create(2)", "create(3)");
    let (_, violations) = library.verify("pool/other.c", &after, &[]);
    insta::assert_snapshot!(human(&violations));
}

/// `sed` makes two sources of the patched one, and each is compiled.
#[test]
fn follows_the_sources_that_the_build_makes_of_a_patched_one() {
    let library = Library::new();
    let log = ["A", "B"].map(|name| {
        let made = format!("pool_{name}.c");
        format!("sed 's/create/create_{name}/g' pool.c > {made}\ncc -O2 -c {made} -o pool_{name}.o\n")
    });
    let log = library.log().replace("cc -O2 -c pool.c -o pool.o && true\n", &log.concat());
    let verify = |from: &str, to: &str, added: usize| {
        let step =
            step("pool/pool.c", BEFORE, &BEFORE.replace(from, to), vec![added], &[], "pool_B.o", "start");
        verify(&[step], &log, library.folder.path(), &shell).unwrap()
    };
    let (reports, violations) = verify("create(2)", "create(3)", 7);
    assert_eq!(violations, []);
    assert_eq!((reports[0].lines_live, reports[0].differs[0].as_str()), (1, "start in pool_B.o"));
    let (_, violations) = verify("  create(1);\n", "  create(1);\n  create(8);\n", 6);
    let codes: Vec<&str> = violations.iter().map(|violation| violation.code().id).collect();
    assert_eq!(codes, ["patch-preprocessor", "patch-object"], "{}", human(&violations));
}

#[test]
fn rejects_a_patch_that_changes_no_code() {
    let after = BEFORE.replace("  create(2);\n", "  create(2);\n  (void)0;\n");
    let (_, violations) = Library::new().verify("pool/pool.c", &after, &[]);
    insta::assert_snapshot!(human(&violations));
}

#[test]
fn rejects_a_linked_file_without_the_function() {
    let after = BEFORE.replace("  create(2);\n", "  create(2);\n  create(3);\n");
    let (reports, _) = Library::new().verify("pool/pool.c", &after, &[]);
    assert_eq!(linked_violations(&reports, &BTreeSet::from(["start"])), []);
    insta::assert_snapshot!(human(&linked_violations(&reports, &BTreeSet::from(["main"]))));
}

#[test]
fn follows_the_folders_of_nested_makes() {
    let log = "make[1]: Entering directory '/t/a'\ncc -c x.c -o x.o\nmake[2]: Entering directory '/t/a/b'\n\
               cc -c ../y.c -o y.o && ar y.o\nmake[2]: Leaving directory '/t/a/b'\ncc -c z.c -o z.o\n";
    let calls = compiler_calls(log, Path::new("/t"));
    let seen: Vec<String> = calls.iter().map(|c| format!("{} {}", c.folder.display(), c.source)).collect();
    assert_eq!(seen, ["a x.c", "a/b ../y.c", "a z.c"]);
    assert_eq!(calls[1].line, "cc -c ../y.c -o y.o");
}
