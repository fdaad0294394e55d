//! Layer norm, and scaling of a vector to Euclidean length 1.

use super::simd::{LANES, for_each_simd, lane_sum, mul_add};

for_each_simd! {
    /// Each row of `values` (as wide as `weight` and `shift`, and `bias` unless it is empty) becomes
    /// `normalized(row + bias) * weight + shift`. The bias belongs to the preceding product and is added here because the row
    /// is in the cache.
    add_bias_and_normalize = norm_body(values: &mut [f32], bias: &[f32], weight: &[f32], shift: &[f32], epsilon: f32)
}

#[inline(always)]
fn norm_body<const FMA: bool>(values: &mut [f32], bias: &[f32], weight: &[f32], shift: &[f32], epsilon: f32) {
    let width = weight.len();
    assert!(shift.len() == width && (bias.is_empty() || bias.len() == width));
    for row in values.chunks_exact_mut(width) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value += bias;
        }
        let mean = lanes::<FMA>(row, 0.0, |sum, value| sum + value) / width as f32;
        // Two passes: the difference of two large sums of squares would lose digits.
        let variance = lanes::<FMA>(row, mean, |sum, value| mul_add::<FMA>(value, value, sum)) / width as f32;
        let scale = 1.0 / (variance + epsilon).sqrt();
        for ((value, weight), shift) in row.iter_mut().zip(weight).zip(shift) {
            *value = mul_add::<FMA>((*value - mean) * scale, *weight, *shift);
        }
    }
}

/// Folds `row - offset` into [`LANES`] accumulators and returns their sum.
#[inline(always)]
fn lanes<const FMA: bool>(row: &[f32], offset: f32, fold: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            sums[i] = fold(sums[i], block[i] - offset);
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum = fold(*sum, value - offset);
    }
    lane_sum(sums)
}

/// Scales a vector to Euclidean length 1. A zero vector stays zero, as in the reference.
pub(crate) fn unit_length(vector: &mut [f32]) {
    let length = vector.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt().max(1e-12);
    for value in vector {
        *value = (f64::from(*value) / length) as f32;
    }
}
