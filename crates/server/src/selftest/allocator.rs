//! The allocator under the load of Larson's benchmark, in short: threads hand their blocks to other threads, which free
//! them. No block overlaps another, and all memory returns to the kernel although its threads only wait.
//!
//! `cargo xtask bench alloc` measures the throughput of the same load; here it has no requirement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::check::CheckResult;
use crate::compute_thread;
use crate::memory::collect::{self, Depth};
use crate::memory::resident::ResidentReader;

const THREADS: usize = 4;
const BLOCKS_PER_THREAD: usize = 4096;
/// Small sizes are the common ones; few blocks are large.
const SMALL_BYTES_MAX: u64 = 4 << 10;
const LARGE_BYTES_MAX: u64 = 256 << 10;
/// One block in this many is large.
const LARGE_SHARE: u64 = 256;
/// Operations on an array before it is handed over.
const OPERATIONS: usize = 2000;
const TIME: Duration = Duration::from_secs(2);
const RING_POLL: Duration = Duration::from_millis(10);
/// Time limit of each step after the load.
const STEP_TIME_MAX: Duration = Duration::from_secs(10);
/// Of the memory that the load needed.
const RETURNED_SHARE_MIN: f64 = 0.9;
/// A smaller load shows nothing.
const LOAD_BYTES_MIN: u64 = 16 << 20;

type Blocks = Vec<Box<[u8]>>;

/// The check.
pub fn returns_memory() -> CheckResult {
    check(TIME, collect::run_if_due)
}

/// `collect` runs on each thread after the load.
fn check(time: Duration, collect: fn()) -> CheckResult {
    let expected = format!(
        "{THREADS} threads free each other's blocks without an overlap; {:.0} % of the memory returns",
        RETURNED_SHARE_MIN * 100.0
    );
    let load = match run(time, collect) {
        Ok(load) => load,
        Err(reason) => return CheckResult::not_measured(expected, reason),
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let needed = load.peak.saturating_sub(load.before);
    let left = load.after.saturating_sub(load.before);
    let returned = 1.0 - left as f64 / needed.max(1) as f64;
    let found = format!(
        "{} operations, {} overlaps; {:.1} MiB, with the load {:.1} MiB, after it {:.1} MiB ({:.0} % returned)",
        load.operations,
        load.overlaps,
        mib(load.before),
        mib(load.peak),
        mib(load.after),
        returned * 100.0
    );
    if needed < LOAD_BYTES_MIN {
        return CheckResult::not_measured(expected, format!("the load needed too little memory: {found}"));
    }
    CheckResult::of(load.overlaps == 0 && returned >= RETURNED_SHARE_MIN, expected, found)
}

struct Load {
    operations: u64,
    overlaps: u64,
    /// Resident bytes before the load, with all blocks, and after their end.
    before: u64,
    peak: u64,
    after: u64,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// Arrays that are handed over to no thread any more.
    arrays_ended: AtomicUsize,
    operations: AtomicU64,
    overlaps: AtomicU64,
}

fn run(time: Duration, collect: fn()) -> Result<Load, String> {
    let resident = ResidentReader::open().map_err(|error| format!("/proc/self/statm: {error}"))?;
    let resident = || resident.bytes().ok_or("/proc/self/statm has an unknown form".to_string());
    mimalloc_sys::collect();
    let before = resident()?;
    let shared = Arc::new(Shared::default());
    // A ring: each thread hands its array to the next one. At the end the arrays come here.
    let (to_rings, rings): (Vec<Sender<Blocks>>, Vec<Receiver<Blocks>>) =
        (0..THREADS).map(|_| channel()).unzip();
    let (to_end, at_end) = channel();
    let (to_collected, collected) = channel::<()>();
    let (mut threads, mut stops) = (Vec::new(), Vec::new());
    for (number, ring) in rings.into_iter().enumerate() {
        let (next, end, collected) =
            (to_rings[(number + 1) % THREADS].clone(), to_end.clone(), to_collected.clone());
        let shared = Arc::clone(&shared);
        let (stop, stopped) = channel::<()>();
        stops.push(stop);
        let work = move || {
            churn(number as u64 + 1, &ring, &next, &end, &shared);
            // The thread lives on and owns its pages, like a worker that waits for requests.
            let _ = stopped.recv();
            collect();
            let _ = collected.send(());
            let _ = stopped.recv();
        };
        let name = format!("larson-{number}");
        threads.push(compute_thread::spawn_named(name, work).map_err(|error| error.to_string())?);
    }
    for ring in &to_rings {
        ring.send(Vec::new()).map_err(|_| "a thread has ended".to_string())?;
    }
    drop((to_rings, to_end));
    std::thread::sleep(time);
    shared.is_over.store(true, Ordering::Relaxed);
    let mut arrays: Vec<Blocks> = Vec::new();
    for _ in 0..THREADS {
        arrays.push(at_end.recv_timeout(STEP_TIME_MAX).map_err(|_| "a thread did not end".to_string())?);
    }
    let peak = resident()?;
    // Each of these frees is remote.
    drop(arrays);
    collect::request(Depth::All);
    for stop in &stops {
        let _ = stop.send(());
    }
    for _ in 0..THREADS {
        collected.recv_timeout(STEP_TIME_MAX).map_err(|_| "a thread did not answer".to_string())?;
    }
    // Not `mimalloc_sys::collect`: what the request makes a thread do has to be enough.
    collect::run_if_due();
    let after = resident()?;
    drop(stops);
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked".to_string())?;
    }
    let (operations, overlaps) =
        (shared.operations.load(Ordering::Relaxed), shared.overlaps.load(Ordering::Relaxed));
    Ok(Load { operations, overlaps, before, peak, after })
}

