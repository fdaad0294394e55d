//! OpenBLAS multiplies correctly on this CPU: f32 products against a simple loop in f64.
//!
//! OpenBLAS selects its kernels at run time, so the check must run on the target machine. The shapes cover the
//! different paths: a single element and a row vector, the small-matrix kernels, odd sizes with tails, and one product
//! large enough for all threads.

use openblas_sys::{Matrix, Transpose};

use super::check::CheckResult;

/// m, n, k. The last is the shape of a projection in a 384-wide encoder: k is above the block sizes of most kernel sets.
/// Emulated processors need 10 ns for each product of the loop.
const SHAPES: &[(usize, usize, usize)] =
    &[(1, 1, 1), (1, 384, 384), (5, 7, 3), (31, 33, 65), (129, 257, 100), (33, 384, 384)];

/// The check.
pub fn correct() -> CheckResult {
    let expected = "sgemm differs from a simple loop by no more than the rounding bound, for every shape and transposition";
    // The last product is divided among threads.
    openblas_sys::set_num_threads(std::thread::available_parallelism().map_or(2, usize::from).max(2));
    let mut worst = Difference { of_bound: 0.0, at: String::new() };
    for &(m, n, k) in SHAPES {
        for transpose in [Transpose::No, Transpose::Yes] {
            worst = worst.max(difference(m, n, k, transpose, openblas));
        }
    }
    let found = format!(
        "core {}, {} threads; largest difference {:.3} of the bound, at {}",
        openblas_sys::core_name(),
        openblas_sys::num_threads(),
        worst.of_bound,
        worst.at
    );
    CheckResult::of(worst.of_bound <= 1.0, expected, found)
}

struct Difference {
    of_bound: f64,
    at: String,
}

impl Difference {
    /// NaN is the maximum; a comparison with `>` would drop it.
    fn max(self, other: Self) -> Self {
        if self.of_bound.is_nan() || self.of_bound >= other.of_bound { self } else { other }
    }
}

/// m, n, k, a, b, whether b is transposed, and the product.
type Multiply = fn(usize, usize, usize, &[f32], &[f32], Transpose, &mut [f32]);

fn openblas(m: usize, n: usize, k: usize, a: &[f32], b: &[f32], transpose: Transpose, c: &mut [f32]) {
    let b_stride = if transpose == Transpose::No { n } else { k };
    let a = Matrix { data: a, stride: k, transpose: Transpose::No };
    openblas_sys::sgemm(m, n, k, 1.0, a, Matrix { data: b, stride: b_stride, transpose }, 0.0, c, n);
}

/// Compares `c = a * op(b)` with the loop. The bound is that of the rounding error of a dot product: k * eps * sum
/// |a||b|.
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
            let bound = k as f64 * f64::from(f32::EPSILON) * magnitude;
            let ratio = (f64::from(c[row * n + column]) - sum).abs() / bound;
            if ratio.is_nan() || ratio > worst {
                worst = ratio;
            }
            if worst.is_nan() {
                return Difference {
                    of_bound: worst,
                    at: format!("{m}x{n}x{k}, b transposed: {transpose:?}"),
                };
            }
        }
    }
    Difference { of_bound: worst, at: format!("{m}x{n}x{k}, b transposed: {transpose:?}") }
}

/// Fixed pseudo-random values in [-1, 1), never zero, so that a skipped element changes the result.
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
    fn check(multiply: Multiply, correct: bool) {
        let found = difference(9, 17, 33, Transpose::No, multiply).of_bound;
        assert_eq!(found <= 1.0, correct, "{found}");
    }

    #[test]
    fn accepts_a_correct_product_and_rejects_incorrect_ones() {
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
