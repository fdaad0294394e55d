//! Prints the link lines of OpenBLAS. Downloads nothing, compiles nothing and reads no file.
//!
//! The pipeline sets `MUSLIN_NATIVE_OPENBLAS_DIR` to the folder of `libopenblas.a`. The archive can appear later: the
//! pipeline runs cargo while OpenBLAS is being compiled and links in a second run. Hence there is no `rerun-if-changed`
//! on the archive; a new archive must cause a link, not a recompilation.
//!
//! Without the variable the script prints no link line, so `cargo check` and `cargo clippy` work in a fresh clone. Linking
//! a binary or a test then fails with undefined `cblas_*` symbols; `cargo xtask test` provides the variable.

#[expect(clippy::disallowed_methods, reason = "a build script gets its inputs as variables")]
fn main() {
    println!("cargo:rerun-if-env-changed=MUSLIN_NATIVE_OPENBLAS_DIR");
    if let Some(dir) = std::env::var_os("MUSLIN_NATIVE_OPENBLAS_DIR") {
        println!("cargo:rustc-link-search=native={}", dir.display());
        // `-bundle` keeps the archive out of the rlib: it may not exist when the rlib is built.
        println!("cargo:rustc-link-lib=static:-bundle=openblas");
    }
}
