//! Any bytes as an ELF file, judged at every stage.
#![no_main]

use elf_gate::{Evidence, Stage, inspect};
use libfuzzer_sys::fuzz_target;
use muslin_fuzz::{check_pass, passes};

fuzz_target!(|bytes: &[u8]| {
    let Ok(facts) = inspect(bytes) else { return };
    for stage in Stage::ALL {
        if passes(&facts, stage, &Evidence::default()) {
            check_pass(bytes, stage);
        }
    }
});
