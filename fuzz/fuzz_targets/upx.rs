//! Any bytes as a packed file: layout, decompressors and filters; the unpacked file is judged too.
#![no_main]

use elf_gate::{Evidence, Stage, inspect, upx};
use libfuzzer_sys::fuzz_target;
use muslin_fuzz::{check_pass, passes};

/// Small, so that a bomb shows as a slow or a large input.
const UNPACKED_BYTES_MAX: u64 = 4 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok(facts) = inspect(bytes) else { return };
    let Some(packed) = &facts.upx else { return };
    let unpacked = upx::unpack(bytes, packed, UNPACKED_BYTES_MAX);
    let Ok(original) = unpacked else { return };
    let promised = packed.program.as_ref().expect("unpacked by its p_info").file_size_bytes;
    assert_eq!(original.len() as u64, u64::from(promised));
    // The inner headers that the gate reports must be those of the unpacked file.
    let inner = packed.inner.headers().expect("unpacked although the headers are unreadable");
    if let Ok(of_original) = inspect(&original) {
        assert_eq!(inner.segments, of_original.segments, "the program gets other headers than were judged");
    }
    if passes(&facts, Stage::Packed, &Evidence::default()) {
        check_pass(bytes, Stage::Packed);
        check_pass(&original, Stage::Stripped);
    }
});
