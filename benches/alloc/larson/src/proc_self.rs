//! Memory of this process as the kernel counts it.

use std::io::{Error, Result};

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

fn status(name: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.ok_or_else(|| Error::other(format!("/proc/self/status has no {name}")))? << 10)
}
