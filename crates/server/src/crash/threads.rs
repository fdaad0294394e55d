//! An alternate signal stack and the bounds of the normal one, for every thread of the process.
//!
//! The kernel runs the handler of a stack overflow only on an alternate stack. std gives its own threads one, of 8 KiB: the
//! registers of a CPU with AVX-512 leave half of that, which is too little for a backtrace. Threads that C code creates
//! (the workers of OpenBLAS) have none: their overflow would kill the process without a word.
//!
//! Therefore this module defines `pthread_create`, through which std and all C code create their threads. In the static
//! musl libc the symbol is a weak alias of `__pthread_create`, so a definition in the program replaces it, without a flag of
//! the linker and without a patch.

use core::cell::Cell;
use core::ffi::c_void;
use core::ops::Range;
use core::ptr;
use std::sync::OnceLock;

/// For the handler, beside the registers that the kernel saves.
const ALTERNATE_STACK_BYTES: usize = 64 << 10;
const AT_MINSIGSTKSZ: libc::c_ulong = 51;
const PAGE_BYTES: usize = 4096;

/// The stack of a thread.
#[derive(Debug, Clone, Copy)]
pub struct Stack {
    /// Lowest address.
    pub start: usize,
    pub end: usize,
    /// Inaccessible bytes below `start`.
    pub guard_bytes: usize,
}

impl Stack {
    /// The addresses of the guard.
    pub fn guard(self) -> Range<usize> {
        self.start.saturating_sub(self.guard_bytes)..self.start
    }

    /// The addresses of the stack.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

#[derive(Clone, Copy)]
enum StackOf {
    /// A thread that was created without `pthread_create`.
    Unknown,
    Thread(Stack),
    Main {
        end: usize,
    },
}

thread_local! {
    /// Without a destructor: a signal handler can read it at any time.
    static STACK: Cell<StackOf> = const { Cell::new(StackOf::Unknown) };
}

/// The stack of the calling thread, where it is known.
pub fn own_stack() -> Option<Stack> {
    match STACK.get() {
        StackOf::Unknown => None,
        StackOf::Thread(stack) => Some(stack),
        StackOf::Main { end } => main_stack(end),
    }
}

/// Prepares the main thread, which the kernel starts and not `pthread_create`.
pub fn prepare_main() {
    if let Some(alternate) = AlternateStack::map() {
        alternate.enable();
    }
    STACK.set(StackOf::Main { end: main_stack_end().unwrap_or(0) });
}

/// The end of the main stack; `None` when the kernel does not tell.
fn main_stack_end() -> Option<usize> {
    // SAFETY: getauxval has no preconditions.
    let name = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const libc::c_char;
    if name.is_null() {
        return None;
    }
    // SAFETY: the kernel passes the path of the program as a string.
    let bytes = unsafe { libc::strlen(name) };
    // It is the last string of the stack; its NUL byte and 8 bytes of zeros follow.
    Some((name.addr() + bytes + 9).next_multiple_of(PAGE_BYTES))
}

/// The kernel extends the stack of the main thread on demand up to the present limit. `None` without a limit.
fn main_stack(end: usize) -> Option<Stack> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) } != 0 {
        return None;
    }
    let start = end.checked_sub(usize::try_from(limit.rlim_cur).ok()?)?.next_multiple_of(PAGE_BYTES);
    // The kernel keeps this distance to the mapping below (`stack_guard_gap`).
    Some(Stack { start, end, guard_bytes: 256 * PAGE_BYTES })
}

/// Memory for the handler, with an inaccessible page below.
#[derive(Clone, Copy)]
struct AlternateStack {
    start: *mut c_void,
}

impl AlternateStack {
    /// Bytes of the mapping. Pages that no handler touches take no memory.
    fn mapped_bytes() -> usize {
        // SAFETY: getauxval has no preconditions. It returns 0 on kernels without the entry.
        let registers = unsafe { libc::getauxval(AT_MINSIGSTKSZ) } as usize;
        (PAGE_BYTES + ALTERNATE_STACK_BYTES + registers).next_multiple_of(PAGE_BYTES)
    }

    fn map() -> Option<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe { libc::mmap(ptr::null_mut(), Self::mapped_bytes(), access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: the page is the first one of the new mapping. Without the protection only an overflow of the handler itself
        // would stay unnoticed.
        unsafe { libc::mprotect(start, PAGE_BYTES, libc::PROT_NONE) };
        Some(Self { start })
    }

    /// Makes it the alternate stack of the calling thread.
    fn enable(self) {
        let stack = libc::stack_t {
            // SAFETY: the mapping is longer than one page.
            ss_sp: unsafe { self.start.byte_add(PAGE_BYTES) },
            ss_flags: 0,
            ss_size: Self::mapped_bytes() - PAGE_BYTES,
        };
        // SAFETY: the memory stays mapped until the thread disables it.
        unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
    }

    fn unmap(self) {
        // SAFETY: the mapping has this size, and no thread uses it.
        unsafe { libc::munmap(self.start, Self::mapped_bytes()) };
    }
}

/// Runs at the end of the thread, also after `pthread_exit`.
extern "C" fn free_alternate_stack(start: *mut c_void) {
    // SAFETY: `stack_t` consists of integers and a pointer, for which zero is valid.
    let mut disable: libc::stack_t = unsafe { core::mem::zeroed() };
    disable.ss_flags = libc::SS_DISABLE;
    // SAFETY: `disable` outlives the call.
    unsafe { libc::sigaltstack(&raw const disable, ptr::null_mut()) };
    AlternateStack { start }.unmap();
}

/// The key whose destructor is [`free_alternate_stack`].
fn key() -> Option<libc::pthread_key_t> {
    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `key` outlives the call.
        (unsafe { libc::pthread_key_create(&raw mut key, Some(free_alternate_stack)) } == 0).then_some(key)
    })
}

