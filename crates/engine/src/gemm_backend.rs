//! The choice between the kernels of this project and OpenBLAS.

use kernels::isa::Isa;

/// What computes the products of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GemmBackend {
    /// The crate `kernels` with an instruction set. Weights are packed when a model is opened: anonymous memory, and vectors that
    /// are the same, bit for bit, in every batch and on any number of threads.
    Own(Isa),
    /// OpenBLAS, which packs the weights again in each product. They are used where they are mapped.
    OpenBlas,
}

impl Default for GemmBackend {
    /// Own kernels with the best instruction set.
    fn default() -> Self {
        Self::Own(Isa::best())
    }
}

impl GemmBackend {
    /// The instruction set of all that is not a product.
    pub(crate) fn isa(self) -> Isa {
        match self {
            Self::Own(isa) => isa,
            Self::OpenBlas => Isa::best(),
        }
    }
}
