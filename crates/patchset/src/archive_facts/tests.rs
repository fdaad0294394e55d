//! One archive that violates each requirement: made by the C compiler and the `ar` of the machine, or with one changed byte.

use std::process::Command;

use super::*;

const SOURCE: &str = r#"
    #include <stdlib.h>
    char table[512];
    int one(void) { if (table[0]) abort(); return 1; }
"#;

struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    fn archive(files: &[(&str, &str)], flags: &[&str], ar: &str) -> Vec<u8> {
        let workshop = Self { folder: tempfile::tempdir().unwrap() };
        let objects: Vec<String> =
            files.iter().map(|(name, text)| workshop.compile(name, text, flags)).collect();
        let mut archive = Command::new("ar");
        archive.current_dir(workshop.folder.path()).args([ar, "tiny.a"]).args(&objects);
        assert!(archive.status().expect("ar, which comes with the compiler").success());
        std::fs::read(workshop.folder.path().join("tiny.a")).unwrap()
    }

    fn compile(&self, name: &str, text: &str, flags: &[&str]) -> String {
        let source = self.folder.path().join(name);
        std::fs::write(&source, text).unwrap();
        let object = format!("{}.o", name.split('.').next().unwrap());
        let mut cc = Command::new("cc");
        cc.current_dir(self.folder.path()).args(["-O2", "-fno-pic"]).args(flags).arg("-c").arg(&source);
        assert!(cc.args(["-o", &object]).status().expect("a C compiler, which Rust needs as well").success());
        object
    }
}

fn found(archive: &[u8], paths: &[String]) -> Vec<Diagnostic> {
    let undefined = ["abort".to_owned()];
    let functions = ["one".to_owned()];
    let expected = ExpectedArchive {
        undefined: &undefined,
        functions: &functions,
        sizes: vec![("one.o", "table", 512)],
    };
    violations(&read(archive, paths).unwrap(), &expected)
}

fn good() -> Vec<u8> {
    Workshop::archive(&[("one.c", SOURCE)], &[], "rcsD")
}

#[test]
fn accepts_a_clean_archive() {
    assert_eq!(found(&good(), &["/nowhere/at/all".into()]), []);
}

/// As text for a terminal.
fn human(violations: &[Diagnostic]) -> String {
    diag::render::human(violations, diag::render::Style::default())
}

#[test]
fn rejects_time_and_user() {
    // `U`: with the times and the user of the files. Root has the number 0, but no new file has the time 0.
    let violations = found(&Workshop::archive(&[("one.c", SOURCE)], &[], "rcsU"), &[]);
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert_eq!(*violations[0].code(), ARCHIVE_METADATA);
    // One byte of the header of the second member (the first is the index), which holds user and mode.
    let archive = good();
    let header = memchr::memmem::find(&archive, b"one.o/").unwrap();
    for at in [28, 34, 40] {
        let mut changed = archive.clone();
        changed[header + at] = b'7';
        assert_eq!(found(&changed, &[]).len(), 1, "byte {at} of the header");
    }
}

#[test]
fn rejects_an_executable_stack() {
    const ASSEMBLER: &str = ".text\n.globl two\ntwo: ret\n";
    let missing = Workshop::archive(&[("one.c", SOURCE), ("two.s", ASSEMBLER)], &[], "rcsD");
    let request = format!("{ASSEMBLER}.section .note.GNU-stack,\"x\",@progbits\n");
    let executable = Workshop::archive(&[("one.c", SOURCE), ("two.s", &request)], &[], "rcsD");
    insta::assert_snapshot!(human(&[found(&missing, &[]), found(&executable, &[])].concat()));
}

#[test]
fn rejects_a_path_of_the_machine() {
    let folder = "/home/user/build";
    let source = format!("{SOURCE}\nconst char *where = \"{folder}/one.c\";");
    let archive = Workshop::archive(&[("one.c", &source)], &[], "rcsD");
    insta::assert_snapshot!(human(&found(&archive, &[folder.into()])));
}

#[test]
fn finds_debug_information_by_its_folder() {
    let workshop = Workshop { folder: tempfile::tempdir().unwrap() };
    let object = workshop.compile("one.c", SOURCE, &["-g"]);
    let bytes = std::fs::read(workshop.folder.path().join(object)).unwrap();
    let archive = crate::archive_fixture::archive_of(&[("one.o", &bytes)]);
    let path = workshop.folder.path().display().to_string();
    let violations = found(&archive, std::slice::from_ref(&path));
    assert!(violations.iter().any(|violation| *violation.code() == ARCHIVE_MACHINE_PATH), "{violations:?}");
}

#[test]
fn rejects_an_undeclared_symbol_and_an_unused_declaration() {
    let source = SOURCE.replace("abort()", "exit(1)");
    insta::assert_snapshot!(human(&found(&Workshop::archive(&[("one.c", &source)], &[], "rcsD"), &[])));
    // A symbol that another member defines is not undefined.
    let user = "int one(void); int two(void) { return one(); }";
    assert_eq!(found(&Workshop::archive(&[("one.c", SOURCE), ("two.c", user)], &[], "rcsD"), &[]), []);
}

#[test]
fn rejects_another_size() {
    let larger = Workshop::archive(&[("one.c", &SOURCE.replace("512", "1024"))], &[], "rcsD");
    let renamed = Workshop::archive(&[("one.c", &SOURCE.replace("table", "other"))], &[], "rcsD");
    insta::assert_snapshot!(human(&[found(&larger, &[]), found(&renamed, &[])].concat()));
}

#[test]
fn rejects_a_missing_function_and_a_member_that_is_no_object() {
    let missing = found(&Workshop::archive(&[("one.c", &SOURCE.replace("one(", "uno("))], &[], "rcsD"), &[]);
    assert_eq!(*missing[0].code(), ARCHIVE_FUNCTION);
    let text = found(&crate::archive_fixture::archive_of(&[("readme.o", b"not an object")]), &[]);
    insta::assert_snapshot!(human(&[missing, text].concat()));
    assert!(read(b"text", &[]).is_err());
    assert_eq!(found(b"!<arch>\n", &[])[0].fields().message, "the archive has no member");
}
