//! What must hold for any bytes, in one place for all targets.
//!
//! "No panic" is the least of it. A file that passes the policy is read once more here, by a third reader that knows
//! only what the kernel and musl look at, and must keep the promise there too.

use elf_gate::{Evidence, Facts, Policy, Stage, Verdict, judge};
use sha2::{Digest, Sha256};

pub const STACK_SIZE_BYTES: u64 = 8 << 20;

pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether every rule of `static-musl` passes at `stage`.
pub fn passes(facts: &Facts, stage: Stage, evidence: &Evidence) -> bool {
    let mut policy = Policy::static_musl(stage, STACK_SIZE_BYTES);
    policy.machines = vec!["x86_64".into()];
    let outcomes = judge(facts, stage, &policy, evidence);
    // Without a parent there is nothing to compare with, and that must not hide what the other rules say.
    let has_parent = evidence.parent_sha256.is_some();
    let asked = outcomes.iter().filter(|outcome| has_parent || outcome.rule != "round-trip");
    asked.into_iter().all(|outcome| outcome.verdict == Verdict::Pass)
}

/// What the kernel and musl read of a 64-bit little-endian program, without any library.
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
    /// Nothing when the kernel would refuse the file, or take it for one of another class.
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
                    let is_there =
                        u64_at(at + 8)?.checked_add(size).is_some_and(|end| end <= bytes.len() as u64);
                    view.starts |= flags & 1 != 0 &&
                        is_there && entry.checked_sub(address).is_some_and(|at| at < size) && entry != 0;
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

    pub fn keeps_the_promise(&self) -> bool {
        let promised = KernelView {
            machine: 62,
            stack_sizes: vec![STACK_SIZE_BYTES],
            starts: self.starts,
            ..KernelView::default()
        };
        *self == promised
    }
}

/// A file that passes must keep the promise in the eyes of the kernel, too; one that passes as no program must be none.
pub fn check_pass(bytes: &[u8], stage: Stage) {
    let Some(view) = KernelView::of(bytes) else { return };
    match stage {
        Stage::Object => panic!("passes as {stage}, and the kernel sees {view:?}"),
        Stage::Debug => assert!(!view.starts, "passes as {stage}, and the kernel sees {view:?}"),
        _ => assert!(view.keeps_the_promise(), "passes as {stage}, and the kernel sees {view:?}"),
    }
}
