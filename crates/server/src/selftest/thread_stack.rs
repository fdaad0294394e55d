//! The stack of a thread that C code creates without a size. The link flag `-z stack-size` sets it.
//!
//! The thread must be created with a NULL attr: std always passes a size, and the workers of the patched OpenBLAS set their own.

use std::ffi::c_void;
use std::time::{Duration, Instant};

use super::check::CheckResult;
use super::process_maps::ProcessMaps;
use super::stack_probe::{self, Rendezvous, Slot};

const ARRIVAL_TIME_MAX: Duration = Duration::from_secs(10);

/// The check.
pub fn default_attr() -> CheckResult {
    let required = match stack_probe::required_bytes() {
        Ok(required) => required,
        Err(reason) => return CheckResult::not_measured("a build with a stack size", reason),
    };
    let expected =
        format!("a thread created with a NULL attr has at least {required} bytes of stack and a guard");
    // For the thread and this one: the thread lives until this one has read the maps.
    let rendezvous = Rendezvous::of(2);
    let slot = Slot::at(&rendezvous);
    let mut thread = std::mem::MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: a NULL attr is valid; `slot` lives until the join below; `thread` is written on success.
    let created = unsafe {
        libc::pthread_create(
            thread.as_mut_ptr(),
            std::ptr::null(),
            probed_thread,
            (&raw const slot).cast_mut().cast(),
        )
    };
    if created != 0 {
        let error = std::io::Error::from_raw_os_error(created);
        return CheckResult::not_measured(expected, format!("pthread_create failed: {error}"));
    }

    let started = Instant::now();
    while !rendezvous.has_arrived(1) && started.elapsed() < ARRIVAL_TIME_MAX {
        std::thread::sleep(Duration::from_micros(100));
    }
    let arrived = rendezvous.has_arrived(1);
    let maps = ProcessMaps::read();
    // SAFETY: the thread has arrived.
    let reading = arrived.then(|| unsafe { slot.reading_after_arrival() });
    rendezvous.arrive_and_wait();
    // SAFETY: pthread_create succeeded, and no other code joins or detaches the thread.
    unsafe { libc::pthread_join(thread.assume_init(), std::ptr::null_mut()) };

    match (reading, maps) {
        (None, _) => CheckResult::not_measured(expected, "the thread did not start within 10 s"),
        (_, Err(error)) => {
            CheckResult::not_measured(expected, format!("cannot read /proc/self/maps: {error}"))
        }
        (Some(reading), Ok(maps)) => {
            let (pass, found) = stack_probe::evaluate(reading, &maps, required);
            CheckResult::of(pass, expected, found)
        }
    }
}

extern "C" fn probed_thread(slot: *mut c_void) -> *mut c_void {
    // The proof `thread-stack` of the release finds the thread by this name and measures its stack from outside.
    // SAFETY: the name ends in a NUL byte, has at most 16 bytes, and is copied by the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"default-attr".as_ptr()) };
    // SAFETY: `default_attr` passes its slot to this thread only and joins it before the slot is dropped.
    unsafe { stack_probe::fill_slot(slot) };
    std::ptr::null_mut()
}
