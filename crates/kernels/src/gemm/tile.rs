//! The micro-kernel: some rows and some vectors of 16 columns of a product, held in registers over the whole of `k`.
//!
//! There is one instance for each number of rows, so the last rows of a matrix cost no more than their share. Each instance
//! is a function of its own ([`Simd::call`]): registers are allocated for its loop alone, and it has a symbol.

use std::ops::Range;

use super::prefetch::Prefetch;
use crate::simd::{Kernel, LANES, PanelLoop, Simd};

/// Rows of the largest tile of any set.
pub(crate) const MAX_ROWS: usize = 12;
/// Vectors of a row of the widest tile of any set.
pub(crate) const MAX_VECTORS: usize = 2;

/// Vectors of a row of a tile. Two where the registers allow: they halve the loads of `a` per multiply-add.
pub(crate) const fn vectors<S: Simd>() -> usize {
    if S::TILE_VECTORS >= MAX_VECTORS * MAX_ROWS { MAX_VECTORS } else { 1 }
}

/// Rows of the largest tile. 12 of AVX-512's possible 14: with 14, only one of 32 registers is free.
const fn max_rows<S: Simd>() -> usize {
    let rows = S::TILE_VECTORS / vectors::<S>();
    if rows < MAX_ROWS { rows } else { MAX_ROWS }
}

/// The operands of `c = start + a * b` for one tile. Distances are in floats.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// The first element of `a`.
    pub a: *const f32,
    /// From one row of `a` to the next; from one `k` to the next when `a` is transposed.
    pub a_stride: usize,
    /// The first vector of `b` for `k = 0`.
    pub b: *const f32,
    /// From the vectors for one `k` to those for the next.
    pub b_step: usize,
    /// From the first vector for one `k` to the second.
    pub b_next: usize,
    /// Number of `k`.
    pub inner: usize,
    /// What the sums of the first row start with.
    pub start: *const f32,
    /// From one row of `start` to the next; 0 for a bias.
    pub start_stride: usize,
    /// The first row of the result.
    pub c: *mut f32,
    /// From one row of the result to the next.
    pub c_stride: usize,
    /// Whether the sums are added to `c` instead of replacing it.
    pub add: bool,
    /// What to prefetch meanwhile.
    pub prefetch: Prefetch,
}

/// Divides `rows` into the fewest tiles, whose sizes differ by at most one: a last tile of few rows would have too few
/// independent sums to hide the latency of a multiply-add.
pub(crate) fn row_tiles<S: Simd>(rows: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let tiles = rows.div_ceil(max_rows::<S>());
    (0..tiles).map(move |tile| tile * rows / tiles..(tile + 1) * rows / tiles)
}

/// Computes a tile of `rows` rows and `vectors` vectors of columns.
///
/// # Safety
///
/// `rows` is the length of one of [`row_tiles`]; `vectors` is at most [`vectors`] and not 0. For each row, vector and `k`, all
/// elements of `a`, `b` and `start` can be read, and all 16 columns of `c` read and written.
#[inline(always)]
pub(crate) unsafe fn compute<S: Simd>(s: S, rows: usize, vectors: usize, tile: Tile) {
    // SAFETY: as the caller promises.
    if unsafe { in_panel_loop(s, rows, vectors, &tile) } {
        return;
    }
    if vectors == 1 {
        call_instance::<S, 1, false>(s, rows, tile);
    } else {
        call_instance::<S, MAX_VECTORS, false>(s, rows, tile);
    }
}

/// Like [`compute`], with `a` transposed: the elements of its rows for one `k` are adjacent.
///
/// # Safety
///
/// As for [`compute`].
#[inline(always)]
pub(crate) unsafe fn compute_transposed<S: Simd>(s: S, rows: usize, vectors: usize, tile: Tile) {
    if vectors == 1 {
        call_instance::<S, 1, true>(s, rows, tile);
    } else {
        call_instance::<S, MAX_VECTORS, true>(s, rows, tile);
    }
}

