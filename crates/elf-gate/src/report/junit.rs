//! JUnit XML for CI services: a suite for each file, a case for each rule. A violation is a `failure`, an undecided rule an
//! `error`.
//!
//! Written by hand: quick-junit 0.8 adds 10 crates (chrono, uuid, indexmap) and 6.6 s to a cold build on two cores. The tests read
//! the output with quick-junit.

use std::fmt::Write;

use diag::Diagnostic;

use crate::policy::RuleOutcome;
use crate::report::model::{FileReport, FileState, GateReport, OutcomeStatus};
use crate::report::text::{policies, sentence, with_hint};

/// Counts of a suite or of the whole document.
#[derive(Clone, Copy, Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

pub(super) fn render(report: &GateReport) -> String {
    let mut suites = String::new();
    let properties = properties(report);
    let mut total = Counts::default();
    for file in &report.files {
        suites +=
            &suite(&file.file, &properties, &mut total, |cases, counts| file_cases(file, cases, counts));
    }
    if !report.diagnostics.is_empty() {
        suites += &suite("elf-gate", &properties, &mut total, |cases, counts| {
            for diagnostic in &report.diagnostics {
                error_case("elf-gate", diagnostic, cases, counts);
            }
        });
    }
    let attributes = attributes(total);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"elf-gate\" {attributes}>\n{suites}</testsuites>\n"
    )
}

/// The policies, in each suite: JUnit has no place for properties of the whole run.
fn properties(report: &GateReport) -> String {
    let property =
        |policy: String| format!("      <property name=\"policy\" value=\"{}\"/>\n", escaped(&policy));
    let properties: String = policies(report).into_iter().map(property).collect();
    if properties.is_empty() {
        properties
    } else {
        format!("    <properties>\n{properties}    </properties>\n")
    }
}

fn suite(
    name: &str,
    properties: &str,
    total: &mut Counts,
    write_cases: impl FnOnce(&mut String, &mut Counts),
) -> String {
    let (mut cases, mut counts) = (String::new(), Counts::default());
    write_cases(&mut cases, &mut counts);
    total.tests += counts.tests;
    total.failures += counts.failures;
    total.errors += counts.errors;
    total.skipped += counts.skipped;
    let (name, attributes) = (escaped(name), attributes(counts));
    format!("  <testsuite name=\"{name}\" {attributes}>\n{properties}{cases}  </testsuite>\n")
}

fn attributes(counts: Counts) -> String {
    let Counts { tests, failures, errors, skipped } = counts;
    format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"")
}

fn file_cases(file: &FileReport, cases: &mut String, counts: &mut Counts) {
    match &file.state {
        FileState::Unreadable { error, .. } => error_case(&file.file, error, cases, counts),
        FileState::Judged { rules, .. } | FileState::Image { rules, .. } => {
            rules.iter().for_each(|outcome| rule_case(&file.file, outcome, cases, counts));
        }
    }
    if !file.notes.is_empty() {
        // Writing to a String cannot fail.
        let _ = writeln!(cases, "    <system-out>{}</system-out>", escaped_text(&file.notes.join("\n")));
    }
}

fn error_case(class: &str, diagnostic: &Diagnostic, cases: &mut String, counts: &mut Counts) {
    counts.tests += 1;
    counts.errors += 1;
    let (class, code) = (escaped(class), escaped(diagnostic.code().id));
    let (message, text) = (escaped(&diagnostic.fields().message), escaped_text(&with_hint(diagnostic)));
    let _ = write!(
        cases,
        "    <testcase classname=\"{class}\" name=\"{code}\">\n      \
         <error type=\"{code}\" message=\"{message}\">{text}</error>\n    </testcase>\n"
    );
}

fn rule_case(class: &str, outcome: &RuleOutcome, cases: &mut String, counts: &mut Counts) {
    counts.tests += 1;
    let (class, rule) = (escaped(class), escaped(outcome.rule));
    let _ = write!(cases, "    <testcase classname=\"{class}\" name=\"{rule}\"");
    let (element, kind) = match OutcomeStatus::of(outcome) {
        OutcomeStatus::Pass => {
            cases.push_str("/>\n");
            return;
        }
        // Viewers show a skipped case with its reason, and count it neither as a pass nor as a failure.
        OutcomeStatus::Waived | OutcomeStatus::Warning | OutcomeStatus::Note => {
            counts.skipped += 1;
            let message = escaped(&sentence(outcome));
            let _ = write!(cases, ">\n      <skipped message=\"{message}\"/>\n    </testcase>\n");
            return;
        }
        OutcomeStatus::Violation => {
            counts.failures += 1;
            ("failure", "violation")
        }
        OutcomeStatus::CannotTell => {
            counts.errors += 1;
            ("error", "cannot_tell")
        }
    };
    let (message, hint) = (escaped(&sentence(outcome)), escaped_text(&outcome.hint));
    let _ = write!(
        cases,
        ">\n      <{element} type=\"{kind}\" message=\"{message}\">hint: {hint}</{element}>\n    </testcase>\n"
    );
}

/// Escapes element text, where line ends need no escape.
fn escaped_text(text: &str) -> String {
    escaped(text).replace("&#10;", "\n").replace("&#9;", "\t")
}

/// Escapes attribute values. XML 1.0 cannot represent most control characters.
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
