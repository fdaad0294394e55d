//! Softmax of attention scores, per row and in place.

use super::simd::{LANES, for_each_simd, lane_sum, mul_add};

for_each_simd! {
    /// Replaces each row of `columns` values by its softmax.
    softmax_rows = softmax_body(values: &mut [f32], columns: usize)
}

#[inline(always)]
fn softmax_body<const FMA: bool>(values: &mut [f32], columns: usize) {
    for row in values.chunks_exact_mut(columns) {
        // Subtracting the maximum prevents an overflow of exp.
        let mut largest = [f32::NEG_INFINITY; LANES];
        let (blocks, rest) = row.as_chunks::<LANES>();
        for block in blocks {
            for i in 0..LANES {
                largest[i] = if block[i] > largest[i] { block[i] } else { largest[i] };
            }
        }
        let largest = largest.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });

        let mut sums = [0.0; LANES];
        let (blocks, rest) = row.as_chunks_mut::<LANES>();
        for block in blocks {
            for i in 0..LANES {
                block[i] = exp::<FMA>(block[i] - largest);
                sums[i] += block[i];
            }
        }
        for (value, sum) in rest.iter_mut().zip(&mut sums) {
            *value = exp::<FMA>(*value - largest);
            *sum += *value;
        }
        let scale = 1.0 / lane_sum(sums);
        for value in row {
            *value *= scale;
        }
    }
}

/// `e^x` for x <= 0, the range of softmax: 2^n * e^r with |r| <= ln 2 / 2 and a polynomial of degree 6 for e^r.
/// Below -87, the end of the normal range of f32, the result is 1.6e-38 instead of 0, which changes no sum of a row.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    /// Adding 1.5 * 2^23 rounds to an integer and stores it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts; the product of n and the first part is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    /// Coefficients, lowest power first, from `fit.py`.
    const E: [f32; 7] = [1.0, 1.0, 0.499_999_9, 0.166_664_2, 4.166_822_5e-2, 8.374_816e-3, 1.383_684_6e-3];

    let x = if x > -87.0 { x } else { -87.0 };
    let rounded = mul_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = mul_add::<FMA>(n, -LN2_LOW, mul_add::<FMA>(n, -LN2_HIGH, x));
    let mut e = E[6];
    for i in (0..6).rev() {
        e = mul_add::<FMA>(e, r, E[i]);
    }
    // Moves n to the exponent bits; the shift drops the bits of ROUND above it.
    let power = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    e * power
}
