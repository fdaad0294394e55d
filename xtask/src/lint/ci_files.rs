//! The files of hosted CI: shell scripts, workflows and `.gitlab-ci.yml`, each by linters of other projects.
//!
//! A linter first gets a control: an input with known defects. One that does not report them measures nothing, because a rule
//! is disabled, its settings are not read, or it crashed; some of them exit with the status of a violation then, too.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use diag::Diagnostic;
use process::Task;
use release::context::BuildContext;

use super::report::Status;
use super::tools::{self, Tool};
use super::{LINT_NOT_MEASURED, check};
use crate::setup::workspace_root;

/// An input that a linter must reject, and texts that its output must have.
struct Control {
    input: &'static str,
    findings: &'static [&'static str],
    /// zizmor does not apply its exceptions to stdin, so there the control would not show a disabled rule.
    is_file: bool,
}

impl Control {
    /// Why the linter does not reject the input; none if it does.
    fn problem(&self, action: &str, code: i32, violated: &[i32], text: &str) -> Option<Diagnostic> {
        let missing: Vec<&str> =
            self.findings.iter().copied().filter(|finding| !text.contains(finding)).collect();
        if violated.contains(&code) && missing.is_empty() {
            return None;
        }
        let mut found = format!("exit status {code}");
        if !missing.is_empty() {
            found += &format!(", not reported: {}", missing.join(", "));
        }
        if let Some(line) = text.lines().map(str::trim).rfind(|line| !line.is_empty()) {
            found += &format!("; the output ends with `{line}`");
        }
        Some(
            Diagnostic::new(
                &LINT_NOT_MEASURED,
                format!("could not {action}: the linter accepts a known defect"),
            )
            .expected(format!("findings {}", self.findings.join(", ")))
            .found(found)
            .hint("a rule of its configuration is disabled, or the linter does not work on this machine"),
        )
    }
}

