//! The results as text.

use std::fmt::Write;

use super::judge::{RequirementCheck, RequirementState};
use super::run::{Load, Missing, Run};

const MIB: f64 = 1_048_576.0;

pub fn human(
    runs: &[Run],
    missing: &[Missing],
    checks: &[RequirementCheck],
    machine: &str,
    seconds: u64,
    max_map_count: u64,
) -> String {
    let mut text = format!("{machine}; {seconds} s for each run\n");
    for load in Load::ALL {
        let of_load: Vec<&Run> = runs.iter().filter(|run| run.load == load).collect();
        let best = of_load.iter().map(|run| run.operations_per_second).fold(f64::MIN_POSITIVE, f64::max);
        let remote = of_load.first().map_or(0.0, |run| run.remote_share * 100.0);
        let _ = writeln!(text, "\n{load}; {remote:.0} % of the frees are remote; resident memory in MiB");
        let _ = writeln!(
            text,
            "  {:<10}{:>9}{:>9}{:>7}{:>12}{:>9}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}  failures",
            "",
            "M ops/s",
            "of best",
            "CPUs",
            "M ops/CPU s",
            "peak",
            "at end",
            "1 s",
            "10 s",
            "purged",
            "returned",
            "mappings"
        );
        for run in of_load {
            let purged = run.after_purge.map_or("-".to_owned(), |bytes| format!("{:.1}", bytes as f64 / MIB));
            let _ = writeln!(
                text,
                "  {:<10}{:>9.3}{:>8.0}%{:>7.2}{:>12.3}{:>9.1}{:>9.1}{:>9.1}{:>9.1}{purged:>9}{:>10}{:>10}  {}",
                run.allocator.name(),
                run.operations_per_second / 1e6,
                run.operations_per_second / best * 100.0,
                run.processors,
                run.operations_per_processor_second() / 1e6,
                run.peak as f64 / MIB,
                run.at_end as f64 / MIB,
                run.after_1_s as f64 / MIB,
                run.after_10_s as f64 / MIB,
                run.pages_returned(),
                run.mappings,
                run.failures,
            );
        }
        for one in missing.iter().filter(|one| one.load == load) {
            let _ = writeln!(text, "  {:<10}not measured: {}", one.allocator.name(), one.reason);
        }
    }
    let _ = writeln!(text, "\nreturned: pages; mappings: vm.max_map_count is {max_map_count}\n");
    for check in checks {
        let (state, reason) = match check.state {
            RequirementState::Holds => ("holds", ""),
            RequirementState::Known(reason) => ("known", reason),
            RequirementState::Violated => ("FAIL", ""),
        };
        let RequirementCheck { subject, requirement, expected, found, .. } = check;
        let _ = writeln!(text, "{state:<6}{subject:<26}{requirement}: {found} ({expected})");
        if !reason.is_empty() {
            let _ = writeln!(text, "      reason: {reason}");
        }
    }
    text
}
