//! The loops over `k` of AMX, in assembly: the compiler has no values of tile registers.
//!
//! The registers are configured by [`super::Configuration`]. Sums are tiles 0 and 1 for the upper rows and 2 and 3 for the lower
//! ones, tiles 4 and 5 have the rows of activations, 6 and 7 the panels.
//!
//! Between two tile instructions are eight others, prefetches of weights and `nop`: measured on a Sapphire Rapids whose cores
//! are shared by hyperthreads, blocks without them take 1.5 times as long, and on a core of its own a block takes the same time with and
//! without.

use std::arch::naked_asm;
use std::mem::offset_of;

/// The arguments of a block. Distances are in bytes.
#[repr(C)]
pub(super) struct Block {
    /// What the sums of both panels start with, 64 bytes for all rows.
    pub start: [*const u8; 2],
    /// The upper rows.
    pub x: *const u8,
    /// From one row to the next.
    pub x_stride: usize,
    /// From the upper to the lower rows.
    pub x_lower: usize,
    /// From the first to the second terms, of upper rows.
    pub x_low: usize,
    /// From the first terms of the upper rows to the second ones of the lower rows.
    pub x_lower_low: usize,
    /// Both panels.
    pub w: [*const u8; 2],
    /// From the first to the second terms.
    pub w_low: usize,
    /// Tiles of `k`.
    pub steps: usize,
    /// Where the upper and the lower rows of the sums are written.
    pub to: [*mut f32; 2],
    /// From one row of the sums to the next.
    pub to_stride: usize,
    /// Weights of other blocks, 1 KiB of which is requested in each step.
    pub prefetch: *const u8,
    /// From one step to the next.
    pub prefetch_step: usize,
}

/// Computes a block.
///
/// # Safety
///
/// The CPU has the instructions, and the registers are configured for the rows of the block, whose pointers are valid.
pub(super) type Function = unsafe extern "sysv64" fn(*const Block);

/// Two prefetches, `$at` bytes after the address in a register, and six other instructions.
macro_rules! gap {
    ($register:literal, $at:literal) => {
        concat!(
            "prefetcht1 [",
            $register,
            " + ",
            $at,
            "]\n",
            "prefetcht1 [",
            $register,
            " + ",
            $at,
            " + 64]\n",
            "nop\nnop\nnop\nnop\nnop\nnop"
        )
    };
}

/// A function with the offsets of the fields of its argument.
macro_rules! block {
    ($(#[$doc:meta])* $name:ident, $($line:expr,)*) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub(super) unsafe extern "sysv64" fn $name(block: *const Block) {
            naked_asm!(
                "/* {start} {x} {x_stride} {x_lower} {x_low} {x_lower_low} {w} {w_low} {steps} {to} {to_stride} {prefetch} {prefetch_step} */",
                $($line,)*
                start = const offset_of!(Block, start),
                x = const offset_of!(Block, x),
                x_stride = const offset_of!(Block, x_stride),
                x_lower = const offset_of!(Block, x_lower),
                x_low = const offset_of!(Block, x_low),
                x_lower_low = const offset_of!(Block, x_lower_low),
                w = const offset_of!(Block, w),
                w_low = const offset_of!(Block, w_low),
                steps = const offset_of!(Block, steps),
                to = const offset_of!(Block, to),
                to_stride = const offset_of!(Block, to_stride),
                prefetch = const offset_of!(Block, prefetch),
                prefetch_step = const offset_of!(Block, prefetch_step),
            )
        }
    };
}