/// Checks the control, then the files. `command` has no input yet.
fn measure(
    context: &BuildContext,
    action: &str,
    command: impl Fn() -> Command,
    files: &[String],
    violated: &[i32],
    control: &Control,
) -> anyhow::Result<Status> {
    let mut rejecting = command();
    let file = tempfile::Builder::new().suffix(".yml").tempfile().context("making a file for a control")?;
    let stdin = if control.is_file {
        std::fs::write(&file, control.input).context("writing a control")?;
        rejecting.arg(file.path());
        ""
    } else {
        rejecting.arg("-");
        control.input
    };
    let task = Task::new(format!("{action}: reject the control"), rejecting).stdin(stdin);
    let output = context.runner.output(task)?;
    let text = [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat();
    if let Some(problem) = control.problem(action, output.shell_code(), violated, &text) {
        return Ok(Status::NotMeasured(problem));
    }
    if files.is_empty() {
        let problem = Diagnostic::new(&LINT_NOT_MEASURED, format!("could not {action}: there is no file"));
        return Ok(Status::NotMeasured(problem.expected("at least one file").found("none")));
    }
    let mut command = command();
    command.args(files);
    check(context, action, command, violated)
}

/// Every shell script of the repository.
pub fn shellcheck(context: &BuildContext) -> anyhow::Result<Status> {
    let program = tools::install(context, Tool::Shellcheck)?;
    // Settings of the user or of a folder above do not count.
    let command = || in_workspace(context, &program, &["--norc"]);
    let control = Control { input: "#!/bin/sh\nrm -r $1\n", findings: &["SC2086"], is_file: false };
    measure(context, "check the shell scripts", command, &scripts(&workspace_root())?, &[1], &control)
}

/// Every YAML file of the repository, by .yamllint.yml.
pub fn yamllint(context: &BuildContext) -> anyhow::Result<Status> {
    let python = tools::python(context)?;
    let arguments = ["-m", "yamllint", "--strict", "--config-file", ".yamllint.yml"];
    let command = || in_workspace(context, &python, &arguments);
    let control = Control {
        input: "jobs:\n  build:\n     steps: []\n",
        findings: &["wrong indentation", "expected 4 but found 5"],
        is_file: false,
    };
    measure(context, "check the format of YAML files", command, &[".".into()], &[1, 2], &control)
}

/// Files of hosted CI and their schemas, which check-jsonschema carries: it fetches nothing.
pub fn schemas(context: &BuildContext) -> anyhow::Result<Status> {
    let python = tools::python(context)?;
    let root = workspace_root();
    let mut status = Status::Pass;
    for (schema, files, control) in [
        (
            "github-workflows",
            yaml_files(&root, ".github/workflows")?,
            Control {
                input: "on: push\njobs:\n  build:\n    runs-on: ubuntu-24.04\n    step: []\n",
                findings: &["'step' was unexpected"],
                is_file: false,
            },
        ),
        (
            "github-actions",
            yaml_files(&root, ".github/actions")?,
            Control {
                input: "name: x\ndescription: x\n",
                findings: &["'runs' is a required property"],
                is_file: false,
            },
        ),
        (
            "gitlab-ci",
            vec![".gitlab-ci.yml".into()],
            Control {
                input: "build:\n  script: [ci/lint.sh]\n  scripts: []\n",
                findings: &["'scripts' was unexpected"],
                is_file: false,
            },
        ),
        (
            "compose-spec",
            vec!["docker/compose.yaml".into()],
            Control {
                input: "services:\n  embed:\n    imag: x\n",
                findings: &["'imag' was unexpected"],
                is_file: false,
            },
        ),
    ] {
        let builtin = format!("vendor.{schema}");
        let command = || {
            let mut command =
                in_workspace(context, &python, &["-m", "check_jsonschema", "--builtin-schema", &builtin]);
            command.args(["--default-filetype", "yaml"]);
            if schema == "gitlab-ci" {
                // `!reference` is a tag of GitLab, unknown to YAML.
                command.args(["--data-transform", "gitlab-ci"]);
            }
            command
        };
        let action = format!("compare files with the schema `{schema}`");
        status = status.and(measure(context, &action, command, &files, &[1], &control)?);
    }
    Ok(status)
}

/// Syntax, expressions, contexts and calls of the workflows, and the scripts in them.
pub fn actionlint(context: &BuildContext, required: bool) -> anyhow::Result<Status> {
    let program = match tools::install(context, Tool::Actionlint) {
        Ok(program) => program,
        Err(error) => {
            let status = Status::from_installation_error(error)?;
            return Ok(if required { status } else { status.optional() });
        }
    };
    let shellcheck = tools::install(context, Tool::Shellcheck)?;
    let command = || {
        let mut command = in_workspace(context, &program, &["-no-color", "-pyflakes=", "-shellcheck"]);
        command.arg(&shellcheck);
        command
    };
    let control = Control {
        input: "on: push\njobs:\n  build:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: rm -r $1 ${{ matrix.none }}\n",
        // The second one shows that actionlint found shellcheck: it ignores a path that it cannot run.
        findings: &["[expression]", "SC2086"],
        is_file: false,
    };
    let files = yaml_files(&workspace_root(), ".github/workflows")?;
    measure(context, "check the workflows", command, &files, &[1], &control)
}

/// Security of workflows and actions, by the strictest persona; .github/zizmor.yml has the exceptions.
pub fn zizmor(context: &BuildContext) -> anyhow::Result<Status> {
    let arguments = [
        // Online audits need a token of the service.
        "--offline",
        "--no-progress",
        "--quiet",
        "--strict-collection",
        "--persona=auditor",
        "--config",
        ".github/zizmor.yml",
    ];
    let program = tools::install(context, Tool::Zizmor)?;
    let command = || in_workspace(context, &program, &arguments);
    let control = Control {
        input: "name: x\non: pull_request_target\npermissions: {}\njobs:\n  build:\n    name: x\n    runs-on: ubuntu-24.04\n    \
                steps:\n      - uses: actions/checkout@v7\n      - run: echo ${{ github.event.pull_request.title }}\n",
        findings: &["dangerous-triggers", "unpinned-uses", "artipacked", "template-injection"],
        is_file: true,
    };
    // The status is the highest severity of a finding: 11 informational to 14 high.
    let violated = [11, 12, 13, 14];
    measure(context, "audit the workflows", command, &[".github".into()], &violated, &control)
}

fn in_workspace(context: &BuildContext, program: &Path, arguments: &[&str]) -> Command {
    let mut command = context.command(program);
    command.current_dir(workspace_root()).args(arguments);
    command
}

/// YAML files of a folder and of those in it, relative to the workspace.
fn yaml_files(root: &Path, folder: &str) -> anyhow::Result<Vec<String>> {
    let files = store::files_below(&root.join(folder))?;
    let is_yaml =
        |path: &&std::path::PathBuf| path.extension().is_some_and(|end| end == "yml" || end == "yaml");
    files.iter().filter(is_yaml).map(|path| relative(root, path)).collect()
}

/// `.ci/run` and all files `*.sh`, relative to the workspace.
fn scripts(root: &Path) -> anyhow::Result<Vec<String>> {
    // Build output, and corpora of the fuzzer with thousands of files.
    const SKIPPED: [&str; 3] = ["target", "dist", "corpus"];
    let (mut found, mut folders) = (vec![".ci/run".to_owned()], vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                    folders.push(entry.path());
                }
            } else if name.ends_with(".sh") {
                found.push(relative(root, &entry.path())?);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn relative(root: &Path, path: &Path) -> anyhow::Result<String> {
    let path = path.strip_prefix(root).context("a file outside of the workspace")?;
    Ok(path.to_str().context("a file name that is not UTF-8")?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const CONTROL: Control = Control { input: "", findings: &["SC2086", "SC2154"], is_file: false };

    #[test]
    fn a_linter_that_reports_the_known_defects_is_trusted() {
        assert!(CONTROL.problem("lint", 1, &[1], "SC2086: quote\nSC2154: unset\n").is_none());
    }

    #[test]
    fn a_linter_that_accepts_a_known_defect_measures_nothing() {
        for (code, text) in [
            (0, ""),
            (1, "SC2086: quote\n"),
            (1, "Traceback (most recent call last):\nModuleNotFoundError: yaml\n"),
            (127, "SC2086 SC2154"),
        ] {
            assert!(CONTROL.problem("lint", code, &[1], text).is_some(), "{code}: {text}");
        }
        let problem = CONTROL.problem("lint", 1, &[1], "SC2086: quote\n").unwrap();
        let found = "exit status 1, not reported: SC2154; the output ends with `SC2086: quote`";
        assert_eq!(problem.fields().found.as_deref(), Some(found));
    }

    #[test]
    fn lists_scripts_without_build_output() {
        let folder = tempfile::tempdir().unwrap();
        for file in
            ["ci/a.sh", "fuzz/corpus/b.sh", "benches/alloc/target/c.sh", ".git/d.sh", "e.sh", "ci/f.py"]
        {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        assert_eq!(scripts(folder.path()).unwrap(), [".ci/run", "ci/a.sh", "e.sh"]);
    }

    fn ci_files() -> Vec<(String, String)> {
        let root = workspace_root();
        let mut files = yaml_files(&root, ".github").unwrap();
        files.push(".gitlab-ci.yml".into());
        let read = |file: String| {
            let text = std::fs::read_to_string(root.join(&file)).unwrap();
            (file, text)
        };
        files.into_iter().map(read).collect()
    }

    /// What CI does is in scripts that also run elsewhere; hosted CI adds caches, permissions and uploads.
    #[test]
    fn every_step_of_github_calls_a_script_of_ci() {
        let mut calls = 0;
        for (file, text) in ci_files() {
            for line in text.lines() {
                let Some(command) = line.trim().trim_start_matches("- ").strip_prefix("run: ") else {
                    continue;
                };
                let script = command.split(' ').next().unwrap();
                assert!(
                    script.starts_with("ci/") && workspace_root().join(script).is_file(),
                    "{file}: {line}"
                );
                calls += 1;
            }
        }
        assert!(calls > 5, "{calls} steps found");
    }

    /// zizmor's rule `cache-poisoning` knows the trigger of a tag, and not that release.yml calls release-build.yml.
    #[test]
    fn no_release_uses_a_cache() {
        let of_release = |file: &str| file.contains("workflows/release");
        let releases: Vec<_> = ci_files().into_iter().filter(|(file, _)| of_release(file)).collect();
        assert_eq!(releases.len(), 2);
        for (file, text) in releases {
            let uses: Vec<&str> = text.lines().filter(|line| line.contains("uses: ")).collect();
            assert!(!uses.is_empty() && uses.iter().all(|line| !line.contains("cache")), "{file}: {uses:?}");
        }
        let gitlab = std::fs::read_to_string(workspace_root().join(".gitlab-ci.yml")).unwrap();
        let (_, jobs) = gitlab.split_once("\nrelease-build:\n").unwrap();
        assert!(!jobs.contains("cache"), "jobs from `release-build` on use a cache");
    }

    struct Job {
        name: String,
        text: String,
    }

    impl Job {
        fn all(workflow: &str) -> Vec<Self> {
            let (_, text) = workflow.split_once("\njobs:\n").unwrap();
            let mut jobs: Vec<Self> = Vec::new();
            for line in text.lines() {
                let name = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'));
                match (name.filter(|name| !name.starts_with([' ', '#'])), jobs.last_mut()) {
                    (Some(name), _) => jobs.push(Self { name: name.into(), text: String::new() }),
                    (None, Some(job)) => job.text += &format!("{line}\n"),
                    (None, None) => {}
                }
            }
            jobs
        }

        fn permissions(&self) -> BTreeMap<&str, &str> {
            let block = self.text.lines().skip_while(|line| *line != "    permissions:").skip(1);
            let entries = block.take_while(|line| line.starts_with("      "));
            entries.filter_map(|line| line.split(" #").next()?.trim().split_once(": ")).collect()
        }
    }

    /// GitHub does not start a workflow whose called jobs request more than the calling job grants.
    #[test]
    fn callers_grant_what_called_jobs_request() {
        let files = ci_files();
        let mut compared = 0;
        for (caller, text) in files.iter().filter(|(file, _)| file.contains("/workflows/")) {
            for job in Job::all(text) {
                let Some((_, called)) = job.text.split_once("    uses: ./") else { continue };
                let called = called.lines().next().unwrap();
                let (_, workflow) = files.iter().find(|(file, _)| file == called).unwrap();
                for called_job in Job::all(workflow) {
                    assert!(!called_job.permissions().is_empty(), "{called}: {}", called_job.name);
                    for (permission, value) in called_job.permissions() {
                        let grant = job.permissions().get(permission).copied().unwrap_or("none");
                        let names = format!("{caller}, {}; {called}, {}", job.name, called_job.name);
                        assert!(
                            grant == value || grant == "write",
                            "{names}: {permission}: {value}, granted {grant}"
                        );
                        compared += 1;
                    }
                }
            }
        }
        assert!(compared > 6, "{compared} permissions compared");
    }

    #[test]
    fn every_matrix_lists_the_targets_of_release_toml() {
        let config = release::config::Config::load(&workspace_root().join("release.toml")).unwrap();
        let mut matrices = 0;
        for (file, text) in ci_files() {
            // Lists of one file: after `target:` of a matrix, and `TARGET: [..]` of GitLab.
            let listed: Vec<&str> = text
                .lines()
                .flat_map(|line| line.split(&[' ', '[', ']', ',']))
                .filter(|word| word.contains("-unknown-linux-"))
                .collect();
            if !listed.is_empty() {
                assert_eq!(listed, config.product.targets, "{file}");
                matrices += 1;
            }
        }
        assert_eq!(matrices, 3, "ci.yml, release-build.yml and .gitlab-ci.yml");
    }
}
