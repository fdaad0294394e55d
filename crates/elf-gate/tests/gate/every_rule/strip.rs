//! Files without symbols, and their debug files.

use elf_gate::Evidence;

use super::{PASS, STRIPPED, Table, VIOLATION};
use crate::fixtures::{edited, facts, fixture};

pub(super) fn check(table: &mut Table) {
    let f = fixture;
    table.check("build-id", STRIPPED, "needs_build_id = true", &f("stripped"), PASS);
    let lost = edited("stripped", |bytes| {
        let note = bytes.windows(4).position(|window| window == b"GNU\0").unwrap();
        bytes[note] = b'X';
    });
    table.check("build-id", STRIPPED, "needs_build_id = true", &lost, VIOLATION);
    table.check("not-packed", STRIPPED, "", &f("stripped"), PASS);
    table.check("not-packed", STRIPPED, "", &f("packed-nrv2b"), VIOLATION);
    table.check("stripped", STRIPPED, "stripped = true", &f("stripped"), PASS);
    table.check("stripped", STRIPPED, "stripped = true", &f("linked"), VIOLATION);

    let (debug, other) = (f("stripped.debug"), f("linked-32"));
    let (debug_facts, other_facts) = (facts(&debug), facts(&other));
    let mut debug_file = |bytes: &[u8], facts, verdict| {
        let evidence = Evidence {
            debug_file: Some(facts),
            debug_file_bytes: Some(bytes),
            debug_file_name: Some("stripped.debug"),
            ..Evidence::default()
        };
        let policy = "needs_debug_file = true";
        table.check_with("debug-file-matches", STRIPPED, policy, &f("stripped"), &evidence, verdict);
    };
    debug_file(&debug, &debug_facts, PASS);
    debug_file(&other, &other_facts, VIOLATION);
}
