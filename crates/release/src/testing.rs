//! Every test, each where it belongs: the release crates on the machine that builds, the product crates on the target
//! that ships, and the checks of the shipped bytes on those bytes. Inputs reach the tests as `MUSLIN_*` variables; a test
//! whose input is missing fails.

use std::process::Command;

use crate::cargo;
use crate::model;
use crate::context::BuildContext;
use crate::pipeline;
use crate::plan::Plan;
use crate::stage::StageTimes;
use crate::stages::pack::Packed;
use crate::stages::sources;
use process::Task;

/// Sums over all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub passed: u64,
    pub failed: u64,
    pub ignored: u64,
    /// Suites that ended without a summary: they did not compile, or crashed.
    pub broken: Vec<&'static str>,
}

impl Totals {
    pub fn ok(&self) -> bool {
        self.failed == 0 && self.broken.is_empty() && self.passed > 0
    }

    /// Adds the summaries that cargo's test programs print. Gives back how many there were.
    fn add(&mut self, output: &str) -> usize {
        let summaries: Vec<&str> =
            output.lines().filter_map(|line| line.strip_prefix("test result: ")).collect();
        for summary in &summaries {
            let count = |what: &str| {
                let part = summary.split([';', '.']).find(|part| part.trim().ends_with(what));
                part.and_then(|part| part.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
            };
            self.passed += count("passed");
            self.failed += count("failed");
            self.ignored += count("ignored");
        }
        summaries.len()
    }
}

/// Crates that ship; all others are tested on the machine that builds.
const PRODUCT_CRATES: [&str; 4] = ["inferd", "engine", "mimalloc-sys", "openblas-sys"];

pub fn test(plan: &Plan, site: &BuildContext, filter: &[String]) -> anyhow::Result<Totals> {
    let mut times = StageTimes::default();
    let packed = pipeline::packed(plan, site, &mut times)?;
    let native = packed.stripped().linked().native();
    let model = model::folder(site, &plan.config)?;
    let mut totals = Totals::default();

    let mut host = site.command("cargo");
    host.current_dir(&plan.paths.root).args(["test", "--locked", "--workspace", "--no-fail-fast"]);
    for name in PRODUCT_CRATES {
        host.args(["--exclude", name]);
    }
    inputs(&mut host, plan, &packed);
    for library in &plan.native {
        let name = format!("MUSLIN_NATIVE_{}_SOURCE", library.name.to_uppercase());
        if let Some(resolution) = plan.tools.sources.get(&library.name) {
            host.env(name, sources::install(site, &library.vendored.manifest, resolution)?);
        }
    }
    suite(site, "release crates", host, filter, &mut totals)?;

    let mut product = cargo::command(plan, site, native.toolchain(), native.inputs(), "test");
    product.arg("--no-fail-fast").env("MUSLIN_MODEL_DIR", &model);
    for name in PRODUCT_CRATES {
        product.args(["--package", name]);
    }
    suite(site, "product crates on the target", product, filter, &mut totals)?;
    Ok(totals)
}

/// The shipped bytes and the tools that made them.
fn inputs(command: &mut Command, plan: &Plan, packed: &Packed) {
    let native = packed.stripped().linked().native();
    let toolchain = native.toolchain();
    command
        .env("MUSLIN_LINKED", packed.stripped().linked().file().path())
        .env("MUSLIN_STRIPPED", packed.stripped().file().path())
        .env("MUSLIN_PACKED", packed.file().path())
        .env("MUSLIN_UPX", &toolchain.upx().path)
        .env("MUSLIN_OBJCOPY", &toolchain.objcopy().path)
        .env("MUSLIN_CC", toolchain.wrappers().cc())
        .env("MUSLIN_AR", toolchain.wrappers().ar())
        .env("MUSLIN_MAKE", &toolchain.make().path)
        .env("MUSLIN_HOST_CC", &toolchain.host_cc().path)
        .env("MUSLIN_CACHE_DIR", &plan.paths.cache)
        .env("ZIG_GLOBAL_CACHE_DIR", plan.paths.cache.join("zig"))
        .env("ZIG_LOCAL_CACHE_DIR", plan.paths.cache.join("zig"));
    command.envs(native.inputs().iter().map(|inputs| (inputs.variable(), inputs.folder())));
}

fn suite(
    site: &BuildContext,
    name: &'static str,
    mut cargo: Command,
    filter: &[String],
    totals: &mut Totals,
) -> anyhow::Result<()> {
    eprintln!("testing the {name}");
    cargo.args(filter);
    let finished =
        site.runner.output(Task::new(format!("test the {name}"), cargo).inherit_stderr(true).tee_stdout())?;
    let failed_before = totals.failed;
    let summaries = totals.add(&finished.stdout_text());
    // A suite that fails without a failed test did not compile, or died.
    if summaries == 0 || (!finished.status.success() && totals.failed == failed_before) {
        totals.broken.push(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_added_up() {
        let output = "test a ... ok\n\ntest result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                      test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s\n";
        let mut totals = Totals::default();
        assert_eq!(totals.add(output), 2);
        assert_eq!(totals, Totals { passed: 15, failed: 2, ignored: 1, broken: Vec::new() });
        assert!(!totals.ok());
    }

    #[test]
    fn no_test_at_all_is_not_ok() {
        assert!(!Totals::default().ok());
        assert!(!Totals { passed: 5, broken: vec!["x"], ..Totals::default() }.ok());
        assert!(Totals { passed: 5, ..Totals::default() }.ok());
    }
}
