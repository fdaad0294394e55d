//! The choice between the kernels of this project and OpenBLAS, and the precision of own kernels.

use kernels::isa::{Isa, Level};
use kernels::linear::Precision;

/// What computes the products of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GemmBackend {
    /// The crate `kernels`. Weights are packed when a model is opened: anonymous memory, and vectors that are the same, bit for bit, in
    /// every batch and on any number of threads.
    Own(OwnKernels),
    /// OpenBLAS, which packs the weights again in each product. They are used where they are mapped.
    OpenBlas,
}

/// The choice among own kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnKernels {
    /// The instruction set.
    pub isa: Isa,
    /// The format of weights and activations in products.
    pub precision: Precision,
}

impl OwnKernels {
    /// The fastest precision with the accuracy of f32: three products of bf16 with AMX, otherwise f32.
    pub fn automatic(isa: Isa) -> Self {
        let precision = if isa.level() == Level::Amx { Precision::Bf16x3 } else { Precision::F32 };
        Self { isa, precision }
    }
}

impl Default for GemmBackend {
    /// Own kernels with the best instruction set and the accuracy of f32.
    fn default() -> Self {
        Self::Own(OwnKernels::automatic(Isa::best()))
    }
}

impl GemmBackend {
    /// The instruction set of all that is not a product.
    pub(crate) fn isa(self) -> Isa {
        match self {
            Self::Own(kernels) => kernels.isa,
            Self::OpenBlas => Isa::best(),
        }
    }
}
