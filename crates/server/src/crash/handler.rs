//! The signal handler: who reports, and how the process ends.

use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};

use super::output::{Output, now_ms};
use super::report::{self, SIGNALS};

/// How long a thread that crashes waits for the report of another one, which ends the process. Above the time that a
/// blocked stderr takes.
const OTHER_REPORT_WAIT_MS: i64 = 5000;

/// The thread that reports, and the signal that it got; 0 before a crash.
static REPORTER: AtomicI32 = AtomicI32::new(0);
static REPORTED_SIGNAL: AtomicI32 = AtomicI32::new(0);
/// The siginfo_t of that signal.
static REPORTED_INFO: AtomicPtr<libc::siginfo_t> = AtomicPtr::new(ptr::null_mut());
/// The report of that thread has crashed.
static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Replaces the actions of all [`SIGNALS`], and with them the message of std about stack overflows, which ends the process
/// by another signal than the kernel sent.
pub fn install() {
    for (signal, _) in SIGNALS {
        // SAFETY: `sigaction` consists of integers and function addresses, for which zero is valid.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        action.sa_sigaction = on_crash as *const () as usize;
        // NODEFER: a crash of the report must reach the handler; the kernel would end the process by that other signal.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        // SAFETY: `action` outlives the call. The handler has the signature that SA_SIGINFO requires and calls only what is
        // safe in a signal handler.
        unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    }
}

extern "C" fn on_crash(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: gettid has no preconditions.
    let thread = unsafe { libc::gettid() };
    match REPORTER.compare_exchange(0, thread, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            REPORTED_SIGNAL.store(signal, Ordering::Release);
            REPORTED_INFO.store(info, Ordering::Release);
            // SAFETY: the kernel passed both pointers to this handler.
            unsafe { report(signal, info, context) };
            end_process(signal, info, Delivery::AfterTheHandler);
        }
        Err(reporter) if reporter == thread => {
            // An alternate stack without room for a report (std makes one of 8 KiB when there is no memory for a larger one)
            // overflows here again, and the kernel would start the handler from its top for ever.
            if !IS_INTERRUPTED.swap(true, Ordering::AcqRel) {
                report_interruption(signal);
            }
            let first = REPORTED_SIGNAL.load(Ordering::Acquire);
            end_process(first, REPORTED_INFO.load(Ordering::Acquire), Delivery::Now);
        }
        Err(_) => {
            wait_for_the_end();
            end_process(signal, info, Delivery::AfterTheHandler);
        }
    }
}

/// Not inlined, nor is the next one: the frame of the handler itself has to fit into a stack that is too small for them.
///
/// # Safety
/// As for [`report::write`].
#[inline(never)]
unsafe fn report(signal: libc::c_int, info: *const libc::siginfo_t, context: *const c_void) {
    let mut output = Output::stderr();
    // SAFETY: the caller keeps the contract of the same function.
    unsafe { report::write(&mut output, signal, info, context) };
    output.flush();
}

#[inline(never)]
fn report_interruption(signal: libc::c_int) {
    let mut output = Output::stderr();
    report::write_interrupted(&mut output, signal);
    output.flush();
}

/// Whether a thread has crashed; the process then ends within seconds.
pub fn has_crashed() -> bool {
    REPORTER.load(Ordering::Acquire) != 0
}

fn wait_for_the_end() {
    let deadline = now_ms() + OTHER_REPORT_WAIT_MS;
    while now_ms() < deadline {
        let pause = libc::timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        // SAFETY: `pause` outlives the call; the remaining time is not requested.
        unsafe { libc::nanosleep(&raw const pause, ptr::null_mut()) };
    }
}

/// When the signal that ends the process takes effect.
enum Delivery {
    /// When the kernel has restored the registers of the crash, so that a core dump shows the crash and not the handler.
    AfterTheHandler,
    /// For a handler that must not return: it would continue the report that has crashed.
    Now,
}

/// Sends the signal again, with the default action and the original siginfo_t.
fn end_process(signal: libc::c_int, info: *mut libc::siginfo_t, delivery: Delivery) {
    // SAFETY: `sigaction` and `sigset_t` consist of integers and function addresses, for which zero is valid: SIG_DFL.
    let (default, mut set): (libc::sigaction, libc::sigset_t) = unsafe { core::mem::zeroed() };
    // SAFETY: `default` outlives the call.
    unsafe { libc::sigaction(signal, &raw const default, ptr::null_mut()) };
    // SAFETY: `set` outlives the calls.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    let how = match delivery {
        Delivery::AfterTheHandler => libc::SIG_BLOCK,
        Delivery::Now => libc::SIG_UNBLOCK,
    };
    // SAFETY: `set` is initialized; the previous set is not requested.
    unsafe { libc::pthread_sigmask(how, &raw const set, ptr::null_mut()) };
    // SAFETY: getpid has no preconditions.
    let process = unsafe { libc::getpid() };
    // SAFETY: gettid has no preconditions.
    let thread = unsafe { libc::gettid() };
    // SAFETY: `info` is the siginfo_t of a handler of this thread that has not returned.
    let status = unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, signal, info) };
    if status != 0 {
        // SAFETY: tgkill has no pointer argument.
        unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
    }
}
