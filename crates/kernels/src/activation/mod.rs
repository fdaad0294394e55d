//! Activation functions of feed-forward layers, and the exponential function of softmax.
//!
//! The activations are within 1.2e-6 of the exact functions, exp within 2 units in the last place (see the tests). `fit.py` in this folder computes the coefficients. No function has a
//! branch or a table, so a lane costs the same for every value. A NaN stays a NaN.

#[cfg(test)]
mod tests;

use crate::isa::Isa;
use crate::simd::{self, Kernel, LANES, Simd, dispatch};

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * Phi(x)` with the normal distribution's Phi: "gelu" in model configurations.
    Gelu,
    /// The approximation of GELU by tanh: "gelu_new" and "gelu_pytorch_tanh" in model configurations.
    GeluTanh,
    /// `x / (1 + e^-x)`: "silu" in model configurations.
    Silu,
}

/// Applies the function to each element.
pub fn apply(isa: Isa, activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::Gelu => dispatch(isa, Map { values, function: Gelu }),
        Activation::GeluTanh => dispatch(isa, Map { values, function: GeluTanh }),
        Activation::Silu => dispatch(isa, Map { values, function: Silu }),
    }
}

/// The exact GELU, `x * Phi(x)`, not its approximation by tanh.
///
/// `Phi(x) = 0.5 + x * P(x * x)` on [-5.5, 5.5]; outside, Phi is 0 or 1 to within 2e-8. P is a polynomial in
/// `2 x^2 / 5.5^2 - 1`, whose range -1 to 1 avoids cancellation in f32. There is no exp and no division.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    /// Beyond this, Phi is constant.
    const CLAMP: f32 = 5.5;
    /// Coefficients, lowest power first, from `fit.py`.
    const P: [f32; 16] = [
        1.285_519_3e-1,
        -6.417_234e-2,
        4.773_745e-2,
        -3.879_241_3e-2,
        3.207_371_8e-2,
        -2.605_386_8e-2,
        2.033_962e-2,
        -1.496_374_9e-2,
        1.031_211_9e-2,
        -6.929_958e-3,
        4.477_514_4e-3,
        -2.240_18e-3,
        8.411_559_4e-4,
        -6.733_043e-4,
        5.920_473_5e-4,
        -1.906_551_2e-4,
    ];

    let inside = clamp(s, x, -CLAMP, CLAMP);
    let square = s.mul_add(s.mul(inside, inside), s.splat(2.0 / (CLAMP * CLAMP)), s.splat(-1.0));
    let phi = s.mul_add(inside, polynomial(s, square, &P), s.splat(0.5));
    s.mul(x, phi)
}

/// `x / 2 * (1 + tanh(u))` with `u = sqrt(2 / pi) * (x + 0.044715 x^3)`, computed as `x / (1 + e^(-2 u))`.
#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    /// `-2 * sqrt(2 / pi)`
    const LINEAR: f32 = -1.595_769_2;
    const CUBIC: f32 = LINEAR * 0.044_715;
    let minus_two_u = s.mul(x, s.mul_add(s.mul(x, x), s.splat(CUBIC), s.splat(LINEAR)));
    s.div(x, s.add(s.splat(1.0), exp(s, minus_two_u)))
}

/// `x / (1 + e^-x)`
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.div(x, s.add(s.splat(1.0), exp(s, s.sub(s.splat(0.0), x))))
}

/// `e^x` for x from -87 to 88; the value at the nearer end for an x outside.
///
/// The range has no denormal and no infinite result. Softmax loses nothing: 1.6e-38 instead of a smaller number changes no sum
/// of a row, whose largest term is 1. The computation is `2^n * e^r` with `|r| <= ln 2 / 2` and a polynomial for `e^r`.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    exp_up_to_88(s, s.min(s.splat(88.0), x))
}

/// [`exp`] without its upper limit, for softmax, whose arguments are not above 0: a constant less, of which a loop has too many for
/// the registers of AVX2.
#[inline(always)]
pub(crate) fn exp_up_to_88<S: Simd>(s: S, x: S::F32) -> S::F32 {
    /// Adding 1.5 * 2^23 rounds to an integer and stores it in the low bits; 127 more makes them those of an exponent.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    /// ln 2 in two parts; the product of n and the first part is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    /// Coefficients, lowest power first, from `fit.py`.
    const E: [f32; 7] = [1.0, 1.0, 0.499_999_9, 0.166_664_2, 4.166_822_5e-2, 8.374_816e-3, 1.383_684_6e-3];

    let x = s.max(s.splat(-87.0), x);
    let rounded = s.mul_add(x, s.splat(std::f32::consts::LOG2_E), s.splat(ROUND));
    let n = s.sub(rounded, s.splat(ROUND));
    let r = s.mul_add(n, s.splat(-LN2_LOW), s.mul_add(n, s.splat(-LN2_HIGH), x));
    s.mul(polynomial(s, r, &E), s.power_of_two(rounded))
}

/// The nearest value from `low` to `high`; a NaN stays one, because it is the second operand of both comparisons.
#[inline(always)]
fn clamp<S: Simd>(s: S, x: S::F32, low: f32, high: f32) -> S::F32 {
    s.min(s.splat(high), s.max(s.splat(low), x))
}

/// The polynomial with these coefficients, lowest power first, by Horner's rule.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::F32, coefficients: &[f32; N]) -> S::F32 {
    let mut sum = s.splat(coefficients[N - 1]);
    for c in coefficients[..N - 1].iter().rev() {
        sum = s.mul_add(sum, x, s.splat(*c));
    }
    sum
}

/// A function of one vector.
trait Function {
    fn call<S: Simd>(&self, s: S, x: S::F32) -> S::F32;
}

struct Gelu;
struct GeluTanh;
struct Silu;

impl Function for Gelu {
    #[inline(always)]
    fn call<S: Simd>(&self, s: S, x: S::F32) -> S::F32 {
        gelu(s, x)
    }
}

impl Function for GeluTanh {
    #[inline(always)]
    fn call<S: Simd>(&self, s: S, x: S::F32) -> S::F32 {
        gelu_tanh(s, x)
    }
}

impl Function for Silu {
    #[inline(always)]
    fn call<S: Simd>(&self, s: S, x: S::F32) -> S::F32 {
        silu(s, x)
    }
}

/// Applies a function to each element of a slice.
struct Map<'a, F> {
    values: &'a mut [f32],
    function: F,
}

impl<F: Function> Kernel for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for at in (0..self.values.len()).step_by(LANES) {
            let x = simd::load_at(s, self.values, at);
            simd::store_at(s, self.values, at, self.function.call(s, x));
        }
    }
}
