//! bf16: the upper half of an f32.

use super::Convert;
use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut};
use crate::simd::{Kernel, Simd, dispatch};

/// Rounds each value to the nearest bf16, ties to even. Panics when the lengths differ.
///
/// Denormals are kept. A NaN stays a quiet NaN of the same sign. Values beyond the largest bf16 by half a unit become
/// infinite.
pub fn bf16_from_f32(isa: Isa, from: &[f32], to: &mut [u16]) {
    dispatch(isa, Convert { from, to, convert: round });
}

/// Widens each bf16, exactly. Panics when the lengths differ.
pub fn bf16_to_f32(isa: Isa, from: &[u16], to: &mut [f32]) {
    dispatch(isa, Convert { from, to, convert: widen });
}

/// Rounds the rows of `x` as [`bf16_from_f32`]. Columns of `to` after those of `x` become zero. Panics when `to` has other rows
/// or fewer columns.
pub fn round_rows(isa: Isa, x: Matrix<'_, f32>, to: MatrixMut<'_, u16>) {
    assert!(
        x.rows() == to.rows() && x.columns() <= to.columns(),
        "[{}, {}] rounded to [{}, {}]",
        x.rows(),
        x.columns(),
        to.rows(),
        to.columns()
    );
    dispatch(isa, RoundRows { x, to });
}

/// Writes the rows of `x` as two bf16 each: the left half of a row of `to` has the rounded values, the right half the rounded
/// differences. Columns of a half after those of `x` become zero. Panics when `to` has other rows, or halves with fewer columns.
///
/// The sum of both differs from the value by 2^-16 of it at most, except close to the smallest and the largest values. The
/// difference is zero where the rounded value is not finite, so that infinities and NaN spread as in f32.
pub fn split_rows(isa: Isa, x: Matrix<'_, f32>, to: MatrixMut<'_, u16>) {
    assert!(
        x.rows() == to.rows() && 2 * x.columns() <= to.columns() && to.columns().is_multiple_of(2),
        "[{}, {}] split to [{}, {}]",
        x.rows(),
        x.columns(),
        to.rows(),
        to.columns()
    );
    dispatch(isa, SplitRows { x, to });
}

/// The nearest bf16, ties to even.
#[inline(always)]
pub(crate) fn round(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // Rounding could carry the payload of a NaN into its sign, or truncation leave an infinity.
    let quiet = bits | 0x0040_0000;
    ((if value.is_nan() { quiet } else { rounded }) >> 16) as u16
}

/// The value of a bf16.
#[inline(always)]
pub(crate) fn widen(value: u16) -> f32 {
    f32::from_bits(u32::from(value) << 16)
}

/// The nearest bf16, and the nearest bf16 of the difference.
#[inline(always)]
pub(crate) fn split(value: f32) -> [u16; 2] {
    let high = round(value);
    let difference = value - widen(high);
    [high, if difference.is_finite() { round(difference) } else { 0 }]
}

struct RoundRows<'a, 'b> {
    x: Matrix<'a, f32>,
    to: MatrixMut<'b, u16>,
}

impl Kernel for RoundRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, _: S) {
        for row in 0..self.x.rows() {
            let (values, padding) = self.to.row_mut(row).split_at_mut(self.x.columns());
            for (to, from) in values.iter_mut().zip(self.x.row(row)) {
                *to = round(*from);
            }
            padding.fill(0);
        }
    }
}

struct SplitRows<'a, 'b> {
    x: Matrix<'a, f32>,
    to: MatrixMut<'b, u16>,
}

impl Kernel for SplitRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, _: S) {
        let (columns, half) = (self.x.columns(), self.to.columns() / 2);
        for row in 0..self.x.rows() {
            let (high, low) = self.to.row_mut(row).split_at_mut(half);
            let (high, high_padding) = high.split_at_mut(columns);
            let (low, low_padding) = low.split_at_mut(columns);
            for ((high, low), from) in high.iter_mut().zip(low).zip(self.x.row(row)) {
                [*high, *low] = split(*from);
            }
            high_padding.fill(0);
            low_padding.fill(0);
        }
    }
}
