//! The mutants, in the order of the stages. Each is one mistake of a build or a tool, or one manipulation.

#![expect(clippy::ptr_arg, reason = "every mutant has the same signature; some cut or append")]

use super::elf_edit::{
    self, DT_NEEDED, DT_RPATH, DT_TEXTREL, Done, PT_GNU_RELRO, PT_GNU_STACK, PT_LOAD, PT_NULL, ProgramHeader,
    READ_EXECUTE, READ_WRITE, READ_WRITE_EXECUTE,
};
use super::{Mutant, MutatedFile, Originals, READER};
use elf_gate::Stage;

const fn mutant(
    file: MutatedFile,
    name: &'static str,
    rule: &'static str,
    make: fn(&mut Vec<u8>, &Originals) -> Done,
) -> Mutant {
    Mutant { name, file, rule, is_optional: false, make }
}

/// For a rule that does not fit every product, and that a release.toml may leave out.
const fn optional(
    file: MutatedFile,
    name: &'static str,
    rule: &'static str,
    make: fn(&mut Vec<u8>, &Originals) -> Done,
) -> Mutant {
    Mutant { is_optional: true, ..mutant(file, name, rule, make) }
}

use MutatedFile::{Debug, Linked, Packed, Stripped};

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(Linked, "stack size zeroed", "stack-size", stack_size_zeroed),
    mutant(Linked, "stack size one byte short", "stack-size", |bytes, originals| {
        elf_edit::set_stack_size(bytes, originals.config.stack_size.0 - 1)
    }),
    mutant(Linked, "stack size above what musl grants", "stack-size", |bytes, _| {
        elf_edit::set_stack_size(bytes, 16 << 20)
    }),
    mutant(Linked, "PT_GNU_STACK removed", "stack-size", |bytes, _| {
        ProgramHeader::find(bytes, PT_GNU_STACK, None)?.set_kind(bytes, PT_NULL)
    }),
    mutant(Linked, "stack made executable", "stack-not-executable", executable_stack),
    mutant(Linked, "data segment made executable", "no-writable-executable-segment", writable_code),
    mutant(Linked, "interpreter added", "no-interpreter", |bytes, _| elf_edit::add_interpreter(bytes)),
    mutant(Linked, "needed library added", "no-needed", |bytes, _| elf_edit::add_dynamic(bytes, DT_NEEDED)),
    mutant(Linked, "machine changed", "machine", other_machine),
    mutant(Linked, "required symbol removed", "required-symbols", |bytes, originals| {
        let required = originals.config.gate.at(Stage::Linked).required_symbols;
        let name = exact(&required)?;
        let other: String = name.chars().rev().collect();
        elf_edit::rename_symbol(bytes, name, &format!("{}_", &other[1..]))
    }),
    mutant(Linked, "forbidden symbol added", "forbidden-symbols", forbidden_symbol),
    mutant(Linked, "build-id removed", "build-id", |bytes, _| elf_edit::lose_build_id(bytes)),
    mutant(Linked, "another OS ABI", "abi", |bytes, _| elf_edit::write(bytes, 7, &[3])),
    mutant(Linked, "type changed", "kind", |bytes, _| elf_edit::flip(bytes, 16, 1)),
    mutant(Linked, "aligned to 2 MiB", "segment-align", |bytes, _| {
        ProgramHeader::find(bytes, PT_LOAD, None)?.set_align(bytes, 2 << 20)
    }),
    mutant(Linked, "run path added", "no-rpath", |bytes, _| elf_edit::add_dynamic(bytes, DT_RPATH)),
    mutant(Linked, "text relocations announced", "no-text-relocations", |bytes, _| {
        elf_edit::add_dynamic(bytes, DT_TEXTREL)
    }),
    mutant(Linked, "PT_GNU_RELRO removed", "relro", |bytes, _| {
        ProgramHeader::find(bytes, PT_GNU_RELRO, None)?.set_kind(bytes, PT_NULL)
    }),
    optional(Linked, "path of a build machine in debug information", "mapped-debug-paths", |bytes, _| {
        elf_edit::add_debug_path(bytes)
    }),
    mutant(Linked, "path of a build machine added", "no-local-paths", |bytes, _| {
        elf_edit::add_local_path(bytes)
    }),
    mutant(Linked, "grown beyond its budget", "size-budget", |bytes, originals| {
        beyond_budget(bytes, originals, Stage::Linked)
    }),
    mutant(Linked, "grown since the previous release", "size-growth", |bytes, originals| {
        grown(bytes, originals, Stage::Linked)
    }),
    optional(Linked, "first function compiled for AVX", "isa-baseline", |bytes, _| {
        const VADDPS_YMM: &[u8] = &[0xc5, 0xfc, 0x58, 0xc0];
        let at = elf_edit::entry_offset(bytes)?;
        elf_edit::write(bytes, at, VADDPS_YMM)
    }),
    optional(Linked, "multiply-adds of kernels replaced", "vector-loops", |bytes, _| {
        elf_edit::replace_multiply_adds(bytes)
    }),
    mutant(Linked, "symbol undefined", "undefined-symbols", |bytes, _| elf_edit::undefine_symbol(bytes)),
    mutant(Linked, "made by another compiler", "producers", |bytes, _| elf_edit::change_producer(bytes)),
    mutant(Linked, "size of the ELF header changed", "elf-header", |bytes, _| elf_edit::flip(bytes, 52, 1)),
    mutant(Linked, "more bytes in the file than in memory", "program-headers", oversized_code),
    mutant(Linked, "entry point in data", "entry-point", |bytes, _| elf_edit::enter_data(bytes)),
    mutant(Linked, "entry point inside of an instruction", "entry-point", |bytes, _| {
        elf_edit::flip(bytes, 24, 2)
    }),
    mutant(Linked, "code moved by one page", "section-layout", |bytes, _| {
        ProgramHeader::find(bytes, PT_LOAD, Some(READ_EXECUTE))?.move_by(bytes, 4096)
    }),
    mutant(Linked, "bytes appended", "unclaimed-bytes", appended),
    mutant(Linked, "search table of the unwinder damaged", "code-pointers", |bytes, _| {
        elf_edit::break_unwind_table(bytes)
    }),
    mutant(Linked, "address in the .got changed", "code-pointers", |bytes, _| elf_edit::break_got(bytes)),
    mutant(Linked, "cut in half", READER, |bytes, _| cut(bytes, bytes.len() / 2)),
    mutant(Linked, "packed file in its place", "not-packed", |bytes, originals| {
        replace(bytes, originals.packed)
    }),
    mutant(Linked, "start code defined twice", "unique-symbols", |bytes, _| {
        elf_edit::name_functions(bytes, &["_start"])
    }),
    mutant(Linked, "weak reference unresolved", "weak-undefined-symbols", |bytes, _| {
        elf_edit::name_functions(bytes, &["pthread_unresolved"])?;
        elf_edit::undefine_weakly(bytes, "pthread_unresolved")
    }),
    mutant(Linked, "two C++ runtimes", "exclusive-symbols", |bytes, _| {
        elf_edit::name_functions(bytes, &["_ZNSt3__11fEv", "_ZNSt7__cxx111fEv"])
    }),
    mutant(Linked, "function chosen by a resolver", "no-ifunc", |bytes, _| elf_edit::make_ifunc(bytes)),
    mutant(Linked, "relocation calls a resolver", "no-ifunc", |bytes, originals| {
        elf_edit::add_irelative(bytes, irelative_of(originals))
    }),
    mutant(Linked, "object compiled for glibc", "glibc-symbols", |bytes, _| {
        elf_edit::name_functions(bytes, &["__isoc23_strtol"])
    }),
    mutant(Linked, "UBSan left in", "no-sanitizer-runtime", |bytes, _| {
        elf_edit::name_functions(bytes, &["__ubsan_handle_x"])
    }),
    mutant(Linked, "dlopen linked", "no-dlopen", |bytes, _| elf_edit::name_functions(bytes, &["dlopen"])),
    optional(Linked, "allocator not linked", "allocator", |bytes, originals| {
        let allocators = originals.config.gate.at(Stage::Linked).allocators;
        elf_edit::define_function(bytes, "pthread_create")?;
        elf_edit::rename_matching(bytes, |name| elf_gate::policy::matches_any(&allocators, name))
    }),
    mutant(Linked, "thread-local block above its budget", "tls-size", |bytes, originals| {
        tls_beyond_budget(bytes, originals, Stage::Linked)
    }),
    mutant(Linked, "symbol table removed", "has-symbols", |bytes, _| elf_edit::lose_symbol_table(bytes)),
    mutant(Stripped, "relocation calls a resolver", "no-ifunc", |bytes, originals| {
        elf_edit::add_irelative(bytes, irelative_of(originals))
    }),
    mutant(Stripped, "thread-local block above its budget", "tls-size", |bytes, originals| {
        tls_beyond_budget(bytes, originals, Stage::Stripped)
    }),
    mutant(Stripped, "stack size zeroed", "stack-size", stack_size_zeroed),
    mutant(Stripped, "stack made executable", "stack-not-executable", executable_stack),
    mutant(Stripped, "data segment made executable", "no-writable-executable-segment", writable_code),
    mutant(Stripped, "interpreter added", "no-interpreter", |bytes, _| elf_edit::add_interpreter(bytes)),
    mutant(Stripped, "needed library added", "no-needed", |bytes, _| elf_edit::add_dynamic(bytes, DT_NEEDED)),
    mutant(Stripped, "machine changed", "machine", other_machine),
    mutant(Stripped, "build-id removed", "build-id", |bytes, _| elf_edit::lose_build_id(bytes)),
    mutant(Stripped, "build-id changed", "debug-file-matches", |bytes, _| elf_edit::change_build_id(bytes)),
    mutant(Stripped, "not stripped", "stripped", |bytes, originals| replace(bytes, originals.linked)),
    mutant(Stripped, "packed file in its place", "not-packed", |bytes, originals| {
        replace(bytes, originals.packed)
    }),
    mutant(Stripped, "another OS ABI", "abi", |bytes, _| elf_edit::write(bytes, 7, &[3])),
    mutant(Stripped, "type changed", "kind", |bytes, _| elf_edit::flip(bytes, 16, 1)),
    mutant(Stripped, "aligned to 2 MiB", "segment-align", |bytes, _| {
        ProgramHeader::find(bytes, PT_LOAD, None)?.set_align(bytes, 2 << 20)
    }),
    mutant(Stripped, "run path added", "no-rpath", |bytes, _| elf_edit::add_dynamic(bytes, DT_RPATH)),
    mutant(Stripped, "text relocations announced", "no-text-relocations", |bytes, _| {
        elf_edit::add_dynamic(bytes, DT_TEXTREL)
    }),
    mutant(Stripped, "PT_GNU_RELRO removed", "relro", |bytes, _| {
        ProgramHeader::find(bytes, PT_GNU_RELRO, None)?.set_kind(bytes, PT_NULL)
    }),
    mutant(Stripped, "path of a build machine added", "no-local-paths", |bytes, _| {
        elf_edit::add_local_path(bytes)
    }),
    mutant(Stripped, "grown beyond its budget", "size-budget", |bytes, originals| {
        beyond_budget(bytes, originals, Stage::Stripped)
    }),
    mutant(Stripped, "grown since the previous release", "size-growth", |bytes, originals| {
        grown(bytes, originals, Stage::Stripped)
    }),
    mutant(Stripped, "size of the ELF header changed", "elf-header", |bytes, _| elf_edit::flip(bytes, 52, 1)),
    mutant(Stripped, "more bytes in the file than in memory", "program-headers", oversized_code),
    mutant(Stripped, "entry point in data", "entry-point", |bytes, _| elf_edit::enter_data(bytes)),
    mutant(Stripped, "entry point inside of an instruction", "entry-point", |bytes, _| {
        elf_edit::flip(bytes, 24, 2)
    }),
    mutant(Stripped, "code moved by one page", "section-layout", |bytes, _| {
        ProgramHeader::find(bytes, PT_LOAD, Some(READ_EXECUTE))?.move_by(bytes, 4096)
    }),
    mutant(Stripped, "bytes appended", "unclaimed-bytes", appended),
    mutant(Stripped, "search table of the unwinder damaged", "code-pointers", |bytes, _| {
        elf_edit::break_unwind_table(bytes)
    }),
    mutant(Stripped, "cut in half", READER, |bytes, _| cut(bytes, bytes.len() / 2)),
    mutant(Debug, "debug file of another build", "debug-file-matches", |bytes, _| {
        elf_edit::change_build_id(bytes)
    }),
    mutant(Debug, "linked file as debug file", "debug-file-matches", |bytes, originals| {
        replace(bytes, originals.linked)
    }),
    mutant(Debug, "debug file with another entry point", "debug-file-layout", |bytes, _| {
        elf_edit::flip(bytes, 24, 16)
    }),
    mutant(Packed, "size of the ELF header changed", "elf-header", |bytes, _| elf_edit::flip(bytes, 52, 1)),
    mutant(Packed, "more bytes in the file than in memory", "program-headers", oversized_code),
    mutant(Packed, "entry point in data", "entry-point", |bytes, _| elf_edit::enter_data(bytes)),
    mutant(Packed, "file size of the reserved segment changed", "upx-structure", |bytes, _| {
        // The second byte of p_filesz of the first segment.
        elf_edit::flip(bytes, 64 + 32 + 1, 8)
    }),
    mutant(Packed, "more bytes in the file than in memory, inside", "inner-headers", |bytes, originals| {
        elf_edit::change_inner_headers(bytes, originals.stripped, |headers| {
            ProgramHeader::find(headers, PT_LOAD, Some(READ_EXECUTE))?.exceed_memory_size(headers)
        })
    }),
    mutant(Packed, "outer stack size zeroed", "stack-size", stack_size_zeroed),
    mutant(Packed, "outer stack size halved", "outer-inner-agree", |bytes, originals| {
        elf_edit::set_stack_size(bytes, originals.config.stack_size.0 / 2)
    }),
    mutant(Packed, "inner stack size lost, outer painted over", "inner-stack-size", disguised),
    mutant(Packed, "inner stack executable, outer painted over", "inner-stack-not-executable", disguised),
    mutant(Packed, "inner data segment executable", "inner-no-writable-executable-segment", disguised),
    mutant(Packed, "interpreter inside", "inner-no-interpreter", disguised),
    mutant(Packed, "packed from another file", "round-trip", disguised),
    mutant(Packed, "outer stack made executable", "stack-not-executable", executable_stack),
    mutant(Packed, "outer segment made writable code", "no-writable-executable-segment", writable_code),
    mutant(Packed, "outer machine changed", "machine", other_machine),
    mutant(Packed, "another OS ABI", "abi", |bytes, _| elf_edit::write(bytes, 7, &[3])),
    mutant(Packed, "aligned to 2 MiB", "segment-align", |bytes, _| {
        ProgramHeader::find(bytes, PT_LOAD, None)?.set_align(bytes, 2 << 20)
    }),
    mutant(Packed, "grown beyond its budget", "size-budget", |bytes, originals| {
        beyond_budget(bytes, originals, Stage::Packed)
    }),
    mutant(Packed, "grown since the previous release", "size-growth", |bytes, originals| {
        grown(bytes, originals, Stage::Packed)
    }),
    mutant(Packed, "outer interpreter added", "no-interpreter", |bytes, _| elf_edit::add_interpreter(bytes)),
    mutant(Packed, "outer needed library added", "no-needed", |bytes, _| {
        elf_edit::add_dynamic(bytes, DT_NEEDED)
    }),
    mutant(Packed, "inner machine changed", "inner-machine", |bytes, originals| {
        elf_edit::change_inner_headers(bytes, originals.stripped, |headers| {
            elf_edit::set_machine(headers, other_machine_of(originals))
        })
    }),
    mutant(Packed, "inner segments aligned to 2 MiB", "inner-segment-align", |bytes, originals| {
        elf_edit::change_inner_headers(bytes, originals.stripped, |headers| {
            ProgramHeader::find(headers, PT_LOAD, None)?.set_align(headers, 2 << 20)
        })
    }),
    mutant(Packed, "outer type changed", "outer-inner-agree", |bytes, _| elf_edit::flip(bytes, 16, 1)),
    mutant(Packed, "outer flags of e_flags set", "upx-structure", |bytes, _| elf_edit::flip(bytes, 48, 1)),
    mutant(Packed, "entry point moved", "upx-stub-checksum", |bytes, _| elf_edit::flip(bytes, 24, 4)),
    mutant(Packed, "stub byte flipped", "upx-stub-checksum", |bytes, _| {
        let at = elf_edit::entry_offset(bytes)?;
        elf_edit::flip(bytes, at + 40, 1)
    }),
    mutant(Packed, "word before the stub changed", "upx-structure", |bytes, _| {
        let at = elf_edit::entry_offset(bytes)?;
        elf_edit::flip(bytes, at - 8, 4)
    }),
    mutant(Packed, "stub size changed", "upx-structure", |bytes, _| at_loader(bytes, 8, 8)),
    mutant(Packed, "promised file size changed", "upx-structure", |bytes, _| at_loader(bytes, 16, 1)),
    mutant(Packed, "size of a block changed", "upx-structure", |bytes, _| {
        let second = second_block(bytes)?;
        elf_edit::flip(bytes, second, 1)
    }),
    mutant(Packed, "method of a block changed", "upx-structure", |bytes, _| {
        let first = elf_edit::loader_info(bytes)? + 24;
        elf_edit::flip(bytes, first + 8, 0x40)
    }),
    mutant(Packed, "compressed byte flipped", "upx-data-checksum", |bytes, _| {
        let second = second_block(bytes)?;
        elf_edit::flip(bytes, second + 12 + 100, 1)
    }),
    mutant(Packed, "trailer cut", "upx-structure", |bytes, _| cut(bytes, bytes.len().saturating_sub(36))),
    mutant(Packed, "trailer's sum changed", "upx-structure", |bytes, _| {
        let at = bytes.len().saturating_sub(36 - 31);
        elf_edit::flip(bytes, at, 1)
    }),
    mutant(Packed, "bytes appended", "upx-structure", appended),
    mutant(Packed, "marks of UPX erased", "packed-by-upx", |bytes, _| {
        let at = elf_edit::loader_info(bytes)? + 4;
        elf_edit::write(bytes, at, b"XPU!")?;
        let trailer = bytes.len().saturating_sub(36);
        elf_edit::write(bytes, trailer, b"XPU!")
    }),
    mutant(Packed, "not packed", "packed-by-upx", |bytes, originals| replace(bytes, originals.stripped)),
    mutant(Packed, "cut in half", "upx-structure", |bytes, _| cut(bytes, bytes.len() / 2)),
];

