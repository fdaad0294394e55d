//! Whether the archive holds the kernels that were asked for, with the instructions that they claim.
//!
//! A library may drop what its compiler refuses: OpenBLAS gives up AVX-512 in silence when its compiler test fails (NO_AVX512 in Makefile.conf), and still builds all the
//! names. So the code of each function is decoded, and the widest vector register that it uses is compared. Counted with it
//! are the local functions of the same object, where compilers leave the inner loops; other global functions are not, and
//! what is called elsewhere is not followed.
//!
//! Expect more than the GEMM kernel: measured on 0.3.34, an archive with NO_AVX512 keeps zmm in `sgemm_kernel_SKYLAKEX`
//! and falls to ymm in `sgemv_n`, `sgemv_t`, `saxpy_k`, `sdot_k` and `sscal_k` of that core.

use anyhow::{Context, Result};
use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};
use object::read::archive::ArchiveFile;
use object::{Architecture, Object, ObjectSection, ObjectSymbol, SymbolKind, SymbolSection};
use serde::{Deserialize, Serialize};

/// Widest vector registers of a piece of code, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Vectors {
    None,
    Xmm,
    Ymm,
    Zmm,
}

/// What one processor's kernels must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedKernels {
    /// As the library calls it, for messages: `SKYLAKEX`.
    pub core: String,
    /// Symbols that some member must define as code.
    pub functions: Vec<String>,
    /// Judged on x86_64 only; elsewhere the symbols alone are.
    pub vectors_at_least: Vectors,
}

/// What is missing or narrower than promised; all of it.
pub fn kernel_violations(archive: &[u8], expected: &[ExpectedKernels]) -> Result<Vec<String>> {
    let found = vectors_of(archive, expected)?;
    let mut violations = Vec::new();
    for kernels in expected {
        for name in &kernels.functions {
            let core = &kernels.core;
            match found.iter().find(|(function, _)| function == name) {
                None => violations.push(format!(
                    "{core}: expected function `{name}` in the archive, not found\n\
                     hint: read the log of the native build: a set that the compiler cannot build for is left out"
                )),
                Some((_, Some(vectors))) if *vectors < kernels.vectors_at_least => violations.push(format!(
                    "{core}: expected {:?} registers in `{name}`, found at most {vectors:?}\n\
                     hint: read the log of the native build: the compiler may have refused a flag in a test of the configuration",
                    kernels.vectors_at_least
                )),
                Some(_) => {}
            }
        }
    }
    Ok(violations)
}

