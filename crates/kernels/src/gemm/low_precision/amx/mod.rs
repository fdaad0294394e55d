//! Tiles of sums in the registers of AMX.
//!
//! The tests decode the machine code of the functions in [`blocks`] and interpret it, together with all the code around it, so
//! that machines without AMX test it, too. On a CPU with AMX they compare the interpreter with it.

mod blocks;
#[cfg(test)]
mod tests;

use std::arch::asm;
use std::ops::Range;

use super::Terms;
use super::tiles::{BLOCK_BYTES, GROUP_BYTES, Operands, Pass, Product, Scale, Unit};
use crate::simd::{Avx512, Kernel, LANES, Simd};
use blocks::{Block, Function};

/// Rows of a tile register.
const TILE_ROWS: usize = 16;
/// Rows of a block of two by two tiles.
const BLOCK_ROWS: usize = 2 * TILE_ROWS;

/// The functions for one element type.
#[derive(Clone, Copy)]
pub(super) struct Amx {
    simd: Avx512,
    functions: Functions,
}

/// The functions that compute a block.
#[derive(Clone, Copy)]
struct Functions {
    /// For at most 16 rows.
    half: Function,
    /// For 17 to 32 rows.
    full: Function,
}

const BF16: Functions = Functions { half: blocks::bf16_half, full: blocks::bf16_full };
const BF16X3: Functions = Functions { half: blocks::bf16x3_half, full: blocks::bf16x3_full };
const INT8: Functions = Functions { half: blocks::int8_half, full: blocks::int8_full };

impl Amx {
    /// Products of bf16 with this number of terms.
    ///
    /// # Safety
    ///
    /// The CPU has AVX-512 and AMX-BF16, and the process may use the tile registers.
    pub unsafe fn bf16(terms: Terms) -> Self {
        // SAFETY: as the caller promises.
        Amx { simd: unsafe { Avx512::new() }, functions: Functions::of_bf16(terms) }
    }

    /// Products of unsigned with signed bytes.
    ///
    /// # Safety
    ///
    /// The CPU has AVX-512 and AMX-INT8, and the process may use the tile registers.
    pub unsafe fn int8() -> Self {
        // SAFETY: as the caller promises.
        Amx { simd: unsafe { Avx512::new() }, functions: INT8 }
    }

    /// Computes a product.
    ///
    /// # Safety
    ///
    /// As for [`Product::compute`].
    pub unsafe fn compute<F: Scale>(self, product: Product<'_, '_, F>) {
        for_each_part(product, |configuration, part| {
            self.configure(configuration);
            // SAFETY: as the caller promises.
            unsafe { part.compute(Tiles(self)) };
        });
        self.release();
    }

    /// Configures the tile registers of this thread, and clears them. Neither the compiler nor the standard library uses them, so
    /// their state lasts until [`Amx::release`].
    #[expect(clippy::unused_self, reason = "the value is the evidence for the instruction")]
    fn configure(self, configuration: &Configuration) {
        // SAFETY: the value shows that the CPU has the instruction; it reads 64 bytes.
        unsafe {
            asm!(
                "ldtilecfg [{}]",
                in(reg) configuration,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly, preserves_flags)
            );
        }
    }

    /// Returns the tile registers to their initial state, in which a switch of threads need not save them.
    #[expect(clippy::unused_self, reason = "the value is the evidence for the instruction")]
    fn release(self) {
        // SAFETY: the value shows that the CPU has the instruction; it accesses no memory.
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, nomem, preserves_flags)
            );
        }
    }
}

/// Divides the rows of a product into those of whole blocks and the others: the registers are configured for a number of rows, and
/// configuring costs as much as several products of tiles.
fn for_each_part<F: Scale>(
    mut product: Product<'_, '_, F>,
    mut compute: impl FnMut(&Configuration, Product<'_, '_, F>),
) {
    let Range { start, end } = product.rows;
    let whole = start + (end - start) / BLOCK_ROWS * BLOCK_ROWS;
    for rows in [start..whole, whole..end] {
        if !rows.is_empty() {
            let configuration = Configuration::new(rows.len());
            compute(&configuration, Product { rows, out: product.out.reborrow(), ..product });
        }
    }
}

/// The operand of `ldtilecfg`.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configuration {
    /// Tiles for blocks of `rows` rows, or of 32 when there are more: sums in 0 to 3, rows in 4 and 5, weights in 6 and 7.
    fn new(rows: usize) -> Self {
        let upper = rows.min(TILE_ROWS) as u8;
        // A register without rows could not be used, and the functions for half a block do not use those of the lower rows.
        let lower = (rows.clamp(TILE_ROWS + 1, BLOCK_ROWS) - TILE_ROWS) as u8;
        let all = TILE_ROWS as u8;
        let mut row_bytes = [0; 16];
        row_bytes[..8].fill(BLOCK_BYTES as u16);
        let rows = [upper, upper, lower, lower, upper, lower, all, all, 0, 0, 0, 0, 0, 0, 0, 0];
        Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
    }
}

/// The configured registers: blocks of two by two tiles, for which four products need four loads of tiles.
#[derive(Clone, Copy)]
struct Tiles(Amx);

impl Unit for Tiles {
    type Simd = Avx512;
    const ROWS: usize = BLOCK_ROWS;
    const VECTORS: usize = 2;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self.0.simd
    }

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        self.0.simd.call(kernel)
    }

    #[inline(always)]
    unsafe fn sums(self, rows: usize, operands: Operands<'_>, to: *mut f32, stride: usize) {
        let block = Block::new(&operands, to, stride);
        // SAFETY: as the caller promises; the registers are configured for this number of rows.
        unsafe { self.0.functions.of(rows)(&raw const block) };
    }
}

impl Functions {
    fn of_bf16(terms: Terms) -> Self {
        match terms {
            Terms::One => BF16,
            Terms::Two => BF16X3,
        }
    }

    /// The function for a block of `rows` rows.
    fn of(self, rows: usize) -> Function {
        if rows > TILE_ROWS { self.full } else { self.half }
    }
}

impl Block {
    /// The arguments for one block.
    fn new(operands: &Operands<'_>, to: *mut f32, stride: usize) -> Self {
        let Operands { x, x_stride, w, w_step, start, start_step, passes, groups, prefetch } = *operands;
        // Passes of second terms have the distance to them.
        let low = |of: fn(&Pass) -> usize| passes.iter().map(of).max().unwrap_or(0);
        let (x_low, x_lower) = (low(|pass| pass.x), TILE_ROWS * x_stride);
        let groups_of_step = BLOCK_BYTES / GROUP_BYTES;
        Block {
            start: [start, start.wrapping_add(start_step)],
            x,
            x_stride,
            x_lower,
            x_low,
            x_lower_low: x_lower + x_low,
            w: [w, w.wrapping_add(w_step)],
            w_low: low(|pass| pass.w),
            steps: groups / groups_of_step,
            to: [to, to.wrapping_add(TILE_ROWS * stride)],
            to_stride: stride * size_of::<f32>(),
            prefetch: prefetch.start(),
            prefetch_step: prefetch.bytes_of(groups_of_step * passes.len()),
        }
    }
}

const _: () = assert!(TILE_ROWS == LANES, "the rows of a tile of weights are the groups of a panel");
