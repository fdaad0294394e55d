//! CPU kernels for transformer models, and the thread team that runs them. No files, no models, no network.
//!
//! Weights are packed once, when a model is loaded; activations are row-major and never packed. Each element of a product
//! is one chain of fused multiply-adds in the order of `k`, whatever the number of rows, columns or threads is, so a row of
//! a result does not depend on its batch or on the split of the work.
//!
//! | module | purpose |
//! |---|---|
//! | [`isa`] | instruction sets of this CPU, and the choice of one |
//! | `simd` | vectors of 16 lanes on each instruction set |
//! | [`buffer`] | aligned anonymous memory |
//! | [`matrix`] | views of row-major matrices, and their split by columns |
//! | [`team`] | the threads that compute one text or one batch together |
#![warn(missing_docs)]

pub mod buffer;
pub mod isa;
pub mod matrix;
mod simd;
pub mod team;