/// Defines the functions of an element type with one term; `$dot` is its product of tiles. A tile is loaded for the next step as soon
/// as the last product has read it.
macro_rules! one_term {
    ($half:ident, $full:ident, $dot:literal) => {
        block! {
            /// Computes a block of at most 16 rows.
            $half,
            "mov rax, [rdi + {start}]",
            "mov rcx, [rdi + {start} + 8]",
            "mov r8, [rdi + {x_stride}]",
            "mov r9d, 64",
            // A stride of zero repeats the row.
            "xor edx, edx",
            "tileloadd tmm0, [rax + rdx]",
            "tileloadd tmm1, [rcx + rdx]",
            "mov r11, [rdi + {steps}]",
            "cmp r11, 0",
            "je 4f",
            "mov rax, [rdi + {x}]",
            "mov rdx, [rdi + {w}]",
            "mov rsi, [rdi + {w} + 8]",
            "mov r10, [rdi + {prefetch}]",
            "tileloadd tmm4, [rax + r8]",
            "tileloadd tmm6, [rdx + r9]",
            "tileloadd tmm7, [rsi + r9]",
            "dec r11",
            "je 3f",
            "2:",
            concat!($dot, " tmm0, tmm4, tmm6"),
            gap!("r10", 0),
            "add rdx, 1024",
            "tileloadd tmm6, [rdx + r9]",
            gap!("r10", 128),
            concat!($dot, " tmm1, tmm4, tmm7"),
            gap!("r10", 256),
            "add rax, 64",
            "tileloadd tmm4, [rax + r8]",
            gap!("r10", 384),
            "add rsi, 1024",
            "tileloadd tmm7, [rsi + r9]",
            gap!("r10", 512),
            "add r10, [rdi + {prefetch_step}]",
            "dec r11",
            "jne 2b",
            "3:",
            concat!($dot, " tmm0, tmm4, tmm6"),
            concat!($dot, " tmm1, tmm4, tmm7"),
            "4:",
            "mov rax, [rdi + {to}]",
            "mov r8, [rdi + {to_stride}]",
            "tilestored [rax + r8], tmm0",
            "tilestored [rax + r8 + 64], tmm1",
            "ret",
        }

        block! {
            /// Computes a block of 17 to 32 rows.
            $full,
            "mov rax, [rdi + {start}]",
            "mov rcx, [rdi + {start} + 8]",
            "mov r8, [rdi + {x_stride}]",
            "mov r9d, 64",
            // A stride of zero repeats the row.
            "xor edx, edx",
            "tileloadd tmm0, [rax + rdx]",
            "tileloadd tmm1, [rcx + rdx]",
            "tileloadd tmm2, [rax + rdx]",
            "tileloadd tmm3, [rcx + rdx]",
            "mov r11, [rdi + {steps}]",
            "cmp r11, 0",
            "je 4f",
            "mov rax, [rdi + {x}]",
            "mov rcx, [rdi + {x}]",
            "add rcx, [rdi + {x_lower}]",
            "mov rdx, [rdi + {w}]",
            "mov rsi, [rdi + {w} + 8]",
            "mov r10, [rdi + {prefetch}]",
            "tileloadd tmm4, [rax + r8]",
            "tileloadd tmm6, [rdx + r9]",
            "tileloadd tmm7, [rsi + r9]",
            "tileloadd tmm5, [rcx + r8]",
            "dec r11",
            "je 3f",
            "2:",
            concat!($dot, " tmm0, tmm4, tmm6"),
            gap!("r10", 0),
            concat!($dot, " tmm1, tmm4, tmm7"),
            gap!("r10", 128),
            "add rax, 64",
            "tileloadd tmm4, [rax + r8]",
            gap!("r10", 256),
            concat!($dot, " tmm2, tmm5, tmm6"),
            gap!("r10", 384),
            "add rdx, 1024",
            "tileloadd tmm6, [rdx + r9]",
            gap!("r10", 512),
            concat!($dot, " tmm3, tmm5, tmm7"),
            gap!("r10", 640),
            "add rcx, 64",
            "tileloadd tmm5, [rcx + r8]",
            gap!("r10", 768),
            "add rsi, 1024",
            "tileloadd tmm7, [rsi + r9]",
            gap!("r10", 896),
            "add r10, [rdi + {prefetch_step}]",
            "dec r11",
            "jne 2b",
            "3:",
            concat!($dot, " tmm0, tmm4, tmm6"),
            concat!($dot, " tmm1, tmm4, tmm7"),
            concat!($dot, " tmm2, tmm5, tmm6"),
            concat!($dot, " tmm3, tmm5, tmm7"),
            "4:",
            "mov rax, [rdi + {to}]",
            "mov rcx, [rdi + {to} + 8]",
            "mov r8, [rdi + {to_stride}]",
            "tilestored [rax + r8], tmm0",
            "tilestored [rax + r8 + 64], tmm1",
            "tilestored [rcx + r8], tmm2",
            "tilestored [rcx + r8 + 64], tmm3",
            "ret",
        }
    };
}

one_term!(bf16_half, bf16_full, "tdpbf16ps");
one_term!(int8_half, int8_full, "tdpbusd");

