//! Each fact with an archive that lacks it: compiled here with the machine's C compiler and archived with its `ar`, or with
//! one byte changed afterwards.

use std::process::Command;

use super::*;

const SOURCE: &str = r#"
    #include <stdlib.h>
    char table[512];
    int one(void) { if (table[0]) abort(); return 1; }
"#;

struct Made {
    folder: tempfile::TempDir,
}

impl Made {
    fn of(files: &[(&str, &str)], flags: &[&str], ar: &str) -> Vec<u8> {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        let objects: Vec<String> = files.iter().map(|(name, text)| made.compile(name, text, flags)).collect();
        let mut archive = Command::new("ar");
        archive.current_dir(made.folder.path()).args([ar, "tiny.a"]).args(&objects);
        assert!(archive.status().expect("ar, which comes with the compiler").success());
        std::fs::read(made.folder.path().join("tiny.a")).unwrap()
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

fn found(archive: &[u8], paths: &[String]) -> Vec<String> {
    let undefined = ["abort".to_owned()];
    let functions = ["one".to_owned()];
    let expected =
        Expected { undefined: &undefined, functions: &functions, sizes: vec![("one.o", "table", 512)] };
    violations(&read(archive, paths).unwrap(), &expected)
}

fn good() -> Vec<u8> {
    Made::of(&[("one.c", SOURCE)], &[], "rcsD")
}

#[test]
fn a_clean_archive_has_no_violation() {
    assert_eq!(found(&good(), &["/nowhere/at/all".into()]), Vec::<String>::new());
}

#[test]
fn time_and_user_are_refused() {
    // `U`: with the times and the user of the files. Root has the number 0, but no file of today has the time 0.
    let told = found(&Made::of(&[("one.c", SOURCE)], &[], "rcsU"), &[]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("`one.o`: expected time 0, user 0, group 0 and mode 644, found "),
        "{told:?}"
    );
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
fn a_stack_that_would_be_executable_is_refused() {
    const ASSEMBLER: &str = ".text\n.globl two\ntwo: ret\n";
    let told = found(&Made::of(&[("one.c", SOURCE), ("two.s", ASSEMBLER)], &[], "rcsD"), &[]);
    assert!(told.len() == 1 && told[0].starts_with("`two.o`: no .note.GNU-stack"), "{told:?}");
    let wish = format!("{ASSEMBLER}.section .note.GNU-stack,\"x\",@progbits\n");
    let told = found(&Made::of(&[("one.c", SOURCE), ("two.s", &wish)], &[], "rcsD"), &[]);
    assert_eq!(told, ["`two.o`: asks for an executable stack"]);
}

#[test]
fn a_path_of_the_machine_is_refused() {
    let folder = "/home/somebody/build";
    let source = format!("{SOURCE}\nconst char *where = \"{folder}/one.c\";");
    let told = found(&Made::of(&[("one.c", &source)], &[], "rcsD"), &[folder.into()]);
    assert_eq!(told, [format!("`one.o`: holds the path `{folder}` of the build machine")]);
}

#[test]
fn debug_information_is_found_by_the_folder_in_it() {
    let made = Made { folder: tempfile::tempdir().unwrap() };
    let object = made.compile("one.c", SOURCE, &["-g"]);
    let bytes = std::fs::read(made.folder.path().join(object)).unwrap();
    let archive = crate::archive_fixture::archive_of(&[("one.o", &bytes)]);
    let path = made.folder.path().display().to_string();
    let told = found(&archive, std::slice::from_ref(&path));
    assert!(told.iter().any(|told| told.contains(&path)), "{told:?}");
}

#[test]
fn an_undeclared_symbol_and_a_declaration_without_use_are_refused() {
    let source = SOURCE.replace("abort()", "exit(1)");
    let told = found(&Made::of(&[("one.c", &source)], &[], "rcsD"), &[]);
    assert_eq!(
        told,
        [
            "`exit`: wanted by the archive, not in `undefined` of build.toml",
            "`abort`: in `undefined` of build.toml, and the archive does not want it"
        ]
    );
    // What another member defines is not wanted of anybody.
    let user = "int one(void); int two(void) { return one(); }";
    assert_eq!(
        found(&Made::of(&[("one.c", SOURCE), ("two.c", user)], &[], "rcsD"), &[]),
        Vec::<String>::new()
    );
}

#[test]
fn a_size_that_says_another_choice_is_refused() {
    let told = found(&Made::of(&[("one.c", &SOURCE.replace("512", "1024"))], &[], "rcsD"), &[]);
    assert_eq!(told, ["`one.o`: expected `table` of 512 bytes for the chosen `threads_max`, found 1024"]);
    let told = found(&Made::of(&[("one.c", &SOURCE.replace("table", "other"))], &[], "rcsD"), &[]);
    assert_eq!(told, ["`one.o`: expected `table` in it, not found"]);
}

#[test]
fn a_missing_function_and_a_stranger_are_refused() {
    let told = found(&Made::of(&[("one.c", &SOURCE.replace("one(", "uno("))], &[], "rcsD"), &[]);
    assert_eq!(told, ["`one`: expected in the archive, not found"]);
    let archive = crate::archive_fixture::archive_of(&[("readme.o", b"not an object")]);
    assert!(found(&archive, &[]).iter().any(|told| told == "`readme.o`: expected an object"));
    assert!(read(b"text", &[]).is_err());
    assert!(found(b"!<arch>\n", &[]).iter().any(|told| told == "the archive has no member"));
}
