//! FFI and link lines of the patched OpenBLAS.
//!
//! Two layers: [`ffi`] declares the C functions as `cblas.h` has them; the functions of this module check what C does
//! not check and are safe to call. Declarations are written by hand because we use eight of some two thousand, and a
//! generator would bring libclang into every build.
//!
//! What this crate deliberately does not do: it holds no policy on threads (the engine owns the process-wide thread
//! count, see its module `blas`), builds nothing and finds nothing (see `build.rs`).
//!
//! A thread that calls into OpenBLAS needs a stack of known size: level-3 calls may keep large arrays there. Give every
//! caller an explicit `std::thread::Builder::stack_size`.

pub mod ffi;

use std::ffi::{CStr, c_char};

/// Whether an operand is used as it lies in memory or transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transpose {
    No,
    Yes,
}

impl Transpose {
    fn as_c(self) -> ffi::CblasTranspose {
        match self {
            Transpose::No => ffi::CBLAS_NO_TRANS,
            Transpose::Yes => ffi::CBLAS_TRANS,
        }
    }
}

/// A row-major operand: element (row, column) lies at `data[row * stride + column]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    pub data: &'a [f32],
    /// Distance between the starts of two rows, in elements: the leading dimension.
    pub stride: usize,
    pub transpose: Transpose,
}

/// `c = alpha * op(a) * op(b) + beta * c`, all row-major, where op(a) is `m` x `k`, op(b) is `k` x `n`, c is `m` x `n`.
///
/// # Panics
/// When a slice is too short for its dimensions or a dimension does not fit C's `int`. Checked in release builds as
/// well: the check costs a few compares before thousands of multiplications, and C would write past the end.
#[allow(clippy::too_many_arguments)] // the operation has this many operands
pub fn sgemm(
    m: usize,
    n: usize,
    k: usize,
    alpha: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    beta: f32,
    c: &mut [f32],
    c_stride: usize,
) {
    if m == 0 || n == 0 {
        return;
    }
    let (a_rows, a_columns) = if a.transpose == Transpose::No { (m, k) } else { (k, m) };
    let (b_rows, b_columns) = if b.transpose == Transpose::No { (k, n) } else { (n, k) };
    let a_stride = checked_stride("a", a.data.len(), a_rows, a_columns, a.stride);
    let b_stride = checked_stride("b", b.data.len(), b_rows, b_columns, b.stride);
    let c_stride = checked_stride("c", c.len(), m, n, c_stride);
    // SAFETY: the three checks above prove that every element that the operation reads or writes lies inside its
    // slice; `c` is borrowed exclusively, so it overlaps neither `a` nor `b`.
    unsafe {
        ffi::cblas_sgemm(
            ffi::CBLAS_ROW_MAJOR,
            a.transpose.as_c(),
            b.transpose.as_c(),
            dimension("m", m),
            dimension("n", n),
            dimension("k", k),
            alpha,
            a.data.as_ptr(),
            a_stride,
            b.data.as_ptr(),
            b_stride,
            beta,
            c.as_mut_ptr(),
            c_stride,
        );
    }
}

/// The stride as C takes it, after proof that `rows` x `columns` lie inside a slice of `len` elements.
fn checked_stride(name: &str, len: usize, rows: usize, columns: usize, stride: usize) -> ffi::BlasInt {
    assert!(
        stride >= columns.max(1),
        "sgemm: {name} has stride {stride}, needs at least its {columns} columns"
    );
    let needed = rows.checked_sub(1).and_then(|r| r.checked_mul(stride)).and_then(|e| e.checked_add(columns));
    assert!(
        needed.unwrap_or(usize::from(rows != 0) * usize::MAX) <= len,
        "sgemm: {name} has {len} elements, {rows} x {columns} with stride {stride} needs more"
    );
    dimension(name, stride)
}

fn dimension(name: &str, value: usize) -> ffi::BlasInt {
    match ffi::BlasInt::try_from(value) {
        Ok(value) => value,
        Err(_) => panic!("sgemm: {name} = {value} does not fit a C int"),
    }
}

/// Sets how many threads a level-3 call may use, for the whole process. Starts workers when it grows.
pub fn set_num_threads(threads: usize) {
    // SAFETY: takes a lock of its own; values outside of what was built in are clamped by the library.
    unsafe { ffi::openblas_set_num_threads(threads.try_into().unwrap_or(ffi::BlasInt::MAX)) }
}

pub fn num_threads() -> usize {
    // SAFETY: reads one integer.
    unsafe { ffi::openblas_get_num_threads() }.max(0) as usize
}

/// Processors that OpenBLAS saw at start (`sched_getaffinity`; it does not know CPU quotas).
pub fn num_processors() -> usize {
    // SAFETY: reads one integer.
    unsafe { ffi::openblas_get_num_procs() }.max(0) as usize
}

/// The kernel family chosen at start from the CPU's features: "Haswell", "SkylakeX", ...
pub fn core_name() -> String {
    // SAFETY: returns a static NUL-terminated string.
    unsafe { owned(ffi::openblas_get_corename()) }
}

/// Version and build options: "OpenBLAS 0.3.34 NO_LAPACK DYNAMIC_ARCH NO_AFFINITY ... MAX_THREADS=64".
pub fn config() -> String {
    // SAFETY: returns a NUL-terminated string in a static buffer. The buffer is rewritten by each call with the same
    // bytes, apart from the core's name, which is fixed after start.
    unsafe { owned(ffi::openblas_get_config()) }
}

/// How the library runs threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parallel {
    Sequential,
    Threads,
    OpenMp,
    Unknown(i32),
}

pub fn parallel() -> Parallel {
    // SAFETY: reads one integer.
    match unsafe { ffi::openblas_get_parallel() } {
        0 => Parallel::Sequential,
        1 => Parallel::Threads,
        2 => Parallel::OpenMp,
        other => Parallel::Unknown(other),
    }
}

/// # Safety
/// `text` is null or points to a NUL-terminated string.
unsafe fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned()
}

#[cfg(test)]
mod tests;