/// For each expected function that the archive defines: its widest vectors, or nothing where they cannot be told.
fn vectors_of(archive: &[u8], expected: &[ExpectedKernels]) -> Result<Vec<(String, Option<Vectors>)>> {
    let mut found = Vec::new();
    for member in ArchiveFile::parse(archive).context("not an archive")?.members() {
        let member = member.context("damaged archive")?;
        let data = member.data(archive).context("damaged archive")?;
        let Ok(object) = object::File::parse(data) else { continue }; // not an object: it defines no kernel
        let functions =
            || object.symbols().filter(|symbol| symbol.is_definition() && symbol.kind() == SymbolKind::Text);
        for kernel in functions() {
            let Ok(name) = kernel.name() else { continue };
            if !expected.iter().any(|kernels| kernels.functions.iter().any(|function| function == name)) {
                continue;
            }
            let mut vectors = None;
            if object.architecture() == Architecture::X86_64 {
                let mut widest = widest_vectors(code_of(&object, &kernel)?);
                for helper in functions().filter(|function| function.is_local()) {
                    widest = widest.max(widest_vectors(code_of(&object, &helper)?));
                }
                vectors = Some(widest);
            }
            found.push((name.to_owned(), vectors));
        }
    }
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

fn widest_vectors(code: &[u8]) -> Vectors {
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut widest = Vectors::None;
    while decoder.can_decode() && widest < Vectors::Zmm {
        decoder.decode_out(&mut instruction);
        for operand in 0..instruction.op_count() {
            if instruction.op_kind(operand) == OpKind::Register {
                widest = widest.max(width(instruction.op_register(operand)));
            }
        }
    }
    widest
}

fn width(register: Register) -> Vectors {
    match register as usize {
        r if (Register::XMM0 as usize..=Register::XMM31 as usize).contains(&r) => Vectors::Xmm,
        r if (Register::YMM0 as usize..=Register::YMM31 as usize).contains(&r) => Vectors::Ymm,
        r if (Register::ZMM0 as usize..=Register::ZMM31 as usize).contains(&r) => Vectors::Zmm,
        _ => Vectors::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive_fixture::{archive_of, object_with};

    const RET: &[u8] = &[0xc3];
    const ADD_XMM: &[u8] = &[0x0f, 0x58, 0xc0, 0xc3];
    const ADD_YMM: &[u8] = &[0xc5, 0xfc, 0x58, 0xc0, 0xc3];
    const ADD_ZMM: &[u8] = &[0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0, 0xc3];
    /// `mov eax, 0x48..62`: the byte 0x62 that starts an EVEX prefix, as data
    const CONSTANT_62: &[u8] = &[0xb8, 0x62, 0xf1, 0x7c, 0x48, 0x0f, 0x58, 0xc0, 0xc3];

    fn expected() -> Vec<ExpectedKernels> {
        [("HASWELL", "k_HASWELL", Vectors::Ymm), ("SKYLAKEX", "k_SKYLAKEX", Vectors::Zmm)]
            .map(|(core, function, vectors_at_least)| ExpectedKernels {
                core: core.into(),
                functions: vec![function.into()],
                vectors_at_least,
            })
            .into()
    }

    fn violations(haswell: &[u8], skylakex: &[u8]) -> Vec<String> {
        let archive = archive_of(&[
            ("h.o", &object_with(&[("before", ADD_ZMM), ("k_HASWELL", haswell)])),
            ("s.o", &object_with(&[("k_SKYLAKEX", skylakex), ("after", ADD_ZMM)])),
            ("readme", b"not an object"),
        ]);
        kernel_violations(&archive, &expected()).unwrap()
    }

    #[test]
    fn registers_are_read_from_the_code() {
        assert_eq!(widest_vectors(RET), Vectors::None);
        assert_eq!(widest_vectors(ADD_XMM), Vectors::Xmm);
        assert_eq!(widest_vectors(ADD_YMM), Vectors::Ymm);
        assert_eq!(widest_vectors(ADD_ZMM), Vectors::Zmm);
        assert_eq!(widest_vectors(CONSTANT_62), Vectors::Xmm);
    }

    #[test]
    fn an_inner_loop_in_a_local_function_counts() {
        let object =
            object_with(&[("k_HASWELL", RET), ("local:inner_loop", ADD_YMM), ("k_SKYLAKEX", ADD_ZMM)]);
        assert_eq!(
            kernel_violations(&archive_of(&[("k.o", &object)]), &expected()).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn wide_enough_kernels_pass() {
        assert_eq!(violations(ADD_YMM, ADD_ZMM), Vec::<String>::new());
    }

    #[test]
    fn a_kernel_that_is_narrower_than_its_name_is_refused() {
        // what an archive with NO_AVX512 holds; the neighbours' zmm must not count
        let found = violations(ADD_XMM, ADD_YMM);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("HASWELL: expected Ymm registers in `k_HASWELL`, found at most Xmm"),
            "{found:?}"
        );
        assert!(
            found[1].starts_with("SKYLAKEX: expected Zmm registers in `k_SKYLAKEX`, found at most Ymm"),
            "{found:?}"
        );
    }

    #[test]
    fn a_missing_kernel_is_refused() {
        let archive = archive_of(&[("h.o", &object_with(&[("k_HASWELL", ADD_YMM)]))]);
        let found = kernel_violations(&archive, &expected()).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("expected function `k_SKYLAKEX` in the archive, not found"), "{found:?}");
        assert!(kernel_violations(b"text", &expected()).is_err());
        assert_eq!(kernel_violations(b"!<arch>\n", &expected()).unwrap().len(), 2);
    }
}
