//! Products of low precision: tiles of sums, and what happens to them.
//!
//! The operands are rows of bytes. Four adjacent bytes are a group: two bf16 or four bytes of adjacent `k`. A panel has 16
//! columns: 64 bytes with the first group of each column, then those with the second, and so on. The same bytes are operands
//! of the dot products of AVX-512 and tiles of AMX. Rows and panels are padded with zero to whole blocks of 16 groups, so there
//! is no tail of `k`.

use std::ops::Range;

use crate::gemm::epilogue::{Epilogue, WithActivation, with_activation};
use crate::gemm::prefetch::Prefetch;
use crate::matrix::MatrixMut;
use crate::simd::{Integers, Kernel, LANES, Simd};

/// Bytes of a block of `k`: a row of a tile of AMX.
pub(crate) const BLOCK_BYTES: usize = 64;
/// Bytes of a group.
pub(super) const GROUP_BYTES: usize = 4;
/// Rows of the largest tile of any unit.
const MAX_ROWS: usize = 32;
/// Columns of the widest tile of any unit.
const MAX_COLUMNS: usize = 2 * LANES;

/// A range of `k` of both operands: the bytes from the start of a row, and from the start of a panel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub x: usize,
    pub w: usize,
}

/// The operands of a product, or of one tile of it. Distances are in bytes.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    /// The first row.
    pub x: *const u8,
    /// From one row to the next.
    pub x_stride: usize,
    /// The first panel.
    pub w: *const u8,
    /// From one panel to the next.
    pub w_step: usize,
    /// What the sums of the first panel start with, 64 bytes.
    pub start: *const u8,
    /// From the start of one panel to that of the next.
    pub start_step: usize,
    /// The ranges of `k`, in the order of summation.
    pub passes: &'a [Pass],
    /// Groups of a pass, a multiple of 16.
    pub groups: usize,
    /// What to prefetch meanwhile.
    pub prefetch: Prefetch,
}

/// What computes the sums of a tile.
pub(super) trait Unit: Copy {
    /// The vectors of the same instruction set.
    type Simd: Integers;
    /// Rows of the largest tile.
    const ROWS: usize;
    /// Vectors of 16 columns of a tile.
    const VECTORS: usize;

    /// The vectors of the same instruction set.
    fn simd(self) -> Self::Simd;
    /// Runs a kernel in a function of its own, compiled for these instructions.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;
    /// Writes the sums of a tile, `stride` floats from row to row.
    ///
    /// # Safety
    ///
    /// `rows` is from 1 to [`Unit::ROWS`]. The operands have these rows, [`Unit::VECTORS`] panels and all the passes. All rows
    /// can be written at `to`.
    unsafe fn sums(self, rows: usize, operands: Operands<'_>, to: *mut f32, stride: usize);
}

/// The meaning of sums.
pub(super) trait Scale: Copy {
    /// Whether the sums are the values.
    const IS_IDENTITY: bool;
    /// What the values of 16 columns have in common.
    type Columns<S: Integers>: Copy;
    /// For the 16 columns from `column` on, counted in whole panels.
    fn columns<S: Integers>(&self, s: S, column: usize) -> Self::Columns<S>;
    /// The values of 16 sums of a row.
    fn values<S: Integers>(&self, s: S, row: usize, columns: Self::Columns<S>, sums: S::F32) -> S::F32;
}

/// Some rows of a product.
pub(super) struct Product<'a, 'b, F> {
    pub operands: Operands<'a>,
    pub scale: F,
    pub epilogue: Epilogue,
    pub rows: Range<usize>,
    pub out: MatrixMut<'b, f32>,
}

impl<F: Scale> Product<'_, '_, F> {
    /// Computes the rows, panels outside and rows inside, so that a panel is read from L2 for all rows but the first.
    ///
    /// # Safety
    ///
    /// `out` has the rows. The operands have a row for each row of `out`, the panels for its columns, and all the passes. The
    /// scale has the same rows and panels.
    pub unsafe fn compute<U: Unit>(self, unit: U) {
        unit.call(Run { unit, product: self });
    }
}

/// A product on a unit. Made by [`Product::compute`] only, which has the promise that the operands are valid.
struct Run<'a, 'b, U, F> {
    unit: U,
    product: Product<'a, 'b, F>,
}

impl<U: Unit, F: Scale> Kernel for Run<'_, '_, U, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Run { unit, mut product } = self;
        let mut scratch = [0.0; MAX_ROWS * MAX_COLUMNS];
        let width = U::VECTORS * LANES;
        let (start, rows) = (product.rows.start, product.rows.len());
        let tiles = rows.div_ceil(U::ROWS);
        for first in (0..product.out.columns()).step_by(width) {
            let columns = width.min(product.out.columns() - first);
            for tile in 0..tiles {
                // Sizes differ by at most one: a last tile of few rows would have too few independent sums to hide the
                // latency of the instructions.
                let (row, end) = (start + tile * rows / tiles, start + (tile + 1) * rows / tiles);
                let tile = Tile { rows: (row, end - row), columns: (first, columns), place: (tile, tiles) };
                tile.compute(unit, &mut product, &mut scratch);
            }
        }
    }
}

