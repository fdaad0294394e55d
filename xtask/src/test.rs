//! `cargo xtask test`: fetches what tests need, builds what they look at, and runs every one of them.

use clap::{Args as ClapArgs, ValueEnum};
use diag::Diagnostics;
use release::test_runner::{self, RunnerChoice, Totals};
use serde_json::{Value, json};

use crate::Outcome;
use crate::format;
use crate::setup::Common;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// Which program runs the tests
    #[arg(long, value_enum, default_value_t = RunnerFlag::Auto)]
    runner: RunnerFlag,
    /// Passed on to the test program, such as a part of a test's name
    #[arg(last = true, value_name = "ARGUMENT")]
    filter: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum RunnerFlag {
    /// cargo-nextest where it is installed, else `cargo test`
    Auto,
    /// `cargo test`
    Cargo,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let format = args.common.format;
    let totals = run_tests(args)?;
    let Diagnostics(problems) = totals.problems();
    format::print_diagnostics(format, &problems);
    // The closing line is the sum over all test programs: the last one alone may have no test.
    format::print(format, || format!("\n{}\n", totals.summary()), json(&totals))?;
    Ok(format::outcome(&problems))
}

fn run_tests(args: Args) -> anyhow::Result<Totals> {
    let choice = match args.runner {
        RunnerFlag::Auto => RunnerChoice::Auto,
        RunnerFlag::Cargo => RunnerChoice::Cargo,
    };
    let setup = args.common.setup(None)?;
    test_runner::test(&setup.plan, &setup.context, &args.filter, choice)
}

/// `skipped` is null when the tests of a suite cannot be listed.
fn json(totals: &Totals) -> Value {
    let Totals { passed, failed, ignored, unlisted, broken } = totals;
    json!({
        "passed": passed,
        "failed": failed,
        "skipped": unlisted.is_empty().then_some(ignored),
        "suites_without_result": broken,
        "suites_not_listed": unlisted,
        "diagnostics": totals.problems(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_the_totals_and_the_problems() {
        let totals = Totals {
            passed: 7,
            failed: 1,
            ignored: 2,
            unlisted: vec!["product packages on the target".into()],
            broken: Vec::new(),
        };
        insta::assert_snapshot!(format!("{:#}", json(&totals)), @r#"
        {
          "diagnostics": [
            {
              "code": "test-failed",
              "expected": "tests that all pass",
              "found": "7 passed, 1 failed, skipped not measured (product packages on the target cannot be listed)",
              "hint": "`cargo xtask test -- NAME` repeats one test",
              "message": "tests failed",
              "severity": "error"
            },
            {
              "code": "test-not-counted",
              "expected": "a list from `cargo nextest list`",
              "hint": "read its output above; `--runner cargo` counts without nextest",
              "message": "the skipped tests of the product packages on the target cannot be counted",
              "severity": "error"
            }
          ],
          "failed": 1,
          "passed": 7,
          "skipped": null,
          "suites_not_listed": [
            "product packages on the target"
          ],
          "suites_without_result": []
        }
        "#);
        assert_eq!(json(&Totals { unlisted: Vec::new(), ..totals })["skipped"], 2);
    }
}
