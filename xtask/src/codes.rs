//! Problems of the verbs themselves, and the table of all codes of the workspace.

use diag::Code;

diag::codes! {
    /// No code or rule has this name.
    pub CODE_UNKNOWN = Usage "code-unknown": "no diagnostic code or gate rule has this name" {
        "cause": "a typing error, or the code of another program: `inferd explain CODE` has those of inferd, \
                  `cargo run --package loadtest -- --explain CODE` those of the load tests",
        "fix": "`cargo xtask explain` lists the codes of the verbs and the rules of the gate",
    }
    /// Generated documentation differs from the tables.
    pub DOCS_MARKERS = Environment "docs-markers": "a document lacks the markers of its generated part" {
        "cause": "a marker comment was removed from a Markdown file",
        "fix": "restore the lines `<!-- NAME:begin -->` and `<!-- NAME:end -->`",
    }
    /// An argument of `vendor` names nothing.
    pub VENDOR_ARGUMENT = Usage "vendor-argument": "an argument of `cargo xtask vendor` names no library, patch, check or file" {
        "fix": "use one of the expected values; `cargo xtask vendor status` lists libraries and patches",
    }
}

/// A heading and its codes, in the order of the documentation.
pub fn all() -> Vec<(&'static str, Vec<&'static Code>)> {
    let of = |codes: &'static [&'static Code]| codes.to_vec();
    vec![
        ("Pipeline", of(release::codes::CODES)),
        ("Vendored sources", of(patchset::CODES)),
        ("Cache", of(store::CODES)),
        ("Child processes", of(process::CODES)),
        ("ELF gate", elf_gate::codes::all().collect()),
        ("Images", of(oci_image::CODES)),
        (
            "Verbs",
            [
                of(CODES),
                of(crate::api_test::CODES),
                of(crate::bench::CODES),
                of(crate::bench::alloc::CODES),
                of(crate::bench::encode::CODES),
                of(crate::cache::CODES),
                of(crate::difftest::kernel::codes::CODES),
                of(crate::docker::CODES),
                of(crate::fuzz::CODES),
                of(crate::lint::CODES),
            ]
            .concat(),
        ),
        ("Any program", of(diag::CODES)),
    ]
}
