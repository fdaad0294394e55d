//! What the linker decides: the kind of file, its libraries and relocations.

use super::{CANNOT_TELL, LINKED, PASS, Table, VIOLATION};
use crate::fixtures::{edited, fixture};

pub(super) fn check(table: &mut Table) {
    let f = fixture;
    let kind = |wanted: &str| format!("kinds = [\"{wanted}\"]");
    let files = [
        ("linked", "static-executable"),
        ("static-pie", "static-pie"),
        ("dynamic", "pie"),
        ("rules/hardened", "pie"),
        ("rules/liblibrary.so", "shared-object"),
        ("object.o", "relocatable"),
        ("stripped.debug", "debug-file"),
    ];
    for (name, form) in files {
        table.check("kind", LINKED, &kind(form), &f(name), PASS);
        let other = if form == "static-pie" { "pie" } else { "static-pie" };
        table.check("kind", LINKED, &kind(other), &f(name), VIOLATION);
    }
    // Only the flag distinguishes a static-PIE from an executable library.
    let undecided = edited("static-pie", |bytes| {
        let flags = 0x6fff_fffb_u64.to_le_bytes();
        let at = bytes.windows(8).position(|window| window == flags).unwrap();
        bytes[at..at + 16].fill(0);
        bytes[at..at + 8].copy_from_slice(&0x6fff_fef0_u64.to_le_bytes());
    });
    table.check("kind", LINKED, &kind("static-pie"), &undecided, CANNOT_TELL);

    let rule = "no-rpath";
    table.check(rule, LINKED, "no_rpath = true", &f("rules/hardened"), PASS);
    table.check(rule, LINKED, "no_rpath = true", &f("rules/careless"), VIOLATION);
    let origin = "no_rpath = true\nrpaths_allowed = [\"$ORIGIN/*\"]";
    table.check(rule, LINKED, origin, &f("rules/careless"), VIOLATION);
    let both = "no_rpath = true\nrpaths_allowed = [\"$ORIGIN/*\", \"/tmp/lib\"]";
    table.check(rule, LINKED, both, &f("rules/careless"), PASS);

    let rule = "no-text-relocations";
    table.check(rule, LINKED, "no_text_relocations = true", &f("rules/liblibrary.so"), PASS);
    table.check(rule, LINKED, "no_text_relocations = true", &f("rules/libtextrel.so"), VIOLATION);

    table.check("relro", LINKED, r#"relro = "full""#, &f("rules/hardened"), PASS);
    table.check("relro", LINKED, r#"relro = "full""#, &f("rules/careless"), VIOLATION);
    table.check("relro", LINKED, r#"relro = "partial""#, &f("rules/careless"), PASS);
    table.check("relro", LINKED, r#"relro = "partial""#, &f("rules/liblibrary.so"), VIOLATION);

    let rule = "needed-allowed";
    table.check(rule, LINKED, r#"needed_allowed = ["libc.so.*"]"#, &f("rules/hardened"), PASS);
    table.check(rule, LINKED, r#"needed_allowed = ["libm.so.6"]"#, &f("rules/hardened"), VIOLATION);

    let rule = "glibc-version";
    table.check(rule, LINKED, r#"glibc_max = "2.17""#, &f("rules/hardened"), PASS);
    table.check(rule, LINKED, r#"glibc_max = "2.17""#, &f("rules/careless"), VIOLATION);
    table.check(rule, LINKED, r#"glibc_max = "2.34""#, &f("rules/careless"), PASS);
}
