//! The C declarations of OpenBLAS's `cblas.h` for `blasint` = `int`.
//!
//! An archive built with INTERFACE64=1 has the same symbol names and a 64-bit `blasint`. The build of this project leaves
//! INTERFACE64 unset; otherwise [`crate::config`] would contain USE64BITINT.

use std::ffi::{c_char, c_int, c_void};

/// `blasint`.
pub type BlasInt = c_int;
/// `enum CBLAS_ORDER`.
pub type CblasOrder = c_int;
/// `enum CBLAS_TRANSPOSE`.
pub type CblasTranspose = c_int;

/// `CblasRowMajor`.
pub const CBLAS_ROW_MAJOR: CblasOrder = 101;
/// `CblasNoTrans`.
pub const CBLAS_NO_TRANS: CblasTranspose = 111;
/// `CblasTrans`.
pub const CBLAS_TRANS: CblasTranspose = 112;

unsafe extern "C" {
    /// `c = alpha * op(a) * op(b) + beta * c` in single precision.
    pub fn cblas_sgemm(
        order: CblasOrder,
        trans_a: CblasTranspose,
        trans_b: CblasTranspose,
        m: BlasInt,
        n: BlasInt,
        k: BlasInt,
        alpha: f32,
        a: *const f32,
        lda: BlasInt,
        b: *const f32,
        ldb: BlasInt,
        beta: f32,
        c: *mut f32,
        ldc: BlasInt,
    );
    /// Sets the thread count of level-3 calls for the process.
    pub fn openblas_set_num_threads(threads: c_int);
    /// The thread count of level-3 calls.
    pub fn openblas_get_num_threads() -> c_int;
    /// Processors available at start.
    pub fn openblas_get_num_procs() -> c_int;
    /// Version and build options, in a static buffer that each call writes again.
    pub fn openblas_get_config() -> *mut c_char;
    /// Uses the kernels with this name: 0, or -1 for an unknown name. Exported by the patched library. No other thread may
    /// be inside of the library.
    pub fn openblas_set_coretype(name: *const c_char) -> c_int;
    /// The selected kernel family.
    pub fn openblas_get_corename() -> *mut c_char;
    /// The threading model: 0 sequential, 1 pthreads, 2 OpenMP.
    pub fn openblas_get_parallel() -> c_int;
    /// Calls `function(args)`, `function(args + stride)`, ... once on each of `threads` BLAS threads, the first on the
    /// thread of the caller; returns when all calls have returned. Exported by the thread server, but not in `cblas.h`.
    pub fn gotoblas_pthread(threads: c_int, function: *mut c_void, args: *mut c_void, stride: c_int)
    -> c_int;
}