fn stack_size_zeroed(bytes: &mut Vec<u8>, _: &Originals) -> Done {
    elf_edit::set_stack_size(bytes, 0)
}

fn executable_stack(bytes: &mut Vec<u8>, _: &Originals) -> Done {
    ProgramHeader::find(bytes, PT_GNU_STACK, None)?.set_flags(bytes, READ_WRITE_EXECUTE)
}

fn oversized_code(bytes: &mut Vec<u8>, _: &Originals) -> Done {
    ProgramHeader::find(bytes, PT_LOAD, Some(READ_EXECUTE))?.exceed_memory_size(bytes)
}

fn appended(bytes: &mut Vec<u8>, _: &Originals) -> Done {
    bytes.extend_from_slice(b"appended");
    Ok(())
}

fn writable_code(bytes: &mut Vec<u8>, _: &Originals) -> Done {
    ProgramHeader::find(bytes, PT_LOAD, Some(READ_WRITE))?.set_flags(bytes, READ_WRITE_EXECUTE)
}

fn other_machine(bytes: &mut Vec<u8>, originals: &Originals) -> Done {
    elf_edit::set_machine(bytes, other_machine_of(originals))
}

/// aarch64 in the place of x86_64, and the other way round.
fn other_machine_of(originals: &Originals) -> u16 {
    let (x86_64, aarch64) = (62, 183);
    if originals.target.starts_with("aarch64") { x86_64 } else { aarch64 }
}

