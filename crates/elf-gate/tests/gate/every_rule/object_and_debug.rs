//! Object files and debug files.

use elf_gate::Evidence;
use elf_gate::policy::Program;

use super::{CANNOT_TELL, DEBUG, OBJECT, PASS, Table, VIOLATION};
use crate::fixtures::{ProgramHeader, edited, facts, fixture};

pub(super) fn check(table: &mut Table) {
    let f = fixture;
    table.check("object-file", OBJECT, "", &f("rules/canary.o"), PASS);
    table.check("object-file", OBJECT, "", &f("rules/liblibrary.so"), VIOLATION);
    let canary = "needs_stack_protector = true";
    table.check("stack-protector", OBJECT, canary, &f("rules/canary.o"), PASS);

    let rule = "debug-information";
    table.check(rule, DEBUG, "", &f("stripped.debug"), PASS);
    table.check(rule, DEBUG, "", &f("stripped"), VIOLATION);
    // A loader uses segments, which still contain the code.
    let runnable = edited("stripped.debug", |bytes| ProgramHeader::nth(bytes, 1).set_file_size(bytes, 0x5a));
    table.check(rule, DEBUG, "", &runnable, VIOLATION);
    let named = b".debug_";
    let without = edited("stripped.debug", |bytes| {
        while let Some(at) = bytes.windows(named.len()).rposition(|window| window == named) {
            bytes[at + 1] = b'x';
        }
    });
    table.check(rule, DEBUG, "", &without, VIOLATION);

    let rule = "debug-file-program";
    let (stripped, debug) = (f("stripped"), f("stripped.debug"));
    let program = Program::new("stripped", &facts(&stripped));
    let id = program.build_id.clone().unwrap();
    let other = Program { build_id: Some(id.replace(&id[..2], "00")), ..program.clone() };
    let unlinked = Program { debug_link: None, ..program.clone() };
    let rows = [
        (&program, "stripped.debug", &debug[..], PASS),
        (&other, "stripped.debug", &debug, VIOLATION),
        (&unlinked, "stripped.debug", &debug, VIOLATION),
        (&program, "dist/other.debug", &debug, VIOLATION),
        (&program, "dist/stripped.debug", b"other bytes", VIOLATION),
    ];
    for (program, name, bytes, verdict) in rows {
        let evidence = Evidence {
            program: Some(program),
            own_bytes: Some(bytes),
            file_name: Some(name),
            ..Evidence::default()
        };
        table.check_with(rule, DEBUG, "needs_program = true", &debug, &evidence, verdict);
    }
    table.check(rule, DEBUG, "needs_program = true", &debug, CANNOT_TELL);
}
