//! JUnit's XML, as CI services show it: a suite a file, a case a rule. A violation is a `failure`, what could not be
//! told an `error`.

use std::fmt::Write;

use super::{FileReport, FileState, Report, Standing, sentence};

pub(super) fn render(report: &Report) -> String {
    let mut suites = String::new();
    let (mut tests, mut failures, mut errors, mut skipped) = (0, 0, 0, 0);
    for file in &report.files {
        let suite = suite(file);
        tests += suite.tests;
        failures += suite.failures;
        errors += suite.errors;
        skipped += suite.skipped;
        suites += &suite.xml;
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"elf-gate\" tests=\"{tests}\" \
         failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\">\n{suites}</testsuites>\n"
    )
}

struct Suite {
    xml: String,
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

fn suite(file: &FileReport) -> Suite {
    let name = escaped(&file.file);
    let mut cases = String::new();
    let (mut tests, mut failures, mut errors, mut skipped) = (0, 0, 0, 0);
    match &file.state {
        FileState::Unreadable { error, hint, .. } => {
            (tests, errors) = (1, 1);
            let (error, hint) = (escaped(error), escaped(hint));
            // Writing to a String cannot fail.
            let _ = write!(
                cases,
                "    <testcase classname=\"{name}\" name=\"readable\">\n      \
                 <error type=\"unreadable\" message=\"{error}\">hint: {hint}</error>\n    </testcase>\n"
            );
        }
        FileState::Judged { rules, .. } => {
            for outcome in rules {
                tests += 1;
                let standing = Standing::of(outcome);
                let _ =
                    write!(cases, "    <testcase classname=\"{name}\" name=\"{}\"", escaped(outcome.rule));
                let element = match standing {
                    Standing::Pass => {
                        cases += "/>\n";
                        continue;
                    }
                    // Viewers show a skipped case with its reason, and count it neither as good nor as bad.
                    Standing::Waived | Standing::Warning | Standing::Note => {
                        skipped += 1;
                        let message = escaped(&sentence(outcome));
                        let _ = write!(cases, ">\n      <skipped message=\"{message}\"/>\n    </testcase>\n");
                        continue;
                    }
                    Standing::Violation => {
                        failures += 1;
                        "failure type=\"violation\""
                    }
                    Standing::CannotTell => {
                        errors += 1;
                        "error type=\"cannot_tell\""
                    }
                };
                let tag = element.split(' ').next().unwrap_or_default();
                let (message, hint) = (escaped(&sentence(outcome)), escaped(&outcome.hint));
                let _ = write!(
                    cases,
                    ">\n      <{element} message=\"{message}\">hint: {hint}</{tag}>\n    </testcase>\n"
                );
            }
        }
    }
    if !file.notes.is_empty() {
        let _ = writeln!(cases, "    <system-out>{}</system-out>", escaped(&file.notes.join("\n")));
    }
    let xml = format!(
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\">\n\
         {cases}  </testsuite>\n"
    );
    Suite { xml, tests, failures, errors, skipped }
}

/// XML 1.0 has no way at all to write most control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out += "&#10;",
            '\t' => out += "&#9;",
            '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            control if control.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            plain => out.push(plain),
        }
    }
    out
}
