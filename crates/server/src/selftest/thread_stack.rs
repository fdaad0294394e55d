//! The stack of a thread that C code creates without asking for a size: what the link flag (`-z stack-size`) is for.
//!
//! It must be a C-ABI thread with a NULL attr. std always passes a size, so `std::thread` would measure nothing. A worker of the
//! patched OpenBLAS would not do either: it asks for its own size.

use std::ffi::c_void;
use std::time::{Duration, Instant};

use super::Outcome;
use super::process_maps::ProcessMaps;
use super::stack_probe::{self, Rendezvous, Seat};
use crate::build_info::STACK_SIZE_BYTES;

const ARRIVAL_TIME_MAX: Duration = Duration::from_secs(10);

pub fn default_attr() -> Outcome {
    let expected = format!(
        "a thread created with a NULL attr has at least {STACK_SIZE_BYTES} bytes of stack and a guard"
    );
    // The thread and this one: it lives until this thread has read the maps.
    let rendezvous = Rendezvous::of(2);
    let seat = Seat::at(&rendezvous);
    let mut thread = std::mem::MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: a NULL attr is allowed and is the point; `seat` lives until the join below; `thread` is written on success.
    let created = unsafe {
        libc::pthread_create(
            thread.as_mut_ptr(),
            std::ptr::null(),
            probed_thread,
            (&raw const seat).cast_mut().cast(),
        )
    };
    if created != 0 {
        let error = std::io::Error::from_raw_os_error(created);
        return Outcome::not_measured(expected, format!("pthread_create failed: {error}"));
    }

    let started = Instant::now();
    while !rendezvous.has_arrived(1) && started.elapsed() < ARRIVAL_TIME_MAX {
        std::thread::sleep(Duration::from_micros(100));
    }
    let arrived = rendezvous.has_arrived(1);
    let maps = ProcessMaps::read();
    // SAFETY: read only when the thread has arrived.
    let reading = arrived.then(|| unsafe { seat.reading_after_arrival() });
    rendezvous.arrive_and_wait();
    // SAFETY: pthread_create succeeded, and nobody else joins or detaches the thread.
    unsafe { libc::pthread_join(thread.assume_init(), std::ptr::null_mut()) };

    match (reading, maps) {
        (None, _) => Outcome::not_measured(expected, "the thread did not start within 10 s"),
        (_, Err(error)) => Outcome::not_measured(expected, format!("cannot read /proc/self/maps: {error}")),
        (Some(reading), Ok(maps)) => {
            let (pass, found) = stack_probe::judge(reading, &maps, STACK_SIZE_BYTES);
            Outcome::judge(pass, expected, found)
        }
    }
}

extern "C" fn probed_thread(seat: *mut c_void) -> *mut c_void {
    // The proof `thread-stack` of the release finds the thread by this name and measures its stack from outside.
    // SAFETY: the name ends in a NUL byte, has at most 16 bytes, and is copied by the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"default-attr".as_ptr()) };
    // SAFETY: `default_attr` passes its own seat to this thread alone and joins before the seat goes.
    unsafe { stack_probe::take_seat(seat) };
    std::ptr::null_mut()
}
