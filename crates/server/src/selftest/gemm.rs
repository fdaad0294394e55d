//! Both paths of products are correct on this CPU: OpenBLAS, and the own kernels of every instruction set.
//!
//! OpenBLAS and the own kernels select their code at run time, so the check must run on the target machine. Each product is compared
//! with a loop in f64, and the own kernels with OpenBLAS too: neither is its own oracle. The shapes cover the different paths: a
//! single element and a row vector, the small-matrix kernels, odd sizes with tails, and one product large enough for all threads.

use engine::Isa;
use kernels::gemm::{Epilogue, LinearPart, PackedF32, gemm_f32};
use kernels::matrix::{Matrix, MatrixMut};
use openblas_sys::Transpose;

use super::check::CheckResult;

/// m, n, k. The last is the shape of a projection in a 384-wide encoder: k is above the block sizes of most kernel sets.
/// Emulated processors need 10 ns for each product of the loop.
const SHAPES: &[(usize, usize, usize)] =
    &[(1, 1, 1), (1, 384, 384), (5, 7, 3), (31, 33, 65), (129, 257, 100), (33, 384, 384)];

/// The check.
pub fn correct() -> CheckResult {
    let expected = "OpenBLAS and the own kernels of every instruction set differ from a loop in f64, and the own kernels from \
                    OpenBLAS, by no more than the rounding bound, for every shape";
    // The last product is divided among threads.
    openblas_sys::set_num_threads(std::thread::available_parallelism().map_or(2, usize::from).max(2));
    let paths: Vec<Path> = Isa::available().iter().map(|isa| Path::Own(*isa)).collect();
    let worst = match worst_of(&paths) {
        Ok(worst) => worst,
        Err(reason) => return CheckResult::not_measured(expected, reason),
    };
    let sets: Vec<String> = Isa::available().iter().map(Isa::to_string).collect();
    let found = format!(
        "OpenBLAS {} with {} threads, own kernels {}; largest difference {:.3} of the bound, {}{}",
        openblas_sys::core_name(),
        openblas_sys::num_threads(),
        sets.join(", "),
        worst.of_bound,
        worst.at,
        Isa::not_run().map_or(String::new(), |sets| format!("; {sets}"))
    );
    CheckResult::of(worst.of_bound <= 1.0, expected, found)
}

/// Compares OpenBLAS with the loop, and each of the paths with the loop and with OpenBLAS.
fn worst_of(paths: &[Path]) -> Result<Difference, String> {
    let mut worst = Difference { of_bound: 0.0, at: String::new() };
    for &shape in SHAPES {
        let product = Product::new(shape);
        let blas = product.compute(Path::OpenBlas(Transpose::Yes))?;
        worst = worst.max(product.to_exact("OpenBLAS, transposed", &blas));
        let straight = product.compute(Path::OpenBlas(Transpose::No))?;
        worst = worst.max(product.to_exact("OpenBLAS", &straight));
        for path in paths {
            let (own, name) = (product.compute(*path)?, path.name());
            worst = worst.max(product.to_exact(&name, &own));
            worst = worst.max(product.between(&format!("{name} to OpenBLAS"), &own, &blas));
        }
    }
    Ok(worst)
}

/// What computes a product.
#[derive(Clone, Copy)]
enum Path {
    /// Whether the second matrix is transposed.
    OpenBlas(Transpose),
    Own(Isa),
    /// A defect of the own kernels.
    #[cfg(test)]
    Wrong(fn(&mut [f32])),
}

impl Path {
    fn name(self) -> String {
        match self {
            Self::OpenBlas(_) => "OpenBLAS".into(),
            Self::Own(isa) => format!("own {isa}"),
            #[cfg(test)]
            Self::Wrong(_) => "wrong".into(),
        }
    }
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

/// `a * b^T` with its exact elements.
struct Product {
    shape: (usize, usize, usize),
    /// `[m, k]`
    a: Vec<f32>,
    /// `[n, k]`
    b: Vec<f32>,
    exact: Vec<f64>,
    /// Of each element: k * eps * sum |a||b|. The rounding error of a dot product is at most half of it, so that two products
    /// differ by no more.
    bound: Vec<f64>,
}

impl Product {
    fn new((m, n, k): (usize, usize, usize)) -> Self {
        let (a, b) = (values(m * k, 1), values(k * n, 2));
        let (mut exact, mut bound) = (Vec::with_capacity(m * n), Vec::with_capacity(m * n));
        for row in a.chunks_exact(k) {
            for column in b.chunks_exact(k) {
                let products = row.iter().zip(column).map(|(a, b)| f64::from(*a) * f64::from(*b));
                let (sum, magnitude) =
                    products.fold((0.0, 0.0), |(sum, abs), product| (sum + product, abs + product.abs()));
                exact.push(sum);
                bound.push(k as f64 * f64::from(f32::EPSILON) * magnitude);
            }
        }
        Self { shape: (m, n, k), a, b, exact, bound }
    }

