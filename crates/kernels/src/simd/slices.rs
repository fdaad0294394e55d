//! Vectors of slices, with checked bounds.

use super::{LANES, Simd};

/// The vector of an array.
#[inline(always)]
pub(crate) fn load<S: Simd>(s: S, from: &[f32; LANES]) -> S::F32 {
    // SAFETY: the array has 16 floats.
    unsafe { s.load(from.as_ptr()) }
}

/// Writes a vector to an array.
#[inline(always)]
pub(crate) fn store<S: Simd>(s: S, to: &mut [f32; LANES], value: S::F32) {
    // SAFETY: the array has 16 floats.
    unsafe { s.store(to.as_mut_ptr(), value) };
}

/// The 16 elements from `at` on; zero in the lanes beyond the end of the slice.
#[inline(always)]
pub(crate) fn load_at<S: Simd>(s: S, from: &[f32], at: usize) -> S::F32 {
    let from = &from[at..];
    match from.first_chunk() {
        Some(full) => load(s, full),
        // SAFETY: all elements of the slice, fewer than 16.
        None => unsafe { s.load_partial(from.as_ptr(), from.len()) },
    }
}

/// Writes the lanes to the elements from `at` on, up to the end of the slice.
#[inline(always)]
pub(crate) fn store_at<S: Simd>(s: S, to: &mut [f32], at: usize, value: S::F32) {
    let to = &mut to[at..];
    match to.first_chunk_mut() {
        Some(full) => store(s, full, value),
        // SAFETY: all elements of the slice, fewer than 16.
        None => unsafe { s.store_partial(to.as_mut_ptr(), value, to.len()) },
    }
}
