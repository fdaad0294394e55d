//! Loops over `k` of tiles with packed panels, in assembly.
//!
//! The compiler takes the addresses of the rows of a tile from a chain of additions, or from the stack. Its loop of 12 rows reaches
//! 165 to 171 GFLOP/s on a Sapphire Rapids, this one 185 to 194: four pointers and one distance address all rows, four groups share
//! their increments, and a group prefetches one line.

/// A tile: some rows, and 32 columns of AVX-512 or 16 of AVX2. A group is what a row has for one step, 4 bytes: one f32, two bf16,
/// four bytes. Distances are in bytes.
#[repr(C)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only x86-64 has loops"))]
pub(crate) struct PanelLoop {
    /// The first group of the first row.
    pub x: *const u8,
    /// From one row to the next.
    pub x_stride: usize,
    /// The first panel, 64 bytes for each group. AVX2 reads its second half as second vector, AVX-512 the next panel.
    pub w: *const u8,
    /// From the first vector of a group to the second.
    pub w_next: usize,
    /// Number of groups.
    pub groups: usize,
    /// What the sums of the first row start with.
    pub start: *const u8,
    /// From the first vector of a row to the second.
    pub start_next: usize,
    /// From one row to the next.
    pub start_stride: usize,
    /// The first row of the result, whose vectors are adjacent.
    pub to: *mut u8,
    /// From one row of the result to the next.
    pub to_stride: usize,
    /// Whether f32 sums are added to the result instead of replacing it.
    pub add: bool,
    /// What the first group prefetches.
    pub prefetch: *const u8,
    /// From what one group prefetches to what the next one does.
    pub prefetch_step: usize,
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{avx2_f32, avx512_bf16, avx512_f32, avx512_int8};

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::naked_asm;
    use std::mem::offset_of;

    use super::PanelLoop;

    // One line of assembly stays one line of the source: `rustfmt::skip`.

    /// Passes to `$line` what a row of AVX-512 has: both sums, a register for its group, the address of the group.
    macro_rules! rows_of_avx512 {
        ($line:ident $(, $argument:literal)*) => {
            concat!(
                row!(0, $line!("zmm0", "zmm12", "zmm26", "rax" $(, $argument)*)),
                row!(1, $line!("zmm1", "zmm13", "zmm27", "rax + r8" $(, $argument)*)),
                row!(2, $line!("zmm2", "zmm14", "zmm28", "rax + 2*r8" $(, $argument)*)),
                row!(3, $line!("zmm3", "zmm15", "zmm29", "rcx" $(, $argument)*)),
                row!(4, $line!("zmm4", "zmm16", "zmm30", "rcx + r8" $(, $argument)*)),
                row!(5, $line!("zmm5", "zmm17", "zmm31", "rcx + 2*r8" $(, $argument)*)),
                row!(6, $line!("zmm6", "zmm18", "zmm26", "rdx" $(, $argument)*)),
                row!(7, $line!("zmm7", "zmm19", "zmm27", "rdx + r8" $(, $argument)*)),
                row!(8, $line!("zmm8", "zmm20", "zmm28", "rdx + 2*r8" $(, $argument)*)),
                row!(9, $line!("zmm9", "zmm21", "zmm29", "rsi" $(, $argument)*)),
                row!(10, $line!("zmm10", "zmm22", "zmm30", "rsi + r8" $(, $argument)*)),
                row!(11, $line!("zmm11", "zmm23", "zmm31", "rsi + 2*r8" $(, $argument)*)),
            )
        };
    }

    /// As [`rows_of_avx512`], for AVX2.
    macro_rules! rows_of_avx2 {
        ($line:ident $(, $argument:literal)*) => {
            concat!(
                row!(0, $line!("ymm0", "ymm6", "ymm14", "rax" $(, $argument)*)),
                row!(1, $line!("ymm1", "ymm7", "ymm15", "rax + r8" $(, $argument)*)),
                row!(2, $line!("ymm2", "ymm8", "ymm14", "rax + 2*r8" $(, $argument)*)),
                row!(3, $line!("ymm3", "ymm9", "ymm15", "rcx" $(, $argument)*)),
                row!(4, $line!("ymm4", "ymm10", "ymm14", "rcx + r8" $(, $argument)*)),
                row!(5, $line!("ymm5", "ymm11", "ymm15", "rcx + 2*r8" $(, $argument)*)),
            )
        };
    }

