//! The C declarations, as `cblas.h` of OpenBLAS has them for `blasint` = `int`.
//!
//! An archive built with INTERFACE64=1 has the same symbol names and a 64-bit `blasint`: the build in this project
//! leaves INTERFACE64 unset, and `config()` would say USE64BITINT.

use std::ffi::{c_char, c_int, c_void};

pub type BlasInt = c_int;
pub type CblasOrder = c_int;
pub type CblasTranspose = c_int;

pub const CBLAS_ROW_MAJOR: CblasOrder = 101;
pub const CBLAS_NO_TRANS: CblasTranspose = 111;
pub const CBLAS_TRANS: CblasTranspose = 112;

unsafe extern "C" {
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
    pub fn openblas_set_num_threads(threads: c_int);
    pub fn openblas_get_num_threads() -> c_int;
    pub fn openblas_get_num_procs() -> c_int;
    pub fn openblas_get_config() -> *mut c_char;
    pub fn openblas_get_corename() -> *mut c_char;
    pub fn openblas_get_parallel() -> c_int;
    /// Calls `function(args)`, `function(args + stride)`, ... once on each of `threads` BLAS threads, the first on the
    /// caller's own; returns when all have ended. Not in `cblas.h`: an exported function of the thread server.
    pub fn gotoblas_pthread(threads: c_int, function: *mut c_void, args: *mut c_void, stride: c_int)
    -> c_int;
}