/// One byte more than the stage allows.
fn beyond_budget(bytes: &mut Vec<u8>, originals: &Originals, stage: Stage) -> Done {
    let budget = originals.config.gate.at(stage).size_max.ok_or("release.toml sets no `size_max`")?;
    grow_to(bytes, usize::try_from(budget.0).map_err(|error| error.to_string())? + 1);
    Ok(())
}

/// One byte more than allowed, with the original as the previous release.
fn grown(bytes: &mut Vec<u8>, originals: &Originals, stage: Stage) -> Done {
    let percent = originals.config.gate.at(stage).growth_percent_max;
    let percent = percent.ok_or("release.toml sets no `growth_percent_max`")? as usize;
    grow_to(bytes, bytes.len() * (100 + percent) / 100 + 1);
    Ok(())
}

/// `R_X86_64_IRELATIVE` or `R_AARCH64_IRELATIVE`.
fn irelative_of(originals: &Originals) -> u32 {
    if originals.target.starts_with("aarch64") { 1032 } else { 37 }
}

/// One byte more than the stage allows. A program without thread-local variables gets a header for them.
fn tls_beyond_budget(bytes: &mut Vec<u8>, originals: &Originals, stage: Stage) -> Done {
    let budget = originals.config.gate.at(stage).tls_size_max.ok_or("the policy sets no `tls_size_max`")?;
    elf_edit::set_tls_size(bytes, budget.0 + 1)
}

