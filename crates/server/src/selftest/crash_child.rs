//! Crashes on purpose, each in a child process of its own: the input of the check `crash-reports` and of the tests.

use std::ffi::c_void;
use std::hint::black_box;

use diag::Diagnostic;

use crate::{codes, compute_thread, crash};

/// A crash, and what its report must say.
pub struct Case {
    /// Value of `selftest --child`.
    pub name: &'static str,
    pub signal: libc::c_int,
    /// Texts of the report; [`NO_REPORT`] for a crash that cannot be reported.
    pub expected: &'static [&'static str],
    on: On,
    crash: fn(),
}

/// The thread that crashes.
enum On {
    Compute,
    Main,
}

/// The process only has to end, and by its signal.
pub const NO_REPORT: &[&str] = &[];

const OVERFLOW: &str = "in the guard page below the stack of this thread";

const fn case(
    name: &'static str,
    signal: libc::c_int,
    expected: &'static [&'static str],
    crash: fn(),
) -> Case {
    Case { name, signal, expected, on: On::Compute, crash }
}

/// Every kind of crash that the report distinguishes.
pub const CASES: &[Case] = &[
    case("crash-segv", libc::SIGSEGV, &["SIGSEGV: access", "`inferd-compute`", "address:   0x10,"], segv),
    case("crash-bus", libc::SIGBUS, &["SIGBUS: access of a page", "address:   0x"], bus),
    case("crash-abort", libc::SIGABRT, &["SIGABRT: abort, in thread"], abort),
    case(
        "crash-ill",
        libc::SIGILL,
        &["SIGILL", "bytes:     8f e9 78 80 c0", "needs:     XOP, which"],
        illegal_instruction,
    ),
    case("crash-trap", libc::SIGILL, &["SIGILL", "it is a trap of the program"], trap),
    case("crash-fpe", libc::SIGFPE, &["SIGFPE: arithmetic exception"], divide_by_zero),
    case("crash-jump", libc::SIGSEGV, &["SIGSEGV", "\n    0x8\n    0x"], jump_to_no_code),
    case(
        "crash-overflow",
        libc::SIGSEGV,
        &["stack overflow of thread `inferd-compute`, ", OVERFLOW, " times\n"],
        overflow,
    ),
    case(
        "crash-overflow-c",
        libc::SIGSEGV,
        &["stack overflow of thread `c-thread`, ", OVERFLOW],
        overflow_in_c_thread,
    ),
    case(
        "crash-overflow-blas",
        libc::SIGSEGV,
        &["stack overflow of thread `oblas-", OVERFLOW],
        overflow_in_blas_worker,
    ),
    Case {
        on: On::Main,
        ..case(
            "crash-overflow-main",
            libc::SIGSEGV,
            &["stack overflow of thread", ", 1 MiB", OVERFLOW],
            overflow_of_main,
        )
    },
    case(
        "crash-in-report",
        libc::SIGSEGV,
        &["SIGSEGV", "is outside of it", "the report ends here"],
        damaged_stack,
    ),
    case("crash-two-threads", libc::SIGSEGV, &["stack overflow of thread `inferd-compute`, "], two_threads),
    case("crash-no-room", libc::SIGSEGV, NO_REPORT, no_room_for_a_report),
    case(
        "crash-allocation",
        libc::SIGABRT,
        &[
            "error[out-of-memory]: an allocation of 65536 bytes (64 KiB) failed",
            "in use:    ",
            "limit:     2 GiB of address space (RLIMIT_AS, `ulimit -v`)",
            "remedy:    raise the limit: `ulimit -v unlimited`",
        ],
        exhaust,
    ),
];

/// The case with this name.
pub fn find(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

impl Case {
    /// Crashes. Returns the reason when it cannot.
    pub fn run(&'static self) -> Diagnostic {
        // A file size of 1 byte suppresses the core dump, also one that a program of the system receives.
        set_limit(
            |limit| {
                // SAFETY: `limit` is a valid rlimit that the call reads.
                unsafe { libc::setrlimit(libc::RLIMIT_CORE, limit) }
            },
            1,
        );
        match self.on {
            On::Main => (self.crash)(),
            On::Compute => drop(compute_thread::spawn(self.crash).map(std::thread::JoinHandle::join)),
        }
        Diagnostic::new(&codes::INTERNAL_ERROR, format!("`{}` did not crash", self.name))
    }
}

fn set_limit(set: impl FnOnce(*const libc::rlimit) -> libc::c_int, bytes: u64) {
    // A failure leaves the limit as it was; the report of the child shows it.
    let _ = set(&libc::rlimit { rlim_cur: bytes, rlim_max: bytes });
}

fn segv() {
    let address = black_box(0x10 as *const u8);
    // SAFETY: none. The read of an unmapped address is the purpose.
    black_box(unsafe { address.read_volatile() });
}

fn bus() {
    // SAFETY: the name ends in a NUL byte.
    let file = unsafe { libc::memfd_create(c"empty".as_ptr(), 0) };
    // SAFETY: a new mapping at an address that the kernel chooses.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, file, 0) };
    // SAFETY: none. The file has no byte, so the access raises SIGBUS.
    black_box(unsafe { page.cast::<u8>().read_volatile() });
}

fn abort() {
    std::process::abort()
}

/// `vfrczps`: of the extension XOP, which no processor has since 2017. In a page of its own, because the gate rejects the
/// program if it has such code.
fn illegal_instruction() {
    const CODE: [u8; 6] = [0x8f, 0xe9, 0x78, 0x80, 0xc0, 0xc3];
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address that the kernel chooses.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return;
    }
    // SAFETY: the page is new, writable and larger than the code.
    unsafe { std::ptr::copy_nonoverlapping(CODE.as_ptr(), page.cast(), CODE.len()) };
    // SAFETY: the page is ours.
    if unsafe { libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC) } != 0 {
        return;
    }
    // SAFETY: the page holds a function without arguments; its first instruction raises SIGILL.
    let function = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn()>(page) };
    function();
}

