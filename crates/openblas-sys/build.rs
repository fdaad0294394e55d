//! Link lines of OpenBLAS, and nothing else: it downloads nothing, compiles nothing, looks at no file.
//!
//! `MUSLIN_NATIVE_OPENBLAS_DIR` names a folder that holds (or is about to hold) `libopenblas.a`. The pipeline sets it. There
//! is no `rerun-if-changed` on the archive: the pipeline runs cargo while OpenBLAS is still being compiled and links in
//! a second run, and a changed archive must then cost a link, not a recompilation.
//!
//! Without the variable no link line is printed, so that `cargo check` and `cargo clippy` work on a fresh clone. What
//! links (binaries, tests) fails then with undefined `cblas_*` symbols: use `cargo xtask native` or `cargo xtask test`.

fn main() {
    println!("cargo:rerun-if-env-changed=MUSLIN_NATIVE_OPENBLAS_DIR");
    if let Some(dir) = std::env::var_os("MUSLIN_NATIVE_OPENBLAS_DIR") {
        println!("cargo:rustc-link-search=native={}", dir.display());
        // `-bundle`: the rlib stays free of the archive, which may not exist yet when the rlib is made.
        println!("cargo:rustc-link-lib=static:-bundle=openblas");
    }
}
