//! A good file with a few changed bytes: three bytes of input for each edit (offset, offset, xor). The first byte selects the
//! file. A file that still passes may differ only in fields without effect.
#![no_main]

use std::ops::Range;

use elf_gate::{Evidence, Stage, inspect, upx};
use libfuzzer_sys::fuzz_target;
use muslin_fuzz::{check_pass, passes, sha256_hex};

const STRIPPED: &[u8] = include_bytes!("../../fixtures/elf/stripped");
const PACKED: [&[u8]; 3] = [
    include_bytes!("../../fixtures/elf/packed-nrv2b"),
    include_bytes!("../../fixtures/elf/packed-nrv2e"),
    include_bytes!("../../fixtures/elf/packed-lzma"),
];
/// Fields of the outer headers of a packed file that neither the kernel nor the stub uses. The unit test of single changed bytes
/// has the same list, with reasons.
const UNUSED: [Range<usize>; 2] = [96..104, 252..256];

fuzz_target!(|input: &[u8]| {
    let [choice, edits @ ..] = input else { return };
    let base = if *choice & 3 == 3 { STRIPPED } else { PACKED[usize::from(*choice & 3)] };
    let mut bytes = base.to_vec();
    for edit in edits.chunks_exact(3).take(16) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
        bytes[at] ^= edit[2];
    }
    let Ok(facts) = inspect(&bytes) else { return };
    if base == STRIPPED {
        if passes(&facts, Stage::Stripped, &Evidence::default()) {
            check_pass(&bytes, Stage::Stripped);
        }
        return;
    }
    let Some(packed) = &facts.upx else {
        assert!(!passes(&facts, Stage::Packed, &Evidence::default()), "an unpacked file passes as packed");
        return;
    };
    let Ok(unpacked) = upx::unpack(&bytes, packed, 1 << 20) else { return };
    let (unpacked, parent) = (sha256_hex(&unpacked), sha256_hex(STRIPPED));
    let evidence = Evidence {
        parent_sha256: Some(&parent),
        unpacked_sha256: Some(Ok(&unpacked)),
        ..Evidence::default()
    };
    if passes(&facts, Stage::Packed, &evidence) {
        check_pass(&bytes, Stage::Packed);
        for range in UNUSED {
            bytes[range.clone()].copy_from_slice(&base[range]);
        }
        // Adler-32 is not a digest: edits of the stub that cancel each other out are not detectable without the packer.
        let stub = inspect(base).expect("the base is good").header.entry;
        let outside_of_stub = stub_offset(base, stub);
        assert!(bytes[..outside_of_stub] == base[..outside_of_stub], "edits of the layout are not detected");
    }
});

/// File offset of the entry point, by the second program header.
fn stub_offset(bytes: &[u8], entry: u64) -> usize {
    let address = u64::from_le_bytes(bytes[64 + 56 + 16..64 + 56 + 24].try_into().expect("8 bytes"));
    (entry - address) as usize
}
