//! Properties that hold for any bytes, shared by the targets.
//!
//! Besides the absence of panics: a file that passes the policy is read again by a third reader, which reads only what the
//! kernel and musl read, and must have the promised properties there too.

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
