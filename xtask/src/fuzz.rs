//! `cargo xtask fuzz`: builds the fuzz targets, seeds their corpus from the fixtures, and runs them one after another.
//!
//! Each input has a limit of memory and time; an input beyond either is a finding, like a panic or a file that passes
//! the policy and should not.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args as ClapArgs;
use release::failure::Failure;
use release::run::Job;
use release::toolchain::Site;

use crate::Outcome;
use crate::setup::{Common, workspace_root};

const TARGETS: [&str; 4] = ["facts", "upx", "edits", "config"];
/// What one input may cost. The sanitizer itself takes about 150 MiB.
const RSS_MIB_MAX: u32 = 512;
const ALLOCATION_MIB_MAX: u32 = 128;
const SECONDS_MAX: u32 = 5;
const INPUT_BYTES_MAX: u32 = 24 << 10;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Only these [default: all of them]
    #[arg(value_name = "TARGET", value_parser = TARGETS)]
    targets: Vec<String>,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let (site, _) = args.common.site()?;
    let root = workspace_root();
    let targets: Vec<&str> = match args.targets.is_empty() {
        true => TARGETS.to_vec(),
        false => args.targets.iter().map(String::as_str).collect(),
    };
    if site.which("cargo-fuzz").is_none() {
        return Err(Failure::new("`cargo fuzz` is not here")
            .hint("cargo install cargo-fuzz --locked; rustup toolchain install nightly")
            .into());
    }
    site.runner.run(Job::new("seed the corpus", site.command(root.join("fuzz/seed.sh"))))?;
    let mut build = cargo_fuzz(&site, &root, "build");
    // rustup reads it before cargo-fuzz does; the pinned toolchain has no sanitizers.
    build.arg("--release");
    site.runner.run(Job::new("build the fuzz targets", build).show(true))?;

    let mut findings = 0;
    for target in targets {
        let mut fuzz = cargo_fuzz(&site, &root, "run");
        fuzz.args(["--release", target, "--"])
            .arg(format!("-max_total_time={}", args.seconds))
            .arg(format!("-rss_limit_mb={RSS_MIB_MAX}"))
            .arg(format!("-malloc_limit_mb={ALLOCATION_MIB_MAX}"))
            .arg(format!("-timeout={SECONDS_MAX}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg("-print_final_stats=1");
        let log = root.join("fuzz/artifacts").join(format!("{target}.log"));
        let finished = site.runner.finish(Job::new(format!("fuzz `{target}`"), fuzz).log(&log))?;
        let text = String::from_utf8_lossy(
            &std::fs::read(&log).with_context(|| format!("reading {}", log.display()))?,
        )
        .into_owned();
        let executions = statistic(&text, "stat::number_of_executed_units:");
        let Some(executions) = executions.filter(|count| *count > 0) else {
            // A target that never ran an input found nothing, and proves nothing.
            return Err(Failure::new(format!("the target `{target}` ran no input"))
                .hint(format!("the whole log is {}", log.display()))
                .into());
        };
        let peak = statistic(&text, "stat::peak_rss_mb:").unwrap_or(0);
        let seconds = finished.elapsed.as_secs();
        println!("{target:<8} {executions:>10} executions in {seconds} s, {peak} MiB at most");
        if !finished.status.success() {
            findings += 1;
            eprintln!("error: `{target}` has a finding");
            eprintln!(
                "hint: the input lies in {}; the log is {}",
                artifacts(&root, target).display(),
                log.display()
            );
        }
    }
    Ok(if findings == 0 { Outcome::Pass } else { Outcome::Violated })
}

fn cargo_fuzz(site: &Site, root: &std::path::Path, verb: &str) -> std::process::Command {
    let mut command = site.command("cargo");
    command.current_dir(root).args(["+nightly", "fuzz", verb, "--fuzz-dir"]).arg(root.join("fuzz"));
    // cargo sets these for what it runs; they would choose the compiler of xtask instead of the nightly one.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command
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
