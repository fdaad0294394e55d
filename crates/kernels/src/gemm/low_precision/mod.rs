//! Products of bf16 and of int8.
//!
//! | module | purpose |
//! |---|---|
//! | [`panels`] | weights in groups of four bytes |
//! | [`tiles`] | the loops over tiles, and what happens to sums |
//! | [`registers`] | tiles of sums in vector registers |
//! | `amx` | tiles of sums in tile registers |
//! | [`terms`] | numbers as sums of bf16 |
//! | [`bf16`], [`int8`] | the formats |

#[cfg(target_arch = "x86_64")]
mod amx;
mod bf16;
mod int8;
mod panels;
mod registers;
mod terms;
#[cfg(test)]
mod tests;
mod tiles;

pub use bf16::{PackedBf16, gemm_bf16};
pub use int8::{PackedInt8, gemm_int8, int8_row_elements};
pub use terms::Terms;
