//! Rules on what stripping takes away and what it must leave behind.

use super::{Case, Finding, list};

pub(super) fn build_id(case: &Case) -> Finding {
    let found = case.facts.build_id.as_deref();
    Finding::pass_if(found.is_some(), "a GNU build-id", found.unwrap_or("none"))
}

pub(super) fn not_packed(case: &Case) -> Finding {
    const EXPECTED: &str = "no packer";
    if case.facts.upx.is_some() {
        return Finding::pass_if(false, EXPECTED, "packed by UPX");
    }
    if case.facts.sections.is_empty() {
        return Finding::cannot_tell(
            EXPECTED,
            "no section headers",
            "a packed file whose marks were removed looks like this: keep the section headers (do not use `sstrip`)",
        );
    }
    Finding::pass_if(true, EXPECTED, "none")
}

pub(super) fn stripped(case: &Case) -> Finding {
    const SHT_SYMTAB: u32 = 2;
    let left = case.facts.sections.iter().filter(|section| {
        let name = section.name.as_str();
        section.kind_number == SHT_SYMTAB || name.starts_with(".debug_") || name.starts_with(".zdebug_")
    });
    let names: Vec<&str> = left.map(|section| section.name.as_str()).collect();
    Finding::pass_if(names.is_empty(), "no .symtab, no .debug_*", list(&names))
}

pub(super) fn debug_file_matches(case: &Case) -> Finding {
    const EXPECTED: &str = "a debug file with the same build-id, named and summed in .gnu_debuglink";
    let Some(debug) = case.evidence.debug_file else {
        return Finding::cannot_tell(
            EXPECTED,
            "no debug file given",
            "give it with `--debug-file FILE.debug`",
        );
    };
    let mut wrong = Vec::new();
    match (&case.facts.build_id, &debug.build_id) {
        (Some(ours), Some(theirs)) if ours == theirs => {}
        (ours, theirs) => {
            let show = |id: &Option<String>| id.clone().unwrap_or("none".into());
            wrong.push(format!("build-id {} here, {} in the debug file", show(ours), show(theirs)));
        }
    }
    if !debug.sections.iter().any(|section| section.name.starts_with(".debug_") && section.size_bytes > 0) {
        wrong.push("a debug file without .debug_* sections".into());
    }
    let Some(link) = &case.facts.debug_link else {
        wrong.push("no .gnu_debuglink".into());
        return Finding::pass_if(false, EXPECTED, wrong.join("; "));
    };
    if let Some(name) = case.evidence.debug_file_name
        && name != link.file_name
    {
        wrong.push(format!("the debug file is `{name}`, the link names `{}`", link.file_name));
    }
    let Some(bytes) = case.evidence.debug_file_bytes else {
        if wrong.is_empty() {
            return Finding::cannot_tell(
                EXPECTED,
                "the bytes of the debug file are not given",
                "give them too",
            );
        }
        return Finding::pass_if(false, EXPECTED, wrong.join("; "));
    };
    let crc32 = crc32(bytes);
    if crc32 != link.crc32 {
        wrong.push(format!("CRC-32 {:08x} in the link, {crc32:08x} of the debug file", link.crc32));
    }
    let found =
        if wrong.is_empty() { format!("`{}`, CRC-32 {crc32:08x}", link.file_name) } else { wrong.join("; ") };
    Finding::pass_if(wrong.is_empty(), EXPECTED, found)
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