    /// A line of a row that the tile has.
    macro_rules! row {
        ($row:literal, $line:expr) => {
            concat!(".if ", $row, " < {rows}\n", $line, "\n.endif\n")
        };
    }

    macro_rules! load_start {
        ($first:literal, $second:literal, $group:literal, $at:literal) => {
            concat!("vmovups ", $first, ", [r9]\nvmovups ", $second, ", [r9 + r11]\nadd r9, r10")
        };
    }

    #[rustfmt::skip]
    macro_rules! multiply {
        ($first:literal, $second:literal, $group:literal, $at:literal,
         $instruction:literal, $w:literal, $w_next:literal, $offset:literal) => {
            concat!(
                "vbroadcastss ", $group, ", dword ptr [", $at, " + ", $offset, "]\n",
                $instruction, " ", $first, ", ", $group, ", ", $w, "\n",
                $instruction, " ", $second, ", ", $group, ", ", $w_next
            )
        };
    }

    #[rustfmt::skip]
    macro_rules! add_to {
        ($first:literal, $second:literal, $group:literal, $at:literal, $next:literal) => {
            concat!(
                "vaddps ", $first, ", ", $first, ", [r9]\n",
                "vaddps ", $second, ", ", $second, ", [r9 + ", $next, "]\n",
                "add r9, r10"
            )
        };
    }

    #[rustfmt::skip]
    macro_rules! store {
        ($first:literal, $second:literal, $group:literal, $at:literal, $next:literal) => {
            concat!(
                "vmovups [r9], ", $first, "\n",
                "vmovups [r9 + ", $next, "], ", $second, "\n",
                "add r9, r10"
            )
        };
    }

    /// All rows for one group: offsets in a row, and in a panel.
    #[rustfmt::skip]
    macro_rules! group {
        ($rows:ident, $instruction:literal, $w:literal, $w_next:literal, $in_row:literal, $in_panel:literal) => {
            concat!(
                "vmovups ", $w, ", [r9 + ", $in_panel, "]\n",
                "vmovups ", $w_next, ", [r9 + r10 + ", $in_panel, "]\n",
                $rows!(multiply, $instruction, $w, $w_next, $in_row),
                "prefetcht1 [r11]\n",
                "add r11, [rdi + {prefetch_step}]\n"
            )
        };
    }

