//! The load: lanes of threads that replace blocks, and the exchange of their arrays.

use std::alloc::Layout;
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::arguments::{Arguments, Sizes};
use crate::proc_self;
use crate::report::Report;

/// Each page of a block is written, so that resident memory is that of a program that uses its blocks.
const PAGE: usize = 4096;
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// Enough for a lane; the default of 2 MiB would be a second mapping size in the result.
const STACK: usize = 128 << 10;

/// An allocated block and the thread that allocated it.
pub struct Block {
    start: NonNull<u8>,
    size: usize,
    owner: u64,
}

// SAFETY: a block has one owner at a time, which alone reads, writes and frees it.
unsafe impl Send for Block {}

impl Block {
    fn layout(size: usize) -> Layout {
        // Rust's containers request the alignment of their elements.
        Layout::from_size_align(size, if size < 8 { 1 } else { 8 }).expect("a size of at most 1 MiB")
    }

    /// None when the allocator returns null.
    fn new(size: usize, owner: u64) -> Option<Self> {
        // SAFETY: no size class has the size 0.
        let start = NonNull::new(unsafe { std::alloc::alloc(Self::layout(size)) })?;
        let block = Self { start, size, owner };
        for offset in block.marks() {
            // SAFETY: the offset is below the size of the block.
            unsafe { start.as_ptr().add(offset).write(block.mark()) };
        }
        Some(block)
    }

    /// One byte in each page, and the last one.
    fn marks(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.size).step_by(PAGE).chain([self.size - 1])
    }

    fn mark(&self) -> u8 {
        (self.start.as_ptr().addr() >> 4) as u8 ^ self.size as u8
    }

    /// Whether nothing else has written into the block.
    fn is_intact(&self) -> bool {
        // SAFETY: the offsets are below the size of the block, and `new` wrote these bytes.
        self.marks().all(|offset| unsafe { self.start.as_ptr().add(offset).read() } == self.mark())
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: `new` allocated the block with this layout.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), Self::layout(self.size)) }
    }
}

/// All blocks that one lane replaces.
pub type Slots = Vec<Block>;

struct Shared {
    sizes: Sizes,
    stop: AtomicBool,
    /// Arrays that wait for a thread at the end of its round: as many as threads, so that a thread that runs for several rounds
    /// does not get its own array back at once.
    waiting: Mutex<VecDeque<Slots>>,
    finished: Mutex<Vec<Slots>>,
    lane_finished: Condvar,
    operations: AtomicU64,
    remote_frees: AtomicU64,
    failures: AtomicU64,
    threads_started: AtomicU64,
}

/// Runs the load; returns the totals and the blocks that are left.
pub fn run(arguments: &Arguments) -> std::io::Result<(Report, Vec<Slots>)> {
    let sizes = arguments.sizes;
    let mut random = Random::new(4141);
    let mut fill = || {
        let mut slots = Slots::with_capacity(sizes.slots());
        for _ in 0..sizes.slots() {
            slots.push(Block::new(sizes.size(random.next()), 0).ok_or(std::io::ErrorKind::OutOfMemory)?);
        }
        Ok::<_, std::io::Error>(slots)
    };
    let shared = Arc::new(Shared {
        sizes,
        stop: AtomicBool::new(false),
        waiting: Mutex::new((0..arguments.threads).map(|_| fill()).collect::<std::io::Result<_>>()?),
        finished: Mutex::new(Vec::new()),
        lane_finished: Condvar::new(),
        operations: AtomicU64::new(0),
        remote_frees: AtomicU64::new(0),
        failures: AtomicU64::new(0),
        threads_started: AtomicU64::new(0),
    });
    let arrays = (0..arguments.threads).map(|_| fill()).collect::<std::io::Result<Vec<_>>>()?;
    let (started, processor_time) = (Instant::now(), proc_self::processor_time()?);
    for (lane, slots) in arrays.into_iter().enumerate() {
        start(&shared, slots, Random::new(lane as u64 + 1))?;
    }
    let mut mappings = 0;
    while started.elapsed() < arguments.duration && !shared.stop.load(Ordering::Relaxed) {
        std::thread::sleep(SAMPLE_INTERVAL);
        mappings = mappings.max(proc_self::mappings()?);
    }
    shared.stop.store(true, Ordering::Relaxed);
    let mut finished = lock(&shared.finished);
    while finished.len() < arguments.threads {
        finished = shared.lane_finished.wait(finished).unwrap_or_else(PoisonError::into_inner);
    }
    let (elapsed, processor_time) = (started.elapsed(), proc_self::processor_time()? - processor_time);
    let mut blocks = std::mem::take(&mut *finished);
    blocks.extend(std::mem::take(&mut *lock(&shared.waiting)));
    let report = Report {
        operations: shared.operations.load(Ordering::Relaxed),
        remote_frees: shared.remote_frees.load(Ordering::Relaxed),
        elapsed,
        processor_time,
        threads_started: shared.threads_started.load(Ordering::Relaxed),
        failures: shared.failures.load(Ordering::Relaxed),
        live: blocks.iter().flatten().map(|block| block.size as u64).sum(),
        peak: proc_self::peak_bytes()?,
        mappings,
        ..Report::default()
    };
    Ok((report, blocks))
}

