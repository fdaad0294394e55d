//! The stack size of threads that call OpenBLAS.
//!
//! `release.toml` is the only source of the size. The pipeline passes it to the compiler in `MUSLIN_STACK_SIZE`; the
//! program does not read the default of its own header at run time, because that default is lost with the link flag, and
//! the explicit stack of the workers must hold regardless of the link line.

/// Stack of a thread that calls OpenBLAS, in bytes.
///
/// A build without the pipeline (`cargo check`, `cargo clippy`, an editor) has no `MUSLIN_STACK_SIZE` and falls back to
/// 2 MiB, the default of `std::thread`. Such a build is never released: without the pipeline OpenBLAS is not linked.
pub const STACK_SIZE_BYTES: usize = match option_env!("MUSLIN_STACK_SIZE") {
    Some(text) => match usize::from_str_radix(text, 10) {
        Ok(bytes) => bytes,
        Err(_) => panic!("MUSLIN_STACK_SIZE must be a whole number of bytes"),
    },
    None => 2 << 20,
};
