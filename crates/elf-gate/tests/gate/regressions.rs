//! Inputs that the fuzzer found, rebuilt from fixtures by the edit that matters.

use elf_gate::upx::Part;

use crate::bytes::{edited, facts};

/// Adding to an end of the stub's segment near 2^64 overflowed.
#[test]
fn a_stub_that_ends_beyond_every_file() {
    let mutant = edited("packed-nrv2b", |bytes| {
        // p_filesz and p_memsz of the second PT_LOAD.
        bytes[64 + 56 + 32..64 + 56 + 48].fill(0xff);
    });
    let problems = facts(&mutant).upx.unwrap().problems;
    assert!(problems.iter().any(|problem| problem.part == Part::Stub), "{problems:?}");
}

/// Bits above `rwx` in the flags of the outer PT_GNU_STACK: shown by nobody, compared by nobody.
#[test]
fn flags_of_the_stack_that_have_no_letter() {
    let mutant = edited("packed-nrv2b", |bytes| bytes[64 + 2 * 56 + 4] ^= 0xe0);
    let problems = facts(&mutant).upx.unwrap().problems;
    assert!(problems.iter().any(|problem| problem.part == Part::OuterStack), "{problems:?}");
}