/// Starts the next thread of a lane.
fn start(shared: &Arc<Shared>, slots: Slots, random: Random) -> std::io::Result<()> {
    let of_thread = Arc::clone(shared);
    let thread = shared.threads_started.fetch_add(1, Ordering::Relaxed) + 1;
    let builder = std::thread::Builder::new().stack_size(STACK);
    builder.spawn(move || lane(&of_thread, slots, random, thread)).map(drop)
}

fn lane(shared: &Arc<Shared>, mut slots: Slots, mut random: Random, thread: u64) {
    let sizes = shared.sizes;
    for _ in 0..sizes.rounds_per_thread() {
        let (mut remote_frees, mut failures) = (0, 0);
        for _ in 0..sizes.round() {
            let slot = (random.next() >> 32) as usize % slots.len();
            let block = &slots[slot];
            remote_frees += u64::from(block.owner != thread);
            failures += u64::from(!block.is_intact());
            // Freed first, as Larson's benchmark does: replacing would allocate before it frees.
            drop(slots.swap_remove(slot));
            match Block::new(sizes.size(random.next()), thread) {
                Some(block) => slots.push(block),
                None => failures += 1,
            }
            if slots.is_empty() {
                break;
            }
        }
        shared.operations.fetch_add(sizes.round() as u64, Ordering::Relaxed);
        shared.remote_frees.fetch_add(remote_frees, Ordering::Relaxed);
        shared.failures.fetch_add(failures, Ordering::Relaxed);
        // The result is decided, and a lane without blocks could not go on.
        shared.stop.fetch_or(failures > 0, Ordering::Relaxed);
        slots = exchange(&shared.waiting, slots);
        if shared.stop.load(Ordering::Relaxed) {
            return finish(shared, slots);
        }
    }
    // The array moves into the closure, so a thread that cannot be started costs its blocks: a failure.
    if start(shared, slots, random).is_err() {
        shared.failures.fetch_add(1, Ordering::Relaxed);
        shared.stop.store(true, Ordering::Relaxed);
        finish(shared, Slots::new());
    }
}

fn exchange(waiting: &Mutex<VecDeque<Slots>>, slots: Slots) -> Slots {
    let mut waiting = lock(waiting);
    waiting.push_back(slots);
    waiting.pop_front().unwrap_or_default()
}

fn finish(shared: &Shared, slots: Slots) {
    lock(&shared.finished).push(slots);
    shared.lane_finished.notify_one();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// xorshift64*: the generator must not cost more than an allocation.
pub struct Random(u64);

impl Random {
    /// A generator; any seed gives a state that is not zero.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}
