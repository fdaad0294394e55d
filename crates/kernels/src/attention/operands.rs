//! The right operands of the two products of a head, as vectors of 16 columns.

use std::marker::PhantomData;

use crate::matrix::Matrix;
use crate::simd::LANES;

/// Vectors of a right operand: for each `k` the same columns of row `k`, and the next 16 columns after them.
#[derive(Clone, Copy)]
pub(super) struct Vectors<'a> {
    /// The vector of row 0.
    pub start: *const f32,
    /// Floats from the vector of a row to that of the next row.
    pub row_stride: usize,
    /// Floats from a vector to that of the next 16 columns.
    pub column_stride: usize,
    /// Rows.
    pub rows: usize,
    /// Vectors of 16 columns of a row.
    pub count: usize,
    memory: PhantomData<&'a [f32]>,
}

/// The keys and values of a head.
pub(super) struct Operands<'a> {
    values: Matrix<'a, f32>,
    /// The keys transposed, in panels of 16 keys: `[tokens / 16][head_size][16]`, with any content for keys beyond the last
    /// token: softmax does not read their scores. Then the last columns of the values, when they are no full vector:
    /// `[tokens][16]`, padded with zeros.
    panels: &'a [[f32; LANES]],
}

/// Writes what [`Operands`] has in its panels. The values themselves are used where they are.
pub(super) fn pack(keys: Matrix<'_, f32>, values: Matrix<'_, f32>, panels: &mut [[f32; LANES]]) {
    let (tokens, head_size) = (keys.rows(), keys.columns());
    let (key_panels, last_values) = panels.split_at_mut(tokens.div_ceil(LANES) * head_size);
    for (panel, vectors) in key_panels.chunks_exact_mut(head_size).enumerate() {
        let first = panel * LANES;
        for (lane, key) in (first..tokens.min(first + LANES)).enumerate() {
            for (vector, value) in vectors.iter_mut().zip(keys.row(key)) {
                vector[lane] = *value;
            }
        }
    }
    let full = head_size / LANES * LANES;
    if full < head_size {
        for (token, vector) in last_values[..tokens].iter_mut().enumerate() {
            *vector = [0.0; LANES];
            vector[..head_size - full].copy_from_slice(&values.row(token)[full..]);
        }
    }
}

impl<'a> Operands<'a> {
    /// After [`pack`] with the same values.
    pub fn new(values: Matrix<'a, f32>, panels: &'a [[f32; LANES]]) -> Self {
        let (tokens, head_size) = (values.rows(), values.columns());
        let last = if head_size.is_multiple_of(LANES) { 0 } else { tokens };
        assert!(panels.len() >= tokens.div_ceil(LANES) * head_size + last);
        Operands { values, panels }
    }

    fn key_vectors(&self) -> usize {
        self.values.rows().div_ceil(LANES) * self.values.columns()
    }

    /// The keys as columns; the rows are the columns of the head.
    pub fn keys(&self) -> Vectors<'a> {
        let head_size = self.values.columns();
        let panels = &self.panels[..self.key_vectors()];
        Vectors {
            start: panels.as_ptr().cast(),
            row_stride: LANES,
            column_stride: head_size * LANES,
            rows: head_size,
            count: panels.len() / head_size,
            memory: PhantomData,
        }
    }

    /// The columns of the values, without the last ones that fill no vector.
    pub fn values(&self) -> Vectors<'a> {
        Vectors {
            start: self.values.as_ptr(),
            row_stride: self.values.stride(),
            column_stride: LANES,
            rows: self.values.rows(),
            count: self.values.columns() / LANES,
            memory: PhantomData,
        }
    }

    /// The columns that [`Operands::values`] is without.
    pub fn last_values(&self) -> Vectors<'a> {
        let vectors = &self.panels[self.key_vectors()..][..self.values.rows()];
        Vectors {
            start: vectors.as_ptr().cast(),
            row_stride: LANES,
            column_stride: 0,
            rows: vectors.len(),
            count: 1,
            memory: PhantomData,
        }
    }
}
