//! The exact GELU, `x * Phi(x)` with the normal distribution's Phi, not its tanh approximation.
//!
//! `Phi(x) = 0.5 + x * P(x * x)` on [-5.5, 5.5]; outside, Phi is 0 or 1 to within 2e-8. P is a polynomial in
//! `2 x^2 / 5.5^2 - 1`, whose range -1 to 1 avoids cancellation in f32. The kernel has no exp, division or branch.

use super::simd::{for_each_simd, mul_add};

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

for_each_simd! {
    /// `x = gelu(x)` for each element.
    gelu = gelu_body(values: &mut [f32])
}

#[inline(always)]
fn gelu_body<const FMA: bool>(values: &mut [f32]) {
    for value in values {
        let x = *value;
        let inside = x.clamp(-CLAMP, CLAMP);
        let s = mul_add::<FMA>(inside * inside, 2.0 / (CLAMP * CLAMP), -1.0);
        let mut p = P[15];
        for i in (0..15).rev() {
            p = mul_add::<FMA>(p, s, P[i]);
        }
        *value = x * mul_add::<FMA>(inside, p, 0.5);
    }
}