    fn compute(&self, path: Path) -> Result<Vec<f32>, String> {
        let (m, n, k) = self.shape;
        let mut c = vec![f32::NAN; m * n];
        match path {
            Path::OpenBlas(transpose) => {
                let straight: Vec<f32> = (0..k)
                    .flat_map(|p| (0..n).map(move |j| (p, j)))
                    .map(|(p, j)| self.b[j * k + p])
                    .collect();
                let (data, stride) = if transpose == Transpose::Yes { (&self.b, k) } else { (&straight, n) };
                let a = openblas_sys::Matrix { data: &self.a, stride: k, transpose: Transpose::No };
                let b = openblas_sys::Matrix { data, stride, transpose };
                openblas_sys::sgemm(m, n, k, 1.0, a, b, 0.0, &mut c, n);
            }
            Path::Own(isa) => self.own(isa, &mut c)?,
            #[cfg(test)]
            Path::Wrong(change) => {
                self.own(Isa::best(), &mut c)?;
                change(&mut c);
            }
        }
        Ok(c)
    }

    fn own(&self, isa: Isa, c: &mut [f32]) -> Result<(), String> {
        let (m, n, k) = self.shape;
        let part = LinearPart { weight: Matrix::new(&self.b, n, k, k), bias: None, scale: 1.0 };
        let w = PackedF32::pack(&[part]).map_err(|error| format!("memory for the weights: {error}"))?;
        let x = Matrix::new(&self.a, m, k, k);
        gemm_f32(isa, x, &w, 0..w.panels(), Epilogue::Store, MatrixMut::new(c, m, n, n));
        Ok(())
    }

    fn to_exact(&self, name: &str, c: &[f32]) -> Difference {
        self.difference(name, c, |i| self.exact[i])
    }

    fn between(&self, name: &str, c: &[f32], other: &[f32]) -> Difference {
        self.difference(name, c, |i| f64::from(other[i]))
    }

    fn difference(&self, name: &str, c: &[f32], reference: impl Fn(usize) -> f64) -> Difference {
        let (m, n, k) = self.shape;
        let ratios =
            c.iter().enumerate().map(|(i, value)| (f64::from(*value) - reference(i)).abs() / self.bound[i]);
        let of_bound = ratios
            .fold(0.0, |worst: f64, ratio| if worst.is_nan() || worst >= ratio { worst } else { ratio });
        Difference { of_bound, at: format!("{name}, {m}x{n}x{k}") }
    }
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
    use super::super::check::CheckStatus;
    use super::*;

    #[test]
    fn names_every_set_of_this_cpu_and_those_that_it_lacks() {
        let result = correct();
        assert_eq!(result.status, CheckStatus::Pass, "{}", result.found);
        for isa in Isa::available() {
            assert!(result.found.contains(&isa.to_string()), "{isa}: {}", result.found);
        }
        assert_eq!(result.found.contains("not run: "), Isa::not_run().is_some(), "{}", result.found);
    }

    #[test]
    fn rejects_incorrect_products() {
        let worst = |change: fn(&mut [f32])| worst_of(&[Path::Wrong(change)]).unwrap().of_bound;
        assert!(worst(|_| ()) <= 1.0);
        let changes: [fn(&mut [f32]); 4] = [
            |c| c.fill(0.0),
            |c| c[c.len() - 1] = f32::NAN,
            |c| c[c.len() / 2] *= 1.0 + 1e-3,
            |c| {
                let last = c.len() - 1;
                c.swap(0, last);
            },
        ];
        for (i, change) in changes.into_iter().enumerate() {
            let found = worst(change);
            assert!(found.is_nan() || found > 1.0, "change {i}: {found}");
        }
    }

    /// The difference of two products counts although each is near the exact one.
    #[test]
    fn a_difference_between_two_products_is_reported_as_that() {
        let product = Product::new((5, 7, 3));
        let blas = product.compute(Path::OpenBlas(Transpose::No)).unwrap();
        let mut other = blas.clone();
        other[6] += 2.0 * product.bound[6] as f32;
        let found = product.between("other", &other, &blas);
        assert!(found.of_bound > 1.5 && found.at == "other, 5x7x3", "{} {}", found.of_bound, found.at);
    }
}
