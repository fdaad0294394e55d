//! Runs every test: those of the host packages on the build machine, those of the product packages on the target that
//! ships, and the checks of the shipped bytes on those bytes. Inputs reach the tests as `MUSLIN_*` variables; a test whose
//! input is missing fails.
//!
//! cargo-nextest runs the tests where it is installed, else cargo does. Documentation tests always run by cargo: nextest has
//! no means to.

mod nextest;
mod packages;

use std::process::Command;

use crate::cargo;
use crate::codes::{TEST_FAILED, TEST_NOT_COUNTED, WORKSPACE_UNREADABLE};
use crate::context::BuildContext;
use crate::fixtures;
use crate::pipeline;
use crate::plan::Plan;
use crate::stage::StageTimes;
use crate::stages::pack::Packed;
use crate::stages::sources;
use diag::{Diagnostic, Diagnostics};
use packages::Packages;
use process::Task;

/// Which program runs the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// `cargo nextest run`.
    Nextest,
    /// `cargo test`.
    Cargo,
}

/// Which program is requested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RunnerChoice {
    /// nextest where it is installed.
    #[default]
    Auto,
    /// Always `cargo test`.
    Cargo,
}

/// Sums over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that are marked `#[ignore]`.
    pub ignored: u64,
    /// Suites whose tests could not be listed: `ignored` lacks theirs.
    pub unlisted: Vec<String>,
    /// Suites that ended without a summary: they did not compile, or crashed.
    pub broken: Vec<String>,
}

impl Totals {
    /// Why the run is no pass: tests that failed, programs without a result, tests that were not counted.
    pub fn problems(&self) -> Diagnostics {
        let mut problems = Diagnostics::default();
        let expected = "tests that all pass";
        if self.failed > 0 {
            let problem = Diagnostic::new(&TEST_FAILED, "tests failed").expected(expected);
            problems.push(problem.found(self.summary()).hint("`cargo xtask test -- NAME` repeats one test"));
        }
        for suite in &self.broken {
            let message = format!("the tests of the {suite} did not run to their end");
            let problem = Diagnostic::new(&TEST_FAILED, message).expected("a summary of the test programs");
            let hint = "its output above has the reason: a test program did not compile, or crashed";
            problems.push(problem.found("no summary, or an error without a failed test").hint(hint));
        }
        if self.passed == 0 && problems.0.is_empty() {
            let problem = Diagnostic::new(&TEST_FAILED, "no test ran").expected(expected);
            problems.push(problem.found(self.summary()).hint("use a filter after `--` that selects a test"));
        }
        for suite in &self.unlisted {
            let message = format!("the skipped tests of the {suite} cannot be counted");
            let problem =
                Diagnostic::new(&TEST_NOT_COUNTED, message).expected("a list from `cargo nextest list`");
            problems.push(problem.hint("read its output above; `--runner cargo` counts without nextest"));
        }
        problems
    }

    /// One line with all counts.
    pub fn summary(&self) -> String {
        let Self { passed, failed, ignored, .. } = self;
        let ignored = match (self.unlisted.as_slice(), ignored) {
            ([], 0) => String::new(),
            ([], ignored) => format!(", {ignored} skipped"),
            (suites, _) => format!(", skipped not measured ({} cannot be listed)", suites.join(", ")),
        };
        format!("{passed} passed, {failed} failed{ignored}")
    }

    /// Adds the counts of one suite, or records that it did not end properly.
    fn add(&mut self, suite: &str, counts: Option<Counts>, succeeded: bool) {
        let Some(Counts { passed, failed, ignored }) = counts else {
            return self.broken.push(suite.into());
        };
        self.passed += passed;
        self.failed += failed;
        match ignored {
            Some(ignored) => self.ignored += ignored,
            None => self.unlisted.push(suite.into()),
        }
        // A suite that fails without a failed test did not compile, or crashed.
        if !succeeded && failed == 0 {
            self.broken.push(suite.into());
        }
    }
}

/// Tests of one suite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    /// None when they could not be counted.
    ignored: Option<u64>,
}

