//! Rules on what stripping takes away and what it must leave behind.

use super::rules::{IDENTIFIED, STRIPPED, UNPACKED};
use super::{Case, Finding, Rule, list};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "build-id",
        stages: IDENTIFIED,
        demanded_by: "`needs_build_id`",
        catches: "a file without a GNU build-id",
        why: "without it a crash report cannot be matched with its debug file",
        incident: "a core file from production, and five debug files of which any could be the right one",
        peers: "`readelf -n` and LIEF show it; none judges it",
        fix: "link with `-Wl,--build-id=sha1`",
        is_demanded: |policy| policy.needs_build_id,
        check: build_id,
    },
    Rule {
        id: "not-packed",
        stages: UNPACKED,
        demanded_by: "every policy",
        catches: "a packed file judged as an unpacked one; `cannot tell` without section headers",
        why: "the outer headers of a packed file can say anything; the program sees the inner ones",
        incident: "a packed program of which `readelf` showed the promised stack size while its threads got 128 KiB",
        peers: "checksec and BinSkim judge the outer headers as if they were the program's; LIEF shows them",
        fix: "judge it with `--stage packed`",
        is_demanded: |_| true,
        check: not_packed,
    },
    Rule {
        id: "stripped",
        stages: STRIPPED,
        demanded_by: "`stripped`",
        catches: ".symtab or .debug_* sections that are still there",
        why: "they double the size of what ships, and leak names and paths of the build machine",
        incident: "a container image with 300 MB of debug information in it",
        peers: "checksec shows it (`Symbols`); auditwheel can strip; none fails",
        fix: "`objcopy --only-keep-debug FILE FILE.debug`, then `strip FILE`",
        is_demanded: |policy| policy.stripped,
        check: stripped,
    },
];

fn build_id(case: &Case) -> Finding {
    let found = case.facts.build_id.as_deref();
    Finding::pass_if(found.is_some(), "a GNU build-id", found.unwrap_or("none"))
}

fn not_packed(case: &Case) -> Finding {
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

fn stripped(case: &Case) -> Finding {
    const SHT_SYMTAB: u32 = 2;
    let left = case.facts.sections.iter().filter(|section| {
        let name = section.name.as_str();
        section.kind_number == SHT_SYMTAB || name.starts_with(".debug_") || name.starts_with(".zdebug_")
    });
    let names: Vec<&str> = left.map(|section| section.name.as_str()).collect();
    Finding::pass_if(names.is_empty(), "no .symtab, no .debug_*", list(&names))
}
