//! Products of row-major activations with packed weights, or with another row-major matrix.
//!
//! ```text
//! for each block of 1 or 2 panels of weights       stays in L2 for all rows; the next block is prefetched
//!     for each tile of up to 12 rows               balanced: 25 rows are 9 + 8 + 8
//!         sums = bias; for each k: sums += a * b   all sums in registers
//!         store or add, then the activation        while the tile is in L1
//! ```
//!
//! An element of the result is one chain of multiply-adds over `k` in order, beginning with the bias. It is therefore the same,
//! bit for bit, for every number of rows and for every division of the panels, and on all sets with fused
//! multiply-add. There is no division of `k`.
//!
//! Activations are not packed. A distance of rows that is a multiple of 4 KiB puts all rows of a tile into one set of L1. That
//! costs nothing on Zen 5, whose sets have 12 ways (bench `gemm`, rows 4 KiB and 16 KiB apart). Where sets have 8 ways, a
//! caller avoids it with a distance of 16 floats more.

mod block;
mod epilogue;
mod low_precision;
mod packed;
mod prefetch;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod tile;
mod unpacked;

use std::ops::Range;

use block::Block;
pub use epilogue::Epilogue;
pub use low_precision::{PackedBf16, PackedInt8, Terms, gemm_bf16, gemm_int8, int8_row_elements};
pub use packed::{LinearPart, PackedF32};
pub(crate) use prefetch::Prefetch;
pub use unpacked::gemm_unpacked;

use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut};
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// `out = epilogue(x * w^T + bias)` for the columns of `panels`.
///
/// `x` is `[rows, inner]`, `out` is `[rows, columns of these panels]`; with an `inner` of 0 the sums are the bias. Panics when
/// shapes do not match. Allocates nothing.
pub fn gemm_f32(
    isa: Isa,
    x: Matrix<'_, f32>,
    w: &PackedF32,
    panels: Range<usize>,
    epilogue: Epilogue,
    out: MatrixMut<'_, f32>,
) {
    assert!(panels.start <= panels.end && panels.end <= w.panels(), "panels {panels:?} of {}", w.panels());
    let columns = w.columns().min(panels.end * LANES) - w.columns().min(panels.start * LANES);
    assert!(
        x.columns() == w.inner() && (out.rows(), out.columns()) == (x.rows(), columns),
        "[{}, {}] * [{}, {columns}] into [{}, {}]",
        x.rows(),
        x.columns(),
        w.inner(),
        out.rows(),
        out.columns()
    );
    dispatch(isa, PackedGemm { x, w, panels, epilogue, out });
}

/// The arguments of [`gemm_f32`], whose shapes match.
struct PackedGemm<'a, 'b> {
    x: Matrix<'a, f32>,
    w: &'a PackedF32,
    panels: Range<usize>,
    epilogue: Epilogue,
    out: MatrixMut<'b, f32>,
}

impl Kernel for PackedGemm<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let PackedGemm { x, w, panels, epilogue, mut out } = self;
        let of_panel = w.inner() * LANES;
        let end = panels.end;
        for panel in panels.step_by(tile::vectors::<S>()) {
            let count = tile::vectors::<S>().min(end - panel);
            let columns = (count * LANES).min(out.columns());
            let (block, rest) = out.split_columns(columns);
            out = rest;
            let weights = w.weights_from(panel);
            let next = tile::vectors::<S>().min(end - panel - count) * of_panel;
            let block = Block {
                a: x,
                b: weights.as_ptr(),
                b_step: LANES,
                b_next: of_panel,
                bias: w.bias_from(panel),
                epilogue,
                out: block,
                next: &weights[count * of_panel..][..next],
            };
            // SAFETY: a panel has a vector for each `k`.
            unsafe { block.compute(s) };
        }
    }
}
