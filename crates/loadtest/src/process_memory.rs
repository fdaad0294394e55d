//! Memory of the server's process, from `/proc`: it needs no answer of the server, and the kernel records the peak.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use diag::Diagnostic;

use crate::NOT_MEASURED;
use crate::server::Server;

/// One MiB, as a divisor.
pub const MIB: f64 = 1048576.0;
/// A list of tokens lives for some tens of milliseconds.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(5);

/// Resident memory of a process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Resident {
    /// All pages.
    pub total: f64,
    /// Pages that no file backs.
    pub anonymous: f64,
}

impl Resident {
    /// Reads `/proc/PID/status`.
    pub fn read(server: &Server) -> anyhow::Result<Self> {
        let path = format!("/proc/{}/status", server.pid()?);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        Self::parse(&text)
            .ok_or_else(|| Diagnostic::new(&NOT_MEASURED, format!("{path} has no VmRSS and RssAnon")).into())
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line?.trim().strip_suffix(" kB")?.parse::<f64>().ok().map(|kib| kib * 1024.0)
        };
        Some(Self { total: bytes("VmRSS")?, anonymous: bytes("RssAnon")? })
    }

    /// The larger value of each field.
    fn max(self, other: Self) -> Self {
        Self { total: self.total.max(other.total), anonymous: self.anonymous.max(other.anonymous) }
    }
}

/// Runs `load` and returns its result with the highest memory meanwhile.
pub fn peak_during<T>(server: &Server, load: impl FnOnce() -> T) -> anyhow::Result<(T, Resident)> {
    let is_done = AtomicBool::new(false);
    let before = Resident::read(server)?;
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = before;
            while !is_done.load(Ordering::Relaxed) {
                // Unreadable when the server has exited, which other checks report.
                peak = Resident::read(server).map_or(peak, |now| peak.max(now));
                std::thread::sleep(SAMPLE_INTERVAL);
            }
            peak
        });
        let result = load();
        is_done.store(true, Ordering::Relaxed);
        let peak = sampler.join().map_err(|_| anyhow::anyhow!("the thread that reads /proc panicked"))?;
        Ok((result, peak))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_total_and_anonymous_memory_in_bytes() {
        let resident = Resident::parse("VmHWM:\t  9 kB\nVmRSS:\t  2048 kB\nRssAnon:\t    1024 kB\n").unwrap();
        assert_eq!((resident.total, resident.anonymous), (2.0 * MIB, MIB));
        assert!(Resident::parse("VmRSS:\t 2048 kB\n").is_none());
    }
}
