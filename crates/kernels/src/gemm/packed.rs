//! Weights in the order in which a product reads them.

use std::io;

use crate::buffer::Buffer;
use crate::matrix::Matrix;
use crate::simd::LANES;

/// Weights and bias of a linear layer, packed once, when a model is loaded.
///
/// A panel is 16 columns of the product: 16 weights for `k = 0`, then 16 for `k = 1`, and so on. The columns after the last
/// one of the layer are zero. Panels follow one another without gaps, each aligned to 64 bytes.
pub struct PackedF32 {
    panels: Buffer<f32>,
    /// One for each column of a panel.
    bias: Buffer<f32>,
    columns: usize,
    inner: usize,
}

/// Some columns of a product. Several parts become adjacent columns: query, key and value are one product.
#[derive(Clone, Copy)]
pub struct LinearPart<'a> {
    /// `[columns, inner]`: a row has the weights of one column of the product, which is how PyTorch stores a linear layer.
    pub weight: Matrix<'a, f32>,
    /// One for each column; zero without.
    pub bias: Option<&'a [f32]>,
    /// Factor of the weights and of the bias, rounded to f32 here. A power of two changes no rounding.
    pub scale: f32,
}

impl PackedF32 {
    /// Copies the parts. They have any number of columns each and no padding between them. Fails when the kernel refuses the
    /// memory; panics when the parts differ in `inner`, or when a bias has another length than its part has columns.
    pub fn pack(parts: &[LinearPart<'_>]) -> io::Result<PackedF32> {
        let columns = parts.iter().map(|part| part.weight.rows()).sum::<usize>();
        let inner = parts.first().map_or(0, |part| part.weight.columns());
        let panel = inner.checked_mul(LANES).ok_or(io::ErrorKind::OutOfMemory)?;
        let count = columns.div_ceil(LANES);
        let mut packed = PackedF32 {
            panels: Buffer::zeroed(count.checked_mul(panel).ok_or(io::ErrorKind::OutOfMemory)?)?,
            bias: Buffer::zeroed(count * LANES)?,
            columns,
            inner,
        };
        let mut column = 0;
        for part in parts {
            packed.copy_part(part, column);
            column += part.weight.rows();
        }
        Ok(packed)
    }

    /// Copies one part to the columns from `first` on.
    fn copy_part(&mut self, part: &LinearPart<'_>, first: usize) {
        let (columns, inner) = (part.weight.rows(), part.weight.columns());
        assert!(inner == self.inner, "a part is [{columns}, {inner}], the first one is [_, {}]", self.inner);
        for row in 0..columns {
            let column = first + row;
            let panel = column / LANES * LANES * inner;
            let weights =
                self.panels[panel..][..inner * LANES].iter_mut().skip(column % LANES).step_by(LANES);
            for (to, from) in weights.zip(part.weight.row(row)) {
                *to = from * part.scale;
            }
        }
        if let Some(bias) = part.bias {
            assert!(bias.len() == columns, "a bias of {} for a part of [{columns}, {inner}]", bias.len());
            for (to, from) in self.bias[first..].iter_mut().zip(bias) {
                *to = from * part.scale;
            }
        }
    }

    /// Columns of the product: the sum over the parts.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Columns of the other operand.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// [`PackedF32::bytes`] of a layer with these columns and inner elements.
    pub fn bytes_of(columns: usize, inner: usize) -> usize {
        let panels = columns.div_ceil(LANES) * LANES;
        Buffer::<f32>::bytes_of(panels * inner) + Buffer::<f32>::bytes_of(panels)
    }

    /// Bytes of anonymous memory.
    pub fn bytes(&self) -> usize {
        self.panels.bytes() + self.bias.bytes()
    }

    /// Panels of 16 columns, the last one maybe with fewer: the unit of division between threads.
    pub fn panels(&self) -> usize {
        self.columns.div_ceil(LANES)
    }

    /// The weights from a panel on.
    pub(super) fn weights_from(&self, panel: usize) -> &[f32] {
        &self.panels[panel * LANES * self.inner..]
    }

    /// The bias of the columns from a panel on, zero for columns after the last one.
    pub(super) fn bias_from(&self, panel: usize) -> &[f32] {
        &self.bias[panel * LANES..]
    }
}
