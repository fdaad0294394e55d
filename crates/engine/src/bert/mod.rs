//! BERT: loading of its weights, and the forward pass.
//!
//! | module | purpose |
//! |---|---|
//! | `layout` | which tensors a layer consists of |
//! | `load` | finds the tensors in the weight file |
//! | `packed` | the input: sequences without padding |
//! | `scratch` | the memory of one worker |
//! | `forward_times` | time per stage |
//! | `encoder` | embeddings, layers, pooling |
//! | `own` | the layers on the crate `kernels` |
//! | `openblas` | the layers on OpenBLAS |

mod encoder;
mod forward_times;
mod layout;
mod load;
mod normalizer;
mod openblas;
mod own;
mod packed;
mod scratch;
#[cfg(test)]
mod tests;

use crate::config::BertConfig;
use crate::gemm_backend::GemmBackend;

pub(crate) use encoder::Bert;
pub(crate) use forward_times::ForwardTimes;
use normalizer::Normalizer;
pub(crate) use packed::PackedSequences;
pub(crate) use scratch::Scratch;

/// Upper bound of the scratch memory of one worker, in floats.
pub(crate) fn scratch_floats(config: &BertConfig, gemm: GemmBackend, tokens: usize, longest: usize) -> usize {
    let layers = match gemm {
        GemmBackend::Own(kernels) => own::scratch_floats(config, kernels, tokens, longest),
        GemmBackend::OpenBlas => openblas::scratch_floats(config, tokens, longest),
    };
    encoder::hidden_floats(config, tokens) + layers
}

/// Upper bound of the memory of one worker besides [`scratch_floats`]: activations in the precision of the products.
pub(crate) fn operand_bytes(config: &BertConfig, gemm: GemmBackend, tokens: usize, longest: usize) -> usize {
    match gemm {
        GemmBackend::Own(kernels) => own::operand_bytes(config, kernels, tokens, longest),
        GemmBackend::OpenBlas => 0,
    }
}

/// Floats that the members of a team share when they compute one chunk together; 0 with OpenBLAS.
pub(crate) fn shared_floats(config: &BertConfig, gemm: GemmBackend, tokens: usize) -> usize {
    match gemm {
        GemmBackend::Own(kernels) => {
            encoder::hidden_floats(config, tokens) + own::shared_floats(config, kernels, tokens)
        }
        GemmBackend::OpenBlas => 0,
    }
}

/// Bytes of weights that a model has packed, and of those in the file that it does not use any more.
pub(crate) fn packed_and_released_bytes(config: &BertConfig, gemm: GemmBackend) -> (usize, usize) {
    match gemm {
        GemmBackend::Own(kernels) => {
            (own::packed_bytes(config, kernels.precision), own::released_bytes(config))
        }
        GemmBackend::OpenBlas => (0, 0),
    }
}

/// The products of OpenBLAS as `(columns, inner)`, none with own kernels.
pub(crate) fn openblas_products(config: &BertConfig, gemm: GemmBackend) -> Vec<(usize, usize)> {
    match gemm {
        GemmBackend::Own(_) => Vec::new(),
        GemmBackend::OpenBlas => openblas::products(config).into(),
    }
}
