//! One layer with packed weights. Each step of the forward pass is a function over the rows of its matrices and over a range of
//! panels or heads, so a caller can divide a step by rows or by columns; the result of an element is the same.

use std::io;
use std::ops::Range;

use kernels::attention::{AttentionShape, attention};
use kernels::gemm::{Epilogue, LinearPart};
use kernels::isa::Isa;
use kernels::linear::{Input, Linear as PackedLinear};
use kernels::matrix::{Matrix, MatrixMut};
use kernels::norm::layer_norm;

use crate::bert::layout::{LayerTensors, Linear, Norm};
use crate::config::BertConfig;
use crate::gemm_backend::OwnKernels;
use crate::weights::Weights;

/// The weights of a layer.
pub(super) struct Layer {
    isa: Isa,
    /// Query, key and value.
    pub qkv: PackedLinear,
    /// The output of attention.
    pub attention_out: PackedLinear,
    /// The first product of the feed-forward part.
    pub up: PackedLinear,
    /// The second one.
    pub down: PackedLinear,
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
        OwnKernels { isa, precision }: OwnKernels,
        weights: &Weights,
        tensors: &LayerTensors,
        config: &BertConfig,
    ) -> io::Result<Layer> {
        let (hidden, head_size) = (config.hidden_size, config.head_size());
        let part = |linear: &Linear, scale: f32| {
            let (weight, bias) = (weights.floats(linear.weight), weights.floats(linear.bias));
            let inner = weight.len() / bias.len();
            LinearPart { weight: Matrix::new(weight, bias.len(), inner, inner), bias: Some(bias), scale }
        };
        let norm = |norm: &Norm| LayerNorm {
            weight: weights.floats(norm.weight).to_vec(),
            shift: weights.floats(norm.bias).to_vec(),
            epsilon: config.layer_norm_eps,
        };
        let query_scale = 1.0 / (head_size as f32).sqrt();
        let [query, key, value] =
            [part(&tensors.query, query_scale), part(&tensors.key, 1.0), part(&tensors.value, 1.0)];
        let pack = |parts: &[LinearPart<'_>]| PackedLinear::pack(isa, precision, parts);
        Ok(Layer {
            isa,
            qkv: pack(&[query, key, value])?,
            attention_out: pack(&[part(&tensors.attention_out, 1.0)])?,
            up: pack(&[part(&tensors.up, 1.0)])?,
            down: pack(&[part(&tensors.down, 1.0)])?,
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
    pub fn project_qkv(&self, x: Input<'_>, panels: Range<usize>, out: MatrixMut<'_, f32>) {
        self.qkv.apply(x, panels, Epilogue::Store, out);
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
    pub fn add_attention(&self, context: Input<'_>, panels: Range<usize>, x: MatrixMut<'_, f32>) {
        self.attention_out.apply(context, panels, Epilogue::AddTo, x);
    }

    /// The layer norm after attention; rows are whole.
    pub fn normalize_attention(&self, x: MatrixMut<'_, f32>) {
        self.attention_norm.apply(self.isa, x);
    }

    /// The first half of the feed-forward part, with GELU.
    pub fn widen(&self, x: Input<'_>, panels: Range<usize>, wide: MatrixMut<'_, f32>) {
        self.up.apply(x, panels, Epilogue::Gelu, wide);
    }

    /// Adds the second half of the feed-forward part to the hidden states.
    pub fn add_feed_forward(&self, wide: Input<'_>, panels: Range<usize>, x: MatrixMut<'_, f32>) {
        self.down.apply(wide, panels, Epilogue::AddTo, x);
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