fn trap() {
    // SAFETY: the instruction ends the process.
    unsafe { std::arch::asm!("ud2") };
}

fn divide_by_zero() {
    // SAFETY: the division raises SIGFPE; the registers that it changes are declared.
    unsafe {
        std::arch::asm!("xor edx, edx", "xor ecx, ecx", "div ecx", out("edx") _, out("ecx") _, inout("eax") 1 => _);
    }
}

fn jump_to_no_code() {
    // SAFETY: none. The call of an address without code is the purpose.
    let function = unsafe { std::mem::transmute::<usize, extern "C" fn()>(black_box(8)) };
    function();
    black_box(());
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    // Never true.
    if black_box(depth) == u64::MAX { depth } else { recurse(depth + 1) + black_box(frame)[0] }
}

fn overflow() {
    black_box(recurse(0));
}

extern "C" fn overflow_in_c(_: *mut c_void) -> *mut c_void {
    // SAFETY: the name ends in a NUL byte, has at most 16 bytes, and is copied by the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"c-thread".as_ptr()) };
    overflow();
    std::ptr::null_mut()
}

fn overflow_in_c_thread() {
    let mut thread = std::mem::MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: a NULL attr is valid; `thread` is written on success.
    let status = unsafe {
        libc::pthread_create(thread.as_mut_ptr(), std::ptr::null(), overflow_in_c, std::ptr::null_mut())
    };
    if status != 0 {
        return;
    }
    // SAFETY: pthread_create has succeeded.
    let thread = unsafe { thread.assume_init() };
    // SAFETY: the thread exists, and no other code joins or detaches it.
    unsafe { libc::pthread_join(thread, std::ptr::null_mut()) };
}

/// OpenBLAS runs the first part on this thread and the others on its workers.
fn overflow_in_blas_worker() {
    unsafe extern "C" fn part(number: *mut c_void) {
        // SAFETY: OpenBLAS passes the address of an element of the array below.
        if unsafe { *number.cast::<i32>() } > 0 {
            overflow();
        }
    }
    if openblas_sys::num_threads() < 2 {
        openblas_sys::set_num_threads(2);
    }
    let mut numbers = [0, 1];
    let entry: unsafe extern "C" fn(*mut c_void) = part;
    // SAFETY: OpenBLAS calls `entry` once for each of the two elements, which are 4 bytes apart.
    unsafe {
        openblas_sys::ffi::gotoblas_pthread(
            2,
            entry as *mut c_void,
            numbers.as_mut_ptr().cast(),
            size_of::<i32>() as i32,
        );
    }
}

fn overflow_of_main() {
    // SAFETY: `limit` is a valid rlimit that the call reads.
    set_limit(|limit| unsafe { libc::setrlimit(libc::RLIMIT_STACK, limit) }, 1 << 20);
    overflow();
}

/// The unwinder reads from the stack pointer and crashes as well.
fn damaged_stack() {
    // SAFETY: none. The access with a stack pointer that is not mapped is the purpose; the code does not return.
    unsafe {
        std::arch::asm!(
            "mov rsp, 4096",
            "mov rbp, 4096",
            "mov rax, 16",
            "mov eax, dword ptr [rax]",
            "ud2",
            options(noreturn)
        );
    }
}

/// The second thread crashes while the first one reports: the report of a stack overflow takes milliseconds.
fn two_threads() {
    let second = compute_thread::spawn(|| {
        while !crash::has_crashed() {
            std::thread::yield_now();
        }
        segv();
    });
    overflow();
    drop(second.map(std::thread::JoinHandle::join));
}

/// A thread whose alternate stack takes the handler and nothing that it calls, as that of std can be.
fn no_room_for_a_report() {
    const PAGE_BYTES: usize = 4096;
    const AT_MINSIGSTKSZ: libc::c_ulong = 51;
    // SAFETY: getauxval has no preconditions. It returns 0 on kernels without the entry.
    let registers = unsafe { libc::getauxval(AT_MINSIGSTKSZ) } as usize;
    let bytes = (registers.max(libc::MINSIGSTKSZ) + 1024).next_multiple_of(1024);
    let mapped = PAGE_BYTES + bytes.next_multiple_of(PAGE_BYTES);
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address that the kernel chooses.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), mapped, access, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return;
    }
    // SAFETY: the page is the first one of the new mapping.
    unsafe { libc::mprotect(start, PAGE_BYTES, libc::PROT_NONE) };
    // SAFETY: the mapping is longer than one page.
    let ss_sp = unsafe { start.byte_add(PAGE_BYTES) };
    let stack = libc::stack_t { ss_sp, ss_flags: 0, ss_size: bytes };
    // SAFETY: the memory stays mapped.
    unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) };
    segv();
}

fn exhaust() {
    // SAFETY: `limit` is a valid rlimit that the call reads.
    set_limit(|limit| unsafe { libc::setrlimit(libc::RLIMIT_AS, limit) }, 2 << 30);
    let mut blocks: Vec<Vec<u8>> = Vec::with_capacity(1 << 20);
    // 64 GiB, of which the limit allows a part.
    for _ in 0..1 << 20 {
        blocks.push(black_box(Vec::with_capacity(64 << 10)));
    }
}
