//! `cargo xtask lint`: every static check of the workspace. Each step runs even when another one fails; one table at the
//! end has all results.

mod advisories;
mod ci_files;
mod module_cycles;
mod report;
mod tools;
mod workspace_dependencies;

use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use clap::{Args as ClapArgs, ValueEnum};
use diag::Diagnostic;
use process::Task;
use release::context::BuildContext;

use self::report::{LintReport, Row, Status};
use self::tools::Tool;
use crate::Outcome;
use crate::format;
use crate::sbom_validators as validators;
use crate::setup::{Common, workspace_root};

diag::codes! {
    /// A step found violations.
    pub LINT_VIOLATED = Violation "lint-violated": "a check of the source code found violations" {
        "cause": "the output of the step, above the table, lists them",
        "fix": "follow the hint, then repeat the step alone: `cargo xtask lint --only STEP`",
    }
    /// A linter cannot be installed.
    pub LINT_TOOL_MISSING = Environment "lint-tool-missing": "a linter is not in the cache and cannot be installed" {
        "cause": "no network, a proxy, `--offline`, or no pip for a wheel",
        "fix": "run `cargo xtask lint` once with a network; the tools stay in the cache",
    }
    /// A step could not be made.
    pub LINT_NOT_MEASURED = NotMeasured "lint-not-measured": "a check of the source code could not be made" {
        "cause": "a linter failed before it gave a result, accepts a known defect, or has data that this machine cannot fetch",
        "fix": "run it where the data can be fetched; `--require-advisories` and `--require-actionlint` decide whether missing data of GitHub is an error",
    }
}

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// Run this step only; can be repeated
    #[arg(long, value_name = "STEP", value_enum)]
    only: Vec<Step>,
    /// Exit with status 2 when the advisory database cannot be read; without it that is a warning
    #[arg(long)]
    require_advisories: bool,
    /// Exit with status 2 when actionlint cannot be fetched from GitHub; without it that is a warning
    #[arg(long)]
    require_actionlint: bool,
}

/// They have lock files of their own, so no command on the main workspace covers them.
const OTHER_WORKSPACES: [&str; 4] = [
    "benches/alloc/Cargo.toml",
    "fuzz/Cargo.toml",
    "fuzz/inputs/Cargo.toml",
    "fixtures/workspace/Cargo.toml",
];

/// What must be measured; without it, missing data is a warning.
#[derive(Clone, Copy)]
struct Required {
    advisories: bool,
    actionlint: bool,
}

/// In the order in which they run: quick ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Format of all Rust sources
    Format,
    /// Lock files that fit their manifests
    LockFiles,
    /// Spelling
    Typos,
    /// Shell scripts
    Shellcheck,
    /// Format of YAML files
    Yamllint,
    /// Files of hosted CI and of docker compose, by their schemas
    YamlSchemas,
    /// Expressions, contexts and calls of GitHub workflows
    Actionlint,
    /// Security of GitHub workflows
    Zizmor,
    /// Modules of one crate that import each other
    ModuleCycles,
    /// Dependencies that no code imports
    UnusedDependencies,
    /// Licenses, banned crates and registries, by deny.toml
    Dependencies,
    /// Examples of bills of materials, by validators of CycloneDX and SPDX
    Sbom,
    /// Known vulnerabilities and yanked versions
    Advisories,
    /// rustc and clippy, by the lint table of Cargo.toml
    Clippy,
    /// rustdoc without warnings
    Docs,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let format = args.common.format;
    let report = run_steps(args)?;
    format::print(format, || report.table(), report.json())?;
    Ok(format::problems(report.errors()))
}

