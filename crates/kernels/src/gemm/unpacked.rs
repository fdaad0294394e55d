//! Products with a row-major right operand, as attention has them.

use super::block::Block;
use super::epilogue::Epilogue;
use super::prefetch::Prefetch;
use super::tile::{self, MAX_ROWS, MAX_VECTORS, Tile, row_tiles};
use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut};
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// What sums start with.
static ZEROS: [f32; MAX_VECTORS * LANES] = [0.0; MAX_VECTORS * LANES];

/// `out = a * b` with `a` `[rows, inner]`, `b` `[inner, columns]` and `out` `[rows, columns]`.
///
/// Each element is the same chain of multiply-adds as that of [`gemm_f32`](super::gemm_f32) without a bias. Panics when shapes do
/// not match. Allocates nothing.
pub fn gemm_unpacked(isa: Isa, a: Matrix<'_, f32>, b: Matrix<'_, f32>, out: MatrixMut<'_, f32>) {
    assert!(
        a.columns() == b.rows() && (out.rows(), out.columns()) == (a.rows(), b.columns()),
        "[{}, {}] * [{}, {}] into [{}, {}]",
        a.rows(),
        a.columns(),
        b.rows(),
        b.columns(),
        out.rows(),
        out.columns()
    );
    dispatch(isa, UnpackedGemm { a, b, out });
}

/// The arguments of [`gemm_unpacked`], whose shapes match.
struct UnpackedGemm<'a, 'b> {
    a: Matrix<'a, f32>,
    b: Matrix<'a, f32>,
    out: MatrixMut<'b, f32>,
}

impl Kernel for UnpackedGemm<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let UnpackedGemm { a, b, mut out } = self;
        let whole = b.columns() / LANES * LANES;
        let mut column = 0;
        while column < whole {
            let columns = (tile::vectors::<S>() * LANES).min(whole - column);
            let (block, rest) = out.split_columns(columns);
            out = rest;
            let block = Block {
                a,
                b: b.as_ptr().wrapping_add(column),
                b_step: b.stride(),
                b_next: LANES,
                bias: &ZEROS,
                epilogue: Epilogue::Store,
                out: block,
                next: &[],
            };
            // SAFETY: the columns of the block are columns of `b`.
            unsafe { block.compute(s) };
            column += columns;
        }
        if out.columns() > 0 {
            last_columns(s, a, b.part(0..b.rows(), whole..b.columns()), out);
        }
    }
}

/// Rows of `b` that are copied at once, to 4 KiB of stack.
const COPIED: usize = 64;

/// The columns after the last whole vector. They are copied to whole vectors, some rows of `b` at a time; the sums continue
/// from one copy to the next, so their order is the usual one.
#[inline(always)]
fn last_columns<S: Simd>(s: S, a: Matrix<'_, f32>, b: Matrix<'_, f32>, mut out: MatrixMut<'_, f32>) {
    let columns = b.columns();
    let mut copy = [[0.0; LANES]; COPIED];
    for rows in row_tiles::<S>(a.rows()) {
        let mut sums = [[0.0; LANES]; MAX_ROWS];
        for k in (0..b.rows()).step_by(COPIED) {
            let ks = k..b.rows().min(k + COPIED);
            for (to, k) in copy.iter_mut().zip(ks.clone()) {
                to[..columns].copy_from_slice(b.row(k));
            }
            let a = a.part(rows.clone(), ks.clone());
            let sums = sums.as_flattened_mut().as_mut_ptr();
            let tile = Tile {
                a: a.as_ptr(),
                a_stride: a.stride(),
                b: copy.as_flattened().as_ptr(),
                b_step: LANES,
                b_next: 0,
                inner: ks.len(),
                start: sums,
                start_stride: LANES,
                c: sums,
                c_stride: LANES,
                add: false,
                prefetch: Prefetch::none(copy.as_flattened().as_ptr()),
            };
            // SAFETY: `copy` has a vector for each `k`, `sums` one for each row.
            unsafe { tile::compute(s, rows.len(), 1, tile) };
        }
        for (row, sums) in rows.zip(sums) {
            out.row_mut(row).copy_from_slice(&sums[..columns]);
        }
    }
}
