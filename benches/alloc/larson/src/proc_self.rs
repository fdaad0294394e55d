//! Memory of this process as the kernel counts it.

use std::io::{Error, Result};
use std::time::Duration;

/// Resident memory now.
pub fn resident_bytes() -> Result<u64> {
    status("VmRSS:")
}

/// The most resident memory since [`reset_peak`].
pub fn peak_bytes() -> Result<u64> {
    status("VmHWM:")
}

/// Sets the peak to the present resident memory.
pub fn reset_peak() -> Result<()> {
    std::fs::write("/proc/self/clear_refs", "5")
}

/// Mappings, which `vm.max_map_count` limits.
pub fn mappings() -> Result<u64> {
    let maps = std::fs::read("/proc/self/maps")?;
    Ok(maps.iter().filter(|byte| **byte == b'\n').count() as u64)
}

/// Processor time of all threads, ended ones included.
pub fn processor_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the program is in parentheses and may have spaces; utime and stime are fields 14 and 15.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks: Vec<u64> = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    match ticks.as_slice() {
        // The kernel converts to 100 ticks per second for programs.
        [user, system] => Ok(Duration::from_millis((user + system) * 10)),
        _ => Err(Error::other("/proc/self/stat has no processor time")),
    }
}

fn status(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.ok_or_else(|| Error::other(format!("/proc/self/status has no {name}")))? << 10)
}
