//! Conversions between f32 and the formats of weights and activations.
//!
//! The functions give the same bits on every instruction set. Those of bf16 and f16 are integer arithmetic without branches,
//! which the compiler turns into vectors of each set: the instructions of AVX-512 BF16 would read denormals as zero, and F16C
//! would be one more feature to detect, for a conversion that waits for memory either way.

mod bf16;
mod f16;
mod int8;
#[cfg(test)]
mod tests;

pub use bf16::{bf16_from_f32, bf16_to_f32, round_rows, split_rows};
pub(crate) use bf16::{round, split};
pub use f16::f16_to_f32;
#[cfg(test)]
use int8::ColumnScale;
pub(crate) use int8::quantize_weights;
pub use int8::{RowScale, quantize_rows};

use crate::simd::{Kernel, Simd};

/// Converts the elements of a slice by a function that is `#[inline(always)]`.
struct Convert<'a, T, U, F> {
    from: &'a [T],
    to: &'a mut [U],
    convert: F,
}

impl<T: Copy, U, F: Fn(T) -> U> Kernel for Convert<'_, T, U, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Convert { from, to, convert } = self;
        assert!(from.len() == to.len(), "{} elements converted to {}", from.len(), to.len());
        for (to, from) in to.iter_mut().zip(from) {
            *to = convert(*from);
        }
    }
}
