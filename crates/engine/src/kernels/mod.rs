//! Operations of the forward pass other than matrix products: GELU, softmax, layer norm, transposition.
//!
//! | module | purpose |
//! |---|---|
//! | `simd` | selection of the instruction set; one compiled copy of a kernel per set |
//! | `gelu`, `softmax`, `norm`, `transpose` | one kernel each |
//!
//! The kernels are plain loops over 16 lanes that the compiler vectorizes, compiled once per instruction set. Intrinsics
//! would require three equal copies of each function; a build for one CPU would not start on another. Every row is
//! computed in the same order, whatever its neighbours are, so the vector of a text does not depend on its batch.
//!
//! Accuracy: GELU is within 1.2e-6 and exp within 2 units in the last place of the exact functions (see the tests).
//! `fit.py` in this folder computes the coefficients.
//!
//! `benches/kernels.rs` compiles this module on its own, so it depends on no other module of the crate.

mod gelu;
mod norm;
mod simd;
mod softmax;
#[cfg(test)]
mod tests;
mod transpose;

pub(crate) use gelu::gelu;
pub(crate) use norm::{add_bias_and_normalize, unit_length};
pub(crate) use simd::Simd;
pub(crate) use softmax::softmax_rows;
pub(crate) use transpose::transpose;
