//! int8: rows of activations as unsigned bytes, columns of weights as signed bytes.
//!
//! Activations are asymmetric and scaled for each row, because the values after GELU are skewed. Weights are symmetric and scaled
//! for each column.

use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut};
use crate::simd::{self, Kernel, LANES, Simd, dispatch};

/// What the bytes of a row stand for: `(byte - zero_point) * scale`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RowScale {
    /// Distance of the values of two adjacent bytes. NaN when the row has a value that is not finite, so that all its products
    /// are NaN.
    pub scale: f32,
    /// The byte that stands for zero, from 0 to 255.
    pub zero_point: i32,
}

/// Quantizes each row of `x` to 256 steps from its smallest to its largest value, zero included. Columns of `to` after those of `x`
/// become byte 0, which must meet weights of zero.
///
/// The error of a value is at most 0.51 steps. A row whose steps would be smaller than the smallest normal f32 becomes zero. Panics
/// when `to` has other rows or fewer columns, or `scales` another length.
pub fn quantize_rows(isa: Isa, x: Matrix<'_, f32>, to: MatrixMut<'_, u8>, scales: &mut [RowScale]) {
    assert!(
        x.rows() == to.rows() && x.columns() <= to.columns() && scales.len() == x.rows(),
        "[{}, {}] quantized to [{}, {}] with {} scales",
        x.rows(),
        x.columns(),
        to.rows(),
        to.columns(),
        scales.len()
    );
    dispatch(isa, QuantizeRows { x, to, scales });
}

/// Adding this to a number below 2^22 rounds it to an integer, ties to even, in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// Chains of comparisons in the search for the range of a row: one alone would wait for the latency of each.
const CHAINS: usize = 4;

struct QuantizeRows<'a, 'b> {
    x: Matrix<'a, f32>,
    to: MatrixMut<'b, u8>,
    scales: &'b mut [RowScale],
}

impl Kernel for QuantizeRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        for row in 0..self.x.rows() {
            let values = self.x.row(row);
            let RowScale { scale, zero_point } = row_scale(s, values);
            self.scales[row] = RowScale { scale, zero_point };
            let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            let offset = zero_point as f32;
            let (bytes, padding) = self.to.row_mut(row).split_at_mut(values.len());
            let (inverse, offset) = (s.splat(inverse), s.splat(offset));
            let (whole, rest) = values.as_chunks::<LANES>();
            let (whole_to, rest_to) = bytes.as_chunks_mut::<LANES>();
            for i in 0..whole.len() {
                let steps = steps(s, simd::load(s, &whole[i]), inverse, offset);
                // SAFETY: an array of 16 bytes.
                unsafe { s.store_low_bytes(whole_to[i].as_mut_ptr(), steps) };
            }
            let (mut last, steps) = ([0; LANES], steps(s, simd::load_at(s, rest, 0), inverse, offset));
            // SAFETY: an array of 16 bytes.
            unsafe { s.store_low_bytes(last.as_mut_ptr(), steps) };
            rest_to.copy_from_slice(&last[..rest_to.len()]);
            padding.fill(0);
        }
    }
}

/// The nearest steps of values, in the lowest byte of each lane. A NaN becomes 0; its row has the scale NaN.
#[inline(always)]
fn steps<S: Simd>(s: S, x: S::F32, inverse: S::F32, offset: S::F32) -> S::F32 {
    // The product is rounded before the sum on every set, so that the bytes are the same.
    let step = s.max(s.add(s.mul(x, inverse), offset), s.splat(0.0));
    s.add(s.min(step, s.splat(255.0)), s.splat(ROUND))
}

/// The smallest and the largest value of each lane, zero included, and zero, or NaN when a value of the lane is not finite.
#[derive(Clone, Copy)]
struct LaneRanges<V> {
    low: V,
    high: V,
    check: V,
}

impl<V: Copy> LaneRanges<V> {
    #[inline(always)]
    fn include<S: Simd<F32 = V>>(&mut self, s: S, x: V) {
        self.low = s.min(x, self.low);
        self.high = s.max(x, self.high);
        // Comparisons would lose a NaN.
        self.check = s.add(self.check, s.sub(x, x));
    }
}

