//! What happens to the sums of a product.

use crate::activation;
use crate::simd::{Kernel, LANES, Simd};

/// What happens to `x * w^T + bias`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Replaces the output.
    Store,
    /// Is added to the output: residual connections.
    AddTo,
    /// GELU by the error function.
    Gelu,
    /// GELU by tanh.
    GeluTanh,
    /// `x / (1 + e^-x)`
    Silu,
}

/// Applies the activation, if the epilogue has one, to a tile of `rows` rows and `vectors` vectors of columns.
///
/// # Safety
///
/// All vectors of `c`, whose rows are `stride` floats apart, can be read and written.
#[inline(always)]
pub(super) unsafe fn activate<S: Simd>(
    s: S,
    epilogue: Epilogue,
    c: *mut f32,
    stride: usize,
    rows: usize,
    vectors: usize,
) {
    if !matches!(epilogue, Epilogue::Store | Epilogue::AddTo) {
        s.call(Activate { epilogue, c, stride, rows, vectors });
    }
}

/// Made by [`activate`] only, which has the promise that the pointer is valid.
struct Activate {
    epilogue: Epilogue,
    c: *mut f32,
    stride: usize,
    rows: usize,
    vectors: usize,
}

impl Kernel for Activate {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        with_activation(s, self.epilogue, InPlace { s, tile: self });
    }
}

struct InPlace<S> {
    s: S,
    tile: Activate,
}

impl<S: Simd> WithActivation<S> for InPlace<S> {
    #[inline(always)]
    fn run(self, function: impl Fn(S::F32) -> S::F32) {
        let InPlace { s, tile: Activate { c, stride, rows, vectors, .. } } = self;
        for row in 0..rows {
            for v in 0..vectors {
                let at = c.wrapping_add(row * stride + v * LANES);
                // SAFETY: as the caller of `activate` promises.
                let x = unsafe { s.load(at) };
                // SAFETY: as the caller of `activate` promises.
                unsafe { s.store(at, function(x)) };
            }
        }
    }
}

/// What is done with an activation function.
pub(super) trait WithActivation<S: Simd> {
    /// Must be `#[inline(always)]`, as the function is.
    fn run(self, function: impl Fn(S::F32) -> S::F32);
}

/// Calls `work` with the activation of an epilogue; the identity for those without one.
#[inline(always)]
pub(super) fn with_activation<S: Simd>(s: S, epilogue: Epilogue, work: impl WithActivation<S>) {
    match epilogue {
        Epilogue::Store | Epilogue::AddTo => work.run(
            #[inline(always)]
            |x| x,
        ),
        Epilogue::Gelu => work.run(
            #[inline(always)]
            |x| activation::gelu(s, x),
        ),
        Epilogue::GeluTanh => work.run(
            #[inline(always)]
            |x| activation::gelu_tanh(s, x),
        ),
        Epilogue::Silu => work.run(
            #[inline(always)]
            |x| activation::silu(s, x),
        ),
    }
}
