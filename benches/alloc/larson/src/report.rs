//! What a run observed.

use std::time::Duration;

use crate::arguments::Arguments;

/// Sizes are in bytes.
#[derive(Debug, Default)]
pub struct Report {
    /// Replacements: one free and one allocation each.
    pub operations: u64,
    /// Blocks that were freed by another thread than the one that allocated them.
    pub remote_frees: u64,
    /// From the first operation to the end of the last thread.
    pub elapsed: Duration,
    /// Of all threads in that time. Less than `elapsed` times the processors: other programs ran, or threads waited for a lock.
    pub processor_time: Duration,
    /// Threads that ran, one after another in each lane.
    pub threads_started: u64,
    /// Allocations that returned null, and blocks whose content changed while they were allocated.
    pub failures: u64,
    /// Bytes of the blocks that are allocated at the end; their number is constant during the load.
    pub live: u64,
    /// Resident before the load.
    pub idle: u64,
    /// Most resident memory during the load.
    pub peak: u64,
    /// Most mappings during the load.
    pub mappings: u64,
    /// Resident at the end, all blocks allocated.
    pub at_end: u64,
    /// 1 s after all blocks were freed.
    pub after_1_s: u64,
    /// 10 s after that.
    pub after_10_s: u64,
    /// After a call that returns free pages, for an allocator that has one.
    pub after_purge: Option<u64>,
}

impl Report {
    /// One line. No value needs an escape.
    pub fn json(&self, allocator: &str, arguments: &Arguments) -> String {
        let Report { operations, remote_frees, threads_started, failures, live, idle, peak, .. } = self;
        let Report { mappings, at_end, after_1_s, after_10_s, .. } = self;
        let Arguments { threads, sizes, .. } = arguments;
        let (seconds, processor) = (self.elapsed.as_secs_f64(), self.processor_time.as_secs_f64());
        let after_purge = self.after_purge.map_or("null".to_owned(), |bytes| bytes.to_string());
        format!(
            "{{\"allocator\":\"{allocator}\",\"threads\":{threads},\"sizes\":\"{sizes}\",\"seconds\":{seconds:.3},\"processor_seconds\":{processor:.2},\
             \"operations\":{operations},\"remote_frees\":{remote_frees},\"threads_started\":{threads_started},\
             \"failures\":{failures},\"live_bytes\":{live},\"resident_idle\":{idle},\"resident_peak\":{peak},\
             \"resident_at_end\":{at_end},\"resident_after_1_s\":{after_1_s},\"resident_after_10_s\":{after_10_s},\
             \"resident_after_purge\":{after_purge},\"mappings\":{mappings}}}"
        )
    }
}
