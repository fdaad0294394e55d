//! Linear layers in a precision that is chosen when they are packed.
//!
//! ```text
//! Operand::prepare   rows of f32 -> Input: nothing to do, bf16, or bytes with a scale for each row
//! Linear::apply      Input -> rows of f32, for some panels of columns
//! ```
//!
//! Several layers that read the same rows share one [`Input`].

#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;

use crate::buffer::{Buffer, Element};
use crate::convert::{RowScale, quantize_rows, round_rows, split_rows};
use crate::gemm::{
    Epilogue, LinearPart, PackedBf16, PackedF32, PackedInt8, Terms, gemm_bf16, gemm_f32, gemm_int8,
    int8_row_elements,
};
use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut};
use crate::simd::LANES;

/// The format of weights and activations in products. Sums, bias and results are f32 always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 24 bits.
    F32,
    /// 8 bits and the exponents of f32; half the memory.
    Bf16,
    /// Two bf16, 16 bits together; the memory of f32. Faster than f32 with AMX only.
    Bf16x3,
    /// Bytes with a scale for each column of weights and each row of activations; a quarter of the memory.
    Int8,
}

/// The weights and the bias of a layer, packed for an instruction set.
pub struct Linear {
    isa: Isa,
    packed: PackedWeights,
}

enum PackedWeights {
    F32(PackedF32),
    Bf16(PackedBf16),
    Int8(PackedInt8),
}

/// Calls a method that all formats have.
macro_rules! each {
    ($packed:expr, $w:ident => $call:expr) => {
        match $packed {
            PackedWeights::F32($w) => $call,
            PackedWeights::Bf16($w) => $call,
            PackedWeights::Int8($w) => $call,
        }
    };
}

