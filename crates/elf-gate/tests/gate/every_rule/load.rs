//! The stack, the segments and the kind of machine that a loader reads.

use super::{LINKED, PASS, STRIPPED, Table, VIOLATION};
use crate::fixtures::{ProgramHeader, edited, fixture};

pub(super) fn check(table: &mut Table) {
    let f = fixture;
    table.check("machine", LINKED, r#"machines = ["x86_64", "aarch64"]"#, &f("linked"), PASS);
    table.check("machine", LINKED, r#"machines = ["aarch64"]"#, &f("linked"), VIOLATION);
    table.check("abi", LINKED, r#"abis = ["sysv"]"#, &f("linked"), PASS);
    let gnu = edited("linked", |bytes| bytes[7] = 3);
    table.check("abi", LINKED, r#"abis = ["sysv"]"#, &gnu, VIOLATION);

    let exact = r#"stack_size = { exact = "8 MiB" }"#;
    let range = r#"stack_size = { minimum = "1 MiB", ceiling = "8 MiB" }"#;
    table.check("stack-size", STRIPPED, exact, &f("stripped"), PASS);
    table.check("stack-size", STRIPPED, range, &f("stripped"), PASS);
    table.check("stack-size", STRIPPED, exact, &f("no-stack-size"), VIOLATION);
    let sized = |size| edited("stripped", |bytes| ProgramHeader::stack(bytes).set_memory_size(bytes, size));
    table.check("stack-size", STRIPPED, range, &sized(0xf_ffff), VIOLATION);
    table.check("stack-size", STRIPPED, range, &sized(16 << 20), VIOLATION);

    let rule = "stack-not-executable";
    table.check(rule, LINKED, "", &f("linked"), PASS);
    table.check(rule, LINKED, "", &f("exec-stack"), VIOLATION);
    table.check(rule, LINKED, "", &f("rules/careless"), VIOLATION);
    table.check(rule, LINKED, "", &f("rules/canary.o"), PASS);
    table.check(rule, LINKED, "", &f("rules/no-stack-note.o"), VIOLATION);
    table.check(rule, LINKED, "", &f("rules/exec-stack-note.o"), VIOLATION);
    table.check(rule, LINKED, "", &f("rules/arm64-protected.o"), PASS);

    let rule = "no-writable-executable-segment";
    table.check(rule, LINKED, "", &f("linked"), PASS);
    table.check(rule, LINKED, "", &f("omagic"), VIOLATION);
    table.check(rule, LINKED, "", &f("rules/mixed-section.o"), VIOLATION);
    table.check(rule, LINKED, "", &f("rules/canary.o"), PASS);

    let rule = "segment-align";
    table.check(rule, LINKED, r#"segment_align_max = "64 KiB""#, &f("linked"), PASS);
    table.check(rule, LINKED, r#"segment_align_min = "16 KiB""#, &f("linked"), VIOLATION);
    let huge =
        edited("linked", |bytes| bytes[64 + 48..64 + 56].copy_from_slice(&0x20_0000_u64.to_le_bytes()));
    table.check(rule, LINKED, r#"segment_align_max = "64 KiB""#, &huge, VIOLATION);

    for rule in ["no-interpreter", "no-needed"] {
        table.check(rule, STRIPPED, "is_static = true", &f("static-pie"), PASS);
    }
    table.check("no-interpreter", STRIPPED, "is_static = true", &f("dynamic"), VIOLATION);
    table.check("no-needed", STRIPPED, "is_static = true", &f("dynamic"), VIOLATION);
}
