//! FFI and link lines of the patched OpenBLAS.
//!
//! Two layers: [`ffi`] contains the declarations of `cblas.h`; the functions of this module validate what C does not
//! validate and are safe to call. The declarations are written manually because the project uses nine of some two
//! thousand, and a generator would add libclang to every build.
//!
//! Not here: a policy on threads (the engine owns the thread count of the process, see its module `blas`), and the build
//! of the library (see `build.rs`).
//!
//! A thread that calls OpenBLAS needs a stack of known size, because level-3 calls can keep large arrays there. Give every
//! caller an explicit `std::thread::Builder::stack_size`.
//!
//! ```no_run
//! use openblas_sys::{Matrix, Transpose, sgemm};
//!
//! let row = Matrix { data: &[1.0, 2.0], stride: 2, transpose: Transpose::No };
//! let column = Matrix { data: &[3.0, 4.0], stride: 1, transpose: Transpose::No };
//! let mut product = [0.0];
//! sgemm(1, 1, 2, 1.0, row, column, 0.0, &mut product, 1);
//! assert_eq!(product, [11.0]);
//! ```
#![warn(missing_docs)]

pub mod ffi;

use std::ffi::{CStr, c_char};
use std::sync::{Mutex, PoisonError};

/// Whether an operation uses an operand as stored or transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transpose {
    /// As stored.
    No,
    /// Rows and columns exchanged.
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

/// A row-major operand: element (row, column) is `data[row * stride + column]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// The elements.
    pub data: &'a [f32],
    /// Distance between the starts of two rows, in elements: the leading dimension.
    pub stride: usize,
    /// How the operation uses the operand.
    pub transpose: Transpose,
}

/// `c = alpha * op(a) * op(b) + beta * c`, all row-major, where op(a) is `m` x `k`, op(b) is `k` x `n`, c is `m` x `n`.
///
/// # Panics
/// When a slice is too short for its dimensions or a dimension exceeds C's `int`. Release builds check as well: a few
/// comparisons precede thousands of multiplications, and C would write past the end.
#[expect(clippy::too_many_arguments, reason = "the operation has this many operands")]
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
    // SAFETY: the three checks above prove that every element that the operation reads or writes is inside its slice; `c`
    // is borrowed exclusively, so it overlaps neither `a` nor `b`.
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

/// The stride as a C integer, after the check that `rows` x `columns` are inside a slice of `len` elements.
fn checked_stride(name: &str, len: usize, rows: usize, columns: usize, stride: usize) -> ffi::BlasInt {
    assert!(stride >= columns.max(1), "sgemm: {name} has stride {stride}, less than its {columns} columns");
    let needed = rows.checked_sub(1).and_then(|r| r.checked_mul(stride)).and_then(|e| e.checked_add(columns));
    assert!(
        needed.unwrap_or(usize::from(rows != 0) * usize::MAX) <= len,
        "sgemm: {name} has {len} elements, fewer than {rows} x {columns} with stride {stride}"
    );
    dimension(name, stride)
}

fn dimension(name: &str, value: usize) -> ffi::BlasInt {
    let Ok(value) = ffi::BlasInt::try_from(value) else {
        panic!("sgemm: {name} = {value} does not fit a C int")
    };
    value
}

/// Sets the number of threads that level-3 calls of the process can use. Starts workers when the number grows.
pub fn set_num_threads(threads: usize) {
    // SAFETY: the function takes its own lock and clamps values outside of the range of the build.
    unsafe { ffi::openblas_set_num_threads(threads.try_into().unwrap_or(ffi::BlasInt::MAX)) }
}

/// The number of threads that level-3 calls can use.
pub fn num_threads() -> usize {
    // SAFETY: the function reads one integer.
    unsafe { ffi::openblas_get_num_threads() }.max(0) as usize
}

/// The processors that OpenBLAS found at start (`sched_getaffinity`; it ignores CPU quotas).
pub fn num_processors() -> usize {
    // SAFETY: the function reads one integer.
    unsafe { ffi::openblas_get_num_procs() }.max(0) as usize
}

/// The kernel family that OpenBLAS selected at start from the CPU's features, or that of [`set_core`]: "Haswell", ...
pub fn core_name() -> String {
    // SAFETY: the function reads a table.
    let text = unsafe { ffi::openblas_get_corename() };
    // SAFETY: the string is static and NUL-terminated.
    unsafe { owned(text) }
}

/// Version and build options: "OpenBLAS 0.3.34 NO_LAPACK DYNAMIC_ARCH NO_AFFINITY ... MAX_THREADS=64".
pub fn config() -> String {
    static BUFFER: Mutex<()> = Mutex::new(());
    // Each call empties the static buffer of the library and writes it again: another thread would read half of a text.
    let _guard = BUFFER.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the buffer is written and read under the lock, here only.
    let text = unsafe { ffi::openblas_get_config() };
    // SAFETY: the buffer contains a NUL-terminated string until the next call, which waits for the lock.
    unsafe { owned(text) }
}

/// The maximum of threads that the library was built for (NUM_THREADS), as it reports it.
///
/// It has two work areas for each: one half for its own workers, the other for threads that call it at the same time. More
/// callers get areas from a table of fixed size, and abort the process when that is full.
pub fn threads_max() -> usize {
    let config = config();
    let max = config.split_whitespace().find_map(|word| word.strip_prefix("MAX_THREADS=")?.parse().ok());
    max.unwrap_or(1)
}

/// Uses the kernels with this name, in any case, from now on. Fails for a name that is unknown to the library; a name whose
/// kernels are not in this build selects others, so compare [`core_name`] afterwards.
///
/// # Safety
/// No other thread is inside of this library, and the CPU has the instructions of the kernels.
pub unsafe fn set_core(name: &CStr) -> Result<(), UnknownCore> {
    // SAFETY: the string is NUL-terminated and only read; the caller guarantees the rest.
    match unsafe { ffi::openblas_set_coretype(name.as_ptr()) } {
        0 => Ok(()),
        _ => Err(UnknownCore),
    }
}

/// The library has no kernels with this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCore;

/// The threading model of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parallel {
    /// No threads.
    Sequential,
    /// Its own pthreads.
    Threads,
    /// OpenMP.
    OpenMp,
    /// A value that `cblas.h` does not define.
    Unknown(i32),
}

/// The threading model of the linked library.
pub fn parallel() -> Parallel {
    // SAFETY: the function reads one integer.
    match unsafe { ffi::openblas_get_parallel() } {
        0 => Parallel::Sequential,
        1 => Parallel::Threads,
        2 => Parallel::OpenMp,
        other => Parallel::Unknown(other),
    }
}

/// Copies a C string; null yields an empty one.
///
/// # Safety
/// `text` must be null or point to a NUL-terminated string.
unsafe fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller guarantees a NUL-terminated string, and null was excluded.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned()
}

#[cfg(test)]
mod tests;
