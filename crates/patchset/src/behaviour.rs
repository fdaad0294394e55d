//! `tests/tests.toml` of a library: how each behavioural test runs, and its expected exit on the patched archive and on the
//! unpatched objects. Data, so that a new library brings its own tests and no code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use diag::{Diagnostic, Diagnostics};
use serde::Deserialize;
use units::{ByteSize, TimeSpan};

use crate::codes::{PATCH_BEHAVIOUR, VENDOR_FILE};
use crate::library::Vendored;
use crate::toml_file;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "test")]
    tests: Vec<BehaviourTest>,
}

/// One program and its expected exits. With the archive alone it exits with 0.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BehaviourTest {
    /// The source is `tests/NAME.c`.
    pub name: String,
    /// PT_GNU_STACK of the program.
    pub stack_size: ByteSize,
    /// The program is killed after this time, and has failed.
    pub timeout: TimeSpan,
    /// The whole environment of the program.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Objects, with the folder that the build makes them in, that are compiled from the unpatched source and linked before the
    /// archive.
    pub unpatched_objects: Vec<String>,
    /// Exit codes with these objects.
    pub unpatched_exit_codes: Vec<i32>,
}

/// The table of a library. Each patch must have a test in it, and each test a patch.
pub fn read(vendor: &Path, vendored: &Vendored) -> Result<Vec<BehaviourTest>, Diagnostics> {
    let path = vendor.join("tests/tests.toml");
    let text = toml_file::read(&path, &VENDOR_FILE)?;
    let expected: BTreeSet<&str> = vendored.patches().map(|patch| patch.test.as_str()).collect();
    parse(&text, &expected).map_err(|problems| toml_file::in_file(&path, problems))
}

fn parse(text: &str, expected: &BTreeSet<&str>) -> Result<Vec<BehaviourTest>, Diagnostics> {
    let Table { tests } = toml_file::parse(text, &VENDOR_FILE)?;
    let found: BTreeSet<&str> = tests.iter().map(|test| test.name.as_str()).collect();
    let mut problems = Diagnostics::default();
    if found.len() != tests.len() {
        problems.push(Diagnostic::new(&PATCH_BEHAVIOUR, "two tests have one name"));
    }
    if found != *expected {
        let list = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(", ");
        problems.push(
            Diagnostic::new(&PATCH_BEHAVIOUR, "the tests of the guards are not those of the table")
                .expected(list(expected))
                .found(list(&found))
                .hint("each patch needs a test that fails without it"),
        );
    }
    for test in &tests {
        if test.unpatched_objects.is_empty() || test.unpatched_exit_codes.is_empty() {
            problems.push(
                Diagnostic::new(&PATCH_BEHAVIOUR, "a test has no unpatched objects or exit codes")
                    .rule(&test.name)
                    .hint("without them the test would pass without the patch"),
            );
        }
        if test.unpatched_exit_codes.iter().any(|code| matches!(code, 0 | 2)) {
            problems.push(
                Diagnostic::new(&PATCH_BEHAVIOUR, "an exit code without the patch is no failure")
                    .rule(&test.name)
                    .expected("neither 0 (the property holds) nor 2 (not measured)"),
            );
        }
    }
    if problems.0.is_empty() { Ok(tests) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[[test]]\nname = \"one\"\nstack_size = \"128 KiB\"\ntimeout = \"5 s\"\nunpatched_objects = [\"one.o\"]\n\
                        unpatched_exit_codes = [1]\n";

    #[test]
    fn rejects_a_test_that_proves_nothing() {
        let expected = BTreeSet::from(["one"]);
        assert_eq!(parse(GOOD, &expected).unwrap().len(), 1);
        for (from, to, message) in [
            ("\"one\"\n", "\"two\"\n", "the tests of the guards are not those of the table"),
            ("[\"one.o\"]", "[]", "a test has no unpatched objects or exit codes"),
            ("[1]", "[]", "a test has no unpatched objects or exit codes"),
            ("[1]", "[0]", "an exit code without the patch is no failure"),
            ("[1]", "[2]", "an exit code without the patch is no failure"),
            ("timeout", "time_out", "invalid TOML, or a key is unknown or missing"),
        ] {
            let problems = parse(&GOOD.replace(from, to), &expected).expect_err(to);
            assert_eq!(problems.0[0].fields().message, message);
        }
        let twice = parse(&format!("{GOOD}{GOOD}"), &expected).unwrap_err();
        assert_eq!(twice.0[0].fields().message, "two tests have one name");
        assert!(parse(GOOD, &BTreeSet::from(["one", "two"])).is_err());
    }
}
