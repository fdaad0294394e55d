//! FFI and link lines of the patched OpenBLAS.
