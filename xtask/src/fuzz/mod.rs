//! `cargo xtask fuzz`: builds the fuzz targets, seeds their corpus from the fixtures, and runs them one after another.
//!
//! Each input has a limit of memory and time; an input beyond either is a finding, like a panic or a file that passes
//! the policy and should not.

mod tools;

use std::path::PathBuf;

use anyhow::Context;
use clap::Args as ClapArgs;
use diag::Diagnostic;
use process::Task;

use crate::Outcome;
use crate::setup::{Common, workspace_root};

const TARGETS: [&str; 6] = ["facts", "upx", "edits", "containers", "config", "model"];
/// What one input may cost. The sanitizer itself takes about 150 MiB.
const RSS_MIB_MAX: u32 = 512;
const ALLOCATION_MIB_MAX: u32 = 128;
const SECONDS_MAX: u32 = 5;
const SECONDS_DEFAULT: u32 = 60;
const INPUT_BYTES_MAX: u32 = 24 << 10;

/// What all targets came to.
#[derive(Default)]
struct Sum {
    executions: u64,
    seconds: u64,
    findings: u32,
}

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// How long each target runs [default: 60]
    #[arg(long, value_name = "N", conflicts_with = "total")]
    seconds: Option<u32>,
    /// How long all of them run together, in equal parts; `3600` is the hour before a release
    #[arg(long, value_name = "SECONDS")]
    total: Option<u32>,
    /// Only these [default: all of them]
    #[arg(value_name = "TARGET", value_parser = TARGETS)]
    targets: Vec<String>,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let (context, _) = args.common.context()?;
    let root = workspace_root();
    let targets: Vec<&str> = match args.targets.is_empty() {
        true => TARGETS.to_vec(),
        false => args.targets.iter().map(String::as_str).collect(),
    };
    let tools = tools::provide(&context)?;
    context.runner.run(Task::new("seed the corpus", context.command(root.join("fuzz/seed.sh"))))?;
    let build = tools.build(&context, &root);
    context.runner.run(Task::new("build the fuzz targets", build).inherit_stderr(true))?;

    let seconds = match args.total {
        Some(total) => total.div_ceil(targets.len() as u32),
        None => args.seconds.unwrap_or(SECONDS_DEFAULT),
    };
    let mut sum = Sum::default();
    for target in targets {
        // The program itself, not `cargo fuzz run`, which would compile anew when a file has changed meanwhile: all targets
        // of one run are to see the same code.
        let mut fuzz = context.command(tools.program(&root, target));
        fuzz.current_dir(&root)
            .arg(format!("-artifact_prefix={}/", artifacts(&root, target).display()))
            .arg(format!("-max_total_time={}", seconds))
            .arg(format!("-rss_limit_mb={RSS_MIB_MAX}"))
            .arg(format!("-malloc_limit_mb={ALLOCATION_MIB_MAX}"))
            .arg(format!("-timeout={SECONDS_MAX}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg("-print_final_stats=1")
            .arg(root.join("fuzz/corpus").join(target));
        std::fs::create_dir_all(artifacts(&root, target)).context("making a folder for findings")?;
        let log = root.join("fuzz/artifacts").join(format!("{target}.log"));
        let finished = context.runner.output(Task::new(format!("fuzz `{target}`"), fuzz).log(&log))?;
        let text = String::from_utf8_lossy(
            &std::fs::read(&log).with_context(|| format!("reading {}", log.display()))?,
        )
        .into_owned();
        let executions = statistic(&text, "stat::number_of_executed_units:");
        let Some(executions) = executions.filter(|count| *count > 0) else {
            // A target that never ran an input found nothing, and proves nothing.
            return Err(Diagnostic::new(
                &crate::codes::FUZZ_NOT_RUN,
                format!("the target `{target}` ran no input"),
            )
            .hint(format!("the whole log is {}", log.display()))
            .into());
        };
        let peak = statistic(&text, "stat::peak_rss_mb:").unwrap_or(0);
        let elapsed = finished.elapsed.as_secs();
        println!("{target:<10} {executions:>12} executions in {elapsed:>5} s, {peak:>4} MiB at most");
        (sum.executions, sum.seconds) = (sum.executions + executions, sum.seconds + elapsed);
        if !finished.status.success() {
            sum.findings += 1;
            eprintln!("error: `{target}` has a finding");
            eprintln!(
                "hint: the input lies in {}; the log is {}",
                artifacts(&root, target).display(),
                log.display()
            );
        }
    }
    let Sum { executions, seconds, findings } = sum;
    println!("{:<10} {executions:>12} executions in {seconds:>5} s, {findings} findings", "all");
    Ok(if findings == 0 { Outcome::Pass } else { Outcome::Violated })
}

fn artifacts(root: &std::path::Path, target: &str) -> PathBuf {
    root.join("fuzz/artifacts").join(target)
}

fn statistic(text: &str, name: &str) -> Option<u64> {
    text.lines().rev().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_read_from_the_last_run() {
        let text = "stat::number_of_executed_units: 5\nINFO\nstat::number_of_executed_units: 91464\n";
        assert_eq!(statistic(text, "stat::number_of_executed_units:"), Some(91464));
        assert_eq!(statistic("", "stat::peak_rss_mb:"), None);
    }
}