/// The scale of a row with these values.
#[inline(always)]
fn row_scale<S: Simd>(s: S, values: &[f32]) -> RowScale {
    let zero = s.splat(0.0);
    let mut chains = [LaneRanges { low: zero, high: zero, check: zero }; CHAINS];
    let (vectors, rest) = values.as_chunks::<LANES>();
    let (groups, vectors) = vectors.as_chunks::<CHAINS>();
    for group in groups {
        for i in 0..CHAINS {
            chains[i].include(s, simd::load(s, &group[i]));
        }
    }
    for vector in vectors {
        chains[0].include(s, simd::load(s, vector));
    }
    chains[1].include(s, simd::load_at(s, rest, 0));
    let [a, b, c, d] = chains;
    let low = s.min(s.min(a.low, b.low), s.min(c.low, d.low));
    let high = s.max(s.max(a.high, b.high), s.max(c.high, d.high));
    let check = s.add(s.add(a.check, b.check), s.add(c.check, d.check));
    let low = -s.reduce_max(s.sub(s.splat(0.0), low));
    let high = s.reduce_max(high);
    // Divided before they are subtracted: the difference could be infinite.
    let scale = high / 255.0 - low / 255.0 + s.reduce_add(check);
    if scale < f32::MIN_POSITIVE {
        return RowScale::default();
    }
    let zero_point = (-low / scale + ROUND).to_bits() & 0xff;
    RowScale { scale, zero_point: if scale.is_nan() { 0 } else { zero_point as i32 } }
}

/// What the bytes of a column of weights stand for: `byte * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ColumnScale {
    /// The weight of the largest magnitude is 127 of these. NaN when a weight is not finite.
    pub scale: f32,
    /// Sum of the bytes.
    pub sum: i32,
}

/// Quantizes `factor` times each weight of a column. The bytes are the same on every set. Panics when the lengths differ.
pub(crate) fn quantize_weights(isa: Isa, weights: &[f32], factor: f32, to: &mut [i8]) -> ColumnScale {
    assert!(weights.len() == to.len(), "{} weights to {} bytes", weights.len(), to.len());
    dispatch(isa, QuantizeWeights { weights, factor, to })
}

struct QuantizeWeights<'a> {
    weights: &'a [f32],
    factor: f32,
    to: &'a mut [i8],
}

impl Kernel for QuantizeWeights<'_> {
    type Output = ColumnScale;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> ColumnScale {
        let QuantizeWeights { weights, factor, to } = self;
        let factor = s.splat(factor);
        let (vectors, rest) = weights.as_chunks::<LANES>();
        let mut range = LaneRanges { low: s.splat(0.0), high: s.splat(0.0), check: s.splat(0.0) };
        for vector in vectors {
            range.include(s, s.mul(simd::load(s, vector), factor));
        }
        let last = s.mul(simd::load_at(s, rest, 0), factor);
        range.include(s, last);
        let largest = s.max(range.high, s.sub(s.splat(0.0), range.low));
        let scale = s.reduce_max(largest) / 127.0 + s.reduce_add(range.check);
        if scale.is_nan() || scale == 0.0 {
            to.fill(0);
            return ColumnScale { scale, sum: 0 };
        }
        let divisor = s.splat(scale);
        let (bytes, rest) = to.as_chunks_mut::<LANES>();
        for i in 0..vectors.len() {
            let steps = weight_steps(s, s.mul(simd::load(s, &vectors[i]), factor), divisor);
            // SAFETY: an array of 16 bytes.
            unsafe { s.store_low_bytes(bytes[i].as_mut_ptr().cast(), steps) };
        }
        let mut last_bytes = [0i8; LANES];
        // SAFETY: an array of 16 bytes.
        unsafe { s.store_low_bytes(last_bytes.as_mut_ptr().cast(), weight_steps(s, last, divisor)) };
        rest.copy_from_slice(&last_bytes[..rest.len()]);
        ColumnScale { scale, sum: to.iter().map(|byte| i32::from(*byte)).sum() }
    }
}

/// The nearest steps of weights, in the lowest byte of each lane.
#[inline(always)]
fn weight_steps<S: Simd>(s: S, weights: S::F32, scale: S::F32) -> S::F32 {
    let steps = s.min(s.max(s.div(weights, scale), s.splat(-127.0)), s.splat(127.0));
    s.add(steps, s.splat(ROUND))
}
