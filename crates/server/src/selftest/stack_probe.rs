//! The probe that a thread runs to measure its stack, and the evaluation of its reading.
//!
//! The thread reads its own attributes and the address of a local variable, then waits for the other threads. The address, looked up
//! in `/proc/self/maps`, tells what the kernel has mapped; the attributes tell what the C library assumes. Both must be sufficient.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::process_maps::ProcessMaps;
use crate::build_info::STACK_SIZE_BYTES;

/// Allowance for the memory above the local variable: frames of the C library and OpenBLAS, thread-local storage, the thread
/// descriptor.
const ABOVE_FRAME_BYTES_MAX: u64 = 64 << 10;
const RENDEZVOUS_TIME_MAX: Duration = Duration::from_secs(10);
const KIB: u64 = 1 << 10;

/// A barrier: every thread waits until all have arrived, so that no thread runs the probe twice.
pub struct Rendezvous {
    expected: u32,
    arrived: AtomicU32,
}

impl Rendezvous {
    /// A barrier for this number of threads.
    pub fn of(expected: u32) -> Self {
        Self { expected, arrived: AtomicU32::new(0) }
    }

    /// False when not all threads arrived in time.
    pub fn arrive_and_wait(&self) -> bool {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        let started = Instant::now();
        while !self.complete() {
            if started.elapsed() > RENDEZVOUS_TIME_MAX {
                return false;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        true
    }

    /// Whether this number of threads has arrived.
    pub fn has_arrived(&self, count: u32) -> bool {
        self.arrived.load(Ordering::Acquire) >= count
    }

    /// Whether all threads have arrived.
    pub fn complete(&self) -> bool {
        self.has_arrived(self.expected)
    }
}

/// The reading of one thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    pub tid: i32,
    /// Address of a local variable of the probe, directly below the stack pointer of its caller.
    pub frame: u64,
    /// Stack size according to the C library; 0 when it reports none.
    pub attr_bytes: u64,
}

/// The slot of one thread in a probe.
pub struct Slot<'a> {
    rendezvous: &'a Rendezvous,
    reading: UnsafeCell<Reading>,
}

impl<'a> Slot<'a> {
    /// An empty slot.
    pub fn at(rendezvous: &'a Rendezvous) -> Self {
        Self { rendezvous, reading: UnsafeCell::new(Reading::default()) }
    }

    /// The reading. Exclusive access excludes a concurrent write.
    pub fn reading(&mut self) -> Reading {
        *self.reading.get_mut()
    }

    /// The reading, while the thread still waits.
    ///
    /// # Safety
    /// The thread of this slot must have arrived at the rendezvous: it writes before that, and never after.
    pub unsafe fn reading_after_arrival(&self) -> Reading {
        // SAFETY: the release of the arrival and the acquire of the caller order the write before this read.
        unsafe { *self.reading.get() }
    }
}

/// Entry point of a probed thread. It never panics, because C frames may be below it.
///
/// # Safety
/// `slot` points to a [`Slot`] that outlives the call and that no other thread uses.
pub unsafe extern "C" fn fill_slot(slot: *mut c_void) {
    // SAFETY: the caller guarantees a valid and live slot.
    let slot = unsafe { &*slot.cast::<Slot>() };
    let reading = read_own_stack();
    // SAFETY: only this thread writes to the slot, and readers wait for the arrival below.
    unsafe { *slot.reading.get() = reading };
    slot.rendezvous.arrive_and_wait();
}

/// Reads the stack of the calling thread.
#[inline(never)]
pub fn read_own_stack() -> Reading {
    let local = 0u8;
    let frame = std::hint::black_box(&raw const local) as u64;
    let mut attr_bytes = 0;
    // SAFETY: `attr` is written by pthread_getattr_np before it is read, and destroyed once; all pointers are to locals.
    let tid = unsafe {
        let mut attr = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
        if libc::pthread_getattr_np(libc::pthread_self(), attr.as_mut_ptr()) == 0 {
            let (mut address, mut size) = (std::ptr::null_mut(), 0);
            if libc::pthread_attr_getstack(attr.as_ptr(), &mut address, &mut size) == 0 {
                attr_bytes = size as u64;
            }
            libc::pthread_attr_destroy(attr.as_mut_ptr());
        }
        libc::gettid()
    };
    Reading { tid, frame, attr_bytes }
}

/// An address on a thread's stack, near its top.
#[derive(Debug, Clone, Copy)]
pub struct StackPointer(pub u64);

/// The required stack size; an error in a build without one.
pub fn required_bytes() -> Result<u64, String> {
    STACK_SIZE_BYTES.ok_or_else(|| "this build has no MUSLIN_STACK_SIZE".to_string())
}

/// Whether both sizes reach `required` bytes and a guard is directly below the stack; and what was found.
pub fn evaluate(reading: Reading, maps: &ProcessMaps, required: u64) -> (bool, String) {
    let (mapped, found) = evaluate_mapping(StackPointer(reading.frame), maps, required);
    (mapped && reading.attr_bytes >= required, format!("{} bytes, {found}", reading.attr_bytes))
}

/// The same for the mapping of the kernel alone.
pub fn evaluate_mapping(
    StackPointer(pointer): StackPointer,
    maps: &ProcessMaps,
    required: u64,
) -> (bool, String) {
    let Some(stack) = maps.containing(pointer) else {
        return (false, format!("its stack pointer {pointer:#x} is in no mapping"));
    };
    let usable = pointer - stack.start;
    let guard = maps.ending_at(stack.start).filter(|below| below.is_guard());
    let guard_text = match guard {
        Some(guard) => format!("guard {} KiB", (guard.end - guard.start) / KIB),
        None => "NO guard below".to_string(),
    };
    let pass = usable + ABOVE_FRAME_BYTES_MAX >= required && guard.is_some();
    (pass, format!("{} KiB mapped below its frame, {guard_text}", usable / KIB))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn probe_with_stack(bytes: usize, required: u64) -> (bool, String) {
        let probe = move || evaluate(read_own_stack(), &ProcessMaps::read().unwrap(), required);
        std::thread::Builder::new().stack_size(bytes).spawn(probe).unwrap().join().unwrap()
    }

    #[test]
    fn accepts_a_large_stack_and_rejects_a_small_one() {
        let (pass, found) = probe_with_stack(8 << 20, 8 * MIB);
        assert!(pass, "{found}");
        let (pass, found) = probe_with_stack(128 << 10, 8 * MIB);
        assert!(!pass, "{found}");
    }

    #[test]
    fn rejects_attributes_that_exceed_the_mapping() {
        let probe = || {
            let wrong = Reading { attr_bytes: 8 * MIB, ..read_own_stack() };
            evaluate(wrong, &ProcessMaps::read().unwrap(), 8 * MIB).0
        };
        assert!(!std::thread::Builder::new().stack_size(1 << 20).spawn(probe).unwrap().join().unwrap());
    }
}
