//! Whether the archive holds the chosen kernels, with the instructions that they claim.
//!
//! A library may drop what its compiler refuses: OpenBLAS disables AVX-512 without a message when its compiler test fails
//! (NO_AVX512 in Makefile.conf), and still builds all the names. So the code of each function is decoded, and the widest vector
//! register that it uses is compared. Local functions of the same object count, because compilers put inner loops there;
//! other global functions do not, and calls into other objects are not followed.
//!
//! Check more than the GEMM kernel: measured on 0.3.34, an archive with NO_AVX512 keeps zmm in `sgemm_kernel_SKYLAKEX`
//! and falls to ymm in `sgemv_n`, `sgemv_t`, `saxpy_k`, `sdot_k` and `sscal_k` of that core.

use anyhow::Result;
use diag::Diagnostic;
pub use disasm::VectorWidth;
use disasm::widest_registers;
use object::{Architecture, Object, ObjectSection, ObjectSymbol, SymbolKind, SymbolSection};

use crate::ar;
use crate::codes::{KERNEL_MISSING, KERNEL_VECTORS};

/// Requirements on the kernels of one processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedKernels {
    /// Name of the set in the library: `SKYLAKEX`.
    pub core: String,
    /// Symbols that some member must define as code.
    pub functions: Vec<String>,
    /// Compared on x86_64; on other machines only the symbols are.
    pub vectors_at_least: VectorWidth,
}

/// Every missing kernel and every kernel with narrower registers than required. The rule of each is its set.
pub fn kernel_violations(archive: &[u8], expected: &[ExpectedKernels]) -> Result<Vec<Diagnostic>> {
    let found = widths_of(archive, expected)?;
    let mut violations = Vec::new();
    for kernels in expected {
        for name in &kernels.functions {
            let violation = match found.iter().find(|(function, _)| function == name) {
                None => Diagnostic::new(
                    &KERNEL_MISSING,
                    format!("the kernel `{name}` is not in the archive"),
                )
                .hint(
                    "read the log of the native build: a set that the compiler cannot build for is left out",
                ),
                Some((_, Some(width))) if *width < kernels.vectors_at_least => Diagnostic::new(
                    &KERNEL_VECTORS,
                    format!("the kernel `{name}` uses too narrow registers"),
                )
                .expected(format!("{:?} registers", kernels.vectors_at_least))
                .found(format!("at most {width:?}"))
                .hint(
                    "read the log of the native build: the compiler may have refused a flag in a test of the \
                             configuration",
                ),
                Some(_) => continue,
            };
            violations.push(violation.rule(&kernels.core));
        }
    }
    Ok(violations)
}

/// For each expected function that the archive defines: its widest registers, or `None` where they are not decoded.
fn widths_of(archive: &[u8], expected: &[ExpectedKernels]) -> Result<Vec<(String, Option<VectorWidth>)>> {
    let mut found = Vec::new();
    ar::for_each_member(archive, |_, data| {
        let Ok(object) = object::File::parse(data) else { return Ok(()) }; // not an object: it defines no kernel
        let functions =
            || object.symbols().filter(|symbol| symbol.is_definition() && symbol.kind() == SymbolKind::Text);
        for kernel in functions() {
            let Ok(name) = kernel.name() else { continue };
            if !expected.iter().any(|kernels| kernels.functions.iter().any(|function| function == name)) {
                continue;
            }
            let mut width = None;
            if object.architecture() == Architecture::X86_64 {
                let mut widest = widest_registers(code_of(&object, &kernel)?);
                for helper in functions().filter(|function| function.is_local()) {
                    widest = widest.max(widest_registers(code_of(&object, &helper)?));
                }
                width = Some(widest);
            }
            found.push((name.to_owned(), width));
        }
        Ok(())
    })?;
    Ok(found)
}

fn code_of<'data>(object: &object::File<'data>, function: &object::Symbol<'data, '_>) -> Result<&'data [u8]> {
    let SymbolSection::Section(section) = function.section() else { return Ok(&[]) };
    let code = object.section_by_index(section)?.data()?;
    let start = usize::try_from(function.address())?;
    // assembler without `.size`: up to the end of its section
    let size = if function.size() == 0 { usize::MAX } else { usize::try_from(function.size())? };
    Ok(code.get(start..start.saturating_add(size).min(code.len())).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive_fixture::{archive_of, object_with};

    const RET: &[u8] = &[0xc3];
    const ADD_XMM: &[u8] = &[0x0f, 0x58, 0xc0, 0xc3];
    const ADD_YMM: &[u8] = &[0xc5, 0xfc, 0x58, 0xc0, 0xc3];
    const ADD_ZMM: &[u8] = &[0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0, 0xc3];

    fn expected() -> Vec<ExpectedKernels> {
        [("HASWELL", "k_HASWELL", VectorWidth::Ymm), ("SKYLAKEX", "k_SKYLAKEX", VectorWidth::Zmm)]
            .map(|(core, function, vectors_at_least)| ExpectedKernels {
                core: core.into(),
                functions: vec![function.into()],
                vectors_at_least,
            })
            .into()
    }

    fn violations(haswell: &[u8], skylakex: &[u8]) -> Vec<Diagnostic> {
        let archive = archive_of(&[
            ("h.o", &object_with(&[("before", ADD_ZMM), ("k_HASWELL", haswell)])),
            ("s.o", &object_with(&[("k_SKYLAKEX", skylakex), ("after", ADD_ZMM)])),
            ("readme", b"not an object"),
        ]);
        kernel_violations(&archive, &expected()).unwrap()
    }

    #[test]
    fn counts_an_inner_loop_in_a_local_function() {
        let object =
            object_with(&[("k_HASWELL", RET), ("local:inner_loop", ADD_YMM), ("k_SKYLAKEX", ADD_ZMM)]);
        assert_eq!(kernel_violations(&archive_of(&[("k.o", &object)]), &expected()).unwrap(), []);
    }

    #[test]
    fn accepts_wide_enough_kernels() {
        assert_eq!(violations(ADD_YMM, ADD_ZMM), []);
    }

    #[test]
    fn rejects_a_kernel_with_narrow_registers() {
        // an archive with NO_AVX512; the zmm of the neighbours must not count
        let found = violations(ADD_XMM, ADD_YMM);
        insta::assert_snapshot!(diag::render::human(&found, diag::render::Style::default()));
    }

    #[test]
    fn rejects_a_missing_kernel() {
        let archive = archive_of(&[("h.o", &object_with(&[("k_HASWELL", ADD_YMM)]))]);
        let found = kernel_violations(&archive, &expected()).unwrap();
        assert_eq!((found.len(), found[0].code()), (1, &KERNEL_MISSING));
        assert!(kernel_violations(b"text", &expected()).is_err());
        assert_eq!(kernel_violations(b"!<arch>\n", &expected()).unwrap().len(), 2);
    }
}
