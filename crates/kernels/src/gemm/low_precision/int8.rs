//! Products of unsigned and signed bytes with exact sums in i32.
//!
//! A sum is the same on every instruction set, and so is its value, because the scaling has no fused multiply-add.

use std::io;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::amx::Amx;
use super::panels::{Panels, columns, padded};
use super::registers::Registers;
use super::tiles::{Pass, Product, Scale};
use crate::convert::{RowScale, quantize_weights};
use crate::gemm::epilogue::Epilogue;
use crate::gemm::packed::LinearPart;
use crate::isa::{Isa, Level};
use crate::matrix::{Matrix, MatrixMut};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512, Avx512Vnni};
use crate::simd::{Baseline, Int8Widened, Integers, LANES};

/// The largest number of `k` whose sum cannot exceed 31 bits: 255 * 127 * 66,311 is less than 2^31.
const MAX_INNER: usize = 66_311;

/// Columns of a row of activations with `inner` values: padded to 64 bytes.
pub fn int8_row_elements(inner: usize) -> usize {
    padded::<u8>(inner)
}

/// Weights of a linear layer as signed bytes with a scale for each column, packed once, when a model is loaded.
pub struct PackedInt8 {
    panels: Panels<i8>,
    /// One for each panel.
    scales: Vec<PanelScales>,
}

/// What turns the sums of 16 columns into values.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct PanelScales {
    /// Value of a step of a weight.
    scale: [f32; LANES],
    /// Sum of the bytes of a column.
    sum: [i32; LANES],
    bias: [f32; LANES],
}