block! {
    /// Computes a block of at most 16 rows with two terms.
    bf16x3_half,
    "mov rax, [rdi + {start}]",
    "mov rcx, [rdi + {start} + 8]",
    "mov r8, [rdi + {x_stride}]",
    "mov r9d, 64",
    // A stride of zero repeats the row.
    "xor edx, edx",
    "tileloadd tmm0, [rax + rdx]",
    "tileloadd tmm1, [rcx + rdx]",
    "mov r11, [rdi + {steps}]",
    "cmp r11, 0",
    "je 4f",
    "mov rax, [rdi + {x}]",
    "mov rcx, [rdi + {prefetch}]",
    "mov rdx, [rdi + {w}]",
    "mov rsi, [rdi + {w} + 8]",
    "2:",
    // First terms of rows, second ones of weights.
    "tileloadd tmm4, [rax + r8]",
    gap!("rcx", 0),
    "mov r10, rdx",
    "add r10, [rdi + {w_low}]",
    "tileloadd tmm6, [r10 + r9]",
    gap!("rcx", 128),
    "tdpbf16ps tmm0, tmm4, tmm6",
    gap!("rcx", 256),
    "mov r10, rsi",
    "add r10, [rdi + {w_low}]",
    "tileloadd tmm7, [r10 + r9]",
    gap!("rcx", 384),
    "tdpbf16ps tmm1, tmm4, tmm7",
    gap!("rcx", 512),
    // First terms of both.
    "tileloadd tmm6, [rdx + r9]",
    gap!("rcx", 640),
    "tdpbf16ps tmm0, tmm4, tmm6",
    gap!("rcx", 768),
    "tileloadd tmm7, [rsi + r9]",
    gap!("rcx", 896),
    "tdpbf16ps tmm1, tmm4, tmm7",
    gap!("rcx", 1024),
    // Second terms of rows, first ones of weights.
    "mov r10, rax",
    "add r10, [rdi + {x_low}]",
    "tileloadd tmm4, [r10 + r8]",
    gap!("rcx", 1152),
    "tdpbf16ps tmm0, tmm4, tmm6",
    gap!("rcx", 1280),
    "tdpbf16ps tmm1, tmm4, tmm7",
    gap!("rcx", 1408),
    "add rax, 64",
    "add rdx, 1024",
    "add rsi, 1024",
    "add rcx, [rdi + {prefetch_step}]",
    "dec r11",
    "jne 2b",
    "4:",
    "mov rax, [rdi + {to}]",
    "mov r8, [rdi + {to_stride}]",
    "tilestored [rax + r8], tmm0",
    "tilestored [rax + r8 + 64], tmm1",
    "ret",
}

block! {
    /// Computes a block of 17 to 32 rows with two terms. The order of the products lets each tile of first terms be loaded once: 8 loads for
    /// 12 products.
    bf16x3_full,
    "mov rax, [rdi + {start}]",
    "mov rcx, [rdi + {start} + 8]",
    "mov r8, [rdi + {x_stride}]",
    "mov r9d, 64",
    // A stride of zero repeats the row.
    "xor edx, edx",
    "tileloadd tmm0, [rax + rdx]",
    "tileloadd tmm1, [rcx + rdx]",
    "tileloadd tmm2, [rax + rdx]",
    "tileloadd tmm3, [rcx + rdx]",
    "mov r11, [rdi + {steps}]",
    "cmp r11, 0",
    "je 4f",
    "mov rax, [rdi + {x}]",
    "mov rcx, [rdi + {prefetch}]",
    "mov rdx, [rdi + {w}]",
    "mov rsi, [rdi + {w} + 8]",
    "2:",
    // First terms of rows, second ones of weights.
    "tileloadd tmm4, [rax + r8]",
    gap!("rcx", 0),
    "mov r10, rdx",
    "add r10, [rdi + {w_low}]",
    "tileloadd tmm6, [r10 + r9]",
    gap!("rcx", 128),
    "tdpbf16ps tmm0, tmm4, tmm6",
    gap!("rcx", 256),
    "mov r10, rax",
    "add r10, [rdi + {x_lower}]",
    "tileloadd tmm5, [r10 + r8]",
    gap!("rcx", 384),
    "tdpbf16ps tmm2, tmm5, tmm6",
    gap!("rcx", 512),
    "mov r10, rsi",
    "add r10, [rdi + {w_low}]",
    "tileloadd tmm7, [r10 + r9]",
    gap!("rcx", 640),
    "tdpbf16ps tmm1, tmm4, tmm7",
    gap!("rcx", 768),
    "tdpbf16ps tmm3, tmm5, tmm7",
    gap!("rcx", 896),
    // First terms of both.
    "tileloadd tmm6, [rdx + r9]",
    gap!("rcx", 1024),
    "tdpbf16ps tmm0, tmm4, tmm6",
    gap!("rcx", 1152),
    "tdpbf16ps tmm2, tmm5, tmm6",
    gap!("rcx", 1280),
    "tileloadd tmm7, [rsi + r9]",
    gap!("rcx", 1408),
    "tdpbf16ps tmm1, tmm4, tmm7",
    gap!("rcx", 1536),
    "tdpbf16ps tmm3, tmm5, tmm7",
    gap!("rcx", 1664),
    // Second terms of rows, first ones of weights.
    "mov r10, rax",
    "add r10, [rdi + {x_low}]",
    "tileloadd tmm4, [r10 + r8]",
    gap!("rcx", 1792),
    "tdpbf16ps tmm0, tmm4, tmm6",
    gap!("rcx", 1920),
    "tdpbf16ps tmm1, tmm4, tmm7",
    gap!("rcx", 2048),
    "mov r10, rax",
    "add r10, [rdi + {x_lower_low}]",
    "tileloadd tmm5, [r10 + r8]",
    gap!("rcx", 2176),
    "tdpbf16ps tmm2, tmm5, tmm6",
    gap!("rcx", 2304),
    "tdpbf16ps tmm3, tmm5, tmm7",
    gap!("rcx", 2432),
    "add rax, 64",
    "add rdx, 1024",
    "add rsi, 1024",
    "add rcx, [rdi + {prefetch_step}]",
    "dec r11",
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
}
