//! OpenBLAS multiplies correctly on this CPU: f32 products against a plain loop in f64.
//!
//! The kernels are chosen at run time, so only the machine that runs them can be asked. The shapes reach the paths that
//! differ: a vector-like edge, the small-matrix kernels, odd sizes with tails, and one large enough for all threads.

use openblas_sys::{Matrix, Transpose};

use super::Outcome;

/// m, n, k. The last is the shape of a projection in a 384-wide encoder.
const SHAPES: &[(usize, usize, usize)] =
    &[(1, 1, 1), (1, 384, 384), (5, 7, 3), (31, 33, 65), (129, 257, 100), (300, 384, 384)];

pub fn correct() -> Outcome {
    let expected =
        "sgemm differs from a plain loop by no more than rounding allows, for every shape and transposition";
    let mut worst = Difference { of_allowed: 0.0, at: String::new() };
    for &(m, n, k) in SHAPES {
        for transpose in [Transpose::No, Transpose::Yes] {
            worst = worst.max(difference(m, n, k, transpose, openblas));
        }
    }
    let found = format!(
        "core {}, {} threads; worst difference {:.3} of what is allowed, at {}",
        openblas_sys::core_name(),
        openblas_sys::num_threads(),
        worst.of_allowed,
        worst.at
    );
    Outcome::judge(worst.of_allowed <= 1.0, expected, found)
}

struct Difference {
    of_allowed: f64,
    at: String,
}

impl Difference {
    /// NaN is the worst of all: a comparison with `>` would lose it.
    fn max(self, other: Self) -> Self {
        if self.of_allowed.is_nan() || self.of_allowed >= other.of_allowed { self } else { other }
    }
}

/// m, n, k, a, b, whether b is transposed, and the product.
type Multiply = fn(usize, usize, usize, &[f32], &[f32], Transpose, &mut [f32]);

fn openblas(m: usize, n: usize, k: usize, a: &[f32], b: &[f32], transpose: Transpose, c: &mut [f32]) {
    let b_stride = if transpose == Transpose::No { n } else { k };
    let a = Matrix { data: a, stride: k, transpose: Transpose::No };
    openblas_sys::sgemm(m, n, k, 1.0, a, Matrix { data: b, stride: b_stride, transpose }, 0.0, c, n);
}

/// `c = a * op(b)` both ways. The allowance is the textbook bound on a dot product's rounding error: k * eps * sum |a||b|.
fn difference(m: usize, n: usize, k: usize, transpose: Transpose, multiply: Multiply) -> Difference {
    let (a, b) = (values(m * k, 1), values(k * n, 2));
    let mut c = vec![f32::NAN; m * n];
    multiply(m, n, k, &a, &b, transpose, &mut c);
    let mut worst = 0.0;
    for row in 0..m {
        for column in 0..n {
            let (mut sum, mut magnitude) = (0.0, 0.0);
            for p in 0..k {
                let at = if transpose == Transpose::No { p * n + column } else { column * k + p };
                let product = f64::from(a[row * k + p]) * f64::from(b[at]);
                sum += product;
                magnitude += product.abs();
            }
            let allowed = k as f64 * f64::from(f32::EPSILON) * magnitude;
            let ratio = (f64::from(c[row * n + column]) - sum).abs() / allowed;
            if ratio.is_nan() || ratio > worst {
                worst = ratio;
            }
            if worst.is_nan() {
                return Difference {
                    of_allowed: worst,
                    at: format!("{m}x{n}x{k}, b transposed: {transpose:?}"),
                };
            }
        }
    }
    Difference { of_allowed: worst, at: format!("{m}x{n}x{k}, b transposed: {transpose:?}") }
}

/// Fixed pseudo-random values in [-1, 1), never zero: a kernel that skips an element shows.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 + 0.5) / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(m: usize, n: usize, k: usize, a: &[f32], b: &[f32], _: Transpose, c: &mut [f32]) {
        for row in 0..m {
            for column in 0..n {
                c[row * n + column] = (0..k).map(|p| a[row * k + p] * b[p * n + column]).sum();
            }
        }
    }

    #[track_caller]
    fn check(multiply: Multiply, right: bool) {
        let found = difference(9, 17, 33, Transpose::No, multiply).of_allowed;
        assert_eq!(found <= 1.0, right, "{found}");
    }

    #[test]
    fn a_right_product_passes_and_wrong_ones_are_caught() {
        check(plain, true);
        check(|_, _, _, _, _, _, _| {}, false);
        check(|m, n, k, a, b, t, c| plain(m, n, k - 1, &a[..m * (k - 1)], b, t, c), false);
        check(
            |m, n, k, a, b, t, c| {
                plain(m, n, k, a, b, t, c);
                c[m * n - 1] = f32::NAN;
            },
            false,
        );
        check(
            |m, n, k, a, b, t, c| {
                plain(m, n, k, a, b, t, c);
                c[7] *= 1.0 + 1e-4;
            },
            false,
        );
    }
}
