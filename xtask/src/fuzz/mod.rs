//! `cargo xtask fuzz`: builds the fuzz targets, seeds their corpus from the fixtures, and runs them one after another.
//!
//! Each input has a limit of memory and time. An input beyond a limit is a finding, like a panic or a file that passes the
//! policy and must not.

mod session;
mod tools;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;
use diag::{Diagnostic, Diagnostics};
use process::Task;
use release::context::BuildContext;
use serde_json::{Value, json};
use units::TimeSpan;

use crate::Outcome;
use crate::format::{self, Format};
use crate::setup::{Common, workspace_root};
use session::{Session, TargetResult};
use tools::Tools;

/// Each target and the crate that has it: a folder with a Cargo.toml.
const TARGETS: [(&str, &str); 9] = [
    ("facts", "fuzz"),
    ("upx", "fuzz"),
    ("edits", "fuzz"),
    ("containers", "fuzz"),
    ("images", "fuzz"),
    ("policy", "fuzz"),
    ("disasm", "fuzz"),
    ("config", "fuzz/inputs"),
    ("model", "fuzz/inputs"),
];
/// Limits of one input. The sanitizer itself takes about 150 MiB.
const RSS_MIB_MAX: u32 = 512;
const ALLOCATION_MIB_MAX: u32 = 128;
const SECONDS_MAX: u32 = 5;
const INPUT_BYTES_MAX: u32 = 24 << 10;
const DURATION_DEFAULT: Duration = Duration::from_mins(1);

diag::codes! {
    /// An input that violates a limit or a property.
    pub FINDING = Violation "fuzz-finding": "a fuzz target has a finding" {
        "catches": "panics, inputs beyond the limits of time and memory, and files that pass the policy and must not",
        "fix": "run the target with the named input, fix the reader, and add the input to the fixtures",
    }
    /// A target that executed no input.
    pub NOTHING_EXECUTED = NotMeasured "fuzz-nothing-executed": "a fuzz target executed no input" {
        "cause": "the target could not start, or its corpus could not be read; its log has the reason",
        "fix": "read the named log",
    }
    /// `--resume` without a session.
    pub NO_SESSION = Usage "fuzz-no-session": "there is no session to resume" {
        "cause": "no earlier run in this checkout, or fuzz/artifacts was removed",
        "fix": "cargo xtask fuzz",
    }
    /// A tool for fuzzing is missing and cannot be fetched.
    pub TOOL_MISSING = Environment "fuzz-tool-missing": "a tool for fuzzing is missing" {
        "cause": "rustup is not in PATH, or `--offline` forbids to fetch cargo-fuzz or the nightly compiler",
        "fix": "install rustup (https://rustup.rs); run `cargo xtask fuzz --duration '1 s' config` once with a network",
    }
}

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// Time of each target [default: 60 s]
    #[arg(long, value_name = "TIME", conflicts_with = "total")]
    duration: Option<TimeSpan>,
    /// Time of all targets together, in equal parts, such as `1 h`
    #[arg(long, value_name = "TIME")]
    total: Option<TimeSpan>,
    /// Continue the last run: only its targets without a result, with the same time
    #[arg(long, conflicts_with_all = ["duration", "total", "targets"])]
    resume: bool,
    /// Targets to run [default: all]
    #[arg(value_name = "TARGET", value_parser = TARGETS.map(|(name, _)| name))]
    targets: Vec<String>,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let format = args.common.format;
    let (context, _) = args.common.context()?;
    let root = workspace_root();
    let mut session = open_session(&args, &root)?;
    let remaining = session.remaining();
    if !remaining.is_empty() {
        let tools = tools::install(&context)?;
        context.runner.run(Task::new("seed the corpus", context.command(root.join("fuzz/seed.sh"))))?;
        let mut crates: Vec<&str> = remaining.iter().map(|target| crate_of(target)).collect();
        crates.dedup();
        for folder in crates {
            let build = tools.build(&context, &root, folder);
            context.runner.run(Task::new("build the fuzz targets", build).inherit_stderr(true))?;
        }
        for target in remaining {
            let result = run_target(&context, &root, &target, session.seconds_per_target)?;
            format::print_part(format, &row(&result))?;
            session.add(result)?;
        }
    }
    report(format, &session, &root)
}

