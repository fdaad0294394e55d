//! Vectors of 16 lanes on each instruction set.
//!
//! A kernel is written once, generic over [`Simd`], and compiled once for each set by [`dispatch`]. A vector always has 16 lanes:
//! one register of AVX-512, two of AVX2, four of SSE2. Lane-wise results and the order of sums are therefore the same on
//! every set; only multiply-add differs, which is rounded once with FMA and twice without.
//!
//! The implementations are tokens: a value exists only when the CPU has the instructions, so arithmetic is safe to call. Functions
//! of a kernel that take a token must be `#[inline(always)]`, otherwise they are compiled without the instructions.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "intrinsics are named by their instruction"))]
mod avx512;
mod dot;
#[cfg(target_arch = "x86_64")]
mod dot_avx512;
mod integers;
mod panel_loop;
// Tests compute with it on every architecture.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod register_arrays;
mod slices;
#[cfg(target_arch = "x86_64")]
mod sse2;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use dot::{Bf16Fma, Dot, Int8Widened};
#[cfg(target_arch = "x86_64")]
pub(crate) use dot_avx512::{Avx512Bf16, Avx512Vnni};
pub(crate) use integers::Integers;
#[cfg(test)]
pub(crate) use portable::Portable;
#[cfg(not(target_arch = "x86_64"))]
pub(crate) use portable::Portable as Baseline;
#[cfg(target_arch = "x86_64")]
pub(crate) use sse2::Sse2 as Baseline;

pub(crate) use panel_loop::PanelLoop;
pub(crate) use slices::{load, load_at, store, store_at};

use crate::isa::{Isa, Level};

/// Lanes of a vector.
pub(crate) const LANES: usize = 16;

/// The vectors of an instruction set.
pub(crate) trait Simd: Copy {
    /// 16 lanes of f32.
    type F32: Copy;
    /// Vectors that a tile of a product can hold besides two operands, by the number of registers.
    const TILE_VECTORS: usize;

    /// Runs a kernel in a function of its own, compiled for this set. Registers are allocated for it alone.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;
    /// Computes a tile of f32 in a loop of its own. `false` when the set has none for this number of rows.
    ///
    /// # Safety
    ///
    /// All vectors of all rows and groups can be read, and written at `tile.to`.
    #[inline(always)]
    unsafe fn panel_loop(self, _rows: usize, _tile: &PanelLoop) -> bool {
        false
    }
    /// All lanes `value`.
    fn splat(self, value: f32) -> Self::F32;
    /// # Safety
    ///
    /// 16 floats can be read at `from`, of any alignment.
    unsafe fn load(self, from: *const f32) -> Self::F32;
    /// Zero in the lanes from `len` on, whose memory is not read.
    ///
    /// # Safety
    ///
    /// `len` floats can be read at `from`; `len` is at most 16.
    unsafe fn load_partial(self, from: *const f32, len: usize) -> Self::F32;
    /// # Safety
    ///
    /// 16 floats can be written at `to`.
    unsafe fn store(self, to: *mut f32, value: Self::F32);
    /// Writes the first `len` lanes.
    ///
    /// # Safety
    ///
    /// `len` floats can be written at `to`; `len` is at most 16.
    unsafe fn store_partial(self, to: *mut f32, value: Self::F32, len: usize);
    /// `a + b`
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b`
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `if a > b { a } else { b }`: `b` when one of them is NaN.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a < b { a } else { b }`: `b` when one of them is NaN.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `2^n` for a lane `1.5 * 2^23 + 127 + n`, n from -126 to 127: adding the constant rounds to an integer and makes the bits of
    /// an exponent.
    fn power_of_two(self, rounded: Self::F32) -> Self::F32;
    /// The lanes as an array.
    fn to_array(self, value: Self::F32) -> [f32; LANES];

    /// Writes the lowest byte of each lane.
    ///
    /// # Safety
    ///
    /// 16 bytes can be written at `to`.
    #[inline(always)]
    unsafe fn store_low_bytes(self, to: *mut u8, value: Self::F32) {
        let mut bytes = [0; LANES];
        let lanes = self.to_array(value);
        for i in 0..LANES {
            bytes[i] = lanes[i].to_bits() as u8;
        }
        // SAFETY: as the caller promises.
        unsafe { to.cast::<[u8; LANES]>().write_unaligned(bytes) };
    }

    /// Lane `j` of the result `i` is lane `i` of `rows[j]`.
    #[inline(always)]
    fn transpose(self, rows: [Self::F32; LANES]) -> [Self::F32; LANES] {
        let mut columns = [[0.0; LANES]; LANES];
        for (j, row) in rows.into_iter().enumerate() {
            for (column, value) in columns.iter_mut().zip(self.to_array(row)) {
                column[j] = value;
            }
        }
        // No closure: it would be compiled without the instructions.
        let mut transposed = rows;
        for i in 0..LANES {
            transposed[i] = load(self, &columns[i]);
        }
        transposed
    }

    /// The sum of the lanes, in pairs of lanes 8, 4, 2 and 1 apart.
    #[inline(always)]
    fn reduce_add(self, value: Self::F32) -> f32 {
        fold_in_pairs(self.to_array(value), |a, b| a + b)
    }

    /// The largest lane, by the comparison of [`Simd::max`].
    #[inline(always)]
    fn reduce_max(self, value: Self::F32) -> f32 {
        fold_in_pairs(self.to_array(value), |a, b| if a > b { a } else { b })
    }
}

#[inline(always)]
fn fold_in_pairs(mut lanes: [f32; LANES], fold: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = fold(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// A function over the vectors of any instruction set; the fields are its arguments.
pub(crate) trait Kernel {
    /// The result.
    type Output;
    /// Must be `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Runs the copy of a kernel that is compiled for the vectors of `isa`.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa.level() {
        #[cfg(test)]
        Level::Baseline if tests::is_portable_selected() => Portable::new().call(kernel),
        Level::Baseline => Baseline::new().call(kernel),
        Level::Avx2 => {
            // SAFETY: the value of `isa` shows that the CPU has the instructions.
            unsafe { Avx2::new() }.call(kernel)
        }
        Level::Avx512 | Level::Avx512Vnni | Level::Avx512Bf16 | Level::Amx => {
            // SAFETY: the value of `isa` shows that the CPU has the instructions.
            unsafe { Avx512::new() }.call(kernel)
        }
    }
}

/// Runs a kernel; there is one instruction set.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    debug_assert!(isa.level() == Level::Baseline);
    Baseline::new().call(kernel)
}