    /// A function for the numbers of rows for which it pays, and its loop. A tile of fewer rows waits for memory.
    macro_rules! panel_loop {
        (
            $(#[$doc:meta])*
            $name:ident, $($count:literal)*, $rows:ident, $instruction:literal, $w:literal, $w_next:literal, $next:literal
        ) => {
            $(#[$doc])*
            ///
            /// Returns `false`, and does nothing, when there is no loop for this number of rows.
            ///
            /// # Safety
            ///
            /// The CPU has the instructions. All vectors of all rows and groups can be read, and written at `to`.
            #[inline(always)]
            pub(in crate::simd) unsafe fn $name(rows: usize, tile: &PanelLoop) -> bool {
                #[unsafe(naked)]
                unsafe extern "sysv64" fn tile_of<const ROWS: usize>(tile: *const PanelLoop) {
                    naked_asm!(
                        "mov r9, [rdi + {start}]",
                        "mov r10, [rdi + {start_stride}]",
                        "mov r11, [rdi + {start_next}]",
                        $rows!(load_start),
                        "mov rax, [rdi + {x}]",
                        "mov r8, [rdi + {x_stride}]",
                        // Three rows further each.
                        "lea r9, [r8 + 2*r8]",
                        "lea rcx, [rax + r9]",
                        "lea rdx, [rcx + r9]",
                        "lea rsi, [rdx + r9]",
                        "mov r9, [rdi + {w}]",
                        "mov r10, [rdi + {w_next}]",
                        // The ends of both loops are below the stack: the function calls nothing.
                        "mov r11, [rdi + {groups}]",
                        "shl r11, 6",
                        "add r11, r9",
                        "mov [rsp - 8], r11",
                        "mov r11, [rdi + {groups}]",
                        "and r11, -4",
                        "shl r11, 6",
                        "add r11, r9",
                        "mov [rsp - 16], r11",
                        "mov r11, [rdi + {prefetch}]",
                        "cmp r9, [rsp - 16]",
                        "je 3f",
                        ".p2align 5",
                        "2:",
                        group!($rows, $instruction, $w, $w_next, 0, 0),
                        group!($rows, $instruction, $w, $w_next, 4, 64),
                        group!($rows, $instruction, $w, $w_next, 8, 128),
                        group!($rows, $instruction, $w, $w_next, 12, 192),
                        "add rax, 16",
                        "add rcx, 16",
                        "add rdx, 16",
                        "add rsi, 16",
                        "add r9, 256",
                        "cmp r9, [rsp - 16]",
                        "jne 2b",
                        "3:",
                        "cmp r9, [rsp - 8]",
                        "je 5f",
                        "4:",
                        group!($rows, $instruction, $w, $w_next, 0, 0),
                        "add rax, 4",
                        "add rcx, 4",
                        "add rdx, 4",
                        "add rsi, 4",
                        "add r9, 64",
                        "cmp r9, [rsp - 8]",
                        "jne 4b",
                        "5:",
                        "mov r10, [rdi + {to_stride}]",
                        "cmp byte ptr [rdi + {add}], 0",
                        "je 6f",
                        "mov r9, [rdi + {to}]",
                        $rows!(add_to, $next),
                        "6:",
                        "mov r9, [rdi + {to}]",
                        $rows!(store, $next),
                        "vzeroupper",
                        "ret",
                        rows = const ROWS,
                        x = const offset_of!(PanelLoop, x),
                        x_stride = const offset_of!(PanelLoop, x_stride),
                        w = const offset_of!(PanelLoop, w),
                        w_next = const offset_of!(PanelLoop, w_next),
                        groups = const offset_of!(PanelLoop, groups),
                        start = const offset_of!(PanelLoop, start),
                        start_next = const offset_of!(PanelLoop, start_next),
                        start_stride = const offset_of!(PanelLoop, start_stride),
                        to = const offset_of!(PanelLoop, to),
                        to_stride = const offset_of!(PanelLoop, to_stride),
                        add = const offset_of!(PanelLoop, add),
                        prefetch = const offset_of!(PanelLoop, prefetch),
                        prefetch_step = const offset_of!(PanelLoop, prefetch_step),
                    )
                }
                match rows {
                    // SAFETY: as the caller promises.
                    $($count => unsafe { tile_of::<$count>(tile) },)*
                    _ => return false,
                }
                true
            }
        };
    }

    panel_loop! {
        /// f32 on AVX2.
        avx2_f32, 3 4 5 6, rows_of_avx2, "vfmadd231ps", "ymm12", "ymm13", 32
    }
    panel_loop! {
        /// f32 on AVX-512.
        avx512_f32, 6 7 8 9 10 11 12, rows_of_avx512, "vfmadd231ps", "zmm24", "zmm25", 64
    }
    panel_loop! {
        /// Pairs of bf16 on AVX-512 BF16.
        avx512_bf16, 6 7 8 9 10 11 12, rows_of_avx512, "vdpbf16ps", "zmm24", "zmm25", 64
    }
    panel_loop! {
        /// Bytes on AVX-512 VNNI.
        avx512_int8, 6 7 8 9 10 11 12, rows_of_avx512, "vpdpbusd", "zmm24", "zmm25", 64
    }
}
