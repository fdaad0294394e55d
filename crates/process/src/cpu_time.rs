//! Processor time of this process and its children.

use std::time::Duration;

/// Processor time of this process and of all its children that have been waited for, each counted once.
///
/// Two snapshots give the time between them. A child that still runs is counted when it is waited for, so take the second
/// snapshot after the work has joined its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTime(Duration);

impl CpuTime {
    /// User and system time up to now; zero where `/proc` cannot be read.
    pub fn now() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default())
    }

    /// Processor time since `earlier`.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// Fields 14 to 17 of `/proc/PID/stat` (utime, stime, cutime, cstime) in ticks of 1/100 s. The name of the command, in
    /// parentheses, can contain spaces, so fields are counted from its end.
    fn parse(stat: &str) -> Self {
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        let ticks: u64 =
            after_name.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
        Self(Duration::from_millis(ticks * 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_the_time_of_the_process_and_its_children() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 200 0 0 11 22 330 440 20 0 1 0 5 0 0";
        assert_eq!(CpuTime::parse(stat).0, Duration::from_millis(8030));
        assert_eq!(CpuTime::parse("").0, Duration::ZERO);
    }

    #[test]
    fn counts_a_child_that_was_waited_for() {
        let before = CpuTime::now();
        let spin = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let started = std::time::Instant::now();
        std::process::Command::new("sh").arg("-c").arg(spin).status().unwrap();
        let (cpu, wall) = (CpuTime::now().since(before), started.elapsed());
        // The child only computes, so some processor time must have been counted.
        assert!(cpu > Duration::from_millis(20), "{cpu:?} in {wall:?}");
    }
}
