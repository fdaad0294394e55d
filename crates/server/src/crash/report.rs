//! The text of a crash report, in the form of a diagnostic.
//!
//! The parts are written in the order in which composing them can fail: the backtrace, which reads a stack that may be
//! damaged, comes last.

use core::ffi::{CStr, c_void};
use core::fmt::{self, Write};

use super::allocator::{self, Failure};
use super::backtrace::{self, Registers};
use super::elf_image;
use super::exhaustion::Exhaustion;
use super::frame_lines::Lines;
use super::instruction::{self, Cause};
use super::output::{Output, Size};
use super::threads::{self, Stack};
use crate::build_info::{ISSUES_URL, NAME, VERSION};

/// The signals of a crash, with their names.
pub const SIGNALS: [(libc::c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGABRT, "SIGABRT"),
];

const INSTRUCTION_BYTES_MAX: usize = 15;
const PAGE_BYTES: usize = 4096;

/// Writes the report of a signal.
///
/// # Safety
/// `info` and `context` are those that the kernel passed to the handler of the calling thread.
pub unsafe fn write(
    output: &mut Output,
    signal: libc::c_int,
    info: *const libc::siginfo_t,
    context: *const c_void,
) {
    // SAFETY: the caller guarantees a valid siginfo_t.
    let info = unsafe { &*info };
    // SAFETY: the caller guarantees a valid context.
    let registers = unsafe { Registers::of(context) };
    let crash = Crash {
        signal,
        origin: Origin::of(signal, info),
        thread: ThreadName::own(),
        stack: threads::own_stack(),
        registers,
        failure: (signal == libc::SIGABRT).then(allocator::failure_of_this_abort).flatten(),
    };
    // Writing to `Output` does not fail.
    let _ = crash.write_facts(output);
    output.flush();
    let _ = crash.write_backtrace(output);
    let _ = crash.write_hint(output);
}

/// Writes that the report itself has crashed.
pub fn write_interrupted(output: &mut Output, signal: libc::c_int) {
    let name = signal_name(signal);
    let _ = writeln!(
        output,
        "    the report ends here: reading the stack caused {name}; the stack may be damaged"
    );
}

struct Crash {
    signal: libc::c_int,
    origin: Origin,
    thread: ThreadName,
    stack: Option<Stack>,
    registers: Registers,
    /// The allocation that the program aborts for.
    failure: Option<Failure>,
}

/// Where a signal comes from.
enum Origin {
    /// An access of this address.
    Access(usize),
    /// An access of an address that has no page table entry; the kernel does not report it.
    NotCanonical,
    /// An instruction.
    Instruction,
    /// `abort`, or `raise`.
    Own,
    Process {
        id: libc::pid_t,
        user: libc::uid_t,
    },
}

impl Origin {
    fn of(signal: libc::c_int, info: &libc::siginfo_t) -> Self {
        const SI_KERNEL: libc::c_int = 0x80;
        // SAFETY: getpid has no preconditions.
        let own = unsafe { libc::getpid() };
        match (signal, info.si_code) {
            (_, ..=0) => {
                // SAFETY: a code that is not positive means a signal sent by a process.
                let id = unsafe { info.si_pid() };
                // SAFETY: the same.
                let user = unsafe { info.si_uid() };
                if id == own { Self::Own } else { Self::Process { id, user } }
            }
            (libc::SIGSEGV, SI_KERNEL) => Self::NotCanonical,
            // SAFETY: these signals carry an address.
            (libc::SIGSEGV | libc::SIGBUS, _) => Self::Access(unsafe { info.si_addr() }.addr()),
            _ => Self::Instruction,
        }
    }
}

impl Crash {
    fn write_facts(&self, out: &mut Output) -> fmt::Result {
        let name = signal_name(self.signal);
        let exhaustion = self.failure.map(|_| Exhaustion::read());
        match (self.failure, self.overflow()) {
            (Some(failure), _) => {
                write!(out, "error[out-of-memory]: an allocation of {} bytes", failure.bytes)?;
                if failure.bytes >= 1024 {
                    write!(out, " ({})", Size(failure.bytes as u64))?;
                }
                writeln!(out, " failed")?;
            }
            (None, Some(stack)) => {
                // musl adds thread-local storage to the requested size.
                let size = Size(stack.range().len() as u64 & !0xffff);
                writeln!(out, "error[crash]: {name}: stack overflow of thread `{}`, {size}", self.thread)?;
            }
            (None, None) => {
                writeln!(out, "error[crash]: {name}: {}, in thread `{}`", self.what(), self.thread)?;
            }
        }
        if let Some(exhaustion) = exhaustion {
            write!(out, "{exhaustion}")?;
            writeln!(out, "  remedy:    {}", exhaustion.remedy())?;
        }
        self.write_origin(out)?;
        if let Some(stack) = self.stack {
            let pointer = self.registers.stack();
            write!(out, "  stack:     {:#x}-{:#x}, stack pointer {pointer:#x}", stack.start, stack.end)?;
            writeln!(out, "{}", if stack.range().contains(&pointer) { "" } else { " is outside of it" })?;
        }
        // SAFETY: getpid has no preconditions.
        let process = unsafe { libc::getpid() };
        // SAFETY: gettid has no preconditions.
        let thread = unsafe { libc::gettid() };
        writeln!(out, "  thread:    `{}`, id {thread} of process {process}", self.thread)?;
        write!(out, "  version:   {NAME} {VERSION}, build-id ")?;
        match elf_image::own().map(elf_image::ElfImage::build_id) {
            Some(id) if !id.is_empty() => id.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?,
            _ => write!(out, "none")?,
        }
        writeln!(out)
    }