impl Linear {
    /// Packs the parts, which become adjacent columns of one product. Fails when the kernel refuses the memory, or when int8 has
    /// more than 66,311 `k`; panics when the parts differ in their number of `k`, or a bias has another length than its part.
    pub fn pack(isa: Isa, precision: Precision, parts: &[LinearPart<'_>]) -> io::Result<Linear> {
        let packed = match precision {
            Precision::F32 => PackedWeights::F32(PackedF32::pack(parts)?),
            Precision::Bf16 => PackedWeights::Bf16(PackedBf16::pack(parts, Terms::One)?),
            Precision::Bf16x3 => PackedWeights::Bf16(PackedBf16::pack(parts, Terms::Two)?),
            Precision::Int8 => PackedWeights::Int8(PackedInt8::pack(parts)?),
        };
        Ok(Linear { isa, packed })
    }

    /// Columns of the product: the sum over the parts.
    pub fn columns(&self) -> usize {
        each!(&self.packed, w => w.columns())
    }

    /// Number of `k`: columns of the rows that the layer reads.
    pub fn inner(&self) -> usize {
        each!(&self.packed, w => w.inner())
    }

    /// Panels of 16 columns, the last one maybe with fewer: the unit of division between threads.
    pub fn panels(&self) -> usize {
        each!(&self.packed, w => w.panels())
    }

    /// Columns of panels.
    pub fn columns_of(&self, panels: Range<usize>) -> Range<usize> {
        panels.start * LANES..self.columns().min(panels.end * LANES)
    }

    /// Bytes of memory of a layer, before it is packed.
    pub fn bytes_of(precision: Precision, columns: usize, inner: usize) -> usize {
        match precision {
            Precision::F32 => PackedF32::bytes_of(columns, inner),
            Precision::Bf16 => PackedBf16::bytes_of(columns, inner, Terms::One),
            Precision::Bf16x3 => PackedBf16::bytes_of(columns, inner, Terms::Two),
            Precision::Int8 => PackedInt8::bytes_of(columns, inner),
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        each!(&self.packed, w => w.bytes())
    }

    /// The format.
    pub fn precision(&self) -> Precision {
        match &self.packed {
            PackedWeights::F32(_) => Precision::F32,
            PackedWeights::Bf16(w) if w.terms() == Terms::One => Precision::Bf16,
            PackedWeights::Bf16(_) => Precision::Bf16x3,
            PackedWeights::Int8(_) => Precision::Int8,
        }
    }

    /// `out = epilogue(x * w^T + bias)` for the columns of `panels`; `out` is `[rows, columns of these panels]`.
    ///
    /// A row of the result does not depend on the other rows, nor a column on `panels`. Allocates nothing. Panics when a shape differs, or
    /// when the input has another precision.
    pub fn apply(&self, x: Input<'_>, panels: Range<usize>, epilogue: Epilogue, out: MatrixMut<'_, f32>) {
        let precision = self.precision();
        assert!(x.precision == precision, "rows in {:?} for a layer in {precision:?}", x.precision);
        match (&self.packed, x.rows) {
            (PackedWeights::F32(w), Rows::F32(x)) => gemm_f32(self.isa, x, w, panels, epilogue, out),
            (PackedWeights::Bf16(w), Rows::Bf16(x)) => gemm_bf16(self.isa, x, w, panels, epilogue, out),
            (PackedWeights::Int8(w), Rows::Int8(x, scales)) => {
                gemm_int8(self.isa, x, scales, w, panels, epilogue, out);
            }
            _ => unreachable!("the precisions are equal"),
        }
    }
}

/// Rows in the precision of the layers that read them.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    precision: Precision,
    rows: Rows<'a>,
}

#[derive(Clone, Copy)]
enum Rows<'a> {
    F32(Matrix<'a, f32>),
    Bf16(Matrix<'a, u16>),
    Int8(Matrix<'a, u8>, &'a [RowScale]),
}

/// Memory for converted rows. It grows to the largest block and is then reused.
#[derive(Default)]
pub struct Operand {
    bf16: Buffer<u16>,
    int8: Buffer<u8>,
    scales: Vec<RowScale>,
}

impl Operand {
    /// Memory for `rows` rows of `inner` values. Fails when the kernel refuses it.
    pub fn new(precision: Precision, rows: usize, inner: usize) -> io::Result<Operand> {
        let mut operand = Operand::default();
        operand.reserve(precision, rows, inner)?;
        Ok(operand)
    }

    /// Bytes of memory for `rows` rows of `inner` values.
    pub fn bytes_for(precision: Precision, rows: usize, inner: usize) -> usize {
        let pages = |elements: usize, size: usize| (elements * size).next_multiple_of(4096);
        match precision {
            Precision::F32 => 0,
            Precision::Bf16 => pages(rows * stride::<u16>(Terms::One.row_elements(inner)), 2),
            Precision::Bf16x3 => pages(rows * stride::<u16>(Terms::Two.row_elements(inner)), 2),
            Precision::Int8 => {
                pages(rows * stride::<u8>(int8_row_elements(inner)), 1) + rows * size_of::<RowScale>()
            }
        }
    }

    /// The rows of `x` in a precision. Allocates only when an earlier block was smaller; fails when the kernel refuses the memory.
    pub fn prepare<'a>(
        &'a mut self,
        isa: Isa,
        precision: Precision,
        x: Matrix<'a, f32>,
    ) -> io::Result<Input<'a>> {
        let (rows, inner) = (x.rows(), x.columns());
        self.reserve(precision, rows, inner)?;
        let rows = match precision {
            Precision::F32 => Rows::F32(x),
            Precision::Bf16 => {
                let (columns, stride) = shape::<u16>(Terms::One.row_elements(inner));
                round_rows(isa, x, MatrixMut::new(&mut self.bf16, rows, columns, stride));
                Rows::Bf16(Matrix::new(&self.bf16, rows, columns, stride))
            }
            Precision::Bf16x3 => {
                let (columns, stride) = shape::<u16>(Terms::Two.row_elements(inner));
                split_rows(isa, x, MatrixMut::new(&mut self.bf16, rows, columns, stride));
                Rows::Bf16(Matrix::new(&self.bf16, rows, columns, stride))
            }
            Precision::Int8 => {
                let (columns, stride) = shape::<u8>(int8_row_elements(inner));
                let scales = &mut self.scales[..rows];
                quantize_rows(isa, x, MatrixMut::new(&mut self.int8, rows, columns, stride), scales);
                Rows::Int8(Matrix::new(&self.int8, rows, columns, stride), scales)
            }
        };
        Ok(Input { precision, rows })
    }

    /// Grows the memory to `rows` rows of `inner` values.
    fn reserve(&mut self, precision: Precision, rows: usize, inner: usize) -> io::Result<()> {
        match precision {
            Precision::F32 => Ok(()),
            Precision::Bf16 => grow(&mut self.bf16, rows * stride::<u16>(Terms::One.row_elements(inner))),
            Precision::Bf16x3 => grow(&mut self.bf16, rows * stride::<u16>(Terms::Two.row_elements(inner))),
            Precision::Int8 => {
                if self.scales.len() < rows {
                    self.scales.resize(rows, RowScale::default());
                }
                grow(&mut self.int8, rows * stride::<u8>(int8_row_elements(inner)))
            }
        }
    }
}

/// Columns and stride of rows with this number of elements.
fn shape<T>(elements: usize) -> (usize, usize) {
    (elements, stride::<T>(elements))
}

/// Elements from row to row. Rows 4 KiB apart would have all rows of a tile in one set of L1, so these are a line longer.
fn stride<T>(elements: usize) -> usize {
    let bytes = elements * size_of::<T>();
    if bytes > 0 && bytes.is_multiple_of(4096) { elements + 64 / size_of::<T>() } else { elements }
}

fn grow<T: Element>(buffer: &mut Buffer<T>, len: usize) -> io::Result<()> {
    if buffer.len() < len {
        // The old pages are freed first.
        *buffer = Buffer::default();
        *buffer = Buffer::zeroed(len)?;
    }
    Ok(())
}
