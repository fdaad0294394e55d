//! Code that runs on a thread whose stack is in question, and the judgement of what it saw.
//!
//! The thread reads its own attributes and the address of a local variable, then waits for the others. Asking the thread itself
//! needs no luck with when it sleeps; the local's address, looked up in `/proc/self/maps`, is what the kernel really mapped,
//! whatever the C library's bookkeeping says.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::process_maps::ProcessMaps;

/// What may lie above the local variable: frames of the C library and OpenBLAS, thread-local storage, the thread's descriptor.
const ABOVE_FRAME_BYTES_MAX: u64 = 64 << 10;
const RENDEZVOUS_TIME_MAX: Duration = Duration::from_secs(10);
const KIB: u64 = 1 << 10;

/// Every thread waits here until all have come, so that none serves twice while another is never asked.
pub struct Rendezvous {
    expected: u32,
    arrived: AtomicU32,
}

impl Rendezvous {
    pub fn of(expected: u32) -> Self {
        Self { expected, arrived: AtomicU32::new(0) }
    }

    /// False when not all came in time.
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

    pub fn has_arrived(&self, count: u32) -> bool {
        self.arrived.load(Ordering::Acquire) >= count
    }

    pub fn complete(&self) -> bool {
        self.has_arrived(self.expected)
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    pub tid: i32,
    /// Address of a local variable of the probed thread: just below the stack pointer of its caller.
    pub frame: u64,
    /// The C library's own account; 0 when it gave none.
    pub attr_bytes: u64,
}

/// One thread's place in a probe.
pub struct Seat<'a> {
    rendezvous: &'a Rendezvous,
    reading: UnsafeCell<Reading>,
}

impl<'a> Seat<'a> {
    pub fn at(rendezvous: &'a Rendezvous) -> Self {
        Self { rendezvous, reading: UnsafeCell::new(Reading::default()) }
    }

    /// Exclusive access proves that no probed thread writes any more.
    pub fn reading(&mut self) -> Reading {
        *self.reading.get_mut()
    }

    /// # Safety
    /// The thread of this seat must have arrived at the rendezvous: it writes before it arrives, and never after.
    pub unsafe fn reading_after_arrival(&self) -> Reading {
        // SAFETY: the arrival's release and the caller's acquire order the write before this read.
        unsafe { *self.reading.get() }
    }
}

/// The entry point for a probed thread. It never panics: it may have C frames below it.
///
/// # Safety
/// `seat` points to a [`Seat`] that outlives the call and that no other thread was given.
pub unsafe extern "C" fn take_seat(seat: *mut c_void) {
    // SAFETY: promised by the caller.
    let seat = unsafe { &*seat.cast::<Seat>() };
    let reading = read_own_stack();
    // SAFETY: this thread alone writes to this seat, and readers wait for the arrival below.
    unsafe { *seat.reading.get() = reading };
    seat.rendezvous.arrive_and_wait();
}

/// The calling thread's own view of its stack.
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

/// Both accounts must reach `required` bytes, and a guard must lie right below the stack. The text says what was found.
pub fn judge(reading: Reading, maps: &ProcessMaps, required: u64) -> (bool, String) {
    let (mapped, found) = judge_mapping(StackPointer(reading.frame), maps, required);
    (mapped && reading.attr_bytes >= required, format!("{} bytes, {found}", reading.attr_bytes))
}

/// What the kernel mapped, alone.
pub fn judge_mapping(
    StackPointer(pointer): StackPointer,
    maps: &ProcessMaps,
    required: u64,
) -> (bool, String) {
    let Some(stack) = maps.holding(pointer) else {
        return (false, format!("its stack pointer {pointer:#x} lies in no mapping"));
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
        let probe = move || judge(read_own_stack(), &ProcessMaps::read().unwrap(), required);
        std::thread::Builder::new().stack_size(bytes).spawn(probe).unwrap().join().unwrap()
    }

    #[test]
    fn a_large_stack_passes_and_a_small_one_is_caught() {
        let (pass, found) = probe_with_stack(8 << 20, 8 * MIB);
        assert!(pass, "{found}");
        let (pass, found) = probe_with_stack(128 << 10, 8 * MIB);
        assert!(!pass, "{found}");
    }

    #[test]
    fn bookkeeping_that_promises_more_than_is_mapped_is_caught() {
        let probe = || {
            let lying = Reading { attr_bytes: 8 * MIB, ..read_own_stack() };
            judge(lying, &ProcessMaps::read().unwrap(), 8 * MIB).0
        };
        assert!(!std::thread::Builder::new().stack_size(1 << 20).spawn(probe).unwrap().join().unwrap());
    }
}