fn open_session(args: &Args, root: &Path) -> anyhow::Result<Session> {
    let folder = root.join("fuzz/artifacts");
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let path = folder.join("session.json");
    if args.resume {
        let session = Session::resume(&path)?;
        let rows: String = session.results().iter().map(row).collect();
        format::print_part(args.common.format, &rows)?;
        return Ok(session);
    }
    let targets: Vec<String> = match args.targets.is_empty() {
        true => TARGETS.iter().map(|(name, _)| (*name).to_string()).collect(),
        false => args.targets.clone(),
    };
    let duration = match args.total {
        Some(total) => total.duration() / u32::try_from(targets.len()).unwrap_or(1),
        None => args.duration.map_or(DURATION_DEFAULT, TimeSpan::duration),
    };
    // libFuzzer takes whole seconds, and 0 means no limit.
    Session::start(&path, targets, (duration.as_secs_f64().ceil() as u64).max(1))
}

fn crate_of(target: &str) -> &'static str {
    TARGETS.iter().find(|(name, _)| *name == target).map_or("fuzz", |(_, folder)| folder)
}

/// Runs the program itself and not `cargo fuzz run`, which compiles again when a file has changed: all targets of a run test
/// the same code.
fn run_target(
    context: &BuildContext,
    root: &Path,
    target: &str,
    seconds: u64,
) -> anyhow::Result<TargetResult> {
    let artifacts = artifacts(root, target);
    std::fs::create_dir_all(&artifacts).with_context(|| format!("creating {}", artifacts.display()))?;
    let mut fuzz = context.command(Tools::program(root, target));
    fuzz.current_dir(root)
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={RSS_MIB_MAX}"))
        .arg(format!("-malloc_limit_mb={ALLOCATION_MIB_MAX}"))
        .arg(format!("-timeout={SECONDS_MAX}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg("-print_final_stats=1")
        .arg(root.join("fuzz/corpus").join(target));
    let log = log(root, target);
    let output = context.runner.output(Task::new(format!("fuzz `{target}`"), fuzz).log(&log))?;
    let text = std::fs::read(&log).with_context(|| format!("reading {}", log.display()))?;
    let text = String::from_utf8_lossy(&text);
    let executions = statistic(&text, "stat::number_of_executed_units:").unwrap_or(0);
    if executions == 0 {
        let message = format!("the target `{target}` executed no input");
        return Err(Diagnostic::new(&NOTHING_EXECUTED, message)
            .found(format!("exit code {}", output.shell_code()))
            .hint(format!("its log is {}", log.display()))
            .into());
    }
    Ok(TargetResult {
        target: target.into(),
        executions,
        seconds: output.elapsed.as_secs(),
        rss_mib_max: statistic(&text, "stat::peak_rss_mb:").unwrap_or(0),
        has_finding: !output.status.success(),
    })
}

fn row(result: &TargetResult) -> String {
    let TargetResult { target, executions, seconds, rss_mib_max, has_finding } = result;
    let finding = if *has_finding { ", FINDING" } else { "" };
    format!(
        "{target:<10} {executions:>12} executions in {seconds:>5} s, at most {rss_mib_max:>4} MiB{finding}\n"
    )
}

/// The sums, and a violation for each finding.
fn report(format: Format, session: &Session, root: &Path) -> anyhow::Result<Outcome> {
    let results = session.results();
    let findings = findings(results, root);
    format::print(format, || total(results, &findings), json(results, &findings))?;
    Ok(format::problems(findings))
}

fn findings(results: &[TargetResult], root: &Path) -> Diagnostics {
    let finding = |result: &TargetResult| {
        let target = &result.target;
        Diagnostic::new(&FINDING, format!("the target `{target}` has a finding"))
            .rule(target)
            .found(format!("the input is in {}", artifacts(root, target).display()))
            .hint(format!("the log is {}", log(root, target).display()))
    };
    results.iter().filter(|result| result.has_finding).map(finding).collect()
}

fn total(results: &[TargetResult], findings: &Diagnostics) -> String {
    let (executions, seconds) = sums(results);
    format!("{:<10} {executions:>12} executions in {seconds:>5} s, {} findings\n", "all", findings.0.len())
}

/// Executions and seconds.
fn sums(results: &[TargetResult]) -> (u64, u64) {
    let executions = results.iter().map(|result| result.executions).sum();
    (executions, results.iter().map(|result| result.seconds).sum())
}

fn json(results: &[TargetResult], findings: &Diagnostics) -> Value {
    let (executions, seconds) = sums(results);
    json!({
        "targets": results.iter().map(TargetResult::json).collect::<Vec<_>>(),
        "executions": executions,
        "seconds": seconds,
        "diagnostics": findings,
    })
}

fn artifacts(root: &Path, target: &str) -> PathBuf {
    root.join("fuzz/artifacts").join(target)
}

fn log(root: &Path, target: &str) -> PathBuf {
    root.join("fuzz/artifacts").join(format!("{target}.log"))
}

/// The last value of a statistic in a log of libFuzzer.
fn statistic(log: &str, name: &str) -> Option<u64> {
    log.lines().rev().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_last_value_of_a_statistic() {
        let log = "stat::number_of_executed_units: 5\nINFO\nstat::number_of_executed_units: 91464\n";
        assert_eq!(statistic(log, "stat::number_of_executed_units:"), Some(91464));
        assert_eq!(statistic("", "stat::peak_rss_mb:"), None);
    }

    #[test]
    fn text_and_data_have_the_results_and_the_findings() {
        let result = |target: &str, has_finding| TargetResult {
            target: target.into(),
            executions: 91_464,
            seconds: 60,
            rss_mib_max: 200,
            has_finding,
        };
        let results = [result("facts", false), result("upx", true)];
        let findings = findings(&results, Path::new("/muslin"));
        let rows: String = results.iter().map(row).collect();
        insta::assert_snapshot!(rows + &total(&results, &findings), @"
        facts             91464 executions in    60 s, at most  200 MiB
        upx               91464 executions in    60 s, at most  200 MiB, FINDING
        all              182928 executions in   120 s, 1 findings
        ");
        insta::assert_snapshot!(format!("{:#}", json(&results, &findings)), @r#"
        {
          "diagnostics": [
            {
              "code": "fuzz-finding",
              "found": "the input is in /muslin/fuzz/artifacts/upx",
              "hint": "the log is /muslin/fuzz/artifacts/upx.log",
              "message": "the target `upx` has a finding",
              "rule": "upx",
              "severity": "error"
            }
          ],
          "executions": 182928,
          "seconds": 120,
          "targets": [
            {
              "executions": 91464,
              "has_finding": false,
              "rss_mib_max": 200,
              "seconds": 60,
              "target": "facts"
            },
            {
              "executions": 91464,
              "has_finding": true,
              "rss_mib_max": 200,
              "seconds": 60,
              "target": "upx"
            }
          ]
        }
        "#);
    }

    #[test]
    fn every_target_is_in_the_manifest_of_its_crate() {
        for (target, folder) in TARGETS {
            let manifest = std::fs::read_to_string(workspace_root().join(folder).join("Cargo.toml")).unwrap();
            assert!(manifest.contains(&format!("[[bin]]\nname = \"{target}\"\n")), "{target} in {folder}");
        }
    }
}
