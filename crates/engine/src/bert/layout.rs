//! The tensors of a BERT.

use crate::weights::TensorRef;

/// Embedding tables and their layer norm.
pub(super) struct Embeddings {
    pub words: TensorRef,
    pub positions: TensorRef,
    pub token_types: TensorRef,
    pub norm: Norm,
}

/// A layer norm.
pub(super) struct Norm {
    pub weight: TensorRef,
    pub bias: TensorRef,
}

/// A linear projection; the weight is `[outputs, inputs]`.
#[derive(Clone, Copy)]
pub(super) struct Linear {
    pub weight: TensorRef,
    pub bias: TensorRef,
}

/// One layer of the encoder.
pub(super) struct LayerTensors {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub attention_out: Linear,
    pub attention_norm: Norm,
    pub up: Linear,
    pub down: Linear,
    pub output_norm: Norm,
}

impl LayerTensors {
    /// The projections.
    pub fn linears(&self) -> [Linear; 6] {
        [self.query, self.key, self.value, self.attention_out, self.up, self.down]
    }
}
