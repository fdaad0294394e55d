//! The layout of a stripped program beside that of its debug file. `objcopy --only-keep-debug` keeps all addresses and sizes in
//! memory, and removes contents.

use elf_facts::facts::{Facts, Section};

use crate::policy::rules::layout::problems::{Hex, Problems};

pub(super) fn check(program: &Facts, debug: &Facts, problems: &mut Problems) {
    let (own, other) = (&program.header, &debug.header);
    problems.require(own.entry == other.entry, "e_entry", Hex(other.entry), Hex(own.entry));
    problems.require(
        own.fields.type_number == other.fields.type_number,
        "e_type",
        other.fields.type_number,
        own.fields.type_number,
    );
    problems.require(own.machine_number == other.machine_number, "e_machine", &other.machine, &own.machine);
    segments(program, debug, problems);
    sections(program, debug, problems);
}

fn segments(program: &Facts, debug: &Facts, problems: &mut Problems) {
    let (own, other) = (&program.segments, &debug.segments);
    problems.require(own.len() == other.len(), "e_phnum", other.len(), own.len());
    for (index, (own, other)) in own.iter().zip(other).enumerate() {
        let fields = [
            ("p_type", other.kind_number.into(), own.kind_number.into()),
            ("p_flags", other.flags_number.into(), own.flags_number.into()),
            ("p_vaddr", other.address, own.address),
            ("p_paddr", other.physical_address, own.physical_address),
            ("p_memsz", other.memory_size_bytes, own.memory_size_bytes),
            ("p_align", other.align, own.align),
        ];
        for (field, expected, found) in fields {
            problems.require(
                expected == found,
                format_args!("segment {index} ({}) {field}", other.kind),
                Hex(expected),
                Hex(found),
            );
        }
    }
}

/// Loaded sections keep their order and names.
fn sections(program: &Facts, debug: &Facts, problems: &mut Problems) {
    let loaded = |facts: &Facts| -> Vec<Section> {
        facts.sections.iter().filter(|section| section.is_allocated()).cloned().collect()
    };
    let (own, other) = (loaded(program), loaded(debug));
    problems.require(own.len() == other.len(), "number of loaded sections", other.len(), own.len());
    for (own, other) in own.iter().zip(&other) {
        let name = &other.name;
        problems.require(own.name == other.name, "name of a loaded section", name, &own.name);
        let fields = [
            ("sh_addr", other.address, own.address),
            ("sh_size", other.size_bytes, own.size_bytes),
            ("sh_flags", other.flags_number, own.flags_number),
        ];
        for (field, expected, found) in fields {
            problems.require(expected == found, format_args!("`{name}` {field}"), Hex(expected), Hex(found));
        }
    }
}
