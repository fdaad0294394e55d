//! Layer norm, RMS norm, and scaling of a vector to Euclidean length 1.

#[cfg(test)]
mod tests;

use crate::isa::Isa;
use crate::matrix::MatrixMut;
use crate::simd::{self, Kernel, LANES, Simd, dispatch};

/// Each row becomes `(row - mean) / sqrt(variance + epsilon) * weight + shift`. Panics unless `weight` and `shift` are as wide
/// as the rows.
pub fn layer_norm(isa: Isa, values: MatrixMut<'_, f32>, weight: &[f32], shift: &[f32], epsilon: f32) {
    let (columns, widths) = (values.columns(), (weight.len(), shift.len()));
    assert!(widths == (columns, columns), "weight and shift of {widths:?} values for {columns} columns");
    dispatch(isa, LayerNorm { values, weight, shift, epsilon });
}

/// Each row becomes `row / sqrt(mean of squares + epsilon) * weight`. Panics unless `weight` is as wide as the rows.
pub fn rms_norm(isa: Isa, values: MatrixMut<'_, f32>, weight: &[f32], epsilon: f32) {
    let (columns, width) = (values.columns(), weight.len());
    assert!(width == columns, "a weight of {width} values for {columns} columns");
    dispatch(isa, RmsNorm { values, weight, epsilon });
}

/// Scales a vector to Euclidean length 1. A zero vector stays zero, as in sentence-transformers.
pub fn unit_length(vector: &mut [f32]) {
    let length = vector.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt().max(1e-12);
    for value in vector {
        *value = (f64::from(*value) / length) as f32;
    }
}

struct LayerNorm<'a> {
    values: MatrixMut<'a, f32>,
    weight: &'a [f32],
    shift: &'a [f32],
    epsilon: f32,
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let width = self.weight.len() as f32;
        for row in 0..self.values.rows() {
            let row = self.values.row_mut(row);
            let mean = sum(s, row) / width;
            // Two passes: the difference of two large sums of squares would lose digits.
            let variance = sum_of_squares(s, row, mean) / width;
            let (mean, scale) = (s.splat(mean), s.splat(1.0 / (variance + self.epsilon).sqrt()));
            for at in (0..row.len()).step_by(LANES) {
                let x = s.mul(s.sub(simd::load_at(s, row, at), mean), scale);
                let (weight, shift) = (simd::load_at(s, self.weight, at), simd::load_at(s, self.shift, at));
                simd::store_at(s, row, at, s.mul_add(x, weight, shift));
            }
        }
    }
}

struct RmsNorm<'a> {
    values: MatrixMut<'a, f32>,
    weight: &'a [f32],
    epsilon: f32,
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let width = self.weight.len() as f32;
        for row in 0..self.values.rows() {
            let row = self.values.row_mut(row);
            let mean_square = sum_of_squares(s, row, 0.0) / width;
            let scale = s.splat(1.0 / (mean_square + self.epsilon).sqrt());
            for at in (0..row.len()).step_by(LANES) {
                let x = s.mul(simd::load_at(s, row, at), scale);
                simd::store_at(s, row, at, s.mul(x, simd::load_at(s, self.weight, at)));
            }
        }
    }
}

/// Chains of additions of a sum: one alone would wait for the latency of each addition.
const CHAINS: usize = 4;

/// The sum of a row.
#[inline(always)]
fn sum<S: Simd>(s: S, row: &[f32]) -> f32 {
    let (vectors, rest) = row.as_chunks::<LANES>();
    let (groups, vectors) = vectors.as_chunks::<CHAINS>();
    let mut sums = [s.splat(0.0); CHAINS];
    for group in groups {
        for i in 0..CHAINS {
            sums[i] = s.add(sums[i], simd::load(s, &group[i]));
        }
    }
    for vector in vectors {
        sums[0] = s.add(sums[0], simd::load(s, vector));
    }
    sums[1] = s.add(sums[1], simd::load(s, &padded(rest, 0.0)));
    s.reduce_add(add_chains(s, sums))
}

/// The sum of `(x - offset)^2` over a row.
#[inline(always)]
fn sum_of_squares<S: Simd>(s: S, row: &[f32], offset: f32) -> f32 {
    let (vectors, rest) = row.as_chunks::<LANES>();
    let (groups, vectors) = vectors.as_chunks::<CHAINS>();
    let (mut sums, rest) = ([s.splat(0.0); CHAINS], padded(rest, offset));
    let offset = s.splat(offset);
    for group in groups {
        for i in 0..CHAINS {
            sums[i] = add_square(s, sums[i], s.sub(simd::load(s, &group[i]), offset));
        }
    }
    for vector in vectors {
        sums[0] = add_square(s, sums[0], s.sub(simd::load(s, vector), offset));
    }
    sums[1] = add_square(s, sums[1], s.sub(simd::load(s, &rest), offset));
    s.reduce_add(add_chains(s, sums))
}

#[inline(always)]
fn add_square<S: Simd>(s: S, sum: S::F32, x: S::F32) -> S::F32 {
    s.mul_add(x, x, sum)
}

#[inline(always)]
fn add_chains<S: Simd>(s: S, sums: [S::F32; CHAINS]) -> S::F32 {
    s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]))
}

/// The last elements of a row, less than a vector, with `padding` in the unused lanes.
#[inline(always)]
fn padded(rest: &[f32], padding: f32) -> [f32; LANES] {
    let mut lanes = [padding; LANES];
    lanes[..rest.len()].copy_from_slice(rest);
    lanes
}
