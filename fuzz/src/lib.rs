//! Properties that hold for any bytes, shared by the targets.
//!
//! Besides the absence of panics: a file that passes the policy is read again by a third reader, which reads only what the
//! kernel and musl read, and must have the promised properties there too.

use std::collections::HashSet;

use elf_gate::containers::{ImageProgram, MergedImage};
use elf_gate::image::{self, ImageEvidence, ImagePolicy, Program};
use elf_gate::size::SizeBreakdown;
use elf_gate::{Evidence, Facts, Policy, Stage, Verdict, judge};
use sha2::{Digest, Sha256};

/// The size that `fixtures/elf/make.sh` links the base files with.
pub const STACK_SIZE_BYTES: u64 = 8 << 20;

/// Lower-case SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether every rule of `static-musl` passes at `stage`.
pub fn passes(facts: &Facts, stage: Stage, evidence: &Evidence) -> bool {
    let mut policy = Policy::static_musl(stage, STACK_SIZE_BYTES);
    policy.machines = vec!["x86_64".into()];
    let outcomes = judge(facts, stage, &policy, evidence);
    // Without a parent `round-trip` cannot be judged, which must not hide the other rules.
    let has_parent = evidence.parent_sha256.is_some();
    let relevant = outcomes.iter().filter(|outcome| has_parent || outcome.rule != "round-trip");
    relevant.into_iter().all(|outcome| outcome.verdict == Verdict::Pass)
}

/// The fields of a 64-bit little-endian program that the kernel and musl read; parsed without a library.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KernelView {
    machine: u16,
    stack_sizes: Vec<u64>,
    has_executable_stack: bool,
    has_writable_executable_load: bool,
    has_interpreter: bool,
    /// The entry point is in an executable segment that the file contains.
    starts: bool,
}

impl KernelView {
    /// `None` if the kernel rejects the file or reads it as another class.
    pub fn of(bytes: &[u8]) -> Option<KernelView> {
        let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        if bytes.get(..6)? != b"\x7fELF\x02\x01" || !matches!(u16_at(16)?, 2 | 3) || u16_at(54)? != 56 {
            return None;
        }
        let mut view = KernelView { machine: u16_at(18)?, ..KernelView::default() };
        let (entry, table) = (u64_at(24)?, usize::try_from(u64_at(32)?).ok()?);
        for index in 0..usize::from(u16_at(56)?) {
            let at = table.checked_add(index * 56).filter(|at| *at < bytes.len())?;
            let (kind, flags) = (u32_at(at)?, u32_at(at + 4)?);
            match kind {
                1 => {
                    view.has_writable_executable_load |= flags & 3 == 3;
                    let (address, size) = (u64_at(at + 16)?, u64_at(at + 32)?);
                    let is_in_file =
                        u64_at(at + 8)?.checked_add(size).is_some_and(|end| end <= bytes.len() as u64);
                    view.starts |= flags & 1 != 0
                        && is_in_file
                        && entry.checked_sub(address).is_some_and(|at| at < size)
                        && entry != 0;
                }
                3 => view.has_interpreter = true,
                0x6474_e551 => {
                    view.stack_sizes.push(u64_at(at + 40)?);
                    view.has_executable_stack |= flags & 1 != 0;
                }
                _ => {}
            }
        }
        Some(view)
    }

    /// Whether the view is that of a program that the policy promises.
    pub fn has_promised_properties(&self) -> bool {
        let promised = KernelView {
            machine: 62,
            stack_sizes: vec![STACK_SIZE_BYTES],
            starts: self.starts,
            ..KernelView::default()
        };
        *self == promised
    }
}

/// A file that passes must have the promised properties in the view of the kernel; one that passes as an object or a debug
/// file must not be a program.
pub fn check_pass(bytes: &[u8], stage: Stage) {
    let Some(view) = KernelView::of(bytes) else { return };
    match stage {
        Stage::Object => panic!("passes as {stage}, and the kernel sees {view:?}"),
        Stage::Debug => assert!(!view.starts, "passes as {stage}, and the kernel sees {view:?}"),
        _ => assert!(view.has_promised_properties(), "passes as {stage}, and the kernel sees {view:?}"),
    }
}

/// What the facts of any file state about its bytes.
pub fn check_facts(bytes: &[u8], facts: &Facts) {
    let size = bytes.len() as u64;
    assert_eq!(facts.size_bytes, size);
    let mut end = 0;
    for range in &facts.file_map.unclaimed {
        let stop = range.offset.checked_add(range.size_bytes);
        assert!(
            range.offset >= end && range.size_bytes > 0 && stop.is_some_and(|stop| stop <= size),
            "not in the order of the file, or outside of it: {range:?}"
        );
        end = range.offset + range.size_bytes;
        assert!(!range.is_at_end || end == size, "bytes follow: {range:?}");
    }
    let at_end = facts.file_map.unclaimed.iter().filter(|range| range.is_at_end).count();
    assert!(at_end <= 1, "{at_end} ends");
    let entry = &facts.entry_point;
    if let Some(offset) = entry.offset {
        let code = bytes.get(offset as usize..).expect("the entry point is in the file");
        assert!(code.starts_with(&entry.code) && bytes[..offset as usize].ends_with(&entry.code_before));
    }
    if let Some(function) = entry.function {
        assert!((function.start..function.end).contains(&entry_address(facts)), "{function:?}");
    }
    if let Some(table) = &facts.unwind_table {
        assert!(
            table.functions.is_none() || table.function_count.is_some_and(|count| count > 0),
            "{table:?}"
        );
    }
    for array in &facts.code_arrays {
        assert!(array.outside.len() as u64 <= array.count, "{array:?}");
    }
    assert!(facts.irelative_relocations <= size, "more relocations than bytes");
}

/// The lowest bit of an address on 32-bit ARM selects the instruction set.
fn entry_address(facts: &Facts) -> u64 {
    const ARM: u16 = 40;
    if facts.header.machine_number == ARM { facts.header.entry & !1 } else { facts.header.entry }
}

/// Each byte has one owner, so the parts add up to the file.
pub fn check_size(bytes: &[u8], debug_file: Option<&[u8]>) {
    let Ok(breakdown) = SizeBreakdown::of(bytes, debug_file, true) else { return };
    let size = bytes.len() as u64;
    assert_eq!(breakdown.sections.values().sum::<u64>(), size, "sections: {breakdown:?}");
    if breakdown.has_symbols() {
        assert_eq!(breakdown.crates.values().sum::<u64>(), size, "crates: {breakdown:?}");
    }
    let symbols: u64 = breakdown.symbols.iter().map(|symbol| symbol.size_bytes).sum();
    assert!(symbols <= size, "symbols: {breakdown:?}");
}

/// Judges images whose ELF files the walk reported under the names `members`.
pub fn check_images(images: &[MergedImage], members: &HashSet<String>) {
    for image in images {
        let program = match image.program() {
            ImageProgram::Elf { path, member } => {
                assert!(
                    members.contains(&member),
                    "`{path}` is the member `{member}`, which was never found"
                );
                assert!(image.has_file(&path), "`{path}` runs and is no file");
                Ok(Program { path, is_static: true, names: None })
            }
            ImageProgram::NotElf(word) => Err(word),
            ImageProgram::None => Err("no command".into()),
        };
        let evidence = ImageEvidence { image, program: program.as_ref().map_err(String::as_str) };
        for outcome in image::judge(&evidence, &ImagePolicy::default()) {
            assert!(outcome.verdict == Verdict::Pass || !outcome.hint.is_empty(), "{outcome:?}");
        }
    }
}
