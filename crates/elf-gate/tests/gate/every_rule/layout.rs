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
        table.check(rule, stage, "", &f(name), PASS, "none");
    }
    let rows: [(usize, u8, &str); 8] = [
        (8, 1, "EI_ABIVERSION: expected 0, found 1"),
        (15, 1, "padding of e_ident"),
        (16, 6, "e_type: expected ET_EXEC"),
        (18, 1, "e_machine: expected a machine of Linux, found 63"),
        (20, 2, "e_version: expected 1, found 3"),
        (48, 1, "e_flags: expected 0 on x86_64, found 0x1"),
        (52, 4, "e_ehsize: expected 64, found 68"),
        (62, 1, "e_shstrndx: expected the string table"),
    ];
    for (at, mask, found) in rows {
        table.check(rule, LINKED, "", &edited("linked", |bytes| bytes[at] ^= mask), VIOLATION, found);
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
        table.check(rule, LINKED, "", &f(name), PASS, "none");
    }
    let rows: [(usize, usize, u64, &str); 8] = [
        (1, 32, 0x5b, "segment 1 (PT_LOAD) p_filesz: expected at most p_memsz 0x5a, found 0x5b"),
        (1, 40, 0x5b, "segment 1 (PT_LOAD) p_memsz: expected p_filesz 0x5a in a read-only segment"),
        (1, 8, 0x1008, "segment 1 (PT_LOAD) p_offset: expected p_vaddr 0x401000 modulo 0x1000, found 0x1008"),
        (1, 16, 0x40_0000, "segment 1 (PT_LOAD) p_vaddr: expected an address from 0x4001b4 on"),
        (3, 40, 1 << 47, "segment 3 (PT_LOAD) p_vaddr: expected an end of at most 0x7ffffffff000"),
        (3, 48, 3, "segment 3 (PT_LOAD) p_align: expected a power of two, found 0x3"),
        (4, 16, 0x40_4000, "segment 4 (PT_NOTE) p_vaddr: expected a range inside of a PT_LOAD"),
        (5, 32, 1, "segment 5 (PT_GNU_STACK) p_filesz: expected 0, found 0x1"),
    ];
    for (index, field, value, found) in rows {
        let bytes = edited("linked", |bytes| word(bytes, segment(index, field), value));
        table.check(rule, LINKED, "", &bytes, VIOLATION, found);
    }
    let without = edited("static-pie", |bytes| ProgramHeader::of(bytes, PT_DYNAMIC).set_kind(bytes, 0));
    table.check(rule, LINKED, "", &without, VIOLATION, "PT_DYNAMIC: expected one in a file of type ET_DYN");
    // musl finds its thread-local data by AT_PHDR.
    table.check(rule, LINKED, "is_static = true", &f("omagic"), VIOLATION, "a PT_LOAD that contains them");

    let rule = "entry-point";
    for name in ["linked", "stripped", "dynamic", "arm64", "linked-32", "packed-nrv2b"] {
        table.check(rule, LINKED, "", &f(name), PASS, "0x");
    }
    table.check(rule, LINKED, "", &f("rules/liblibrary.so"), PASS, "a library needs none");
    let entry = |name, address| edited(name, |bytes| word(bytes, 24, address));
    let (in_data, in_function) = (entry("linked", 0x40_2000), entry("linked", 0x40_1030));
    table.check(
        rule,
        LINKED,
        "",
        &in_data,
        VIOLATION,
        "in the file part of an executable PT_LOAD, found 0x402000",
    );
    table.check(rule, LINKED, "", &in_function, VIOLATION, "expected `_start` at 0x401034, found 0x401030");
    let in_function = entry("stripped", 0x40_1030);
    table.check(rule, STRIPPED, "", &in_function, VIOLATION, "0x401030, behind bytes that end no function");
    let zeros = edited("stripped", |bytes| bytes[0x1034..0x1040].fill(0));
    table.check(rule, STRIPPED, "", &zeros, VIOLATION, "expected instructions, found zeros");

    let rule = "section-layout";
    for name in ["linked", "stripped", "dynamic", "static-pie", "arm64", "big-endian", "rules/careless"] {
        table.check(rule, LINKED, "is_static = true", &f(name), PASS, "none");
    }
    table.check(rule, STRIPPED, "", &f("packed-nrv2b"), CANNOT_TELL, "no section headers");
    let rows: [(usize, usize, u64, &str); 4] = [
        (1, 16, 0x40_3000, "section 2 `.text`: expected an address range inside of exactly one PT_LOAD"),
        (2, 0, 0x5_0000_0001, "segment 2 (PT_LOAD) p_flags: expected no x: no section has it"),
        (2, 32, 0x1000, "section 3 `.rodata` sh_size: expected an end within the bytes of segment 2"),
        (4, 32, 0x20, "segment 4 (PT_NOTE) p_filesz: expected the end of a note section"),
    ];
    for (index, field, value, found) in rows {
        let bytes = edited("linked", |bytes| word(bytes, segment(index, field), value));
        table.check(rule, LINKED, "", &bytes, VIOLATION, found);
    }

    let rule = "unclaimed-bytes";
    let policy = "no_unclaimed_bytes = true";
    table.check(rule, LINKED, policy, &f("linked"), PASS, "none");
    table.check(rule, STRIPPED, policy, &f("rules/hardened"), PASS, "none");
    let appended = edited("linked", |bytes| bytes.push(0));
    table.check(
        rule,
        LINKED,
        policy,
        &appended,
        VIOLATION,
        "1 bytes at offset 0x4338, after the section headers at the end",
    );
    let hidden = edited("linked", |bytes| bytes[0x800] = 1);
    table.check(rule, LINKED, policy, &hidden, VIOLATION, "after section 1 `.note.gnu.build-id`");

    let rule = "code-pointers";
    table.check(rule, LINKED, "", &f("arm64"), PASS, "none");
    let table_at = facts(&f("arm64")).section(".eh_frame_hdr").unwrap().offset as usize;
    let version = edited("arm64", |bytes| bytes[table_at] = 2);
    table.check(rule, LINKED, "", &version, VIOLATION, ".eh_frame_hdr: expected version 1, found 2");
    let pointer = edited("arm64", |bytes| bytes[table_at + 4] ^= 8);
    table.check(rule, LINKED, "", &pointer, VIOLATION, ".eh_frame_hdr: expected .eh_frame at 0x");
    let short = edited("stripped", |bytes| {
        let note = bytes.windows(4).position(|window| window == b"GNU\0").unwrap();
        bytes[note - 8] = 4;
    });
    table.check(rule, STRIPPED, "", &short, VIOLATION, "expected an id of 8 to 64 bytes, found 4");

    let rule = "debug-file-layout";
    let debug = facts(&f("stripped.debug"));
    let evidence = Evidence { debug_file: Some(&debug), ..Evidence::default() };
    let policy = "needs_debug_file = true";
    table.check_with(rule, STRIPPED, policy, &f("stripped"), &evidence, PASS, "none");
    let moved = entry("stripped", 0x40_1000);
    table.check_with(
        rule,
        STRIPPED,
        policy,
        &moved,
        &evidence,
        VIOLATION,
        "e_entry: expected 0x401034, found 0x401000",
    );
    let larger = edited("stripped", |bytes| word(bytes, segment(3, 40), 0x2000));
    table.check_with(
        rule,
        STRIPPED,
        policy,
        &larger,
        &evidence,
        VIOLATION,
        "segment 3 (PT_LOAD) p_memsz: expected 0x1020",
    );
    table.check(rule, STRIPPED, policy, &f("stripped"), CANNOT_TELL, "no debug file");

    let rule = "inner-headers";
    for name in ["packed-nrv2b", "packed-static-pie", "packed-arm64", "packed-dynamic"] {
        table.check(rule, PACKED, "", &f(name), PASS, "none");
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
    table.check(
        rule,
        PACKED,
        "",
        &oversized,
        VIOLATION,
        "segment 1 (PT_LOAD) p_filesz: expected at most p_memsz 0x5a",
    );
    table.check(rule, PACKED, "", &inner(24, 0x40_2000), VIOLATION, "e_entry: expected an address");
}