fn run_steps(args: Args) -> anyhow::Result<LintReport> {
    let required = Required { advisories: args.require_advisories, actionlint: args.require_actionlint };
    let (context, _) = args.common.context()?;
    let mut report = LintReport::default();
    for step in Step::value_variants() {
        if !args.only.is_empty() && !args.only.contains(step) {
            continue;
        }
        let started = Instant::now();
        context.runner.events().step(format!("lint: {}", step.name()));
        let status = match step.run(&context, required) {
            Ok(status) => status,
            Err(error) => Status::from_installation_error(error)?,
        };
        report.push(Row { step: step.name(), status, elapsed: started.elapsed(), hint: step.hint() });
    }
    for warning in report.warnings() {
        context.runner.events().warn(warning);
    }
    Ok(report)
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Format => "format",
            Step::LockFiles => "lock-files",
            Step::Typos => "typos",
            Step::Shellcheck => "shellcheck",
            Step::Yamllint => "yamllint",
            Step::YamlSchemas => "yaml-schemas",
            Step::Actionlint => "actionlint",
            Step::Zizmor => "zizmor",
            Step::ModuleCycles => "module-cycles",
            Step::UnusedDependencies => "unused-dependencies",
            Step::Dependencies => "dependencies",
            Step::Sbom => "sbom",
            Step::Advisories => "advisories",
            Step::Clippy => "clippy",
            Step::Docs => "docs",
        }
    }

    /// The repair of a violation.
    fn hint(self) -> &'static str {
        match self {
            Step::Format => {
                "cargo fmt --all; for benches/alloc, fuzz, fuzz/inputs and fixtures/workspace: cargo fmt --all --manifest-path FILE"
            }
            Step::LockFiles => "cargo tree --depth 0 --manifest-path FILE, and commit the changed Cargo.lock",
            Step::Typos => "correct the word, or add it to typos.toml with the reason",
            Step::Shellcheck => "the page of the rule has the repair: https://www.shellcheck.net/wiki/SCNNNN",
            Step::Yamllint => "correct the format; .yamllint.yml has the rules",
            Step::YamlSchemas => "correct the key that the output names",
            Step::Actionlint => "correct the workflow; docs/ci.md describes the jobs",
            Step::Zizmor => {
                "follow the page of the finding, or add an exception with its reason to .github/zizmor.yml"
            }
            Step::ModuleCycles => "move what both modules use into one that imports neither",
            Step::UnusedDependencies => "remove the entry from the Cargo.toml that declares it",
            Step::Dependencies => "replace the crate, or change deny.toml and give the reason there",
            Step::Sbom => {
                "correct the writers in crates/sbom, then `MUSLIN_WRITE_DOCS=1 cargo test -p sbom` writes the examples"
            }
            Step::Advisories => {
                "cargo update --package NAME, or an `ignore` entry with a reason in deny.toml"
            }
            Step::Clippy => {
                "cargo clippy --workspace --all-targets; [workspace.lints] in Cargo.toml is the table. For benches/alloc, fuzz, \
                 fuzz/inputs and fixtures/workspace, with the lints of clippy's default: the same with --manifest-path FILE"
            }
            Step::Docs => "RUSTDOCFLAGS=--deny=warnings cargo doc --workspace --no-deps",
        }
    }

    fn run(self, context: &BuildContext, required: Required) -> anyhow::Result<Status> {
        match self {
            Step::Format => {
                let mut status =
                    check(context, "check the format", cargo(context, &["fmt", "--all", "--check"]), &[1])?;
                for workspace in OTHER_WORKSPACES {
                    let fmt = cargo(context, &["fmt", "--all", "--check", "--manifest-path", workspace]);
                    status =
                        status.and(check(context, &format!("check the format of {workspace}"), fmt, &[1])?);
                }
                Ok(status)
            }
            Step::LockFiles => {
                let mut status = Status::Pass;
                for workspace in ["Cargo.toml"].iter().chain(&OTHER_WORKSPACES) {
                    let mut tree = cargo(context, &["tree", "--locked", "--quiet", "--depth", "0"]);
                    tree.args(["--manifest-path", workspace]);
                    if context.offline {
                        tree.arg("--offline");
                    }
                    status = status.and(check(
                        context,
                        &format!("compare {workspace} with its lock file"),
                        tree,
                        &[101],
                    )?);
                }
                Ok(status)
            }
            Step::Typos => check(
                context,
                "check the spelling",
                tool(context, Tool::Typos, &["--format", "brief"])?,
                &[2],
            ),
            Step::Shellcheck => ci_files::shellcheck(context),
            Step::Yamllint => ci_files::yamllint(context),
            Step::YamlSchemas => ci_files::schemas(context),
            Step::Actionlint => ci_files::actionlint(context, required.actionlint),
            Step::Zizmor => ci_files::zizmor(context),
            Step::ModuleCycles => module_cycles::check(&workspace_root()),
            Step::UnusedDependencies => {
                // Without `--with-metadata`, which may write to a Cargo.lock.
                let machete = tool(context, Tool::Machete, &["."])?;
                let crates = check(context, "look for unused dependencies", machete, &[1])?;
                Ok(crates.and(workspace_dependencies::check(&workspace_root())?))
            }
            Step::Dependencies => {
                let mut status = dependencies(context, "Cargo.toml", &["licenses", "bans", "sources"])?;
                for workspace in OTHER_WORKSPACES {
                    // Bans are about the product: build scripts of the others compile C, and duplicates cost no user time.
                    status = status.and(dependencies(context, workspace, &["licenses", "sources"])?);
                }
                Ok(status)
            }
            Step::Sbom => sbom_examples(context),
            Step::Advisories => advisories::check(context, required.advisories),
            Step::Clippy => {
                let mut status = check(context, "run clippy", clippy(context, "Cargo.toml"), &[101])?;
                for workspace in OTHER_WORKSPACES {
                    let mut clippy = clippy(context, workspace);
                    // Nothing is linked: libfuzzer-sys shall not compile its C++.
                    clippy.env("CUSTOM_LIBFUZZER_PATH", "/nonexistent/libfuzzer.a");
                    let action = format!("run clippy on {workspace}");
                    status = status.and(check(context, &action, clippy, &[101])?);
                }
                Ok(status)
            }
            Step::Docs => {
                let mut doc = cargo(context, &["doc", "--workspace", "--no-deps", "--locked", "--quiet"]);
                doc.env("RUSTDOCFLAGS", "--deny=warnings");
                check(context, "make the documentation", doc, &[101])
            }
        }
    }
}

