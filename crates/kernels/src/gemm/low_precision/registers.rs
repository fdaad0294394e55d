//! Tiles of sums in registers, by dot products of groups.

use super::tiles::{GROUP_BYTES, Operands, Unit};
use crate::simd::{Dot, Kernel, LANES, PanelLoop, Simd};

/// The instructions of a set as a unit.
#[derive(Clone, Copy)]
pub(super) struct Registers<D>(pub D);

impl<D: Dot> Unit for Registers<D> {
    type Simd = D::Simd;
    const ROWS: usize = D::ROWS;
    const VECTORS: usize = D::VECTORS;

    #[inline(always)]
    fn simd(self) -> D::Simd {
        self.0.simd()
    }

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        self.0.call(kernel)
    }

    #[inline(always)]
    unsafe fn sums(self, rows: usize, operands: Operands<'_>, to: *mut f32, stride: usize) {
        // SAFETY: as the caller promises.
        if unsafe { in_panel_loop(self.0, rows, operands, to, stride) } {
            return;
        }
        macro_rules! instances {
            ($($rows:literal)*) => {
                match (rows, D::VECTORS) {
                    $(
                        ($rows, 1) if const { $rows <= D::ROWS && D::VECTORS == 1 } => {
                            self.0.call(Instance::<D, $rows, 1> { dot: self.0, operands, to, stride });
                        }
                        ($rows, 2) if const { $rows <= D::ROWS && D::VECTORS == 2 } => {
                            self.0.call(Instance::<D, $rows, 2> { dot: self.0, operands, to, stride });
                        }
                    )*
                    _ => unreachable!("no tile has {rows} rows"),
                }
            };
        }
        instances!(1 2 3 4 5 6 7 8 9 10 11 12);
    }
}

/// Computes a tile in the loop of the instructions. `false` when they have none for this tile.
///
/// # Safety
///
/// As for [`Unit::sums`].
#[inline(always)]
unsafe fn in_panel_loop<D: Dot>(
    dot: D,
    rows: usize,
    operands: Operands<'_>,
    to: *mut f32,
    stride: usize,
) -> bool {
    let Operands { x, x_stride, w, w_step, start, start_step, passes, groups, prefetch } = operands;
    // Several passes are the reference of AMX.
    let ([pass], 2, true) = (passes, D::VECTORS, prefetch.is_at_most_a_line()) else { return false };
    let panel_loop = PanelLoop {
        x: x.wrapping_add(pass.x),
        x_stride,
        w: w.wrapping_add(pass.w),
        w_next: w_step,
        groups,
        start,
        start_next: start_step,
        start_stride: 0,
        to: to.cast(),
        to_stride: stride * size_of::<f32>(),
        add: false,
        prefetch: prefetch.start(),
        prefetch_step: prefetch.bytes_of(1),
    };
    // SAFETY: as the caller promises.
    unsafe { dot.panel_loop(rows, &panel_loop) }
}

/// The micro-kernel: a tile of a fixed size. Made by [`Registers::sums`] only, which has the promise that the operands are valid.
///
/// Each instance is a function of its own, so that registers are allocated for its loop alone.
struct Instance<'a, D, const ROWS: usize, const VECTORS: usize> {
    dot: D,
    operands: Operands<'a>,
    to: *mut f32,
    stride: usize,
}

impl<D: Dot, const ROWS: usize, const VECTORS: usize> Kernel for Instance<'_, D, ROWS, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Instance {
            dot,
            operands: Operands { x, x_stride, w, w_step, start, start_step, passes, groups, prefetch },
            ..
        } = self;
        // SAFETY: the caller of `sums` promises the first panel.
        let first = unsafe { dot.load_sum(start) };
        let mut sums = [[first; VECTORS]; ROWS];
        for row in &mut sums {
            for (v, sum) in row.iter_mut().enumerate() {
                // SAFETY: the caller of `sums` promises each panel.
                *sum = unsafe { dot.load_sum(start.wrapping_add(v * start_step)) };
            }
        }
        for (i, pass) in passes.iter().enumerate() {
            let (mut x, mut w) = (x.wrapping_add(pass.x), w.wrapping_add(pass.w));
            for group in 0..groups {
                // SAFETY: the caller of `sums` promises the first panel.
                let mut panels = [unsafe { dot.load_weights(w) }; VECTORS];
                for (v, panel) in panels.iter_mut().enumerate() {
                    // SAFETY: the caller of `sums` promises each panel.
                    *panel = unsafe { dot.load_weights(w.wrapping_add(v * w_step)) };
                }
                for (i, row) in sums.iter_mut().enumerate() {
                    // SAFETY: the caller of `sums` promises each row.
                    let of_x = unsafe { dot.load_activations(x.wrapping_add(i * x_stride)) };
                    for (sum, panel) in row.iter_mut().zip(panels) {
                        *sum = dot.dot(of_x, panel, *sum);
                    }
                }
                prefetch.request::<VECTORS>(i * groups + group);
                x = x.wrapping_add(GROUP_BYTES);
                w = w.wrapping_add(GROUP_BYTES * LANES);
            }
        }
        for (i, row) in sums.into_iter().enumerate() {
            for (v, sum) in row.into_iter().enumerate() {
                let at = self.to.wrapping_add(i * self.stride + v * LANES);
                // SAFETY: the caller of `sums` promises each row.
                unsafe { dot.simd().store(at, dot.sum_bits(sum)) };
            }
        }
    }
}
