//! Headers, sections and other structures of the file.

use elf_gate::Evidence;
use elf_gate::facts::PT_DYNAMIC;

use super::{CANNOT_TELL, DEBUG, LINKED, OBJECT, PACKED, PASS, STRIPPED, Table, VIOLATION};
use crate::fixtures::{ProgramHeader, edited, facts, fixture};

/// One edit for each group of fields; `header_edits` covers every bit.
pub(super) fn check(table: &mut Table) {
    let f = fixture;
    let word =
        |bytes: &mut Vec<u8>, at: usize, value: u64| bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    let segment = |index: usize, field: usize| 64 + 56 * index + field;

    let rule = "elf-header";
    for (name, stage) in [
        ("linked", LINKED),
        ("rules/canary.o", OBJECT),
        ("stripped.debug", DEBUG),
        ("packed-nrv2b", PACKED),
        ("linked-32", STRIPPED),
        ("big-endian", STRIPPED),
    ] {
        table.check(rule, stage, "", &f(name), PASS);
    }
    let rows: [(usize, u8); 8] = [(8, 1), (15, 1), (16, 6), (18, 1), (20, 2), (48, 1), (52, 4), (62, 1)];
    for (at, mask) in rows {
        table.check(rule, LINKED, "", &edited("linked", |bytes| bytes[at] ^= mask), VIOLATION);
    }

    let rule = "program-headers";
    for name in [
        "linked",
        "dynamic",
        "static-pie",
        "linked-32",
        "big-endian",
        "arm64",
        "omagic",
        "rules/liblibrary.so",
    ] {
        table.check(rule, LINKED, "", &f(name), PASS);
    }
    let rows: [(usize, usize, u64); 8] = [
        (1, 32, 0x5b),
        (1, 40, 0x5b),
        (1, 8, 0x1008),
        (1, 16, 0x40_0000),
        (3, 40, 1 << 47),
        (3, 48, 3),
        (4, 16, 0x40_4000),
        (5, 32, 1),
    ];
    for (index, field, value) in rows {
        let bytes = edited("linked", |bytes| word(bytes, segment(index, field), value));
        table.check(rule, LINKED, "", &bytes, VIOLATION);
    }
    let without = edited("static-pie", |bytes| ProgramHeader::of(bytes, PT_DYNAMIC).set_kind(bytes, 0));
    table.check(rule, LINKED, "", &without, VIOLATION);
    // musl finds its thread-local data by AT_PHDR.
    table.check(rule, LINKED, "is_static = true", &f("omagic"), VIOLATION);

    let rule = "entry-point";
    for name in ["linked", "stripped", "dynamic", "arm64", "linked-32", "packed-nrv2b"] {
        table.check(rule, LINKED, "", &f(name), PASS);
    }
    table.check(rule, LINKED, "", &f("rules/liblibrary.so"), PASS);
    let entry = |name, address| edited(name, |bytes| word(bytes, 24, address));
    let (in_data, in_function) = (entry("linked", 0x40_2000), entry("linked", 0x40_1030));
    table.check(rule, LINKED, "", &in_data, VIOLATION);
    table.check(rule, LINKED, "", &in_function, VIOLATION);
    let in_function = entry("stripped", 0x40_1030);
    table.check(rule, STRIPPED, "", &in_function, VIOLATION);
    let zeros = edited("stripped", |bytes| bytes[0x1034..0x1040].fill(0));
    table.check(rule, STRIPPED, "", &zeros, VIOLATION);

    let rule = "section-layout";
    for name in ["linked", "stripped", "dynamic", "static-pie", "arm64", "big-endian", "rules/careless"] {
        table.check(rule, LINKED, "is_static = true", &f(name), PASS);
    }
    table.check(rule, STRIPPED, "", &f("packed-nrv2b"), CANNOT_TELL);
    let rows: [(usize, usize, u64); 4] =
        [(1, 16, 0x40_3000), (2, 0, 0x5_0000_0001), (2, 32, 0x1000), (4, 32, 0x20)];
    for (index, field, value) in rows {
        let bytes = edited("linked", |bytes| word(bytes, segment(index, field), value));
        table.check(rule, LINKED, "", &bytes, VIOLATION);
    }

    let rule = "unclaimed-bytes";
    let policy = "no_unclaimed_bytes = true";
    table.check(rule, LINKED, policy, &f("linked"), PASS);
    table.check(rule, STRIPPED, policy, &f("rules/hardened"), PASS);
    let appended = edited("linked", |bytes| bytes.push(0));
    table.check(rule, LINKED, policy, &appended, VIOLATION);
    let hidden = edited("linked", |bytes| bytes[0x800] = 1);
    table.check(rule, LINKED, policy, &hidden, VIOLATION);

    let rule = "code-pointers";
    table.check(rule, LINKED, "", &f("arm64"), PASS);
    let table_at = facts(&f("arm64")).section(".eh_frame_hdr").unwrap().offset as usize;
    let version = edited("arm64", |bytes| bytes[table_at] = 2);
    table.check(rule, LINKED, "", &version, VIOLATION);
    let pointer = edited("arm64", |bytes| bytes[table_at + 4] ^= 8);
    table.check(rule, LINKED, "", &pointer, VIOLATION);
    let short = edited("stripped", |bytes| {
        let note = bytes.windows(4).position(|window| window == b"GNU\0").unwrap();
        bytes[note - 8] = 4;
    });
    table.check(rule, STRIPPED, "", &short, VIOLATION);

    let rule = "debug-file-layout";
    let debug = facts(&f("stripped.debug"));
    let evidence = Evidence { debug_file: Some(&debug), ..Evidence::default() };
    let policy = "needs_debug_file = true";
    table.check_with(rule, STRIPPED, policy, &f("stripped"), &evidence, PASS);
    let moved = entry("stripped", 0x40_1000);
    table.check_with(rule, STRIPPED, policy, &moved, &evidence, VIOLATION);
    let larger = edited("stripped", |bytes| word(bytes, segment(3, 40), 0x2000));
    table.check_with(rule, STRIPPED, policy, &larger, &evidence, VIOLATION);
    table.check(rule, STRIPPED, policy, &f("stripped"), CANNOT_TELL);

    let rule = "inner-headers";
    for name in ["packed-nrv2b", "packed-static-pie", "packed-arm64", "packed-dynamic"] {
        table.check(rule, PACKED, "", &f(name), PASS);
    }
    let inner = |at: usize, value: u64| {
        edited("packed-nrv2b", |bytes| {
            let upx = facts(bytes).upx.unwrap();
            let (block, size) = (&upx.blocks[0], upx.blocks[0].unpacked_size_bytes as usize);
            let mut headers = f("stripped")[..size].to_vec();
            word(&mut headers, at, value);
            let start = block.offset as usize;
            bytes[start + 4..start + 8].copy_from_slice(&(size as u32).to_le_bytes());
            // Method and filter 0: stored.
            bytes[start + 8..start + 10].fill(0);
            bytes.splice(start + 12..start + 12 + block.packed_size_bytes as usize, headers);
        })
    };
    let oversized = inner(segment(1, 32), 0x5b);
    table.check(rule, PACKED, "", &oversized, VIOLATION);
    table.check(rule, PACKED, "", &inner(24, 0x40_2000), VIOLATION);
}
