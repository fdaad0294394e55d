//! Layer norms whose weights are in the mapped file.

use kernels::isa::Isa;
use kernels::matrix::MatrixMut;
use kernels::norm::layer_norm;

use super::layout::Norm;
use crate::weights::Weights;

/// What the layer norms of a model have in common.
pub(super) struct Normalizer<'a> {
    pub isa: Isa,
    pub weights: &'a Weights,
    pub epsilon: f32,
}

impl Normalizer<'_> {
    /// Normalizes adjacent rows.
    pub fn apply(&self, x: &mut [f32], norm: &Norm) {
        let (weight, shift) = (self.weights.floats(norm.weight), self.weights.floats(norm.bias));
        let (columns, rows) = (weight.len(), x.len() / weight.len());
        layer_norm(self.isa, MatrixMut::new(x, rows, columns, columns), weight, shift, self.epsilon);
    }
}
