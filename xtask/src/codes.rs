//! Problems of the verbs themselves, and the table of all codes of the workspace.

// The crates of the product and of the load tests are no dependencies: their tables are files that both compile, so that
// `explain` has the same texts, and no newcomer waits for the compilation of a tokenizer.
#[path = "../../crates/engine/src/codes/table.rs"]
mod engine;
#[path = "../../crates/server/src/codes/table.rs"]
mod inferd;
#[path = "../../crates/loadtest/src/codes/table.rs"]
mod loadtest;

use diag::Code;

diag::codes! {
    /// Generated documentation differs from the tables.
    pub DOCS_MARKERS = Environment "docs-markers": "a document lacks the markers of its generated part" {
        "cause": "a marker comment was removed from a Markdown file",
        "fix": "restore the lines `<!-- NAME:begin -->` and `<!-- NAME:end -->`",
    }
    /// The program of the load tests printed nothing.
    pub LOADTEST_WITHOUT_RESULT = NotMeasured "loadtest-without-result": "the load tests ended without a result" {
        "cause": "their program did not compile or did not start; cargo has printed why",
        "fix": "cargo run --package loadtest -- --help",
    }
    /// An argument of `vendor` names nothing.
    pub VENDOR_ARGUMENT = Usage "vendor-argument": "an argument of `cargo xtask vendor` names no library, patch, check or file" {
        "fix": "use one of the expected values; `cargo xtask vendor status` lists libraries and patches",
    }
}

/// A heading and its codes.
pub type Area = (&'static str, Vec<&'static Code>);

/// The codes of the verbs and of the pipeline, in the order of docs/diagnostics.md.
pub fn of_verbs() -> Vec<Area> {
    vec![
        ("Pipeline", of(release::codes::CODES)),
        ("Vendored sources", of(patchset::CODES)),
        ("Cache", of(store::CODES)),
        ("Child processes", of(process::CODES)),
        ("ELF gate", elf_gate::codes::all().collect()),
        ("Images", of(oci_image::CODES)),
        ("Bills of materials", of(sbom::CODES)),
        (
            "Verbs",
            [
                of(CODES),
                of(crate::api_test::CODES),
                of(crate::audit::CODES),
                of(crate::bench::CODES),
                of(crate::bench::alloc::CODES),
                of(crate::bench::encode::CODES),
                of(crate::cache::CODES),
                of(crate::difftest::kernel::codes::CODES),
                of(crate::docker::CODES),
                of(crate::format::CODES),
                of(crate::fuzz::CODES),
                of(crate::lint::CODES),
            ]
            .concat(),
        ),
        ("Any program", of(diag::CODES)),
    ]
}

/// The codes of programs with a page of their own: docs/server.md and docs/benchmarks.md.
pub fn of_other_programs() -> Vec<Area> {
    vec![
        ("inferd", of(inferd::CODES)),
        ("Engine of inferd", of(engine::CODES)),
        ("Load tests", of(loadtest::CODES)),
    ]
}

/// The codes of all programs, except the rules of the gate.
pub fn all() -> Vec<Area> {
    [of_verbs(), of_other_programs()].concat()
}

fn of(codes: &'static [&'static Code]) -> Vec<&'static Code> {
    codes.to_vec()
}
