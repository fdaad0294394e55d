//! Products against f64, their independence of the division of work, and wrong products that the checks report.

pub(crate) mod case;
mod exact;
pub(crate) mod guarded;
mod mutants;
mod shapes;

use super::{Epilogue, LinearPart, PackedF32, gemm_f32, gemm_unpacked};
use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut};

/// Sets that round a multiply-add once.
fn sets_with_fma() -> impl Iterator<Item = Isa> {
    Isa::available().iter().copied().filter(|isa| cfg!(target_arch = "aarch64") || *isa != Isa::BASELINE)
}

/// Packs a layer of one part.
fn pack(weight: Matrix<'_, f32>, bias: &[f32]) -> PackedF32 {
    PackedF32::pack(&[LinearPart { weight, bias: Some(bias), scale: 1.0 }]).unwrap()
}