/// Known vulnerabilities of the crates in the main Cargo.lock; the problem if there are some, or if the database cannot be read.
pub fn advisories_of_main_workspace(context: &BuildContext) -> anyhow::Result<Result<(), Diagnostic>> {
    let step = Step::Advisories;
    let status = match advisories::check_manifests(context, &["Cargo.toml"], true) {
        Ok(status) => status,
        Err(error) => Status::from_installation_error(error)?,
    };
    Ok(match status {
        Status::Pass => Ok(()),
        Status::Violated => Err(Diagnostic::new(&LINT_VIOLATED, "crates with known vulnerabilities")
            .rule(step.name())
            .hint(step.hint())),
        Status::NotMeasured(reason) => Err(reason),
    })
}

/// The documents of `schemas/examples`, which the tests of the crate `sbom` compare with what it writes.
fn sbom_examples(context: &BuildContext) -> anyhow::Result<Status> {
    let folder = workspace_root().join("schemas/examples");
    let documents =
        ["small.cdx.json", "small.spdx.json"].map(|name| -> anyhow::Result<validators::Document> {
            let path = folder.join(name);
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let content =
                serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
            Ok(validators::Document { name: name.into(), content })
        });
    let documents = documents.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let problems = match validators::problems(context, &documents) {
        Ok(problems) => problems,
        // Without validators there is no result, which is never a pass.
        Err(error) if diag::has_code(&error, &release::codes::TOOL_MISSING) => {
            let reason = Diagnostic::new(&LINT_TOOL_MISSING, "the validators cannot be installed");
            return Ok(Status::NotMeasured(reason.cause(format!("{error:#}"))));
        }
        Err(error) => return Err(error),
    };
    for problem in &problems {
        eprintln!("{problem}");
    }
    Ok(if problems.is_empty() { Status::Pass } else { Status::Violated })
}

fn cargo(context: &BuildContext, arguments: &[&str]) -> Command {
    let mut command = context.command("cargo");
    command.current_dir(workspace_root()).args(arguments);
    command
}

/// Entries of deny.toml that one workspace does not need may be needed by another one; `licenses` of the main workspace still
/// rejects a license in the list that no crate of it has.
fn dependencies(context: &BuildContext, manifest: &str, checks: &[&str]) -> anyhow::Result<Status> {
    let mut deny = tool(context, Tool::Deny, &["--manifest-path", manifest, "--config", "deny.toml"])?;
    deny.args(["--locked", "--workspace"]);
    if context.offline {
        deny.arg("--offline");
    }
    deny.args(["check", "--hide-inclusion-graph"]);
    deny.args(["--allow", "license-exception-not-encountered"]);
    if manifest != "Cargo.toml" {
        deny.args(["--allow", "license-not-encountered"]);
    }
    deny.args(checks);
    // The status is a set of bits: 2 bans, 4 licenses, 8 sources; 1 is an error of cargo-deny itself.
    check(context, &format!("check the dependencies of {manifest}"), deny, &[2, 4, 6, 8, 10, 12, 14])
}

/// One target folder for all workspaces: crates that several of them use are compiled once.
fn clippy(context: &BuildContext, manifest: &str) -> Command {
    let mut clippy = cargo(context, &["clippy", "--workspace", "--all-targets", "--locked", "--quiet"]);
    clippy.args(["--manifest-path", manifest, "--target-dir", "target"]);
    if context.offline {
        clippy.arg("--offline");
    }
    clippy.args(["--", "--deny", "warnings"]);
    clippy
}

/// A command of an installed tool; installs it on first use.
fn tool(context: &BuildContext, tool: Tool, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = context.command(tools::install(context, tool)?);
    command.current_dir(workspace_root()).args(arguments);
    Ok(command)
}

/// Runs a linter with its output on the terminal. `violated` lists the exit statuses that mean a violation; any other one
/// than these and 0 means that the linter did not finish its work, which is never a pass.
fn check(context: &BuildContext, action: &str, command: Command, violated: &[i32]) -> anyhow::Result<Status> {
    let output = context.runner.output(Task::new(action, command).inherit_stderr(true).report_stdout())?;
    Ok(match output.shell_code() {
        0 => Status::Pass,
        code if violated.contains(&code) => Status::Violated,
        code => Status::NotMeasured(
            Diagnostic::new(&LINT_NOT_MEASURED, format!("could not {action}"))
                .expected("exit status 0, or the status for violations")
                .found(format!("exit status {code}")),
        ),
    })
}
