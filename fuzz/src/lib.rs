//! Properties of all targets.
//!
//! Besides the absence of panics: a third reader, which reads only the fields that the kernel and musl use, reads every file that
//! passes the policy. The policy must hold in that reading too.

use elf_gate::{Evidence, Facts, Policy, Stage, Verdict, judge};
use sha2::{Digest, Sha256};

/// The stack size of the policy.
pub const STACK_SIZE_BYTES: u64 = 8 << 20;

/// Lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether every rule of `static-musl` passes at `stage`.
pub fn passes(facts: &Facts, stage: Stage, evidence: &Evidence) -> bool {
    let mut policy = Policy::static_musl(stage, STACK_SIZE_BYTES);
    policy.machines = vec!["x86_64".into()];
    let outcomes = judge(facts, stage, &policy, evidence);
    // Without a parent `round-trip` cannot tell; the other rules must still count.
    let has_parent = evidence.parent_sha256.is_some();
    let required = outcomes.iter().filter(|outcome| has_parent || outcome.rule != "round-trip");
    required.into_iter().all(|outcome| outcome.verdict == Verdict::Pass)
}

/// The values that the kernel and musl read from a 64-bit little-endian program, read without a library.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KernelView {
    machine: u16,
    stack_sizes: Vec<u64>,
    has_executable_stack: bool,
    has_writable_executable_load: bool,
    has_interpreter: bool,
    /// The first instruction comes from the file.
    starts: bool,
}

impl KernelView {
    /// `None` for a file that the kernel rejects, and for a file of another class.
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
                    view.starts |= flags & 1 != 0 &&
                        is_in_file && entry.checked_sub(address).is_some_and(|at| at < size) && entry != 0;
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

    /// Whether the values satisfy the policy.
    pub fn satisfies_policy(&self) -> bool {
        let expected = KernelView {
            machine: 62,
            stack_sizes: vec![STACK_SIZE_BYTES],
            starts: self.starts,
            ..KernelView::default()
        };
        *self == expected
    }
}

/// Checks a file that passed: a program must satisfy the policy in the reading of the kernel, and an object or debug file must
/// not be a program.
pub fn check_pass(bytes: &[u8], stage: Stage) {
    let Some(view) = KernelView::of(bytes) else { return };
    match stage {
        Stage::Object => panic!("passes as {stage}, but the kernel reads {view:?}"),
        Stage::Debug => assert!(!view.starts, "passes as {stage}, but the kernel reads {view:?}"),
        _ => assert!(view.satisfies_policy(), "passes as {stage}, but the kernel reads {view:?}"),
    }
}
