//! One layer with packed weights. Each step of the forward pass is a function over the rows of its matrices and over a range of
//! panels or heads, so a caller can divide a step by rows or by columns; the result of an element is the same.

use std::io;
use std::ops::Range;

use kernels::attention::{AttentionShape, attention};
use kernels::gemm::{Epilogue, PackedF32, Part, gemm_f32};
use kernels::isa::Isa;
use kernels::matrix::{Matrix, MatrixMut};
use kernels::norm::layer_norm;

use crate::bert::layout::{LayerTensors, Linear, Norm};
use crate::config::BertConfig;
use crate::weights::Weights;

/// The weights of a layer.
pub(super) struct Layer {
    isa: Isa,
    /// Query, key and value.
    pub qkv: PackedF32,
    /// The output of attention.
    pub attention_out: PackedF32,
    /// The first product of the feed-forward part.
    pub up: PackedF32,
    /// The second one.
    pub down: PackedF32,
    attention_norm: LayerNorm,
    output_norm: LayerNorm,
    shape: AttentionShape,
}

/// Copied, so that nothing of a layer remains in the mapped file.
struct LayerNorm {
    weight: Vec<f32>,
    shift: Vec<f32>,
    epsilon: f32,
}

impl Layer {
    /// Packs the weights. Fails when the kernel refuses the memory.
    pub fn pack(
        isa: Isa,
        weights: &Weights,
        tensors: &LayerTensors,
        config: &BertConfig,
    ) -> io::Result<Layer> {
        let (hidden, head_size) = (config.hidden_size, config.head_size());
        let part = |linear: &Linear, scale: f32| {
            let (weight, bias) = (weights.floats(linear.weight), weights.floats(linear.bias));
            let inner = weight.len() / bias.len();
            Part { weight: Matrix::new(weight, bias.len(), inner, inner), bias: Some(bias), scale }
        };
        let norm = |norm: &Norm| LayerNorm {
            weight: weights.floats(norm.weight).to_vec(),
            shift: weights.floats(norm.bias).to_vec(),
            epsilon: config.layer_norm_eps,
        };
        let query_scale = 1.0 / (head_size as f32).sqrt();
        let [query, key, value] =
            [part(&tensors.query, query_scale), part(&tensors.key, 1.0), part(&tensors.value, 1.0)];
        Ok(Layer {
            isa,
            qkv: PackedF32::pack(&[query, key, value])?,
            attention_out: PackedF32::pack(&[part(&tensors.attention_out, 1.0)])?,
            up: PackedF32::pack(&[part(&tensors.up, 1.0)])?,
            down: PackedF32::pack(&[part(&tensors.down, 1.0)])?,
            attention_norm: norm(&tensors.attention_norm),
            output_norm: norm(&tensors.output_norm),
            shape: AttentionShape {
                heads: config.num_attention_heads,
                kv_heads: config.num_attention_heads,
                head_size,
                query: 0,
                key: hidden,
                value: 2 * hidden,
            },
        })
    }

    /// Query, key and value of hidden states.
    pub fn project_qkv(&self, x: Matrix<'_, f32>, panels: Range<usize>, out: MatrixMut<'_, f32>) {
        gemm_f32(self.isa, x, &self.qkv, panels, Epilogue::Store, out);
    }

    /// Attention of one sequence, whose rows `qkv` has.
    pub fn attend(
        &self,
        qkv: Matrix<'_, f32>,
        heads: Range<usize>,
        context: MatrixMut<'_, f32>,
        scratch: &mut [f32],
    ) {
        attention(self.isa, &self.shape, qkv, heads, context, scratch);
    }

    /// Adds the output of attention to the hidden states.
    pub fn add_attention(&self, context: Matrix<'_, f32>, panels: Range<usize>, x: MatrixMut<'_, f32>) {
        gemm_f32(self.isa, context, &self.attention_out, panels, Epilogue::AddTo, x);
    }

    /// The layer norm after attention; rows are whole.
    pub fn normalize_attention(&self, x: MatrixMut<'_, f32>) {
        self.attention_norm.apply(self.isa, x);
    }

    /// The first half of the feed-forward part, with GELU.
    pub fn widen(&self, x: Matrix<'_, f32>, panels: Range<usize>, wide: MatrixMut<'_, f32>) {
        gemm_f32(self.isa, x, &self.up, panels, Epilogue::Gelu, wide);
    }

    /// Adds the second half of the feed-forward part to the hidden states.
    pub fn add_feed_forward(&self, wide: Matrix<'_, f32>, panels: Range<usize>, x: MatrixMut<'_, f32>) {
        gemm_f32(self.isa, wide, &self.down, panels, Epilogue::AddTo, x);
    }

    /// The layer norm after the feed-forward part; rows are whole.
    pub fn normalize_output(&self, x: MatrixMut<'_, f32>) {
        self.output_norm.apply(self.isa, x);
    }
}

impl LayerNorm {
    fn apply(&self, isa: Isa, x: MatrixMut<'_, f32>) {
        layer_norm(isa, x, &self.weight, &self.shift, self.epsilon);
    }
}
