//! The rate of multiply-adds that the cores reach at this moment, from a program of the crate `kernels`: xtask is compiled without
//! optimisation, and depends on no crate of the product.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use process::Task;
use release::context::BuildContext;
use release::plan::Plan;

use super::report::Peaks;

/// Time of one measurement, for each type of elements.
const DURATION: Duration = Duration::from_millis(20);
/// Measurements at the start, of which the best counts.
const FIRST: usize = 5;

/// The program that measures.
pub struct Probe<'a> {
    context: &'a BuildContext,
    program: PathBuf,
    threads: usize,
}

/// One measurement.
pub struct Reading {
    pub isa: String,
    pub peaks: Peaks,
}

impl<'a> Probe<'a> {
    /// Compiles the program for this machine.
    pub fn build(plan: &Plan, context: &'a BuildContext, threads: usize) -> anyhow::Result<Self> {
        let folder = plan.paths.work.join("peak-rate");
        let mut cargo = context.command("cargo");
        cargo.args(["build", "--release", "--locked", "--package", "kernels", "--example", "peak_rate"]);
        cargo.arg("--target-dir").arg(&folder).current_dir(&plan.paths.root);
        context.runner.run(Task::new("compile the probe of the peak rate", cargo))?;
        Ok(Self { context, program: folder.join("release/examples/peak_rate"), threads })
    }

    /// Measures.
    pub fn read(&self) -> anyhow::Result<Reading> {
        let mut command = Command::new(&self.program);
        command.args([self.threads.to_string(), DURATION.as_millis().to_string()]);
        let output = self.context.runner.run(Task::new("measure the peak rate", command))?;
        let line = output.stdout_text();
        parse(&line).with_context(|| format!("the probe printed {line:?}"))
    }

    /// The best rates of several measurements.
    pub fn read_first(&self) -> anyhow::Result<Reading> {
        let mut best = self.read()?;
        for _ in 1..FIRST {
            let Peaks { f32, bf16, int8 } = self.read()?.peaks;
            let larger = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a.max(b));
            let peaks = &mut best.peaks;
            *peaks = Peaks {
                f32: peaks.f32.max(f32),
                bf16: larger(peaks.bf16, bf16),
                int8: larger(peaks.int8, int8),
            };
        }
        Ok(best)
    }
}

fn parse(line: &str) -> Option<Reading> {
    let mut words = line.split_whitespace();
    let isa = words.next()?.to_owned();
    let mut rate = || {
        let word = words.next()?;
        if word == "-" { Some(None) } else { word.parse().ok().map(Some) }
    };
    let (f32, bf16, int8) = (rate()??, rate()?, rate()?);
    Some(Reading { isa, peaks: Peaks { f32, bf16, int8 } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rates_and_their_absence() {
        let reading = parse("avx2 1.5 - 2\n").unwrap();
        let Peaks { f32, bf16, int8 } = reading.peaks;
        assert_eq!((&*reading.isa, f32, bf16, int8), ("avx2", 1.5, None, Some(2.0)));
        for bad in ["", "avx2", "avx2 - - -", "avx2 1 x 2", "avx2 1 2"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
