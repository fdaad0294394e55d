//! Products of bf16 with sums in f32.
//!
//! With two terms an operand is the sum of two bf16, which have 16 bits together. The product is then three products of bf16:
//! both mixed ones and that of the first terms. What is lost is below 3 * 2^-16 of the sum of magnitudes. On AMX that is faster than a
//! product of f32; on other sets it is not, and is there as reference.

use std::io;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::amx::Amx;
use super::panels::{Panels, columns};
use super::registers::Registers;
use super::terms::Terms;
use super::tiles::{Pass, Product, Scale};
use crate::buffer::Buffer;
use crate::convert;
use crate::gemm::epilogue::Epilogue;
use crate::gemm::packed::LinearPart;
use crate::isa::{Isa, Level};
use crate::matrix::{Matrix, MatrixMut};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512, Avx512Bf16};
use crate::simd::{Baseline, Bf16Fma, Integers, LANES};

/// Weights and bias of a linear layer in bf16, packed once, when a model is loaded. Products add the bias in f32.
pub struct PackedBf16 {
    panels: Panels<u16>,
    /// One for each column of a panel.
    bias: Buffer<f32>,
    terms: Terms,
    /// The products of terms, in the order of summation.
    passes: Vec<Pass>,
}

impl PackedBf16 {
    /// Rounds the parts, after scaling them. They have any number of columns each and no padding between them. Fails when the kernel
    /// refuses the memory; panics when the parts differ in their number of `k`, or a bias has another length than its part.
    pub fn pack(parts: &[LinearPart<'_>], terms: Terms) -> io::Result<Self> {
        let mut panels = Panels::zeroed(parts, terms.count())?;
        let mut bias = Buffer::zeroed(panels.panels() * LANES)?;
        for (i, column) in columns(parts).enumerate() {
            panels.store(i, 0, column.weights().map(convert::round));
            if terms == Terms::Two {
                panels.store(i, 1, column.weights().map(|weight| convert::split(weight)[1]));
            }
            bias[i] = column.bias;
        }
        let low = Pass { x: panels.row_elements() / 2 * size_of::<u16>(), w: panels.term_bytes() };
        let high = Pass { x: 0, w: 0 };
        let passes = match terms {
            Terms::One => vec![high],
            // Small products first: they are then added to small sums.
            Terms::Two => vec![Pass { w: 0, ..low }, Pass { x: 0, ..low }, high],
        };
        Ok(PackedBf16 { panels, bias, terms, passes })
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

    /// Bytes of anonymous memory of a layer, before it is packed.
    pub fn bytes_of(columns: usize, inner: usize, terms: Terms) -> usize {
        Panels::<u16>::bytes_of(columns, inner, terms.count())
            + Buffer::<f32>::bytes_of(columns.next_multiple_of(LANES))
    }

    /// Bytes of anonymous memory.
    pub fn bytes(&self) -> usize {
        self.panels.bytes() + self.bias.bytes()
    }

    /// How many bf16 represent a weight and an activation.
    pub fn terms(&self) -> Terms {
        self.terms
    }
}

/// `out = epilogue(x * w^T + bias)` for the columns of `panels`.
///
/// `x` is `[rows, w.terms().row_elements(inner)]`, from [`convert::round_rows`] or [`convert::split_rows`]; `out` is `[rows, columns of
/// these panels]`. Panics when a shape differs. A row of the result does not depend on the other rows, nor a column on `panels`. Sets
/// with an instruction for bf16 read denormals as zero, and their sums differ in the last bits from those of other sets.
pub fn gemm_bf16(
    isa: Isa,
    x: Matrix<'_, u16>,
    w: &PackedBf16,
    panels: Range<usize>,
    epilogue: Epilogue,
    out: MatrixMut<'_, f32>,
) {
    compute(isa, product(x, w, panels, epilogue, out));
}

/// Computes a product whose shapes are checked.
pub(super) fn compute(isa: Isa, product: Product<'_, '_, Sums>) {
    // SAFETY of the calls of `compute`: `product` has checked the shapes.
    match isa.level() {
        Level::Baseline => {
            // SAFETY: as above.
            unsafe { product.compute(Registers(Bf16Fma(Baseline::new()))) };
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => {
            // SAFETY: the value of `isa` shows that the CPU has the instructions.
            let simd = unsafe { Avx2::new() };
            // SAFETY: as above.
            unsafe { product.compute(Registers(Bf16Fma(simd))) };
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Vnni => {
            // SAFETY: the value of `isa` shows that the CPU has the instructions.
            let simd = unsafe { Avx512::new() };
            // SAFETY: as above.
            unsafe { product.compute(Registers(Bf16Fma(simd))) };
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Bf16 => {
            // SAFETY: the value of `isa` shows that the CPU has the instructions.
            let dot = unsafe { Avx512Bf16::new() };
            // SAFETY: as above.
            unsafe { product.compute(Registers(dot)) };
        }
        #[cfg(target_arch = "x86_64")]
        Level::Amx => {
            // SAFETY: the value of `isa` shows that the CPU has the instructions and the kernel enabled them.
            let amx = unsafe { Amx::bf16(Terms::of(product.operands.passes)) };
            // SAFETY: as above.
            unsafe { amx.compute(product) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        level => unreachable!("{level} is not a set of this architecture"),
    }
}

/// The product of [`gemm_bf16`], with its shapes checked. Panels and bias are padded to 16 columns.
pub(super) fn product<'a, 'b>(
    x: Matrix<'a, u16>,
    w: &'a PackedBf16,
    panels: Range<usize>,
    epilogue: Epilogue,
    out: MatrixMut<'b, f32>,
) -> Product<'a, 'b, Sums> {
    let operands = w.panels.operands(x, &panels, &w.bias, &w.passes, &out);
    Product { operands, scale: Sums, epilogue, rows: 0..out.rows(), out }
}

/// The sums are the values, as they start with the bias.
#[derive(Clone, Copy)]
pub(super) struct Sums;

impl Scale for Sums {
    const IS_IDENTITY: bool = true;
    type Columns<S: Integers> = ();

    #[inline(always)]
    fn columns<S: Integers>(&self, _: S, _: usize) {}

    #[inline(always)]
    fn values<S: Integers>(&self, _: S, _: usize, (): (), sums: S::F32) -> S::F32 {
        sums
    }
}
