//! Any bytes as an ELF file: facts, sizes, and the judgement at every stage.
#![no_main]

use elf_gate::{Evidence, Stage, inspect};
use libfuzzer_sys::fuzz_target;
use muslin_fuzz::{check_facts, check_pass, check_size, passes};

const LINKED: &[u8] = include_bytes!("../../fixtures/elf/linked");

fuzz_target!(|bytes: &[u8]| {
    check_size(bytes, None);
    let Ok(facts) = inspect(bytes) else { return };
    check_facts(bytes, &facts);
    // The symbols of another program, and those of this one for another program.
    check_size(bytes, Some(LINKED));
    check_size(LINKED, Some(bytes));
    for stage in Stage::ALL {
        if passes(&facts, stage, &Evidence::default()) {
            check_pass(bytes, stage);
        }
    }
});
