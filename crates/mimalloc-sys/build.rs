//! The link line of mimalloc, and nothing else; see `openblas-sys/build.rs`, which is the same for the same reasons.

fn main() {
    println!("cargo:rerun-if-env-changed=MUSLIN_NATIVE_MIMALLOC_DIR");
    if let Some(dir) = std::env::var_os("MUSLIN_NATIVE_MIMALLOC_DIR") {
        println!("cargo:rustc-link-search=native={}", dir.display());
        println!("cargo:rustc-link-lib=static:-bundle=mimalloc");
    }
}
