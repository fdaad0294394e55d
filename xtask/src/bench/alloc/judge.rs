//! The requirements on the allocator that ships.

use super::run::{Allocator, Load, Run};

/// 100 MB.
const RESIDENT_MAX: u64 = 100_000_000;
/// Throughput as a share of the best allocator's.
const OF_BEST_MIN: f64 = 0.95;
/// Throughput as a multiple of the libc's own, at 8 threads.
const OF_LIBC_MIN: f64 = 10.0;

/// A requirement that does not hold, with the reason. The floor is below the figures in docs/allocator.md, so that a change for the
/// worse is still a violation.
struct Known {
    rule: &'static str,
    load: Load,
    floor: f64,
    reason: &'static str,
}

const KNOWN: [Known; 1] = [Known {
    rule: "of-libc",
    load: Load { threads: 8, sizes: "small" },
    // Of trial runs on a machine with other load; the full run decides the value.
    floor: 0.5,
    reason: "the libc of zig 0.17 has no allocator with one lock: its SmpAllocator has a free list for each processor, and is \
             slow only for blocks of 64 KiB or more, which it maps one by one",
}];

/// The state of a requirement.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    Holds,
    /// Does not hold, for this reason.
    Known(&'static str),
    Violated,
}

/// One requirement and what was observed.
#[derive(Debug, Clone)]
pub struct Check {
    pub rule: &'static str,
    pub subject: String,
    pub requirement: &'static str,
    pub expected: String,
    pub found: String,
    pub state: State,
}

impl Check {
    pub fn is_violated(&self) -> bool {
        self.state == State::Violated
    }

    pub fn json(&self) -> serde_json::Value {
        let (state, reason) = match self.state {
            State::Holds => ("holds", None),
            State::Known(reason) => ("known", Some(reason)),
            State::Violated => ("violated", None),
        };
        serde_json::json!({
            "rule": self.rule, "subject": self.subject, "requirement": self.requirement, "expected": self.expected,
            "found": self.found, "state": state, "reason": reason,
        })
    }
}

/// Every requirement on every run of the allocator that ships.
pub fn judge(runs: &[Run]) -> Vec<Check> {
    judge_with(runs, &KNOWN)
}

fn judge_with(runs: &[Run], known: &[Known]) -> Vec<Check> {
    let shipped = runs.iter().filter(|run| run.allocator == Allocator::SHIPPED);
    shipped.flat_map(|run| checks(run, runs, known)).collect()
}

fn checks(run: &Run, runs: &[Run], known: &[Known]) -> Vec<Check> {
    let subject = run.load.to_string();
    let check = |rule, requirement, expected, found, holds| Check {
        rule,
        subject: subject.clone(),
        requirement,
        expected,
        found,
        state: if holds { State::Holds } else { State::Violated },
    };
    let beside: Vec<&Run> =
        runs.iter().filter(|other| other.load == run.load && other.allocator != run.allocator).collect();
    let mut checks = vec![
        check(
            "failures",
            "every allocation succeeds and no block is overwritten",
            "0".into(),
            run.failures.to_string(),
            run.failures == 0,
        ),
        check(
            "resident",
            "resident memory at its peak",
            format!("below {}", megabytes(RESIDENT_MAX)),
            megabytes(run.peak),
            run.peak < RESIDENT_MAX,
        ),
        check(
            "returned",
            "pages returned after all blocks are freed",
            "above 0".into(),
            run.pages_returned().to_string(),
            run.pages_returned() > 0,
        ),
    ];
    let best = beside.iter().max_by(|a, b| a.operations_per_second.total_cmp(&b.operations_per_second));
    if let Some(best) = best {
        let share = run.operations_per_second / best.operations_per_second;
        let found = format!("{:.1} % of {}", share * 100.0, best.allocator.name());
        let expected = format!("at least {:.0} %", OF_BEST_MIN * 100.0);
        let mut one = check(
            "of-best",
            "throughput beside the best of the others",
            expected,
            found,
            share >= OF_BEST_MIN,
        );
        excuse(&mut one, run.load, share, known);
        checks.push(one);
    }
    let libc = beside.iter().find(|other| other.allocator == Allocator::Libc);
    if let Some(libc) = libc.filter(|_| run.load.threads == 8) {
        let times = run.operations_per_second / libc.operations_per_second;
        let found = format!("{times:.2} times");
        let expected = format!("at least {OF_LIBC_MIN:.0} times");
        let mut one =
            check("of-libc", "throughput beside the libc's own", expected, found, times >= OF_LIBC_MIN);
        excuse(&mut one, run.load, times, known);
        checks.push(one);
    }
    checks
}

fn excuse(check: &mut Check, load: Load, value: f64, known: &[Known]) {
    let reason =
        known.iter().find(|known| known.rule == check.rule && known.load == load && value >= known.floor);
    if let Some(known) = reason.filter(|_| check.is_violated()) {
        check.state = State::Known(known.reason);
    }
}

/// In decimal megabytes, as the limit is given.
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(allocator: Allocator, operations_per_second: f64) -> Run {
        Run {
            allocator,
            load: Load::ALL[1],
            operations_per_second,
            remote_share: 0.7,
            failures: 0,
            peak: 50_000_000,
            at_end: 50_000_000,
            after_1_s: 50_000_000,
            after_10_s: 50_000_000,
            after_purge: Some(10_000_000),
            mappings: 20,
        }
    }

    /// The shipped allocator at 100, the best of the others at 104, the libc at 10.
    fn good() -> Vec<Run> {
        vec![run(Allocator::Mimalloc, 100.0), run(Allocator::Jemalloc, 104.0), run(Allocator::Libc, 10.0)]
    }

    fn violated(runs: &[Run], known: &[Known]) -> Vec<&'static str> {
        judge_with(runs, known).iter().filter(|check| check.is_violated()).map(|check| check.rule).collect()
    }

    #[test]
    fn each_requirement_is_violated_by_the_run_that_breaks_it() {
        let with = |change: &dyn Fn(&mut Vec<Run>)| {
            let mut runs = good();
            change(&mut runs);
            violated(&runs, &[])
        };
        assert_eq!(with(&|_| ()), [""; 0]);
        assert_eq!(with(&|runs| runs[0].failures = 1), ["failures"]);
        assert_eq!(with(&|runs| runs[0].peak = 100_000_000), ["resident"]);
        assert_eq!(with(&|runs| runs[0].after_purge = None), ["returned"]);
        assert_eq!(with(&|runs| runs[1].operations_per_second = 106.0), ["of-best"]);
        assert_eq!(with(&|runs| runs[2].operations_per_second = 10.1), ["of-libc"]);
        // A failure of another allocator is a row of the table.
        assert_eq!(with(&|runs| runs[1].failures = 1), [""; 0]);
    }

    #[test]
    fn a_known_reason_excuses_down_to_its_floor_only() {
        let known = [Known { rule: "of-libc", load: Load::ALL[1], floor: 3.0, reason: "a reason" }];
        let with_libc = |speed| {
            let mut runs = good();
            runs[2].operations_per_second = speed;
            violated(&runs, &known)
        };
        assert_eq!(with_libc(30.0), [""; 0]);
        assert_eq!(with_libc(40.0), ["of-libc"]);
    }

    #[test]
    fn a_comparison_without_the_other_allocator_is_not_judged() {
        let checks = judge_with(&[run(Allocator::Mimalloc, 1.0)], &[]);
        let rules: Vec<&str> = checks.iter().map(|check| check.rule).collect();
        assert_eq!(rules, ["failures", "resident", "returned"]);
    }
}