    /// The stack that overflowed: the address is in its guard.
    fn overflow(&self) -> Option<Stack> {
        match self.origin {
            Origin::Access(address) => self.stack.filter(|stack| stack.guard().contains(&address)),
            _ => None,
        }
    }

    fn what(&self) -> &'static str {
        match (&self.origin, self.signal) {
            (Origin::Own, libc::SIGABRT) => "abort",
            (Origin::Own | Origin::Process { .. }, _) => "signal",
            (_, libc::SIGBUS) => "access of a page that its file or device no longer has",
            (_, libc::SIGSEGV) => "access of memory that is not mapped or not permitted",
            (_, libc::SIGILL) => "illegal instruction",
            (_, libc::SIGFPE) => "arithmetic exception",
            _ => "signal",
        }
    }

    fn write_origin(&self, out: &mut Output) -> fmt::Result {
        match self.origin {
            Origin::Access(address) => {
                let place = match self.stack {
                    Some(stack) if stack.guard().contains(&address) => {
                        ", in the guard page below the stack of this thread"
                    }
                    Some(stack) if stack.range().contains(&address) => ", in the stack of this thread",
                    Some(_) => ", not in the guard page of this thread",
                    None => "",
                };
                writeln!(out, "  address:   {address:#x}{place}")
            }
            Origin::NotCanonical => {
                writeln!(out, "  address:   unknown: outside of what the CPU can address")
            }
            Origin::Process { id, user } => writeln!(out, "  sent by:   process {id} of user {user}"),
            Origin::Own => Ok(()),
            Origin::Instruction => {
                writeln!(out, "  address:   {:#x}", self.registers.instruction())?;
                if self.signal == libc::SIGILL { self.write_instruction(out) } else { Ok(()) }
            }
        }
    }

    fn write_instruction(&self, out: &mut Output) -> fmt::Result {
        let address = self.registers.instruction();
        // The next page may not be mapped.
        let length = (PAGE_BYTES - address % PAGE_BYTES).min(INSTRUCTION_BYTES_MAX);
        // SAFETY: the CPU has read an instruction at this address, and the bytes are on its page.
        let bytes = unsafe { core::slice::from_raw_parts(address as *const u8, length) };
        write!(out, "  bytes:    ")?;
        bytes.iter().try_for_each(|byte| write!(out, " {byte:02x}"))?;
        writeln!(out)?;
        match instruction::cause(bytes) {
            Some(Cause::Trap) => writeln!(
                out,
                "  needs:     nothing: it is a trap of the program, the end of code that must not go on"
            ),
            Some(Cause::Needs { feature, is_present: true }) => {
                writeln!(
                    out,
                    "  needs:     {feature}, which this CPU has: the operands are invalid, or the code is damaged"
                )
            }
            Some(Cause::Needs { feature, is_present: false }) => writeln!(
                out,
                "  needs:     {feature}, which this CPU does not have or its kernel does not enable; unset OPENBLAS_CORETYPE, and \
                 do not move a running process to another CPU"
            ),
            None => writeln!(
                out,
                "  needs:     no extension of the CPU that is known here; the code may be damaged"
            ),
        }
    }

    fn write_backtrace(&self, out: &mut Output) -> fmt::Result {
        writeln!(out, "  backtrace:")?;
        let mut lines = Lines::of(out);
        backtrace::walk(&self.registers, self.stack, |address| lines.add(address));
        lines.finish()
    }

    fn write_hint(&self, out: &mut Output) -> fmt::Result {
        writeln!(
            out,
            "hint: `addr2line -Cfipe FILE.debug ADDRESS…` resolves the addresses, with the debug file of this build-id"
        )?;
        match (&self.origin, self.failure) {
            (Origin::Process { .. }, _) | (_, Some(_)) => Ok(()),
            _ => writeln!(out, "hint: report it at {ISSUES_URL} with this text"),
        }
    }
}

/// Name of a thread; the kernel keeps 15 bytes and a NUL.
struct ThreadName([u8; 16]);

impl ThreadName {
    fn own() -> Self {
        let mut name = [0; 16];
        // SAFETY: the kernel writes at most 16 bytes.
        unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        Self(name)
    }
}

impl fmt::Display for ThreadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = CStr::from_bytes_until_nul(&self.0).unwrap_or(c"?");
        f.write_str(name.to_str().unwrap_or("?"))
    }
}

fn signal_name(signal: libc::c_int) -> &'static str {
    SIGNALS.iter().find(|(number, _)| *number == signal).map_or("signal", |(_, name)| name)
}
