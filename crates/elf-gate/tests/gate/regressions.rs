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