/// Start and number of the rows and columns of a tile.
#[derive(Clone, Copy)]
struct Tile {
    rows: (usize, usize),
    columns: (usize, usize),
    /// Which tile of how many it is among those of the same columns.
    place: (usize, usize),
}

impl Tile {
    #[inline(always)]
    fn compute<U: Unit, F: Scale>(self, unit: U, product: &mut Product<'_, '_, F>, scratch: &mut [f32]) {
        let ((row, rows), (column, columns)) = (self.rows, self.columns);
        let epilogue = product.epilogue;
        let width = U::VECTORS * LANES;
        let scratch = (scratch.as_mut_ptr(), width);
        let out_stride = product.out.stride();
        let out = (product.out.as_mut_ptr().wrapping_add(row * out_stride + column), out_stride);
        // Sums that are the result need no second pass.
        let is_final = F::IS_IDENTITY && columns == width && epilogue == Epilogue::Store;
        let sums = if is_final { out } else { scratch };

        let all = product.operands;
        let panel = column / LANES;
        let mut operands = Operands {
            x: all.x.wrapping_add(row * all.x_stride),
            w: all.w.wrapping_add(panel * all.w_step),
            start: all.start.wrapping_add(panel * all.start_step),
            ..all
        };
        let last_panel = product.out.columns().div_ceil(LANES);
        let next_panels = U::VECTORS.min(last_panel.saturating_sub(panel + U::VECTORS));
        operands.prefetch = Prefetch::share_of(
            operands.w.wrapping_add(U::VECTORS * all.w_step).cast(),
            next_panels * all.w_step / size_of::<f32>(),
            all.groups * all.passes.len(),
            self.place.0,
            self.place.1,
        );
        if columns <= LANES {
            // The tile has one panel only: the second vector repeats it, and is not stored.
            (operands.w_step, operands.start_step) = (0, 0);
        }
        // SAFETY: as the caller of `Product::compute` promises; the scratch has the rows and columns of the largest tile.
        unsafe { unit.sums(rows, operands, sums.0, sums.1) };
        if !is_final {
            let scale = product.scale;
            unit.call(Finish { unit, scale, epilogue, rows: self.rows, columns: self.columns, sums, out });
        }
    }
}

/// Makes values of the sums of a tile and writes or adds them to the output. Made by [`Tile::compute`] only: `sums` has whole vectors
/// of the tile, and `out` its rows and columns. Both are a start and a stride in floats.
struct Finish<U, F> {
    unit: U,
    scale: F,
    epilogue: Epilogue,
    rows: (usize, usize),
    columns: (usize, usize),
    sums: (*mut f32, usize),
    out: (*mut f32, usize),
}

impl<U: Unit, F: Scale> Kernel for Finish<U, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        with_activation(self.unit.simd(), self.epilogue, self);
    }
}

impl<U: Unit, F: Scale> WithActivation<U::Simd> for Finish<U, F> {
    #[inline(always)]
    fn run(self, function: impl Fn(<U::Simd as Simd>::F32) -> <U::Simd as Simd>::F32) {
        let Finish { unit, scale, epilogue, rows: (first_row, rows), columns: (first, columns), sums, out } =
            self;
        let (s, add) = (unit.simd(), epilogue == Epilogue::AddTo);
        for v in 0..columns.div_ceil(LANES) {
            let (column, len) = (v * LANES, LANES.min(columns - v * LANES));
            let of_columns = scale.columns(s, first + column);
            for row in 0..rows {
                // SAFETY: a whole vector of the tile.
                let mut value = unsafe { s.load(sums.0.wrapping_add(row * sums.1 + column)) };
                if !F::IS_IDENTITY {
                    value = scale.values(s, first_row + row, of_columns, value);
                }
                value = function(value);
                let at = out.0.wrapping_add(row * out.1 + column);
                if len == LANES {
                    if add {
                        // SAFETY: a whole vector of the output.
                        value = s.add(unsafe { s.load(at) }, value);
                    }
                    // SAFETY: as above.
                    unsafe { s.store(at, value) };
                } else {
                    if add {
                        // SAFETY: `len` columns are left.
                        value = s.add(unsafe { s.load_partial(at, len) }, value);
                    }
                    // SAFETY: as above.
                    unsafe { s.store_partial(at, value, len) };
                }
            }
        }
    }
}
