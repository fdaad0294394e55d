//! Prints the link line of mimalloc. `openblas-sys/build.rs` has the same structure and explains it.

#[expect(clippy::disallowed_methods, reason = "a build script gets its inputs as variables")]
fn main() {
    println!("cargo:rerun-if-env-changed=MUSLIN_NATIVE_MIMALLOC_DIR");
    if let Some(dir) = std::env::var_os("MUSLIN_NATIVE_MIMALLOC_DIR") {
        println!("cargo:rustc-link-search=native={}", dir.display());
        println!("cargo:rustc-link-lib=static:-bundle=mimalloc");
    }
}
