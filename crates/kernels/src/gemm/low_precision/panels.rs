//! Weights of low precision in panels of groups, in the layout of [`super::tiles`].

use std::io;
use std::ops::Range;

use super::tiles::{BLOCK_BYTES, GROUP_BYTES, Operands, Pass};
use crate::buffer::{Buffer, Element};
use crate::gemm::packed::LinearPart;
use crate::gemm::prefetch::Prefetch;
use crate::matrix::{Matrix, MatrixMut};
use crate::simd::LANES;

/// The weights of a layer, whose elements are stored as `T`, in one or more terms: a weight is the sum of its terms. A panel has
/// the groups of the first term, then those of the second.
pub(super) struct Panels<T: Element> {
    data: Buffer<T>,
    columns: usize,
    inner: usize,
    terms: usize,
}

/// Values of `k` that a term has with its padding, of elements of `T`.
pub(crate) const fn padded<T>(inner: usize) -> usize {
    inner.next_multiple_of(BLOCK_BYTES / size_of::<T>())
}

/// One column of a layer.
pub(super) struct Column<'a> {
    /// In the order of `k`, not scaled.
    pub unscaled: &'a [f32],
    /// Factor of the weights.
    pub factor: f32,
    /// Zero when the part has none.
    pub bias: f32,
}

impl Column<'_> {
    /// The weights in the order of `k`, scaled.
    pub fn weights(&self) -> impl Iterator<Item = f32> {
        self.unscaled.iter().map(|weight| weight * self.factor)
    }
}

/// The columns of a layer. Panics when the parts differ in their number of `k`, or a bias has another length than its part.
pub(super) fn columns<'a>(parts: &'a [LinearPart<'a>]) -> impl Iterator<Item = Column<'a>> {
    let inner = inner(parts);
    parts.iter().flat_map(move |part| {
        let (rows, scale) = (part.weight.rows(), part.scale);
        let same = part.weight.columns() == inner;
        assert!(same, "a part is [{rows}, {}], the first one is [_, {inner}]", part.weight.columns());
        assert!(part.bias.is_none_or(|b| b.len() == rows), "a bias for another part than [{rows}, {inner}]");
        (0..rows).map(move |row| Column {
            unscaled: part.weight.row(row),
            factor: scale,
            bias: part.bias.map_or(0.0, |bias| bias[row] * scale),
        })
    })
}

fn inner(parts: &[LinearPart<'_>]) -> usize {
    parts.first().map_or(0, |part| part.weight.columns())
}

impl<T: Element> Panels<T> {
    /// Panels for the columns of the parts, all zero.
    pub fn zeroed(parts: &[LinearPart<'_>], terms: usize) -> io::Result<Self> {
        let (columns, inner) = (parts.iter().map(|part| part.weight.rows()).sum::<usize>(), inner(parts));
        let len = inner.checked_next_multiple_of(BLOCK_BYTES).and_then(|_| {
            padded::<T>(inner).checked_mul(terms * LANES)?.checked_mul(columns.div_ceil(LANES))
        });
        let data = Buffer::zeroed(len.ok_or(io::ErrorKind::OutOfMemory)?)?;
        Ok(Panels { data, columns, inner, terms })
    }

    /// Elements of one panel.
    fn panel_len(&self) -> usize {
        padded::<T>(self.inner) * self.terms * LANES
    }

    /// Stores one term of a column, in the order of `k`.
    pub fn store(&mut self, column: usize, term: usize, weights: impl Iterator<Item = T>) {
        let group = GROUP_BYTES / size_of::<T>();
        let start = column / LANES * self.panel_len() + term * padded::<T>(self.inner) * LANES;
        let term = &mut self.data[start..][..padded::<T>(self.inner) * LANES];
        for (k, weight) in weights.enumerate() {
            term[(k / group * LANES + column % LANES) * group + k % group] = weight;
        }
    }

    /// Stores the only term of a column, in the order of `k`.
    pub fn store_column(&mut self, column: usize, weights: &[T]) {
        let group = GROUP_BYTES / size_of::<T>();
        let len = self.panel_len();
        let panel = &mut self.data[column / LANES * len..][..len];
        for (to, from) in panel.chunks_exact_mut(LANES * group).zip(weights.chunks(group)) {
            to[column % LANES * group..][..from.len()].copy_from_slice(from);
        }
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn inner(&self) -> usize {
        self.inner
    }

    pub fn panels(&self) -> usize {
        self.columns.div_ceil(LANES)
    }

    /// Bytes of memory of a layer with so many columns, `k` and terms.
    pub fn bytes_of(columns: usize, inner: usize, terms: usize) -> usize {
        Buffer::<T>::bytes_of(padded::<T>(inner) * terms * columns.next_multiple_of(LANES))
    }

    pub fn bytes(&self) -> usize {
        self.data.bytes()
    }

    /// Elements of a row of activations.
    pub fn row_elements(&self) -> usize {
        padded::<T>(self.inner) * self.terms
    }

    /// The operands for some panels. Panics when a shape does not fit. `start` is of the first panel of the layer.
    pub fn operands<'a, X: Element>(
        &self,
        x: Matrix<'a, X>,
        panels: &Range<usize>,
        start: &'a [f32],
        passes: &'a [Pass],
        out: &MatrixMut<'_, f32>,
    ) -> Operands<'a> {
        assert!(panels.start <= panels.end && panels.end <= self.panels(), "{panels:?} of {}", self.panels());
        let columns = self.columns.min(panels.end * LANES) - self.columns.min(panels.start * LANES);
        assert!(
            x.columns() == self.row_elements() && x.rows() == out.rows() && columns == out.columns(),
            "[{}, {}] times {columns} columns of {} elements into [{}, {}]",
            x.rows(),
            x.columns(),
            self.row_elements(),
            out.rows(),
            out.columns()
        );
        let panel_bytes = self.panel_len() * size_of::<T>();
        // One start serves all panels when it has 16 elements only.
        let start_step = if start.len() > LANES { LANES } else { 0 };
        let w = self.data.as_ptr().cast::<u8>().wrapping_add(panels.start * panel_bytes);
        Operands {
            x: x.as_ptr().cast(),
            x_stride: x.stride() * size_of::<X>(),
            w,
            w_step: panel_bytes,
            start: start.as_ptr().wrapping_add(panels.start * start_step).cast(),
            start_step: start_step * size_of::<f32>(),
            passes,
            groups: padded::<T>(self.inner) * size_of::<T>() / GROUP_BYTES,
            prefetch: Prefetch::none(w.cast()),
        }
    }

    /// Bytes of one term of a panel.
    pub fn term_bytes(&self) -> usize {
        padded::<T>(self.inner) * LANES * size_of::<T>()
    }
}