/// Computes a tile of packed panels in the loop of the set. `false` when it has none for this tile.
///
/// # Safety
///
/// As for [`compute`].
#[inline(always)]
unsafe fn in_panel_loop<S: Simd>(s: S, rows: usize, vectors: usize, tile: &Tile) -> bool {
    if vectors != self::vectors::<S>() || tile.b_step != LANES || !tile.prefetch.is_at_most_a_line() {
        return false;
    }
    let bytes = |floats: usize| floats * size_of::<f32>();
    // What is one vector here is two registers of AVX2.
    let (w_next, half) = if vectors == 1 { (LANES / 2, LANES / 2) } else { (tile.b_next, LANES) };
    let panel_loop = PanelLoop {
        x: tile.a.cast(),
        x_stride: bytes(tile.a_stride),
        w: tile.b.cast(),
        w_next: bytes(w_next),
        groups: tile.inner,
        start: tile.start.cast(),
        start_next: bytes(half),
        start_stride: bytes(tile.start_stride),
        to: tile.c.cast(),
        to_stride: bytes(tile.c_stride),
        add: tile.add,
        prefetch: tile.prefetch.start(),
        prefetch_step: tile.prefetch.bytes_of(1),
    };
    // SAFETY: as the caller promises.
    unsafe { s.panel_loop(rows, &panel_loop) }
}

#[inline(always)]
fn call_instance<S: Simd, const VECTORS: usize, const TRANSPOSED: bool>(s: S, rows: usize, tile: Tile) {
    macro_rules! instances {
        ($($rows:literal)*) => {
            match rows {
                $($rows if const { $rows <= max_rows::<S>() && VECTORS <= vectors::<S>() } => {
                    s.call(Instance::<$rows, VECTORS, TRANSPOSED>(tile));
                })*
                _ => unreachable!("no tile has {rows} rows and {VECTORS} vectors"),
            }
        };
    }
    instances!(1 2 3 4 5 6 7 8 9 10 11 12);
}

/// The tile of a fixed size. Made by [`compute`] only, which has the promise that the pointers are valid.
struct Instance<const ROWS: usize, const VECTORS: usize, const TRANSPOSED: bool>(Tile);

#[expect(
    clippy::needless_range_loop,
    reason = "loops over constant ranges are unrolled, and sums stay in registers"
)]
impl<const ROWS: usize, const VECTORS: usize, const TRANSPOSED: bool> Kernel
    for Instance<ROWS, VECTORS, TRANSPOSED>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Tile { a, a_stride, b, b_step, b_next, inner, start, start_stride, c, c_stride, add, prefetch } =
            self.0;
        let mut sums = [[s.splat(0.0); VECTORS]; ROWS];
        for row in 0..ROWS {
            for v in 0..VECTORS {
                // SAFETY: as the caller of `compute` promises.
                sums[row][v] = unsafe { s.load(start.wrapping_add(row * start_stride + v * LANES)) };
            }
        }
        for k in 0..inner {
            let mut of_b = [s.splat(0.0); VECTORS];
            for v in 0..VECTORS {
                // SAFETY: as the caller of `compute` promises.
                of_b[v] = unsafe { s.load(b.wrapping_add(k * b_step + v * b_next)) };
            }
            for row in 0..ROWS {
                let at = if TRANSPOSED { row + k * a_stride } else { row * a_stride + k };
                // SAFETY: as the caller of `compute` promises.
                let of_a = s.splat(unsafe { *a.wrapping_add(at) });
                for v in 0..VECTORS {
                    sums[row][v] = s.mul_add(of_a, of_b[v], sums[row][v]);
                }
            }
            prefetch.request::<VECTORS>(k);
        }
        for row in 0..ROWS {
            for v in 0..VECTORS {
                let at = c.wrapping_add(row * c_stride + v * LANES);
                if add {
                    // SAFETY: as the caller of `compute` promises.
                    sums[row][v] = s.add(unsafe { s.load(at) }, sums[row][v]);
                }
                // SAFETY: as the caller of `compute` promises.
                unsafe { s.store(at, sums[row][v]) };
            }
        }
    }
}
