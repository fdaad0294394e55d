//! `tests/tests.toml` of a library: how each behavioural test is run, and how it must end on the patched archive and on the
//! unpatched objects. Data, so that a library that is added brings its own tests and no code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::Vendored;
use units::{ByteSize, TimeSpan};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "test")]
    tests: Vec<Behaviour>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// `tests/NAME.c`.
    pub name: String,
    /// What PT_GNU_STACK of the program says.
    pub stack_size: ByteSize,
    pub timeout: TimeSpan,
    /// All that the program sees.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Objects, with the folder that the build makes them in, that are compiled of the unpatched source and linked in
    /// front of the archive.
    pub unpatched: Vec<String>,
    /// Exit codes with these objects. With the archive alone it is 0.
    pub unpatched_exits: Vec<i32>,
}

/// The table of a library. Each patch must have its test in it, and each test its patch.
pub fn read(vendor: &Path, vendored: &Vendored) -> Result<Vec<Behaviour>> {
    let path = vendor.join("tests/tests.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading `{}`", path.display()))?;
    let wanted: BTreeSet<&str> = vendored.patches().map(|patch| patch.test.as_str()).collect();
    parse(&text, &wanted).with_context(|| format!("in `{}`", path.display()))
}

fn parse(text: &str, wanted: &BTreeSet<&str>) -> Result<Vec<Behaviour>> {
    let Table { tests } = toml::from_str(text)?;
    let found: BTreeSet<&str> = tests.iter().map(|test| test.name.as_str()).collect();
    ensure!(found.len() == tests.len(), "a test is there twice");
    ensure!(
        found == *wanted,
        "the guards name the tests {wanted:?}, the table has {found:?}\nhint: each patch needs a test that fails without it"
    );
    for test in &tests {
        ensure!(
            !test.unpatched.is_empty() && !test.unpatched_exits.is_empty(),
            "`{}`: nothing is said of the unpatched objects, so it would prove nothing",
            test.name
        );
        ensure!(
            !test.unpatched_exits.iter().any(|code| matches!(code, 0 | 2)),
            "`{}`: 0 (holds) and 2 (not measured) are no failure without the patch",
            test.name
        );
    }
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[[test]]\nname = \"one\"\nstack_size = \"128 KiB\"\ntimeout = \"5 s\"\nunpatched = [\"one.o\"]\n\
                        unpatched_exits = [1]\n";

    #[test]
    fn a_test_that_proves_nothing_is_refused() {
        let wanted = BTreeSet::from(["one"]);
        assert_eq!(parse(GOOD, &wanted).unwrap().len(), 1);
        for (from, to, reason) in [
            ("\"one\"\n", "\"two\"\n", "each patch needs a test"),
            ("[\"one.o\"]", "[]", "would prove nothing"),
            ("[1]", "[]", "would prove nothing"),
            ("[1]", "[0]", "no failure"),
            ("[1]", "[2]", "no failure"),
            ("timeout", "time_out", "time_out"),
        ] {
            let told = format!("{:#}", parse(&GOOD.replace(from, to), &wanted).expect_err(to));
            assert!(told.contains(reason), "`{reason}` is missing from: {told}");
        }
        let twice = format!("{GOOD}{GOOD}");
        assert!(parse(&twice, &wanted).unwrap_err().to_string().contains("twice"));
        assert!(parse(GOOD, &BTreeSet::from(["one", "two"])).is_err());
    }
}
