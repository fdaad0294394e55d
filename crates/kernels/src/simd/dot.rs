//! Dot products of groups: four bytes of activations with four bytes of each of 16 columns.
//!
//! A group is two bf16, summed in f32, or four bytes (activations unsigned, weights signed), summed in i32. Integer sums are
//! exact on every set. Sums of bf16 are not bit-equal between all sets: the instruction for them adds the two products of a
//! group in another order than multiply-adds, and reads denormals as zero.

use super::{Integers, Kernel, PanelLoop, Simd};

/// Instructions for the dot products of one element type.
pub(crate) trait Dot: Copy {
    /// The vectors of the same instruction set.
    type Simd: Integers;
    /// The sums of 16 columns.
    type Sum: Copy;
    /// A group of each of 16 columns.
    type Weights: Copy;
    /// One group of activations, for all columns.
    type Activations: Copy;
    /// Rows of the largest tile: with these, sums and operands fit the registers.
    const ROWS: usize;
    /// Vectors of a row of a tile.
    const VECTORS: usize;

    /// The vectors of the same instruction set.
    fn simd(self) -> Self::Simd;
    /// Runs a kernel in a function of its own, compiled for these instructions.
    fn call<K: Kernel>(self, kernel: K) -> K::Output;
    /// Computes a tile in a loop of its own. `false` when there is none for this number of rows.
    ///
    /// # Safety
    ///
    /// As for [`Simd::panel_loop`].
    #[inline(always)]
    unsafe fn panel_loop(self, _rows: usize, _tile: &PanelLoop) -> bool {
        false
    }
    /// # Safety
    ///
    /// 64 bytes can be read at `from`.
    unsafe fn load_sum(self, from: *const u8) -> Self::Sum;
    /// The sums, or their bits when they are integers.
    fn sum_bits(self, sum: Self::Sum) -> <Self::Simd as Simd>::F32;
    /// # Safety
    ///
    /// 64 bytes can be read at `from`.
    unsafe fn load_weights(self, from: *const u8) -> Self::Weights;
    /// # Safety
    ///
    /// 4 bytes can be read at `from`, of any alignment.
    unsafe fn load_activations(self, from: *const u8) -> Self::Activations;
    /// `sum` with the products of a group added.
    fn dot(self, x: Self::Activations, w: Self::Weights, sum: Self::Sum) -> Self::Sum;
}

/// The sums of [`Dot`] in the vectors of its set.
macro_rules! sums_of {
    (f32) => {
        type Sum = <Self::Simd as Simd>::F32;

        #[inline(always)]
        unsafe fn load_sum(self, from: *const u8) -> Self::Sum {
            // SAFETY: as the caller promises.
            self.simd().from_bits(unsafe { self.simd().load_bytes(from) })
        }

        #[inline(always)]
        fn sum_bits(self, sum: Self::Sum) -> <Self::Simd as Simd>::F32 {
            sum
        }
    };
    (i32) => {
        type Sum = <Self::Simd as Integers>::I32;

        #[inline(always)]
        unsafe fn load_sum(self, from: *const u8) -> Self::Sum {
            // SAFETY: as the caller promises.
            unsafe { self.simd().load_bytes(from) }
        }

        #[inline(always)]
        fn sum_bits(self, sum: Self::Sum) -> <Self::Simd as Simd>::F32 {
            self.simd().from_bits(sum)
        }
    };
}
pub(super) use sums_of;

/// Tile and function of a [`Dot`] that widens its operands to two vectors of `S` each.
macro_rules! widened_to_pairs {
    () => {
        const ROWS: usize = rows::<S>();
        const VECTORS: usize = vectors::<S>();

        #[inline(always)]
        fn simd(self) -> S {
            self.0
        }

        #[inline(always)]
        fn call<K: Kernel>(self, kernel: K) -> K::Output {
            self.0.call(kernel)
        }
    };
}

/// bf16 by multiply-adds of f32, for sets without an instruction for it. The weights take half the memory of f32.
#[derive(Clone, Copy)]
pub(crate) struct Bf16Fma<S>(pub S);

impl<S: Integers> Dot for Bf16Fma<S> {
    sums_of!(f32);
    type Simd = S;
    type Weights = [S::F32; 2];
    type Activations = [S::F32; 2];
    widened_to_pairs!();

    #[inline(always)]
    unsafe fn load_weights(self, from: *const u8) -> [S::F32; 2] {
        // SAFETY: as the caller promises.
        self.0.bf16_pairs(unsafe { self.0.load_bytes(from) })
    }

    #[inline(always)]
    unsafe fn load_activations(self, from: *const u8) -> [S::F32; 2] {
        // SAFETY: as the caller promises.
        self.0.bf16_pairs(self.0.splat_i32(unsafe { from.cast::<i32>().read_unaligned() }))
    }

    #[inline(always)]
    fn dot(self, x: [S::F32; 2], w: [S::F32; 2], sum: S::F32) -> S::F32 {
        self.0.mul_add(x[1], w[1], self.0.mul_add(x[0], w[0], sum))
    }
}

/// Bytes widened to 16 bits, for sets without an instruction for bytes. `vpmaddubsw` would need half the instructions, but it
/// saturates: two products of a byte and a signed byte exceed 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct Int8Widened<S>(pub S);

impl<S: Integers> Dot for Int8Widened<S> {
    sums_of!(i32);
    type Simd = S;
    type Weights = [S::I32; 2];
    type Activations = [S::I32; 2];
    widened_to_pairs!();

    #[inline(always)]
    unsafe fn load_weights(self, from: *const u8) -> [S::I32; 2] {
        // SAFETY: as the caller promises.
        self.0.signed_bytes(unsafe { self.0.load_bytes(from) })
    }

    #[inline(always)]
    unsafe fn load_activations(self, from: *const u8) -> [S::I32; 2] {
        // SAFETY: as the caller promises.
        self.0.unsigned_bytes(self.0.splat_i32(unsafe { from.cast::<i32>().read_unaligned() }))
    }

    #[inline(always)]
    fn dot(self, x: [S::I32; 2], w: [S::I32; 2], sum: S::I32) -> S::I32 {
        self.0.dot_i16(x[1], w[1], self.0.dot_i16(x[0], w[0], sum))
    }
}

/// Vectors of a row of a tile whose operands are widened to two vectors each.
const fn vectors<S: Simd>() -> usize {
    if S::TILE_VECTORS >= 24 { 2 } else { 1 }
}

/// Rows of such a tile: two vectors fewer than [`Simd::TILE_VECTORS`] for the second halves of the operands.
const fn rows<S: Simd>() -> usize {
    let vectors = vectors::<S>();
    let sums = S::TILE_VECTORS - if S::TILE_VECTORS > 2 { 2 * vectors } else { 1 };
    let rows = sums / vectors;
    if rows < 12 { rows } else { 12 }
}
