//! The chain on a worker pool in small, compiled by the C compiler of the machine: a good patch, and one for each link that
//! must refuse it. The last test asks the same of the real blas_server.c, with the mistake that began all this.

use std::process::Command;

use super::*;
use crate::VendoredPatch;
use crate::guard::Guard;

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

    fn walk(&self, path: &str, after: &str, dead: &[&str]) -> (Vec<Chain>, Vec<String>) {
        fs::write(self.folder.path().join("pool/other.c"), "").unwrap();
        let added: Vec<usize> = (1..=after.lines().count())
            .filter(|number| !BEFORE.lines().any(|line| Some(line) == after.lines().nth(number - 1)))
            .collect();
        let step = step(path, BEFORE, after, added, dead, "pool.o", "start");
        walk(&[step], &self.log(), self.folder.path(), &shell).unwrap()
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
    dead: &[&str],
    member: &str,
    function: &str,
) -> Step {
    let digest = "0".repeat(64);
    let mut guard = Guard::parse(&format!(
        "test = \"t\"\n[[file]]\npath = \"{path}\"\npre_sha256 = \"{digest}\"\npost_sha256 = \"{digest}\"\n\
         before = [\"x\"]\nafter = [\"x\"]\n[[object]]\nmember = \"{member}\"\nfunction = \"{function}\"\nnever = [\"y\"]\n"
    ))
    .unwrap();
    guard.files[0].dead = dead.iter().map(ToString::to_string).collect();
    let patch = VendoredPatch {
        name: "0001-attr".into(),
        why: String::new(),
        upstream: String::new(),
        since: String::new(),
        sha256: String::new(),
        guard_sha256: String::new(),
        test: "t".into(),
        guard,
    };
    let file = ChangedFile { path: path.into(), before: before.into(), after: after.into(), added };
    Step { patch, files: vec![file] }
}

#[test]
fn a_patch_that_is_compiled_passes_every_link() {
    let after = BEFORE.replace("  create(2);\n", "  create(2);\n  /* a worker\n     more */\n  create(3);\n");
    let (chains, violations) = Library::new().walk("pool/pool.c", &after, &[]);
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!((chains[0].lines_added, chains[0].lines_live), (1, 1));
    assert_eq!(chains[0].differs, ["start in pool.o"]);
}

#[test]
fn a_line_inside_an_ifdef_that_is_off_is_refused_at_the_preprocessor() {
    let after = BEFORE.replace("  create(1);\n", "  create(1);\n  create(8);\n");
    let (_, violations) = Library::new().walk("pool/pool.c", &after, &[]);
    assert!(
        violations[0].starts_with("patch `0001-attr`: preprocessor: `pool/pool.c` line 6, `create(8);`"),
        "{violations:?}"
    );
    assert!(violations[1].contains("object: the code of start in pool.o is the same"), "{violations:?}");
}

#[test]
fn a_line_for_another_system_is_dead_by_name_and_only_while_it_is() {
    let both = BEFORE.replace("  create(1);\n", "  create(8);\n").replace("  create(2);\n", "  create(3);\n");
    let (chains, violations) = Library::new().walk("pool/pool.c", &both, &["create(8);"]);
    assert_eq!(violations, Vec::<String>::new());
    assert_eq!(chains[0].lines_added, 1);
    let (_, violations) = Library::new().walk("pool/pool.c", &both, &["create(8);", "create(3);"]);
    assert!(violations[0].contains("`create(3);` is called dead"), "{violations:?}");
}

#[test]
fn a_file_that_no_call_compiles_is_refused() {
    let library = Library::new();
    fs::write(library.folder.path().join("pool/pool.c"), BEFORE).unwrap();
    let after = BEFORE.replace("create(2)", "create(3)");
    let (_, violations) = library.walk("pool/other.c", &after, &[]);
    assert!(
        violations[0].contains("compiled: no compiler call of the build reads `pool/other.c`"),
        "{violations:?}"
    );
}

#[test]
fn a_patch_that_changes_no_code_is_refused_at_the_object() {
    let after = BEFORE.replace("  create(2);\n", "  create(2);\n  (void)0;\n");
    let (_, violations) = Library::new().walk("pool/pool.c", &after, &[]);
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(violations[0].contains("object: the code of start in pool.o is the same"), "{violations:?}");
}

#[test]
fn folders_of_nested_makes_are_followed() {
    let log = "make[1]: Entering directory '/t/a'\ncc -c x.c -o x.o\nmake[2]: Entering directory '/t/a/b'\n\
               cc -c ../y.c -o y.o && ar y.o\nmake[2]: Leaving directory '/t/a/b'\ncc -c z.c -o z.o\n";
    let calls = calls_of(log, Path::new("/t"));
    let seen: Vec<String> = calls.iter().map(|c| format!("{} {}", c.folder.display(), c.source)).collect();
    assert_eq!(seen, ["a x.c", "a/b ../y.c", "a z.c"]);
    assert_eq!(calls[1].line, "cc -c ../y.c -o y.o");
}
