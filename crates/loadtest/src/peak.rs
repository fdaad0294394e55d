//! The largest resident memory of the servers of a scenario. Scenarios run one after the other, so one value is enough, and no
//! scenario has to hand it on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static RESIDENT_BYTES: AtomicU64 = AtomicU64::new(0);
/// The kernel keeps the peak, so a slow poll loses only what a process reaches just before it exits.
const INTERVAL: Duration = Duration::from_millis(200);

/// The peak since the last call; `None` when no server was observed.
pub fn take() -> Option<u64> {
    Some(RESIDENT_BYTES.swap(0, Ordering::Relaxed)).filter(|bytes| *bytes > 0)
}

/// Takes a measured value into account.
pub fn record(bytes: u64) {
    RESIDENT_BYTES.fetch_max(bytes, Ordering::Relaxed);
}

/// Follows a process until it exits.
pub fn follow(process: u32) {
    std::thread::spawn(move || {
        let path = format!("/proc/{process}/status");
        while let Some(bytes) = std::fs::read_to_string(&path).ok().as_deref().and_then(peak_of) {
            record(bytes);
            std::thread::sleep(INTERVAL);
        }
    });
}

/// `VmHWM` of /proc/PID/status; a process that has exited has none.
fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_peak_of_a_process_and_nothing_of_one_that_has_exited() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(peak_of(&status).unwrap() > 1 << 20);
        assert_eq!(peak_of("Name:\tx\nVmHWM:\t   12 kB\n"), Some(12 << 10));
        assert_eq!(peak_of("Name:\tx\nState:\tZ (zombie)\n"), None);
    }
}
