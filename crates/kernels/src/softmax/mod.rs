//! Softmax of the rows of a matrix, in place.

#[cfg(test)]
mod tests;

use crate::activation;
use crate::isa::Isa;
use crate::matrix::MatrixMut;
use crate::simd::{self, Kernel, LANES, Simd, dispatch};

/// Replaces the first `valid` columns of each row by their softmax and the others by 0. A NaN among the first makes the whole row
/// NaN. Panics unless the number of columns is a multiple of 16 and `valid` is at least 1.
pub fn softmax(isa: Isa, scores: MatrixMut<'_, f32>, valid: usize) {
    let columns = scores.columns();
    assert!(columns.is_multiple_of(LANES), "{columns} columns, not a multiple of {LANES}");
    assert!(0 < valid && valid <= columns, "{valid} valid columns of {columns}");
    dispatch(isa, Softmax { scores, valid });
}

struct Softmax<'a> {
    scores: MatrixMut<'a, f32>,
    valid: usize,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        for row in 0..self.scores.rows() {
            let (vectors, _) = self.scores.row_mut(row).as_chunks_mut();
            let scale = s.splat(1.0 / exponentials(s, vectors, self.valid));
            for vector in vectors {
                let scaled = s.mul(simd::load(s, vector), scale);
                simd::store(s, vector, scaled);
            }
        }
    }
}

/// Replaces the first `valid` values of a row by `e^(x - largest)` and the others by 0; returns the sum. Subtracting the largest
/// value prevents an overflow. `valid` is at least 1.
#[inline(always)]
pub(crate) fn exponentials<S: Simd>(s: S, row: &mut [[f32; LANES]], valid: usize) -> f32 {
    let (full, last) = row.split_at_mut((valid - 1) / LANES);
    let Some((partial, unused)) = last.split_first_mut() else { return 0.0 };
    let lanes = valid - full.len() * LANES;
    // Any value of an unused lane becomes negative infinity, which is never the largest. A NaN in a used lane becomes infinity,
    // and the difference of two infinities is a NaN again.
    let limit = first_lanes(s, lanes, &INFINITIES);
    let tail = s.min(simd::load(s, partial), limit);

    let mut largest = tail;
    for vector in &*full {
        largest = s.max(simd::load(s, vector), largest);
    }
    let largest = s.splat(s.reduce_max(largest));

    let mut sum = s.splat(0.0);
    for vector in full {
        let e = activation::exp_up_to_88(s, s.sub(simd::load(s, vector), largest));
        simd::store(s, vector, e);
        sum = s.add(sum, e);
    }
    let tail = activation::exp_up_to_88(s, s.sub(tail, largest));
    // The function has no result below 1.6e-38, so the unused lanes become 0 here.
    let tail = s.mul(tail, first_lanes(s, lanes, &ONES));
    simd::store(s, partial, tail);
    unused.fill([0.0; LANES]);
    s.reduce_add(s.add(sum, tail))
}

/// Values of used lanes, then those of unused ones.
type Lanes = [[f32; LANES]; 2];
static INFINITIES: Lanes = [[f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]];
static ONES: Lanes = [[1.0; LANES], [0.0; LANES]];

/// The used value in the first `lanes` lanes and the unused one in the others: a load, because a closure would be compiled
/// without the instructions.
#[inline(always)]
fn first_lanes<S: Simd>(s: S, lanes: usize, values: &'static Lanes) -> S::F32 {
    simd::load_at(s, values.as_flattened(), LANES - lanes)
}
