//! The operands of the two products of a head.

use crate::matrix::Matrix;
use crate::simd::{self, LANES, Simd};

/// The keys and values of a head: copies without the columns of other heads, because the rows of a layer are a multiple of 512 bytes
/// apart and would meet in a few sets of the first-level cache.
#[derive(Clone, Copy)]
pub(super) struct KeysValues<'a> {
    /// `[tokens, width]`, with zeros in the columns after the head.
    keys: &'a [f32],
    values: &'a [f32],
    tokens: usize,
    head_size: usize,
}

/// Floats of a row of [`KeysValues`].
pub(super) fn width(head_size: usize) -> usize {
    head_size.next_multiple_of(LANES)
}

impl<'a> KeysValues<'a> {
    /// Copies keys and values into `memory`, two rows of [`width`] floats for each token.
    #[inline(always)]
    pub fn pack<S: Simd>(
        s: S,
        keys: Matrix<'_, f32>,
        values: Matrix<'_, f32>,
        memory: &'a mut [f32],
    ) -> Self {
        let (tokens, head_size) = (keys.rows(), keys.columns());
        let (key_rows, value_rows) = memory.split_at_mut(tokens * width(head_size));
        copy(s, keys, key_rows);
        copy(s, values, value_rows);
        KeysValues { keys: key_rows, values: value_rows, tokens, head_size }
    }

    pub fn tokens(&self) -> usize {
        self.tokens
    }

    pub fn head_size(&self) -> usize {
        self.head_size
    }

    /// Floats from a row to the next.
    pub fn width(&self) -> usize {
        width(self.head_size)
    }

    pub fn keys(&self) -> &'a [f32] {
        self.keys
    }

    pub fn values(&self) -> &'a [f32] {
        self.values
    }
}

/// Copies rows to adjacent ones of whole vectors.
#[inline(always)]
fn copy<S: Simd>(s: S, from: Matrix<'_, f32>, to: &mut [f32]) {
    let width = width(from.columns());
    assert!(to.len() == from.rows() * width);
    // Indices, no iterators: their functions are compiled without the instructions of the set, and some are not inlined.
    for row in 0..from.rows() {
        let (from, to) = (from.row(row), &mut to[row * width..][..width]);
        for vector in 0..width / LANES {
            simd::store_at(s, to, vector * LANES, simd::load_at(s, from, vector * LANES));
        }
    }
}

/// Writes queries as columns: for each 16 queries, `[head_size][16]`, with zeros for queries beyond the last one.
#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "a loop over a constant range is unrolled, and the rows stay in registers"
)]
pub(super) fn pack_queries<S: Simd>(s: S, queries: Matrix<'_, f32>, packed: &mut [[f32; LANES]]) {
    let head_size = queries.columns();
    for panel in 0..packed.len() / head_size {
        let columns = &mut packed[panel * head_size..][..head_size];
        let first = panel * LANES;
        for block in 0..head_size.div_ceil(LANES) {
            let at = block * LANES;
            let mut rows = [s.splat(0.0); LANES];
            for lane in 0..LANES {
                if first + lane < queries.rows() {
                    rows[lane] = simd::load_at(s, queries.row(first + lane), at);
                }
            }
            let transposed = s.transpose(rows);
            for i in 0..LANES {
                if at + i < head_size {
                    simd::store(s, &mut columns[at + i], transposed[i]);
                }
            }
        }
    }
}
