//! The loops over `k` of AMX, in assembly: the compiler has no values of tile registers.
//!
//! The registers are configured by [`super::Configuration`]. Sums are tiles 0 and 1 for the upper rows and 2 and 3 for the lower
//! ones, tiles 4 and 5 have the rows of activations, 6 and 7 the panels.

use std::arch::naked_asm;
use std::mem::offset_of;

use super::super::tiles::Pass;

/// The arguments of a block. Distances are in bytes.
#[repr(C)]
pub(super) struct Block {
    /// What the sums of both panels start with, 64 bytes for all rows.
    pub start: [*const u8; 2],
    /// The upper and the lower rows.
    pub x: [*const u8; 2],
    /// From one row to the next.
    pub x_stride: usize,
    /// Both panels.
    pub w: [*const u8; 2],
    /// The first pass.
    pub passes: *const Pass,
    /// The end of the passes.
    pub passes_end: *const Pass,
    /// Tiles of `k` of a pass, at least one.
    pub steps: usize,
    /// Where the upper and the lower rows of the sums are written.
    pub to: [*mut f32; 2],
    /// From one row of the sums to the next.
    pub to_stride: usize,
}

/// Computes a block.
///
/// # Safety
///
/// The CPU has the instructions, and the registers are configured for the rows of the block, whose pointers are valid.
pub(super) type Function = unsafe extern "sysv64" fn(*const Block);

/// Defines the functions of an element type; `$dot` is its product of tiles.
macro_rules! blocks {
    ($half:ident, $full:ident, $dot:literal) => {
        /// Computes a block of at most 16 rows.
        #[unsafe(naked)]
        pub(super) unsafe extern "sysv64" fn $half(block: *const Block) {
            naked_asm!(
                "mov rax, [rdi + {start}]",
                "mov rcx, [rdi + {start} + 8]",
                "mov r8, [rdi + {x_stride}]",
                "mov r9d, 64",
                "mov r10, [rdi + {passes}]",
                // A stride of zero repeats the row.
                "xor edx, edx",
                "tileloadd tmm0, [rax + rdx]",
                "tileloadd tmm1, [rcx + rdx]",
                "cmp r10, [rdi + {passes_end}]",
                "je 4f",
                "2:",
                "mov rax, [rdi + {x}]",
                "add rax, [r10 + {pass_x}]",
                "mov rdx, [rdi + {w}]",
                "add rdx, [r10 + {pass_w}]",
                "mov rsi, [rdi + {w} + 8]",
                "add rsi, [r10 + {pass_w}]",
                "mov r11, [rdi + {steps}]",
                "3:",
                "tileloadd tmm4, [rax + r8]",
                "tileloadd tmm6, [rdx + r9]",
                "tileloadd tmm7, [rsi + r9]",
                concat!($dot, " tmm0, tmm4, tmm6"),
                concat!($dot, " tmm1, tmm4, tmm7"),
                "add rax, 64",
                "add rdx, 1024",
                "add rsi, 1024",
                "dec r11",
                "jnz 3b",
                "add r10, {pass_size}",
                "cmp r10, [rdi + {passes_end}]",
                "jne 2b",
                "4:",
                "mov rax, [rdi + {to}]",
                "mov r8, [rdi + {to_stride}]",
                "tilestored [rax + r8], tmm0",
                "tilestored [rax + r8 + 64], tmm1",
                "ret",
                start = const offset_of!(Block, start),
                x = const offset_of!(Block, x),
                x_stride = const offset_of!(Block, x_stride),
                w = const offset_of!(Block, w),
                passes = const offset_of!(Block, passes),
                passes_end = const offset_of!(Block, passes_end),
                steps = const offset_of!(Block, steps),
                to = const offset_of!(Block, to),
                to_stride = const offset_of!(Block, to_stride),
                pass_x = const offset_of!(Pass, x),
                pass_w = const offset_of!(Pass, w),
                pass_size = const size_of::<Pass>(),
            )
        }

        /// Computes a block of 17 to 32 rows.
        #[unsafe(naked)]
        pub(super) unsafe extern "sysv64" fn $full(block: *const Block) {
            naked_asm!(
                "mov rax, [rdi + {start}]",
                "mov rcx, [rdi + {start} + 8]",
                "mov r8, [rdi + {x_stride}]",
                "mov r9d, 64",
                "mov r10, [rdi + {passes}]",
                // A stride of zero repeats the row.
                "xor edx, edx",
                "tileloadd tmm0, [rax + rdx]",
                "tileloadd tmm1, [rcx + rdx]",
                "tileloadd tmm2, [rax + rdx]",
                "tileloadd tmm3, [rcx + rdx]",
                "cmp r10, [rdi + {passes_end}]",
                "je 4f",
                "2:",
                "mov rax, [rdi + {x}]",
                "add rax, [r10 + {pass_x}]",
                "mov rcx, [rdi + {x} + 8]",
                "add rcx, [r10 + {pass_x}]",
                "mov rdx, [rdi + {w}]",
                "add rdx, [r10 + {pass_w}]",
                "mov rsi, [rdi + {w} + 8]",
                "add rsi, [r10 + {pass_w}]",
                "mov r11, [rdi + {steps}]",
                "3:",
                "tileloadd tmm4, [rax + r8]",
                "tileloadd tmm6, [rdx + r9]",
                "tileloadd tmm7, [rsi + r9]",
                concat!($dot, " tmm0, tmm4, tmm6"),
                concat!($dot, " tmm1, tmm4, tmm7"),
                "tileloadd tmm5, [rcx + r8]",
                concat!($dot, " tmm2, tmm5, tmm6"),
                concat!($dot, " tmm3, tmm5, tmm7"),
                "add rax, 64",
                "add rcx, 64",
                "add rdx, 1024",
                "add rsi, 1024",
                "dec r11",
                "jnz 3b",
                "add r10, {pass_size}",
                "cmp r10, [rdi + {passes_end}]",
                "jne 2b",
                "4:",
                "mov rax, [rdi + {to}]",
                "mov rcx, [rdi + {to} + 8]",
                "mov r8, [rdi + {to_stride}]",
                "tilestored [rax + r8], tmm0",
                "tilestored [rax + r8 + 64], tmm1",
                "tilestored [rcx + r8], tmm2",
                "tilestored [rcx + r8 + 64], tmm3",
                "ret",
                start = const offset_of!(Block, start),
                x = const offset_of!(Block, x),
                x_stride = const offset_of!(Block, x_stride),
                w = const offset_of!(Block, w),
                passes = const offset_of!(Block, passes),
                passes_end = const offset_of!(Block, passes_end),
                steps = const offset_of!(Block, steps),
                to = const offset_of!(Block, to),
                to_stride = const offset_of!(Block, to_stride),
                pass_x = const offset_of!(Pass, x),
                pass_w = const offset_of!(Pass, w),
                pass_size = const size_of::<Pass>(),
            )
        }
    };
}

blocks!(bf16_half, bf16_full, "tdpbf16ps");
blocks!(int8_half, int8_full, "tdpbusd");