/// Adds the summaries that cargo's test programs print; none when there is no summary.
fn cargo_summaries(output: &str) -> Option<Counts> {
    let mut counts: Option<Counts> = None;
    for summary in output.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        let count = |what: &str| {
            let part = summary.split([';', '.']).find(|part| part.trim().ends_with(what));
            part.and_then(|part| part.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        let sum = counts.get_or_insert_default();
        sum.passed += count("passed");
        sum.failed += count("failed");
        *sum.ignored.get_or_insert(0) += count("ignored");
    }
    counts
}

/// Builds what the tests look at, and runs all of them. `filter` goes to the test program unchanged.
pub fn test(
    plan: &Plan,
    context: &BuildContext,
    filter: &[String],
    choice: RunnerChoice,
) -> anyhow::Result<Totals> {
    let mut times = StageTimes::default();
    let packed = pipeline::packed(plan, context, &mut times)?;
    let packages = Packages::read(plan, context)?;
    let runner = runner(context, choice);
    let mut session =
        Session { plan, context, packed: &packed, packages: &packages, filter, totals: Totals::default() };
    // `cargo test` runs documentation tests by itself.
    let documentation = runner == Runner::Nextest && !filter.iter().any(|argument| selects_targets(argument));
    if packages.has_host_packages() {
        session.suite("host packages", runner, Suite::Host)?;
        if documentation {
            session.suite("documentation of the host packages", Runner::Cargo, Suite::HostDocumentation)?;
        }
    }
    session.suite("product packages on the target", runner, Suite::Product)?;
    if documentation && !packages.product_libraries.is_empty() {
        let name = "documentation of the product packages";
        session.suite(name, Runner::Cargo, Suite::ProductDocumentation)?;
    }
    Ok(session.totals)
}

/// Whether an argument chooses test programs, which excludes documentation.
fn selects_targets(argument: &str) -> bool {
    ["--lib", "--bin", "--test", "--example", "--bench", "--all-targets"]
        .iter()
        .any(|flag| argument.starts_with(flag))
}

fn runner(context: &BuildContext, choice: RunnerChoice) -> Runner {
    match choice {
        RunnerChoice::Auto if context.which("cargo-nextest").is_some() => Runner::Nextest,
        _ => Runner::Cargo,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suite {
    Host,
    HostDocumentation,
    Product,
    ProductDocumentation,
}

struct Session<'a> {
    plan: &'a Plan,
    context: &'a BuildContext,
    packed: &'a Packed,
    packages: &'a Packages,
    filter: &'a [String],
    totals: Totals,
}

impl Session<'_> {
    fn suite(&mut self, name: &str, runner: Runner, suite: Suite) -> anyhow::Result<()> {
        self.context.runner.events().step(format!("testing the {name}"));
        let mut command = self.command(runner, suite)?;
        let (counts, succeeded) = match runner {
            Runner::Nextest => {
                let report = nextest::prepare(&self.plan.paths, &mut command)?;
                command.args(self.filter);
                let mut list = self.command_of("nextest list", suite)?;
                list.args(self.filter);
                let ignored = nextest::ignored(&self.context.runner, list)?;
                let task = Task::new(format!("test the {name}"), command).inherit_stderr(true);
                let output = self.context.runner.output(task)?;
                let counts = nextest::counts(&report)?;
                (counts.map(|counts| Counts { ignored, ..counts }), output.status.success())
            }
            Runner::Cargo => {
                command.args(self.filter);
                let task =
                    Task::new(format!("test the {name}"), command).inherit_stderr(true).report_stdout();
                let output = self.context.runner.output(task)?;
                (cargo_summaries(&output.stdout_text()), output.status.success())
            }
        };
        self.totals.add(name, counts, succeeded);
        Ok(())
    }

    fn command(&self, runner: Runner, suite: Suite) -> anyhow::Result<Command> {
        let mut command = match runner {
            Runner::Nextest => self.command_of("nextest run", suite)?,
            Runner::Cargo => self.command_of("test", suite)?,
        };
        command.arg("--no-fail-fast");
        let jobs = self.plan.jobs.to_string();
        match runner {
            Runner::Nextest => command.args(["--test-threads", &jobs, "--build-jobs", &jobs]),
            Runner::Cargo => command.args(["--jobs", &jobs]).env("RUST_TEST_THREADS", &jobs),
        };
        Ok(command)
    }

    /// cargo with the packages of a suite and the inputs of its tests.
    fn command_of(&self, verb: &str, suite: Suite) -> anyhow::Result<Command> {
        let Session { plan, context, packed, packages, .. } = self;
        let native = packed.stripped().linked().native();
        let mut command = match suite {
            Suite::Host | Suite::HostDocumentation => {
                let mut host = context.command("cargo");
                host.current_dir(&plan.paths.root).args(verb.split(' ')).args(["--locked", "--workspace"]);
                for name in &packages.product {
                    host.args(["--exclude", name]);
                }
                if context.offline {
                    host.arg("--offline");
                }
                inputs(&mut host, plan, context, packed);
                for library in &plan.native {
                    let name = format!("MUSLIN_NATIVE_{}_SOURCE", library.name.to_uppercase());
                    if let Some(resolution) = plan.tools.sources.get(&library.name) {
                        host.env(name, sources::install(context, &library.vendored.manifest, resolution)?);
                    }
                }
                host
            }
            Suite::Product | Suite::ProductDocumentation => {
                let mut product = cargo::command(plan, context, native.toolchain(), native.inputs(), verb)?;
                product.envs(fixtures::variables(context, &plan.config)?);
                let names =
                    if suite == Suite::Product { &packages.product } else { &packages.product_libraries };
                for name in names {
                    product.args(["--package", name]);
                }
                product
            }
        };
        if matches!(suite, Suite::HostDocumentation | Suite::ProductDocumentation) {
            command.arg("--doc");
        }
        // A test run changes no file of the checkout: a snapshot that differs is a failure, not a new file.
        command.env("INSTA_UPDATE", "no");
        Ok(command)
    }
}

/// The shipped bytes and the tools that made them.
fn inputs(command: &mut Command, plan: &Plan, context: &BuildContext, packed: &Packed) {
    let native = packed.stripped().linked().native();
    let toolchain = native.toolchain();
    command
        .env("MUSLIN_LINKED", packed.stripped().linked().file().path())
        .env("MUSLIN_STRIPPED", packed.stripped().file().path())
        .env("MUSLIN_PACKED", packed.file().path())
        .env("MUSLIN_UPX", &toolchain.upx().path)
        .envs(toolchain.emulator().map(|tool| ("MUSLIN_QEMU", &tool.path)))
        .env("MUSLIN_OBJCOPY", &toolchain.objcopy().path)
        .env("MUSLIN_CC", toolchain.wrappers().cc())
        .env("MUSLIN_AR", toolchain.wrappers().ar())
        .env("MUSLIN_MAKE", &toolchain.make().path)
        .env("MUSLIN_HOST_CC", &toolchain.host_cc().path)
        .env("MUSLIN_CACHE_DIR", &plan.paths.cache)
        .env("ZIG_GLOBAL_CACHE_DIR", toolchain.wrappers().zig_cache(&context.store))
        .env("ZIG_LOCAL_CACHE_DIR", toolchain.wrappers().zig_cache(&context.store));
    command.envs(native.inputs().iter().map(|inputs| (inputs.variable(), inputs.folder())));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Counts = Counts { passed: 0, failed: 0, ignored: Some(0) };

    #[test]
    fn adds_the_summaries_of_cargo() {
        let output = "test a ... ok\n\ntest result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                      test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s\n";
        assert_eq!(cargo_summaries(output), Some(Counts { passed: 15, failed: 2, ignored: Some(1) }));
        assert_eq!(cargo_summaries("error: could not compile"), None);
    }

    /// The problems as they are printed, and the exit status.
    fn shown(totals: &Totals) -> String {
        let Diagnostics(problems) = totals.problems();
        let text = diag::render::human(&problems, diag::render::Style::default());
        format!("{text}exit status {}", diag::exit_code(&problems))
    }

    #[test]
    fn a_suite_without_a_summary_or_with_a_crash_is_broken() {
        let mut totals = Totals::default();
        totals.add("a", Some(Counts { passed: 3, ..NONE }), true);
        assert!(totals.problems().0.is_empty());
        totals.add("did not compile", None, false);
        totals.add("crashed", Some(Counts { passed: 1, ..NONE }), false);
        totals.add("failed", Some(Counts { failed: 1, ..NONE }), false);
        assert_eq!(totals.broken, ["did not compile", "crashed"]);
        insta::assert_snapshot!(shown(&totals), @r"
        error[test-failed]: tests failed
          expected: tests that all pass
          found:    4 passed, 1 failed
        hint: `cargo xtask test -- NAME` repeats one test
        error[test-failed]: the tests of the did not compile did not run to their end
          expected: a summary of the test programs
          found:    no summary, or an error without a failed test
        hint: its output above has the reason: a test program did not compile, or crashed
        error[test-failed]: the tests of the crashed did not run to their end
          expected: a summary of the test programs
          found:    no summary, or an error without a failed test
        hint: its output above has the reason: a test program did not compile, or crashed
        exit status 1
        ");
    }

    #[test]
    fn a_suite_that_cannot_be_listed_makes_the_skipped_tests_not_measured() {
        let mut totals = Totals::default();
        totals.add("host packages", Some(Counts { passed: 3, ignored: Some(2), ..NONE }), true);
        assert_eq!(totals.summary(), "3 passed, 0 failed, 2 skipped");
        totals.add("product packages", Some(Counts { passed: 1, ignored: None, ..NONE }), true);
        insta::assert_snapshot!(
            totals.summary(),
            @"4 passed, 0 failed, skipped not measured (product packages cannot be listed)"
        );
        insta::assert_snapshot!(shown(&totals), @r"
        error[test-not-counted]: the skipped tests of the product packages cannot be counted
          expected: a list from `cargo nextest list`
        hint: read its output above; `--runner cargo` counts without nextest
        exit status 2
        ");
    }

    #[test]
    fn no_test_at_all_is_not_a_pass() {
        insta::assert_snapshot!(shown(&Totals::default()), @r"
        error[test-failed]: no test ran
          expected: tests that all pass
          found:    0 passed, 0 failed
        hint: use a filter after `--` that selects a test
        exit status 1
        ");
        assert!(Totals { passed: 5, ..Totals::default() }.problems().0.is_empty());
    }
}
