//! The product of some rows and some vectors of columns, held in registers.

use super::operands::Vectors;
use crate::matrix::Matrix;
use crate::simd::Simd;

/// `a * b` for the `MR` rows of `a` and the first `NV` vectors of `b`. Each lane is one chain of multiply-adds in the order of
/// the rows of `b`, so a result does not depend on `MR` and `NV`.
#[inline(always)]
pub(super) fn product_tile<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    a: Matrix<'_, f32>,
    b: Vectors<'_>,
) -> [[S::F32; NV]; MR] {
    assert!(a.rows() == MR && a.columns() == b.rows && NV <= b.count);
    let (start, stride) = (a.as_ptr(), a.stride());
    let mut sums = [[s.splat(0.0); NV]; MR];
    for k in 0..b.rows {
        let mut vectors = [s.splat(0.0); NV];
        for (j, vector) in vectors.iter_mut().enumerate() {
            let from = b.start.wrapping_add(k * b.row_stride + j * b.column_stride);
            // SAFETY: row k of `b`, and one of the `count` vectors that it has.
            *vector = unsafe { s.load(from) };
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            let from = start.wrapping_add(i * stride + k);
            // SAFETY: row i and column k of `a`.
            let value = s.splat(unsafe { *from });
            for (sum, vector) in sums.iter_mut().zip(vectors) {
                *sum = s.mul_add(value, vector, *sum);
            }
        }
    }
    sums
}
