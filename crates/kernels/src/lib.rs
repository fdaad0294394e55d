//! CPU kernels for transformer models, and the thread team that runs them. No files, no models, no network.
//!
//! Weights are packed once, when a model is loaded; activations are row-major and never packed. Each element of a product
//! is one chain of multiply-adds in the order of `k`, for any number of rows, columns or threads, so a row of a
//! result does not depend on its batch or on the split of the work, in any precision.
//!
//! | module | purpose |
//! |---|---|
//! | [`activation`] | GELU, SiLU and exp |
//! | [`attention`] | attention of one sequence |
//! | [`norm`] | layer norm, RMS norm, unit length |
//! | [`softmax`] | softmax of rows |
//! | [`gemm`] | products with packed weights, and of two row-major matrices |
//! | [`isa`] | instruction sets of this CPU, and the choice of one |
//! | `simd` | vectors of 16 lanes on each instruction set |
//! | [`buffer`] | aligned anonymous memory |
//! | [`convert`] | bf16, f16 and int8 to and from f32 |
//! | [`linear`] | layers in a precision that is chosen at load |
//! | [`matrix`] | views of row-major matrices, and their split by columns |
//! | [`peak_rate`] | rate of multiply-adds that the cores reach at this moment, for benchmarks |
//! | [`team`] | the threads that compute one text or one batch together |
#![warn(missing_docs)]

pub mod activation;
pub mod attention;
pub mod buffer;
pub mod convert;
pub mod gemm;
pub mod isa;
pub mod linear;
pub mod matrix;
pub mod norm;
pub mod peak_rate;
mod simd;
pub mod softmax;
pub mod team;
