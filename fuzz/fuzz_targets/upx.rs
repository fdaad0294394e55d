//! Any bytes as a packed file: layout, decompressors and filters. The unpacked file is judged as well.
#![no_main]

use elf_gate::{Evidence, Stage, inspect, upx};
use libfuzzer_sys::fuzz_target;
use muslin_fuzz::{check_pass, passes};

/// A small limit, so that a decompression bomb appears as a slow or large input.
const UNPACKED_BYTES_MAX: u64 = 4 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok(facts) = inspect(bytes) else { return };
    let Some(packed) = &facts.upx else { return };
    let unpacked = upx::unpack(bytes, packed, UNPACKED_BYTES_MAX);
    let Ok(original) = unpacked else { return };
    let declared = packed.program.as_ref().expect("unpacking requires p_info").file_size_bytes;
    assert_eq!(original.len() as u64, u64::from(declared));
    // The judged inner headers must equal the headers of the original.
    let inner = packed.inner.headers().expect("unpacking requires readable headers");
    if let Ok(of_original) = inspect(&original) {
        assert_eq!(
            inner.segments, of_original.segments,
            "the judged headers differ from those of the original"
        );
    }
    if passes(&facts, Stage::Packed, &Evidence::default()) {
        check_pass(bytes, Stage::Packed);
        check_pass(&original, Stage::Stripped);
    }
});