/// Zero pages from the kernel: written one by one in a build without optimisation they would cost more than the judgement.
fn grow_to(bytes: &mut Vec<u8>, size: usize) {
    let mut grown = vec![0; size.max(bytes.len())];
    grown[..bytes.len()].copy_from_slice(bytes);
    *bytes = grown;
}

/// Renames a symbol of the right length to a forbidden name.
fn forbidden_symbol(bytes: &mut Vec<u8>, originals: &Originals) -> Done {
    let forbidden = originals.config.gate.at(Stage::Linked).forbidden_symbols;
    let pattern = forbidden.first().ok_or("release.toml forbids no symbol")?;
    let wanted = pattern.replace('*', "");
    let symbols = elf_gate::inspect(bytes).map_err(|error| error.to_string())?.symbols.ok_or("no .symtab")?;
    let fits = |name: &[u8]| name.len() == wanted.len() && !originals.is_required(name);
    let victim = symbols.iter().map(|(name, _)| name).find(|name| fits(name));
    let victim = victim.ok_or_else(|| format!("no symbol of {} bytes to rename", wanted.len()))?;
    let victim = String::from_utf8(victim.to_vec()).map_err(|error| error.to_string())?;
    elf_edit::rename_symbol(bytes, &victim, &wanted)
}

impl Originals<'_> {
    fn is_required(&self, name: &[u8]) -> bool {
        self.config.gate.at(Stage::Linked).required_symbols.iter().any(|required| required.as_bytes() == name)
    }
}

fn exact(patterns: &[String]) -> Result<&str, String> {
    let exact = patterns.iter().find(|pattern| !pattern.contains('*'));
    exact.map(String::as_str).ok_or_else(|| "release.toml requires no symbol by its whole name".into())
}

/// Correct headers outside, wrong ones inside.
fn disguised(bytes: &mut Vec<u8>, originals: &Originals) -> Done {
    replace(bytes, originals.repacked)?;
    elf_edit::disguise(bytes, originals.config.stack_size.0)
}

fn replace(bytes: &mut Vec<u8>, other: &[u8]) -> Done {
    bytes.clear();
    bytes.extend_from_slice(other);
    Ok(())
}

fn cut(bytes: &mut Vec<u8>, length: usize) -> Done {
    bytes.truncate(length);
    Ok(())
}

fn at_loader(bytes: &mut [u8], offset: usize, mask: u8) -> Done {
    let at = elf_edit::loader_info(bytes)?;
    elf_edit::flip(bytes, at + offset, mask)
}

fn second_block(bytes: &[u8]) -> Result<usize, String> {
    let first = elf_edit::loader_info(bytes)? + 24;
    Ok(first + 12 + elf_edit::u32_at(bytes, first + 4)? as usize)
}