impl PackedInt8 {
    /// Quantizes the parts, after scaling them: the weight of the largest magnitude in a column becomes 127. The parts have any
    /// number of columns each and no padding between them. Fails when the kernel refuses the memory, or when the parts have more than
    /// 66,311 `k`; panics when they differ in it, or a bias has another length than its part.
    pub fn pack(parts: &[LinearPart<'_>]) -> io::Result<Self> {
        let mut panels = Panels::zeroed(parts, 1)?;
        if panels.inner() > MAX_INNER {
            let message = format!("int8 products are exact up to {MAX_INNER} terms, not {}", panels.inner());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let none = PanelScales { scale: [0.0; LANES], sum: [0; LANES], bias: [0.0; LANES] };
        let mut scales = vec![none; panels.panels()];
        let (isa, mut bytes) = (Isa::best(), vec![0; panels.inner()]);
        for (i, column) in columns(parts).enumerate() {
            let quantized = quantize_weights(isa, column.unscaled, column.factor, &mut bytes);
            panels.store_column(i, &bytes);
            let panel = &mut scales[i / LANES];
            panel.scale[i % LANES] = quantized.scale;
            panel.sum[i % LANES] = quantized.sum;
            panel.bias[i % LANES] = column.bias;
        }
        Ok(PackedInt8 { panels, scales })
    }

    /// Columns of the product: the sum over the parts.
    pub fn columns(&self) -> usize {
        self.panels.columns()
    }

    /// Number of `k`.
    pub fn inner(&self) -> usize {
        self.panels.inner()
    }

    /// Panels of 16 columns, the last one maybe with fewer: the unit of division between threads.
    pub fn panels(&self) -> usize {
        self.panels.panels()
    }

    /// Bytes of memory of a layer, before it is packed.
    pub fn bytes_of(columns: usize, inner: usize) -> usize {
        Panels::<i8>::bytes_of(columns, inner, 1) + columns.div_ceil(LANES) * size_of::<PanelScales>()
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.panels.bytes() + size_of_val(&*self.scales)
    }
}

/// `out = epilogue(x * w^T + bias)` for the columns of `panels`.
///
/// `x` is `[rows, int8_row_elements(inner)]` and `rows` has its scales, from [`crate::convert::quantize_rows`]; `out` is `[rows, columns of
/// these panels]`. Panics when a shape differs. Before the epilogue's activation the result has the same bits on every instruction
/// set, for any other rows and any `panels`.
pub fn gemm_int8(
    isa: Isa,
    x: Matrix<'_, u8>,
    rows: &[RowScale],
    w: &PackedInt8,
    panels: Range<usize>,
    epilogue: Epilogue,
    out: MatrixMut<'_, f32>,
) {
    compute(isa, product(x, rows, w, panels, epilogue, out));
}

/// Computes a product whose shapes are checked.
pub(super) fn compute(isa: Isa, product: Product<'_, '_, Dequantize<'_>>) {
    // SAFETY of the calls of `compute`: `product` has checked the shapes.
    match isa.level() {
        Level::Baseline => {
            // SAFETY: as above.
            unsafe { product.compute(Registers(Int8Widened(Baseline::new()))) };
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => {
            // SAFETY: the value of `isa` shows that the CPU has the instructions.
            let simd = unsafe { Avx2::new() };
            // SAFETY: as above.
            unsafe { product.compute(Registers(Int8Widened(simd))) };
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => {
            // SAFETY: the value of `isa` shows that the CPU has the instructions.
            let simd = unsafe { Avx512::new() };
            // SAFETY: as above.
            unsafe { product.compute(Registers(Int8Widened(simd))) };
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni | Level::Avx512Bf16 => {
            // SAFETY: the value of `isa` shows that the CPU has the instructions.
            let dot = unsafe { Avx512Vnni::new() };
            // SAFETY: as above.
            unsafe { product.compute(Registers(dot)) };
        }
        #[cfg(target_arch = "x86_64")]
        Level::Amx => {
            // SAFETY: the value of `isa` shows that the CPU has the instructions and the kernel enabled them.
            let amx = unsafe { Amx::int8() };
            // SAFETY: as above.
            unsafe { amx.compute(product) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        level => unreachable!("{level} is not a set of this architecture"),
    }
}

/// The product of [`gemm_int8`], with its shapes checked. Panels are padded to 16 columns.
pub(super) fn product<'a, 'b>(
    x: Matrix<'a, u8>,
    rows: &'a [RowScale],
    w: &'a PackedInt8,
    panels: Range<usize>,
    epilogue: Epilogue,
    out: MatrixMut<'b, f32>,
) -> Product<'a, 'b, Dequantize<'a>> {
    let operands = w.panels.operands(x, &panels, &[0.0; LANES], &[Pass { x: 0, w: 0 }], &out);
    assert!(rows.len() == x.rows(), "{} scales for {} rows", rows.len(), x.rows());
    Product {
        operands,
        scale: Dequantize { rows, panels: &w.scales[panels] },
        epilogue,
        rows: 0..out.rows(),
        out,
    }
}

/// Turns sums of bytes into values.
#[derive(Clone, Copy)]
pub(super) struct Dequantize<'a> {
    pub rows: &'a [RowScale],
    pub panels: &'a [PanelScales],
}

impl Scale for Dequantize<'_> {
    const IS_IDENTITY: bool = false;
    type Columns<S: Integers> = Columns<S>;

    #[inline(always)]
    fn columns<S: Integers>(&self, s: S, column: usize) -> Columns<S> {
        let panel = &self.panels[column / LANES];
        // SAFETY: 16 elements.
        let sum = unsafe { s.load_bytes(panel.sum.as_ptr().cast()) };
        // SAFETY: 16 elements.
        let scale = unsafe { s.load(panel.scale.as_ptr()) };
        // SAFETY: 16 elements.
        let bias = unsafe { s.load(panel.bias.as_ptr()) };
        Columns { scale, sum, bias }
    }

    #[inline(always)]
    fn values<S: Integers>(&self, s: S, row: usize, columns: Columns<S>, sums: S::F32) -> S::F32 {
        let RowScale { scale, zero_point } = self.rows[row];
        let zero = s.mul_i32(columns.sum, s.splat_i32(zero_point));
        let sums = s.to_f32(s.sub_i32(s.to_bits(sums), zero));
        s.add(s.mul(sums, s.mul(s.splat(scale), columns.scale)), columns.bias)
    }
}

/// [`PanelScales`] in registers.
#[derive(Clone, Copy)]
pub(super) struct Columns<S: Integers> {
    scale: S::F32,
    sum: S::I32,
    bias: S::F32,
}