type StartRoutine = extern "C" fn(*mut c_void) -> *mut c_void;

/// What a new thread does.
struct Start {
    routine: StartRoutine,
    argument: *mut c_void,
    alternate: Option<AlternateStack>,
}

#[cfg_attr(
    not(target_env = "musl"),
    expect(dead_code, reason = "only musl has the weak alias that allows it")
)]
extern "C" fn begin(start: *mut c_void) -> *mut c_void {
    // SAFETY: `create` passes a box, to this thread only.
    let Start { routine, argument, alternate } = *unsafe { Box::from_raw(start.cast::<Start>()) };
    if let (Some(alternate), Some(key)) = (alternate, key()) {
        alternate.enable();
        // SAFETY: the key exists. After a failure (no memory) the mapping stays when the thread ends.
        unsafe { libc::pthread_setspecific(key, alternate.start) };
    }
    STACK.set(attributed_stack().map_or(StackOf::Unknown, StackOf::Thread));
    routine(argument)
}

/// The stack of the calling thread according to the C library.
fn attributed_stack() -> Option<Stack> {
    let mut attributes = core::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: always safe to call.
    let thread = unsafe { libc::pthread_self() };
    // SAFETY: initializes `attributes` from a thread that runs.
    if unsafe { libc::pthread_getattr_np(thread, attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut start, mut bytes, mut guard_bytes) = (ptr::null_mut(), 0, 0);
    // SAFETY: `attributes` is initialized and both outputs are locals.
    unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut bytes) };
    // SAFETY: the same.
    unsafe { libc::pthread_attr_getguardsize(attributes.as_ptr(), &raw mut guard_bytes) };
    // SAFETY: `attributes` is initialized and not used afterwards.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    Some(Stack { start: start.addr(), end: start.addr() + bytes, guard_bytes })
}

#[cfg(target_env = "musl")]
mod interposed {
    use super::{AlternateStack, Start, StartRoutine, begin, key};
    use core::ffi::{c_int, c_void};

    unsafe extern "C" {
        fn __pthread_create(
            thread: *mut libc::pthread_t,
            attributes: *const libc::pthread_attr_t,
            routine: StartRoutine,
            argument: *mut c_void,
        ) -> c_int;
    }

    /// Replaces the function of the C library: the same contract, and the thread has an alternate signal stack. Without
    /// memory for that one the thread starts nevertheless.
    ///
    /// # Safety
    /// The contract of pthread_create.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn pthread_create(
        thread: *mut libc::pthread_t,
        attributes: *const libc::pthread_attr_t,
        routine: StartRoutine,
        argument: *mut c_void,
    ) -> c_int {
        let alternate = key().and_then(|_| AlternateStack::map());
        let start = Box::into_raw(Box::new(Start { routine, argument, alternate }));
        // SAFETY: the caller keeps the contract; `begin` takes the box.
        let status = unsafe { __pthread_create(thread, attributes, begin, start.cast()) };
        if status != 0 {
            // SAFETY: no thread has started, so the box is still ours.
            drop(unsafe { Box::from_raw(start) });
            if let Some(alternate) = alternate {
                alternate.unmap();
            }
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alternate() -> libc::stack_t {
        // SAFETY: `stack_t` consists of integers and a pointer, for which zero is valid.
        let mut stack: libc::stack_t = unsafe { core::mem::zeroed() };
        // SAFETY: `stack` outlives the call.
        assert_eq!(unsafe { libc::sigaltstack(ptr::null(), &raw mut stack) }, 0);
        stack
    }

    #[test]
    fn every_thread_has_an_alternate_stack_and_knows_its_stack() {
        let (alternate, stack, local) = std::thread::Builder::new()
            .stack_size(1 << 20)
            .spawn(|| {
                let local = 0u8;
                (alternate().ss_size, own_stack().unwrap(), (&raw const local).addr())
            })
            .unwrap()
            .join()
            .unwrap();
        assert!(alternate >= ALTERNATE_STACK_BYTES);
        assert!(
            stack.range().contains(&local)
                && stack.range().len() >= 1 << 20
                && stack.guard_bytes >= PAGE_BYTES
        );
        assert_eq!(stack.guard().end, stack.start);
    }

    #[test]
    fn alternate_stacks_of_ended_threads_are_unmapped() {
        let mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        let start = || std::thread::spawn(|| alternate().ss_sp.addr()).join().unwrap();
        start();
        let before = mappings();
        (0..200).for_each(|_| assert!(start() > 0));
        assert!(mappings() < before + 100, "{before} mappings before, {} after", mappings());
    }

    #[test]
    fn the_stack_of_the_main_thread_ends_where_the_kernel_says() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.ends_with("[stack]")).unwrap();
        let end = line.split_once('-').unwrap().1.split_once(' ').unwrap().0;
        assert_eq!(main_stack_end().unwrap(), usize::from_str_radix(end, 16).unwrap());
    }
}
