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
    // In unused lanes, whatever they hold, negative infinity, which is never the largest. A NaN in a used lane becomes infinity,
    // and the difference of two infinities is a NaN again.
    let limit = first_lanes(s, lanes, f32::INFINITY, f32::NEG_INFINITY);
    let tail = s.min(simd::load(s, partial), limit);

    let mut largest = tail;
    for vector in &*full {
        largest = s.max(simd::load(s, vector), largest);
    }
    let largest = s.splat(s.reduce_max(largest));

    let tail = activation::exp(s, s.sub(tail, largest));
    // `exp` has no result below 1.6e-38, so the unused lanes become 0 here.
    let tail = s.mul(tail, first_lanes(s, lanes, 1.0, 0.0));
    simd::store(s, partial, tail);
    let mut sum = tail;
    for vector in full {
        let e = activation::exp(s, s.sub(simd::load(s, vector), largest));
        simd::store(s, vector, e);
        sum = s.add(sum, e);
    }
    unused.fill([0.0; LANES]);
    s.reduce_add(sum)
}

/// `first` in the first `lanes` lanes and `rest` in the others.
#[inline(always)]
fn first_lanes<S: Simd>(s: S, lanes: usize, first: f32, rest: f32) -> S::F32 {
    simd::load(s, &std::array::from_fn(|lane| if lane < lanes { first } else { rest }))
}
