//! One shape with its operands, the exact result, and the check of a product against it.

use super::guarded::Guarded;
use super::*;

/// What lies between the rows of an output and must stay.
const CANARY: f32 = -12345.0;

/// A product under test: `(x, weight, bias, out)`.
pub type Product<'a> = &'a dyn Fn(Matrix<'_, f32>, Matrix<'_, f32>, &[f32], MatrixMut<'_, f32>);

/// Operands of `x * weight^T + bias`, each before an inaccessible page, and their exact product.
pub struct Case {
    pub rows: usize,
    pub columns: usize,
    pub inner: usize,
    /// Floats between the rows of each operand and of the output.
    gap: usize,
    x: Guarded,
    weight: Guarded,
    bias: Guarded,
    /// Of each element: the exact value, and the largest error that the order of the sum allows.
    exact: Vec<(f64, f64)>,
}

/// Values from -1 to 1, of which no two neighbours are equal.
pub fn values(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Floats of a matrix without those after its last row.
fn len(rows: usize, columns: usize, stride: usize) -> usize {
    if rows == 0 { 0 } else { (rows - 1) * stride + columns }
}

impl Case {
    pub fn new(rows: usize, columns: usize, inner: usize, gap: usize) -> Self {
        let stride = inner + gap;
        let mut case = Case {
            rows,
            columns,
            inner,
            gap,
            x: Guarded::new(&values(1, len(rows, inner, stride))),
            weight: Guarded::new(&values(2, len(columns, inner, stride))),
            bias: Guarded::new(&values(3, columns)),
            exact: Vec::new(),
        };
        let element = |row: usize, column: usize| case.exact_element(row, column);
        let exact = (0..rows).flat_map(|row| (0..columns).map(move |column| element(row, column))).collect();
        case.exact = exact;
        case
    }

    pub fn x(&self) -> Matrix<'_, f32> {
        Matrix::new(&self.x, self.rows, self.inner, self.inner + self.gap)
    }

    pub fn weight(&self) -> Matrix<'_, f32> {
        Matrix::new(&self.weight, self.columns, self.inner, self.inner + self.gap)
    }

    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// The bound is `gamma_n * sum |a| |b|` with `gamma_n = n u / (1 - n u)`, `u = 2^-24` and one rounding for each term, two
    /// without fused multiply-add; the roundings of a term and of the sums after it are at most `inner + 1`.
    fn exact_element(&self, row: usize, column: usize) -> (f64, f64) {
        let bias = f64::from(self.bias[column]);
        let (mut sum, mut magnitude) = (bias, bias.abs());
        for (a, b) in self.x().row(row).iter().zip(self.weight().row(column)) {
            let product = f64::from(*a) * f64::from(*b);
            sum += product;
            magnitude += product.abs();
        }
        let roundings = (self.inner + 1) as f64 * f64::from(f32::EPSILON) / 2.0;
        (sum, roundings / (1.0 - roundings) * magnitude)
    }

    /// Runs a product on an output that begins with NaN and ends at an inaccessible page. Reports the first element outside of
    /// its bound, or an access between the rows.
    pub fn check(&self, product: Product<'_>) -> Result<(), String> {
        let stride = self.columns + self.gap;
        let mut out = Guarded::new(&vec![CANARY; len(self.rows, self.columns, stride)]);
        for row in out.chunks_mut(stride.max(1)) {
            row[..self.columns].fill(f32::NAN);
        }
        let view = MatrixMut::new(&mut out, self.rows, self.columns, stride);
        product(self.x(), self.weight(), self.bias(), view);
        for (i, found) in out.iter().enumerate() {
            let (row, column) = (i / stride, i % stride);
            if column >= self.columns {
                if *found != CANARY {
                    return Err(format!("{found} after row {row}, at column {column} of {}", self.columns));
                }
                continue;
            }
            let (exact, bound) = self.exact[row * self.columns + column];
            let error = (f64::from(*found) - exact).abs();
            if error.is_nan() || error > bound {
                return Err(format!("[{row}, {column}]: {found}, exactly {exact}, bound {bound:e}"));
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rows, {} columns, inner {}, gap {}", self.rows, self.columns, self.inner, self.gap)
    }
}
