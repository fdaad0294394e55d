//! The frames of the thread that crashed, by the unwinder of the panics, which is linked anyway.
//!
//! It starts at the registers that the kernel saved, not at the handler, and so does not depend on the signal frame. In the
//! static program it takes no lock and allocates nothing on this path: the tables are found through the program headers.
//! Every object has unwind tables, those of the C libraries included. A stack that is damaged can make the unwinder access
//! an unmapped page: `handler` then ends the report.

use core::ffi::{c_int, c_void};

use super::elf_image;
use super::threads::Stack;

/// Registers at the time of the signal.
#[derive(Debug, Clone, Copy)]
pub struct Registers {
    /// The order in which libunwind keeps them: `Registers_x86_64`.
    words: [u64; CONTEXT_WORDS],
}

/// More than libunwind needs (21 and 33 words): unused words cost nothing.
const CONTEXT_WORDS: usize = 64;
const CURSOR_WORDS: usize = 256;
const STACK_POINTER: usize = 7;
const INSTRUCTION_POINTER: usize = 16;
/// Number of the instruction pointer in the interface of libunwind.
const UNW_REG_IP: c_int = -1;

impl Registers {
    /// Those of the third argument of a signal handler.
    ///
    /// # Safety
    /// The kernel passed `context`.
    pub unsafe fn of(context: *const c_void) -> Self {
        use libc::{
            REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RAX, REG_RBP, REG_RBX,
            REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI, REG_RSP,
        };
        const ORDER: [c_int; 17] = [
            REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RDI, REG_RSI, REG_RBP, REG_RSP, REG_R8, REG_R9, REG_R10,
            REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP,
        ];
        // SAFETY: the caller guarantees a context of the kernel.
        let saved = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        let mut words = [0; CONTEXT_WORDS];
        for (word, register) in words.iter_mut().zip(ORDER) {
            *word = saved[register as usize] as u64;
        }
        Self { words }
    }

    /// The address of the instruction.
    pub fn instruction(&self) -> usize {
        self.words[INSTRUCTION_POINTER] as usize
    }

    /// The stack pointer.
    pub fn stack(&self) -> usize {
        self.words[STACK_POINTER] as usize
    }

    /// After a call of an address without code: as before the call. `None` when the stack pointer is not in `stack`.
    fn before_the_call(&self, stack: Option<Stack>) -> Option<Self> {
        let pointer = self.stack();
        if !stack?.range().contains(&pointer) || !pointer.is_multiple_of(8) {
            return None;
        }
        let mut words = self.words;
        // SAFETY: the address is aligned and in the stack of this thread.
        words[INSTRUCTION_POINTER] = unsafe { core::ptr::read_volatile(pointer as *const u64) };
        words[STACK_POINTER] += 8;
        Some(Self { words })
    }
}

unsafe extern "C" {
    fn __unw_init_local(cursor: *mut u64, context: *mut u64) -> c_int;
    fn __unw_step(cursor: *mut u64) -> c_int;
    fn __unw_get_reg(cursor: *mut u64, register: c_int, value: *mut usize) -> c_int;
    fn __unw_is_signal_frame(cursor: *mut u64) -> c_int;
}

/// Frames of one stack of 8 MiB; a damaged stack could form a loop.
const FRAMES_MAX: usize = 1 << 18;

/// Calls `frame` with an address inside of the instruction of each frame, innermost first. Of a frame that called another
/// one, it is the last byte of the call: the line of the return address can be another one.
pub fn walk(registers: &Registers, stack: Option<Stack>, mut frame: impl FnMut(usize)) {
    let mut registers = *registers;
    let mut is_exact = true;
    let code = elf_image::own().map_or(0..usize::MAX, |image| image.code.clone());
    if !code.contains(&registers.instruction()) {
        frame(registers.instruction());
        let Some(caller) = registers.before_the_call(stack) else { return };
        if !code.contains(&caller.instruction()) {
            return;
        }
        (registers, is_exact) = (caller, false);
    }
    if is_exact {
        // libunwind reads the tables for a return address, whose call has already happened. Without the one byte it would
        // ignore the row that begins at the instruction.
        frame(registers.instruction());
        registers.words[INSTRUCTION_POINTER] += 1;
    }
    let mut is_known = is_exact;
    let mut cursor = [0u64; CURSOR_WORDS];
    // SAFETY: both arrays are larger than the structures of libunwind, and live during the walk.
    if unsafe { __unw_init_local(cursor.as_mut_ptr(), registers.words.as_mut_ptr()) } != 0 {
        return;
    }
    for _ in 0..FRAMES_MAX {
        let mut address = 0;
        // SAFETY: the cursor is initialized.
        if unsafe { __unw_get_reg(cursor.as_mut_ptr(), UNW_REG_IP, &raw mut address) } != 0 || address == 0 {
            return;
        }
        if !core::mem::take(&mut is_known) {
            frame(address - usize::from(!is_exact));
        }
        // SAFETY: the cursor is initialized.
        is_exact = unsafe { __unw_is_signal_frame(cursor.as_mut_ptr()) } > 0;
        // SAFETY: the cursor is initialized.
        if unsafe { __unw_step(cursor.as_mut_ptr()) } <= 0 {
            return;
        }
    }
}