/// Replaces blocks of one array after another. Each block holds its own pattern, which is checked before it is freed.
fn churn(seed: u64, ring: &Receiver<Blocks>, next: &Sender<Blocks>, end: &Sender<Blocks>, shared: &Shared) {
    let mut random = Random(seed);
    while shared.arrays_ended.load(Ordering::Relaxed) < THREADS {
        // The ring has no end of its own: its senders are on its threads.
        let Ok(mut blocks) = ring.recv_timeout(RING_POLL) else { continue };
        for _ in 0..OPERATIONS {
            let block = random.block();
            if blocks.len() < BLOCKS_PER_THREAD {
                blocks.push(block);
                continue;
            }
            let at = (random.next() % BLOCKS_PER_THREAD as u64) as usize;
            let old = std::mem::replace(&mut blocks[at], block);
            shared.overlaps.fetch_add(u64::from(!is_intact(&old)), Ordering::Relaxed);
        }
        shared.operations.fetch_add(OPERATIONS as u64, Ordering::Relaxed);
        if shared.is_over.load(Ordering::Relaxed) && blocks.len() == BLOCKS_PER_THREAD {
            let _ = end.send(blocks);
            shared.arrays_ended.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        if next.send(blocks).is_err() {
            return;
        }
    }
}

/// First and last byte depend on the length: a block that another one overlaps loses them.
fn pattern(len: usize) -> u8 {
    (len % 251) as u8 + 1
}

fn is_intact(block: &[u8]) -> bool {
    let pattern = pattern(block.len());
    block.first() == Some(&pattern) && block.last() == Some(&pattern)
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn block(&mut self) -> Box<[u8]> {
        let bytes_max =
            if self.next().is_multiple_of(LARGE_SHARE) { LARGE_BYTES_MAX } else { SMALL_BYTES_MAX };
        let len = (self.next() % bytes_max) as usize + 1;
        let mut block = vec![0; len].into_boxed_slice();
        let pattern = pattern(len);
        (block[0], block[len - 1]) = (pattern, pattern);
        block
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::CheckStatus;
    use super::*;

    #[test]
    fn memory_returns_when_each_thread_collects_and_not_otherwise() {
        let _requests = collect::TEST_REQUESTS.lock();
        let short = Duration::from_millis(300);
        let result = check(short, collect::run_if_due);
        assert_eq!(result.status, CheckStatus::Pass, "{}", result.found);
        let result = check(short, || ());
        assert_eq!(result.status, CheckStatus::Fail, "{}", result.found);
    }

    #[test]
    fn an_overwritten_block_is_found() {
        let mut block = Random(1).block();
        assert!(is_intact(&block));
        let last = block.len() - 1;
        block[last] = 0;
        assert!(!is_intact(&block));
    }
}
