//! One shape with its operands, the expected result, and the check of a product against it.

use super::super::bf16::{self, Sums};
use super::super::int8::{self, Dequantize};
use super::super::tiles::Product;
use super::super::{PackedBf16, PackedInt8, Terms, int8_row_elements};
use crate::convert::{self, RowScale, quantize_rows, round_rows, split_rows};
use crate::gemm::tests::case::values;
use crate::gemm::tests::guarded::Guarded;
use crate::gemm::{Epilogue, LinearPart};
use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut};

/// What lies between the rows of an output and must stay.
const CANARY: f32 = -12345.0;
/// Floats between two rows of an output.
const GAP: usize = 5;

/// Rows, columns and inner of a product.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub rows: usize,
    pub columns: usize,
    pub inner: usize,
}

impl Shape {
    /// Rows of activations, skewed as those after an activation function.
    fn x(self) -> Vec<f32> {
        values(1, self.rows * self.inner).into_iter().map(|value| value + 0.3 * value.abs()).collect()
    }

    fn weight(self) -> Vec<f32> {
        values(2, self.columns * self.inner)
    }

    fn bias(self) -> Vec<f32> {
        values(3, self.columns)
    }

    /// Runs a product on an output that begins with NaN and ends at an inaccessible page, and returns its elements. Reports an
    /// access between the rows.
    fn run(self, product: impl FnOnce(MatrixMut<'_, f32>)) -> Result<Vec<f32>, String> {
        let stride = self.columns + GAP;
        let len = if self.rows == 0 { 0 } else { self.rows * stride - GAP };
        let mut out = Guarded::new(&vec![CANARY; len]);
        for row in out.chunks_mut(stride) {
            row[..self.columns].fill(f32::NAN);
        }
        product(MatrixMut::new(&mut out, self.rows, self.columns, stride));
        if out.chunks(stride).any(|row| row[self.columns..].iter().any(|value| *value != CANARY)) {
            return Err(format!("{self:?}: written between the rows"));
        }
        Ok(out.chunks(stride).flat_map(|row| row[..self.columns].to_vec()).collect())
    }
}

/// Bytes, a multiple of 64, that end at an inaccessible page.
fn guarded(bytes: impl Iterator<Item = u8>) -> Guarded {
    let bytes: Vec<u8> = bytes.collect();
    let (words, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    Guarded::new(&words.iter().map(|word| f32::from_ne_bytes(*word)).collect::<Vec<f32>>())
}

/// The elements in guarded memory.
fn elements<T>(memory: &Guarded) -> &[T] {
    // SAFETY: plain numbers of smaller alignment.
    unsafe { memory.align_to::<T>() }.1
}

pub struct Bf16Case {
    pub shape: Shape,
    terms: Terms,
    x: Guarded,
    w: PackedBf16,
    /// Of each element: the exact value, and the largest error.
    exact: Vec<(f64, f64)>,
}

impl Bf16Case {
    pub fn new(shape: Shape, terms: Terms) -> Self {
        let Shape { rows, columns, inner } = shape;
        let (x, weight, bias) = (shape.x(), shape.weight(), shape.bias());
        let elements = terms.row_elements(inner);
        let mut converted = vec![0u16; rows * elements];
        let to = MatrixMut::new(&mut converted, rows, elements, elements);
        let from = Matrix::new(&x, rows, inner, inner);
        match terms {
            Terms::One => round_rows(Isa::best(), from, to),
            Terms::Two => split_rows(Isa::best(), from, to),
        }
        let part =
            LinearPart { weight: Matrix::new(&weight, columns, inner, inner), bias: Some(&bias), scale: 1.0 };
        let exact = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let exact = exact.map(|(row, column)| {
            let pairs = x[row * inner..][..inner].iter().zip(&weight[column * inner..][..inner]);
            exact_sum(terms, pairs, bias[column], inner)
        });
        let w = PackedBf16::pack(&[part], terms).unwrap();
        Bf16Case {
            shape,
            terms,
            x: guarded(converted.into_iter().flat_map(u16::to_ne_bytes)),
            w,
            exact: exact.collect(),
        }
    }

    pub fn run(&self, compute: &dyn Fn(Product<'_, '_, Sums>)) -> Result<Vec<f32>, String> {
        let elements_of_row = self.terms.row_elements(self.shape.inner);
        let x = Matrix::new(elements(&self.x), self.shape.rows, elements_of_row, elements_of_row);
        let panels = 0..self.w.panels();
        self.shape.run(|out| compute(bf16::product(x, &self.w, panels, Epilogue::Store, out)))
    }

    /// Reports the first element outside of its bound.
    pub fn check(&self, compute: &dyn Fn(Product<'_, '_, Sums>)) -> Result<(), String> {
        for (i, (found, (exact, bound))) in self.run(compute)?.into_iter().zip(&self.exact).enumerate() {
            let error = (f64::from(found) - exact).abs();
            if error.is_nan() || error > *bound {
                return Err(format!(
                    "{:?}: element {i}: {found}, exactly {exact}, bound {bound:e}",
                    self.shape
                ));
            }
        }
        Ok(())
    }

    /// The largest error, relative to the product of the lengths of both vectors, which is the error of a cosine.
    pub fn error_of_cosine(&self, compute: &dyn Fn(Product<'_, '_, Sums>)) -> f64 {
        let errors = self.run(compute).unwrap();
        let errors = errors.into_iter().zip(&self.exact).map(|(found, (exact, _))| f64::from(found) - exact);
        // Values from -1 to 1 have a mean square of 1/3.
        errors.fold(0.0, |max, error| f64::max(max, error.abs())) * 3.0 / self.shape.inner as f64
    }
}

/// The exact sum and the largest error. With one term the operands are rounded first, so that all products are exact in f32, and
/// only the sums are rounded. With two terms the product of the second ones is missing as well.
fn exact_sum<'a>(
    terms: Terms,
    pairs: impl Iterator<Item = (&'a f32, &'a f32)>,
    bias: f32,
    inner: usize,
) -> (f64, f64) {
    let operand = |value: f32| match terms {
        Terms::One => f64::from(f32::from_bits(u32::from(convert::round(value)) << 16)),
        Terms::Two => f64::from(value),
    };
    let (mut sum, mut magnitude) = (f64::from(bias), f64::from(bias.abs()));
    for (a, b) in pairs {
        let product = operand(*a) * operand(*b);
        sum += product;
        magnitude += product.abs();
    }
    let (products, missing) = match terms {
        Terms::One => (inner, 0.0),
        Terms::Two => (3 * inner, 3.1 * 2f64.powi(-16)),
    };
    let roundings = (products + 2) as f64 * 2f64.powi(-24);
    (sum, (roundings / (1.0 - roundings) + missing) * magnitude * (1.0 + 2f64.powi(-7)))
}

pub struct Int8Case {
    pub shape: Shape,
    x: Guarded,
    rows: Vec<RowScale>,
    w: PackedInt8,
    /// The bits of each element, computed from the bytes.
    expected: Vec<f32>,
    /// The product of the values before quantization, and the largest error of quantization.
    exact: Vec<(f64, f64)>,
}

impl Int8Case {
    pub fn new(shape: Shape) -> Self {
        let Shape { rows, columns, inner } = shape;
        let (x, weight, bias) = (shape.x(), shape.weight(), shape.bias());
        let stride = int8_row_elements(inner);
        let (mut bytes, mut scales) = (vec![0u8; rows * stride], vec![RowScale::default(); rows]);
        let from = Matrix::new(&x, rows, inner, inner);
        quantize_rows(Isa::best(), from, MatrixMut::new(&mut bytes, rows, stride, stride), &mut scales);
        let mut case = Int8Case {
            shape,
            x: guarded(bytes.iter().copied()),
            rows: scales,
            w: PackedInt8::pack(&[LinearPart {
                weight: Matrix::new(&weight, columns, inner, inner),
                bias: Some(&bias),
                scale: 1.0,
            }])
            .unwrap(),
            expected: Vec::new(),
            exact: Vec::new(),
        };
        for row in 0..rows {
            for column in 0..columns {
                let weight = &weight[column * inner..][..inner];
                let scale = weight.iter().fold(0.0, |max, w| f32::max(max, w.abs())) / 127.0;
                let (of_row, bias) = (case.rows[row], bias[column]);
                let (mut sum, mut exact, mut error) = (0i64, f64::from(bias), 1e-5);
                for k in 0..inner {
                    let byte = i64::from(bytes[row * stride + k]) - i64::from(of_row.zero_point);
                    sum += byte * (weight[k] / scale).round_ties_even() as i64;
                    let (a, b) = (f64::from(x[row * inner + k]), f64::from(weight[k]));
                    let (of_a, of_b) = (0.51 * f64::from(of_row.scale), 0.51 * f64::from(scale));
                    exact += a * b;
                    error += a.abs() * of_b + b.abs() * of_a + of_a * of_b;
                }
                case.expected.push(sum as f32 * (of_row.scale * scale) + bias);
                case.exact.push((exact, error));
            }
        }
        case
    }

    /// Reports the first element that differs in a bit, or that is not what the values before quantization give.
    pub fn check(&self, compute: &dyn Fn(Product<'_, '_, Dequantize<'_>>)) -> Result<(), String> {
        let stride = int8_row_elements(self.shape.inner);
        let x = Matrix::new(elements(&self.x), self.shape.rows, stride, stride);
        let panels = 0..self.w.panels();
        let found = self
            .shape
            .run(|out| compute(int8::product(x, &self.rows, &self.w, panels, Epilogue::Store, out)))?;
        for (i, ((found, expected), (exact, error))) in
            found.iter().zip(&self.expected).zip(&self.exact).enumerate()
        {
            if found.to_bits() != expected.to_bits() {
                return Err(format!("{:?}: element {i}: {found}, not {expected}", self.shape));
            }
            if (f64::from(*found) - exact).abs() > *error {
                return Err(format!(
                    "{:?}: element {i}: {found}, exactly {exact}, bound {error:e}",
                    self.shape
                ));
            }
        }
        Ok(())
    }
}
