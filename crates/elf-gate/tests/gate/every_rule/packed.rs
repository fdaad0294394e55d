//! Files that UPX packed.

use elf_gate::{Evidence, Verdict};

use super::{PACKED, PASS, Table, VIOLATION};
use crate::fixtures::{ProgramHeader, edited, facts, fixture, sha256};

pub(super) fn check(table: &mut Table) {
    let f = fixture;
    let good = f("packed-nrv2b");
    let stub = edited("packed-nrv2b", |bytes| {
        let facts = facts(bytes);
        let segment = &facts.segments[1];
        bytes[(segment.offset + facts.header.entry - segment.address) as usize + 40] ^= 1;
    });
    let data = edited("packed-nrv2b", |bytes| {
        let upx = facts(bytes).upx.unwrap();
        let stored = upx.blocks.iter().find(|block| block.is_stored()).unwrap();
        bytes[stored.offset as usize + 12] ^= 1;
    });
    let cut = edited("packed-nrv2b", |bytes| bytes.truncate(bytes.len() - 36));
    let edited_stack =
        edited("packed-no-stack-size", |bytes| ProgramHeader::stack(bytes).set_memory_size(bytes, 8 << 20));
    let stack = r#"stack_size = { exact = "8 MiB" }"#;
    let rows: &[(&'static str, &str, &[u8], Verdict)] = &[
        ("packed-by-upx", "", &good, PASS),
        ("packed-by-upx", "", &f("stripped"), VIOLATION),
        ("upx-structure", "", &good, PASS),
        ("upx-structure", "", &cut, VIOLATION),
        ("upx-stub-checksum", "", &good, PASS),
        ("upx-stub-checksum", "", &stub, VIOLATION),
        ("upx-data-checksum", "", &good, PASS),
        ("upx-data-checksum", "", &data, VIOLATION),
        ("inner-machine", r#"machines = ["x86_64"]"#, &good, PASS),
        ("inner-machine", r#"machines = ["x86_64"]"#, &f("packed-arm64"), VIOLATION),
        ("inner-stack-size", stack, &good, PASS),
        ("inner-stack-size", stack, &edited_stack, VIOLATION),
        ("inner-stack-not-executable", "", &good, PASS),
        ("inner-stack-not-executable", "", &f("packed-exec-stack"), VIOLATION),
        ("inner-no-writable-executable-segment", "", &good, PASS),
        ("inner-no-writable-executable-segment", "", &f("rules/packed-rwx"), VIOLATION),
        ("inner-no-interpreter", "is_static = true", &good, PASS),
        ("inner-no-interpreter", "is_static = true", &f("packed-dynamic"), VIOLATION),
        ("outer-inner-agree", "", &good, PASS),
        ("outer-inner-agree", "", &edited_stack, VIOLATION),
    ];
    for (rule, policy, bytes, verdict) in rows {
        table.check(rule, PACKED, policy, bytes, *verdict);
    }
    let (digest, other) = (sha256(b"a"), sha256(b"b"));
    for (unpacked, verdict) in [(&digest, PASS), (&other, VIOLATION)] {
        let evidence = Evidence {
            parent_sha256: Some(&digest),
            unpacked_sha256: Some(Ok(unpacked)),
            ..Evidence::default()
        };
        table.check_with("round-trip", PACKED, "", &good, &evidence, verdict);
    }
}
