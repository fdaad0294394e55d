//! Prints the link lines of the peers that the pipeline compiles. A static archive that no program refers to adds nothing to it.

#[expect(clippy::disallowed_methods, reason = "the pipeline sets the variables for this script")]
fn main() {
    for library in ["mallocng", "oldmalloc", "snmalloc"] {
        let variable = format!("MUSLIN_NATIVE_{}_DIR", library.to_uppercase());
        println!("cargo:rerun-if-env-changed={variable}");
        if let Some(folder) = std::env::var_os(variable) {
            println!("cargo:rustc-link-search=native={}", folder.display());
            println!("cargo:rustc-link-lib=static:-bundle={library}");
        }
    }
}
