//! For every rule a file that passes and a file that violates it: built from committed sources, or edited.

use elf_gate::facts::{LocalPathSearch, PT_DYNAMIC};
use elf_gate::policy::{PolicyDocument, Program, RULES};
use elf_gate::{Evidence, Facts, RuleOutcome, Stage, Verdict, inspect_for, judge};

use crate::fixtures::{ProgramHeader, edited, facts, fixture, sha256};

const PASS: Verdict = Verdict::Pass;
const VIOLATION: Verdict = Verdict::Violation;
const CANNOT_TELL: Verdict = Verdict::CannotTell;
const LINKED: Stage = Stage::Linked;
const STRIPPED: Stage = Stage::Stripped;
const OBJECT: Stage = Stage::Object;
const DEBUG: Stage = Stage::Debug;
const PACKED: Stage = Stage::Packed;

/// The outcome of one rule, with a policy of these lines.
fn outcome(rule: &str, stage: Stage, policy: &str, bytes: &[u8], evidence: &Evidence) -> RuleOutcome {
    let policy = PolicyDocument::parse(&format!("[every]\n{policy}")).unwrap().at(stage);
    let outcomes = judge(&facts(bytes), stage, &policy, evidence);
    outcomes.into_iter().find(|outcome| outcome.rule == rule).expect("the policy enables the rule")
}

#[derive(Default)]
struct Table {
    seen: Vec<(&'static str, Verdict)>,
}

impl Table {
    #[track_caller]
    fn check(
        &mut self,
        rule: &'static str,
        stage: Stage,
        policy: &str,
        bytes: &[u8],
        verdict: Verdict,
        found: &str,
    ) {
        self.check_with(rule, stage, policy, bytes, &Evidence::default(), verdict, found);
    }

    #[track_caller]
    #[expect(clippy::too_many_arguments, reason = "a row of a table")]
    fn check_with(
        &mut self,
        rule: &'static str,
        stage: Stage,
        policy: &str,
        bytes: &[u8],
        evidence: &Evidence,
        verdict: Verdict,
        found: &str,
    ) {
        let outcome = outcome(rule, stage, policy, bytes, evidence);
        assert_eq!(outcome.verdict, verdict, "{outcome:#?}");
        assert!(outcome.found.contains(found), "`{found}` in {outcome:#?}");
        assert_eq!(outcome.hint.is_empty(), verdict == PASS, "{outcome:#?}");
        self.seen.push((rule, verdict));
    }
}

#[test]
fn every_rule_accepts_a_good_file_and_detects_a_bad_one() {
    let mut table = Table::default();
    load_rules(&mut table);
    layout_rules(&mut table);
    link_rules(&mut table);
    symbol_rules(&mut table);
    runtime_rules(&mut table);
    isa_rules(&mut table);
    vector_loop_rule(&mut table);
    build_rules(&mut table);
    strip_rules(&mut table);
    object_and_debug_rules(&mut table);
    packed_rules(&mut table);
    waiver_rules(&mut table);
    for rule in RULES {
        for verdict in [PASS, VIOLATION] {
            assert!(table.seen.contains(&(rule.id(), verdict)), "no file for `{}`: {verdict:?}", rule.id());
        }
    }
}

fn load_rules(table: &mut Table) {
    let f = fixture;
    table.check("machine", LINKED, r#"machines = ["x86_64", "aarch64"]"#, &f("linked"), PASS, "x86_64");
    table.check("machine", LINKED, r#"machines = ["aarch64"]"#, &f("linked"), VIOLATION, "x86_64");
    table.check("abi", LINKED, r#"abis = ["sysv"]"#, &f("linked"), PASS, "sysv");
    let gnu = edited("linked", |bytes| bytes[7] = 3);
    table.check("abi", LINKED, r#"abis = ["sysv"]"#, &gnu, VIOLATION, "gnu");

    let exact = r#"stack_size = { exact = "8 MiB" }"#;
    let range = r#"stack_size = { minimum = "1 MiB", ceiling = "8 MiB" }"#;
    table.check("stack-size", STRIPPED, exact, &f("stripped"), PASS, "8388608");
    table.check("stack-size", STRIPPED, range, &f("stripped"), PASS, "8388608");
    table.check("stack-size", STRIPPED, exact, &f("no-stack-size"), VIOLATION, "one of 0 bytes");
    let sized = |size| edited("stripped", |bytes| ProgramHeader::stack(bytes).set_memory_size(bytes, size));
    table.check("stack-size", STRIPPED, range, &sized(0xf_ffff), VIOLATION, "one of 1048575 bytes");
    table.check("stack-size", STRIPPED, range, &sized(16 << 20), VIOLATION, "the libc gives at most 8 MiB");

    let rule = "stack-not-executable";
    table.check(rule, LINKED, "", &f("linked"), PASS, "rw-");
    table.check(rule, LINKED, "", &f("exec-stack"), VIOLATION, "rwx");
    table.check(rule, LINKED, "", &f("rules/careless"), VIOLATION, "rwx");
    table.check(rule, LINKED, "", &f("rules/canary.o"), PASS, "");
    table.check(rule, LINKED, "", &f("rules/no-stack-note.o"), VIOLATION, "no .note.GNU-stack");
    table.check(rule, LINKED, "", &f("rules/exec-stack-note.o"), VIOLATION, "with x");
    table.check(rule, LINKED, "", &f("rules/arm64-protected.o"), PASS, "");

    let rule = "no-writable-executable-segment";
    table.check(rule, LINKED, "", &f("linked"), PASS, "none");
    table.check(rule, LINKED, "", &f("omagic"), VIOLATION, "rwx");
    table.check(rule, LINKED, "", &f("rules/mixed-section.o"), VIOLATION, ".mixed");
    table.check(rule, LINKED, "", &f("rules/canary.o"), PASS, "none");

    let rule = "segment-align";
    table.check(rule, LINKED, r#"segment_align_max = "64 KiB""#, &f("linked"), PASS, "4 KiB");
    table.check(
        rule,
        LINKED,
        r#"segment_align_min = "16 KiB""#,
        &f("linked"),
        VIOLATION,
        "segment 0 with 4 KiB",
    );
    let huge =
        edited("linked", |bytes| bytes[64 + 48..64 + 56].copy_from_slice(&0x20_0000_u64.to_le_bytes()));
    table.check(rule, LINKED, r#"segment_align_max = "64 KiB""#, &huge, VIOLATION, "segment 0 with 2 MiB");

    for rule in ["no-interpreter", "no-needed"] {
        table.check(rule, STRIPPED, "is_static = true", &f("static-pie"), PASS, "none");
    }
    table.check("no-interpreter", STRIPPED, "is_static = true", &f("dynamic"), VIOLATION, "/lib/ld-musl");
    table.check("no-needed", STRIPPED, "is_static = true", &f("dynamic"), VIOLATION, "libneeded.so");
}

/// One edit for each group of fields; `header_edits` covers every bit.
fn layout_rules(table: &mut Table) {
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

fn link_rules(table: &mut Table) {
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
        table.check("kind", LINKED, &kind(form), &f(name), PASS, form);
        let other = if form == "static-pie" { "pie" } else { "static-pie" };
        table.check("kind", LINKED, &kind(other), &f(name), VIOLATION, form);
    }
    // Only the flag distinguishes a static-PIE from an executable library.
    let undecided = edited("static-pie", |bytes| {
        let flags = 0x6fff_fffb_u64.to_le_bytes();
        let at = bytes.windows(8).position(|window| window == flags).unwrap();
        bytes[at..at + 16].fill(0);
        bytes[at..at + 8].copy_from_slice(&0x6fff_fef0_u64.to_le_bytes());
    });
    table.check("kind", LINKED, &kind("static-pie"), &undecided, CANNOT_TELL, "neither DF_1_PIE");

    let rule = "no-rpath";
    table.check(rule, LINKED, "no_rpath = true", &f("rules/hardened"), PASS, "none");
    table.check(rule, LINKED, "no_rpath = true", &f("rules/careless"), VIOLATION, "DT_RUNPATH `/tmp/lib`");
    let origin = "no_rpath = true\nrpaths_allowed = [\"$ORIGIN/*\"]";
    table.check(rule, LINKED, origin, &f("rules/careless"), VIOLATION, "DT_RUNPATH `/tmp/lib`");
    let both = "no_rpath = true\nrpaths_allowed = [\"$ORIGIN/*\", \"/tmp/lib\"]";
    table.check(rule, LINKED, both, &f("rules/careless"), PASS, "none");

    let rule = "no-text-relocations";
    table.check(rule, LINKED, "no_text_relocations = true", &f("rules/liblibrary.so"), PASS, "none");
    table.check(
        rule,
        LINKED,
        "no_text_relocations = true",
        &f("rules/libtextrel.so"),
        VIOLATION,
        "DT_TEXTREL",
    );

    table.check("relro", LINKED, r#"relro = "full""#, &f("rules/hardened"), PASS, "full");
    table.check("relro", LINKED, r#"relro = "full""#, &f("rules/careless"), VIOLATION, "lazy binding");
    table.check("relro", LINKED, r#"relro = "partial""#, &f("rules/careless"), PASS, "partial");
    table.check("relro", LINKED, r#"relro = "partial""#, &f("rules/liblibrary.so"), VIOLATION, "none");

    let rule = "needed-allowed";
    table.check(rule, LINKED, r#"needed_allowed = ["libc.so.*"]"#, &f("rules/hardened"), PASS, "none");
    table.check(
        rule,
        LINKED,
        r#"needed_allowed = ["libm.so.6"]"#,
        &f("rules/hardened"),
        VIOLATION,
        "libc.so.6",
    );

    let rule = "glibc-version";
    table.check(rule, LINKED, r#"glibc_max = "2.17""#, &f("rules/hardened"), PASS, "none");
    table.check(rule, LINKED, r#"glibc_max = "2.17""#, &f("rules/careless"), VIOLATION, "GLIBC_2.34");
    table.check(rule, LINKED, r#"glibc_max = "2.34""#, &f("rules/careless"), PASS, "none");
}

fn symbol_rules(table: &mut Table) {
    let f = fixture;
    let rule = "required-symbols";
    let wanted = r#"required_symbols = ["_sta*", "engine::forward", "blas::gemm(int, float const*)"]"#;
    table.check(rule, LINKED, wanted, &f("rules/hardened"), PASS, "all defined");
    table.check(
        rule,
        LINKED,
        r#"required_symbols = ["engine::*", "engine::backward"]"#,
        &f("rules/hardened"),
        VIOLATION,
        "missing: engine::backward",
    );
    // A reference is not a definition.
    table.check(
        rule,
        LINKED,
        r#"required_symbols = ["missing_function"]"#,
        &f("rules/liblibrary.so"),
        VIOLATION,
        "missing",
    );
    table.check(rule, STRIPPED, r#"required_symbols = ["x"]"#, &f("stripped"), CANNOT_TELL, "no .symtab");

    let rule = "forbidden-symbols";
    table.check(
        rule,
        LINKED,
        r#"forbidden_symbols = ["dlopen", "std::*"]"#,
        &f("rules/hardened"),
        PASS,
        "all absent",
    );
    table.check(
        rule,
        LINKED,
        r#"forbidden_symbols = ["blas::gemm(*"]"#,
        &f("rules/hardened"),
        VIOLATION,
        "blas::gemm(int, float const*)",
    );
    table.check(
        rule,
        LINKED,
        r#"forbidden_symbols = ["missing_*"]"#,
        &f("rules/liblibrary.so"),
        VIOLATION,
        "missing_function",
    );
    // Without .symtab, only the symbols of .dynsym are known.
    table.check(rule, STRIPPED, r#"forbidden_symbols = ["needed"]"#, &f("dynamic"), VIOLATION, "needed");
    table.check(
        rule,
        STRIPPED,
        r#"forbidden_symbols = ["dlopen"]"#,
        &f("dynamic"),
        CANNOT_TELL,
        "no .symtab",
    );

    let rule = "undefined-symbols";
    table.check(rule, LINKED, "undefined_symbols = []", &f("linked"), PASS, "none");
    table.check(rule, STRIPPED, "undefined_symbols = []", &f("stripped"), PASS, "no dynamic symbol table");
    // The weak symbol is accepted.
    table.check(
        rule,
        LINKED,
        "undefined_symbols = []",
        &f("rules/liblibrary.so"),
        VIOLATION,
        "missing_function",
    );
    table.check(
        rule,
        LINKED,
        r#"undefined_symbols = ["missing_*"]"#,
        &f("rules/liblibrary.so"),
        PASS,
        "none",
    );
    table.check(rule, LINKED, "undefined_symbols = []", &f("rules/plain.o"), VIOLATION, "memcpy");

    let rule = "stack-protector";
    let policy = "needs_stack_protector = true";
    table.check(rule, LINKED, policy, &f("rules/hardened"), PASS, "__stack_chk_fail");
    table.check(rule, LINKED, policy, &f("rules/canary.o"), PASS, "__stack_chk_fail");
    table.check(rule, LINKED, policy, &f("rules/careless"), VIOLATION, "none");
    table.check(rule, LINKED, policy, &f("rules/plain.o"), VIOLATION, "none");
    table.check(rule, STRIPPED, policy, &f("stripped"), CANNOT_TELL, "no symbol names");
    let rule = "fortify";
    table.check(rule, LINKED, "needs_fortify = true", &f("rules/canary.o"), PASS, "__memcpy_chk");
    table.check(rule, LINKED, "needs_fortify = true", &f("rules/careless"), VIOLATION, "unchecked: memcpy");
    table.check(rule, LINKED, "needs_fortify = true", &f("linked"), PASS, "no call with a checked variant");
    table.check(rule, STRIPPED, "needs_fortify = true", &f("stripped"), CANNOT_TELL, "no symbol names");

    let rule = "required-notes";
    let cet = r#"required_notes = ["build-id", "ibt", "shstk", "GNU/5"]"#;
    table.check(rule, LINKED, cet, &f("rules/hardened"), PASS, "all present");
    table.check(rule, LINKED, cet, &f("rules/careless"), VIOLATION, "missing: ibt, shstk");
    table.check(
        rule,
        LINKED,
        r#"required_notes = ["bti", "pac"]"#,
        &f("rules/arm64-protected.o"),
        PASS,
        "all present",
    );
    table.check(
        rule,
        LINKED,
        r#"required_notes = ["bti", "pac"]"#,
        &f("arm64"),
        VIOLATION,
        "missing: bti, pac",
    );
}

fn runtime_rules(table: &mut Table) {
    let f = fixture;
    let no_table = "no .symtab";
    let rule = "unique-symbols";
    let unique = r#"unique_symbols = ["_start", "malloc", "crt1.c", "__aarch64_*"]"#;
    table.check(rule, LINKED, unique, &f("rules/single"), PASS, "none");
    // A hidden definition becomes local; an alias of one definition is not a second one.
    table.check(rule, LINKED, unique, &f("rules/two-copies"), VIOLATION, "malloc at 0x");
    // The linker kept one name of each symbol and both copies of the code.
    let merged = f("rules/multiple-definitions");
    table.check(rule, LINKED, unique, &merged, VIOLATION, "crt1.c of 2 objects");
    table.check(rule, LINKED, r#"unique_symbols = ["_start", "malloc"]"#, &merged, PASS, "none");
    table.check(rule, LINKED, unique, &f("stripped"), CANNOT_TELL, no_table);

    let rule = "weak-undefined-symbols";
    let bad = f("rules/incidents");
    table.check(rule, LINKED, "weak_undefined_symbols = []", &f("rules/single"), PASS, "none");
    table.check(rule, LINKED, "weak_undefined_symbols = []", &bad, VIOLATION, "optional_hook");
    let allowed = r#"weak_undefined_symbols = ["optional_*", "pthread_cancel"]"#;
    table.check(rule, LINKED, allowed, &bad, PASS, "none");
    let forbidden = r#"weak_undefined_forbidden = ["pthread_*"]"#;
    table.check(rule, LINKED, forbidden, &bad, VIOLATION, "pthread_cancel");
    table.check(rule, LINKED, forbidden, &f("rules/single"), PASS, "none");
    table.check(rule, LINKED, forbidden, &f("stripped"), CANNOT_TELL, no_table);

    let rule = "exclusive-symbols";
    let cpp = r#"exclusive_symbols = [{ "libc++" = ["_ZNSt3__1*"], "libstdc++" = ["_ZNSt7__cxx11*"] }]"#;
    table.check(rule, LINKED, cpp, &f("rules/single"), PASS, "none");
    table.check(rule, LINKED, cpp, &bad, VIOLATION, "libc++ (`std::__1::");
    table.check(rule, LINKED, cpp, &f("stripped"), CANNOT_TELL, no_table);

    let rule = "no-ifunc";
    table.check(rule, LINKED, "no_ifunc = true", &f("rules/single"), PASS, "none");
    table.check(rule, LINKED, "no_ifunc = true", &f("rules/ifunc"), VIOLATION, "1 relocations R_*_IRELATIVE");
    let stripped = f("rules/ifunc-stripped");
    table.check(rule, STRIPPED, "no_ifunc = true", &stripped, VIOLATION, "1 relocations R_*_IRELATIVE");
    table.check(rule, OBJECT, "no_ifunc = true", &f("rules/ifunc.o"), VIOLATION, "dispatched");
    let without_sections = edited("static-pie", |bytes| bytes[40..48].fill(0));
    table.check(rule, LINKED, "no_ifunc = true", &without_sections, CANNOT_TELL, "no section headers");

    let rule = "glibc-symbols";
    table.check(rule, OBJECT, "no_glibc_symbols = true", &f("rules/plain.o"), PASS, "none");
    table.check(rule, OBJECT, "no_glibc_symbols = true", &f("rules/canary.o"), VIOLATION, "__memcpy_chk");
    let allowed = "no_glibc_symbols = true\nglibc_symbols_allowed = [\"__memcpy_chk\"]";
    table.check(rule, OBJECT, allowed, &f("rules/canary.o"), PASS, "none");
    let names = "__isoc23_strtol, gnu_get_libc_version, open64";
    table.check(rule, OBJECT, "no_glibc_symbols = true", &f("rules/incidents.o"), VIOLATION, names);
    // A program may define `open64`, and the compiler_rt of zig defines `__memcpy_chk`.
    table.check(rule, LINKED, "no_glibc_symbols = true", &bad, VIOLATION, "__isoc23_strtol, gnu_get_libc");
    table.check(rule, LINKED, "no_glibc_symbols = true", &f("rules/single"), PASS, "none");

    let rule = "no-sanitizer-runtime";
    table.check(rule, LINKED, "no_sanitizers = true", &f("rules/single"), PASS, "none");
    table.check(rule, LINKED, "no_sanitizers = true", &bad, VIOLATION, "__ubsan_handle_add_overflow");
    let object = f("rules/incidents.o");
    table.check(rule, OBJECT, "no_sanitizers = true", &object, VIOLATION, "__ubsan_handle_add_overflow");
    table.check(rule, LINKED, "no_sanitizers = true", &f("stripped"), CANNOT_TELL, no_table);

    let rule = "no-dlopen";
    table.check(rule, LINKED, "no_dlopen = true", &f("rules/single"), PASS, "none");
    table.check(rule, LINKED, "no_dlopen = true", &bad, VIOLATION, "dlopen");
    table.check(rule, OBJECT, "no_dlopen = true", &object, VIOLATION, "dlopen");
    // The archive that defines it is not the culprit.
    table.check(rule, OBJECT, "no_dlopen = true", &f("rules/stubs.o"), PASS, "none");

    let rule = "allocator";
    let any = r#"allocators = ["mi_malloc", "rpmalloc"]"#;
    table.check(rule, LINKED, any, &f("linked"), PASS, "no threads");
    table.check(rule, LINKED, any, &bad, VIOLATION, "only the allocator of the libc");
    table.check(rule, LINKED, r#"allocators = ["rpmalloc", "mallo*"]"#, &bad, PASS, "malloc");
    table.check(rule, LINKED, any, &f("stripped"), CANNOT_TELL, no_table);

    let rule = "jemalloc-page-size";
    let as_arm64 = |name: &str| edited(name, |bytes| bytes[18..20].copy_from_slice(&183_u16.to_le_bytes()));
    let arm64 = as_arm64("rules/incidents");
    let declared = |page: u32| format!("jemalloc_lg_page_min = 16\njemalloc_lg_page = {page}");
    table.check(rule, LINKED, "jemalloc_lg_page_min = 16", &bad, PASS, "x86_64");
    table.check(rule, LINKED, "jemalloc_lg_page_min = 16", &as_arm64("linked"), PASS, "no jemalloc");
    table.check(rule, LINKED, "jemalloc_lg_page_min = 16", &arm64, CANNOT_TELL, "no declared page size");
    table.check(rule, LINKED, &declared(12), &arm64, VIOLATION, "`_rjem_malloc`, declared");
    table.check(rule, LINKED, &declared(16), &arm64, PASS, "jemalloc_lg_page = 16");

    let rule = "tls-size";
    table.check(rule, STRIPPED, r#"tls_size_max = "4 KiB""#, &f("stripped"), PASS, "0 bytes");
    table.check(rule, LINKED, r#"tls_size_max = "8 KiB""#, &bad, PASS, "8192 bytes");
    table.check(rule, LINKED, r#"tls_size_max = "4 KiB""#, &bad, VIOLATION, "8192 bytes");

    let rule = "has-symbols";
    table.check(rule, LINKED, "needs_symbols = true", &f("linked"), PASS, "symbols");
    table.check(rule, LINKED, "needs_symbols = true", &f("stripped"), VIOLATION, "none");

    let by_machine = r#"segment_align_min_by_machine = { aarch64 = "64 KiB" }"#;
    table.check("segment-align", LINKED, by_machine, &f("arm64"), PASS, "64 KiB");
    table.check("segment-align", LINKED, by_machine, &f("linked"), PASS, "4 KiB");
    let small = edited("arm64", |bytes| ProgramHeader::load(bytes).set_align(bytes, 4096));
    table.check("segment-align", LINKED, by_machine, &small, VIOLATION, "with 4 KiB");
    table.check("inner-segment-align", PACKED, by_machine, &f("packed-arm64"), PASS, "64 KiB");
    let (packed, min) = (f("packed-nrv2b"), r#"segment_align_min = "16 KiB""#);
    table.check("inner-segment-align", PACKED, min, &packed, VIOLATION, "segment 0 with");
}

/// The rule decodes the bytes, which are evidence.
fn isa_rules(table: &mut Table) {
    let rule = "isa-baseline";
    let v1 = r#"isa_baseline = ["x86-64-v1"]"#;
    let mut check = |stage, policy: &str, bytes: &[u8], verdict, found: &str| {
        let evidence = Evidence { own_bytes: Some(bytes), ..Evidence::default() };
        table.check_with(rule, stage, policy, bytes, &evidence, verdict, found);
    };
    let vaddps_ymm = with_code_at_entry(&[0xc5, 0xfc, 0x58, 0xc0]);
    check(LINKED, v1, &fixture("linked"), PASS, "none");
    check(OBJECT, v1, &fixture("object.o"), PASS, "none");
    check(LINKED, v1, &vaddps_ymm, VIOLATION, "`_start`: `vaddps` at 0x");
    check(LINKED, v1, &vaddps_ymm, VIOLATION, "needs avx");
    check(LINKED, r#"isa_baseline = ["x86-64-v3"]"#, &vaddps_ymm, PASS, "none");
    check(LINKED, r#"isa_baseline = ["avx"]"#, &vaddps_ymm, PASS, "none");
    check(LINKED, &format!("{v1}\nisa_dispatched = [\"_st*\"]"), &vaddps_ymm, PASS, "none");
    let dispatched = |patterns: &str| format!("{v1}\nisa_dispatched = [{patterns}]");
    let unused = "`old_*` of `isa_dispatched` matches no function beyond the baseline";
    check(LINKED, &dispatched("'_st*', 'old_*'"), &vaddps_ymm, VIOLATION, unused);
    check(LINKED, &dispatched("'_start'"), &fixture("linked"), VIOLATION, "`_start` of `isa_dispatched`");
    // A pattern for a function whose bytes are not decoded is in use; an object has only some of the functions.
    check(LINKED, &dispatched("'_start'"), &with_code_at_entry(&[0x06; 4]), PASS, "none");
    check(OBJECT, &dispatched("'old_*'"), &fixture("object.o"), PASS, "none");
    // An instruction that this decoder does not know: an extension of tomorrow, or data.
    check(LINKED, v1, &with_code_at_entry(&[0x06; 4]), CANNOT_TELL, "no known instruction: `_start`");
    check(LINKED, v1, &fixture("stripped"), CANNOT_TELL, "no .symtab");
    check(LINKED, v1, &fixture("arm64"), CANNOT_TELL, "no level or feature of aarch64");
    table.check(rule, LINKED, v1, &fixture("linked"), CANNOT_TELL, "bytes of the file are not given");
}

/// The code at the entry becomes a loop of one multiply-add, with and without a spill.
fn vector_loop_rule(table: &mut Table) {
    const FMA: [u8; 6] = [0x62, 0xf2, 0x75, 0x48, 0xb8, 0xc2]; // vfmadd231ps zmm0, zmm1, zmm2
    const SPILL: [u8; 8] = [0x62, 0xf1, 0x7c, 0x48, 0x29, 0x44, 0x24, 0x01]; // vmovaps [rsp+64], zmm0
    let rule = "vector-loops";
    let zmm = r#"vector_loops = { "_st*" = "vfmadd231ps zmm" }"#;
    let with_loop = |body: &[u8]| {
        let jump = [0x75, (-(body.len() as i8) - 2) as u8];
        with_code_at_entry(&[body, &jump].concat())
    };
    let mut check = |policy: &str, bytes: &[u8], verdict, found: &str| {
        let evidence = Evidence { own_bytes: Some(bytes), ..Evidence::default() };
        table.check_with(rule, LINKED, policy, bytes, &evidence, verdict, found);
    };
    let good = with_loop(&FMA);
    check(zmm, &good, PASS, "none");
    check(
        zmm,
        &with_loop(&[&FMA[..], &SPILL].concat()),
        VIOLATION,
        "`_start`: vector registers on the stack at 0x",
    );
    check(zmm, &fixture("linked"), VIOLATION, "no loop of straight code of `_st*` has `vfmadd231ps zmm`");
    check(r#"vector_loops = { "_st*" = "vfmadd231ps ymm" }"#, &good, VIOLATION, "no loop of straight code");
    check(
        r#"vector_loops = { "kernel*" = "vfmadd231ps zmm" }"#,
        &good,
        VIOLATION,
        "no function matches `kernel*`",
    );
    check(zmm, &fixture("arm64"), CANNOT_TELL, "loops of aarch64 are not read");
    table.check(rule, LINKED, zmm, &good, CANNOT_TELL, "bytes of the file are not given");
}

/// `linked` with other code at its entry.
fn with_code_at_entry(code: &[u8]) -> Vec<u8> {
    edited("linked", |bytes| {
        let Facts { header, segments, .. } = facts(bytes);
        let text = segments.iter().find(|segment| segment.is_executable()).unwrap();
        let at = (header.entry - text.address + text.offset) as usize;
        bytes[at..at + code.len()].copy_from_slice(code);
    })
}

fn build_rules(table: &mut Table) {
    let f = fixture;
    let rule = "no-local-paths";
    let homes = r#"local_paths = ["/home/", "/root/"]"#;
    table.check(rule, STRIPPED, homes, &f("rules/hardened"), PASS, "none");
    table.check(rule, STRIPPED, homes, &f("rules/careless"), VIOLATION, "/home/somebody/project/src/main.c");
    table.check(rule, STRIPPED, r#"local_paths = ["/root/"]"#, &f("rules/careless"), PASS, "none");
    table.check(
        rule,
        STRIPPED,
        r#"local_paths = ["/nobody/looked/"]"#,
        &f("linked"),
        CANNOT_TELL,
        "not searched for",
    );

    let folders = ["/home/somebody/project/".to_string()];
    let evidence = Evidence { build_folders: &folders, ..Evidence::default() };
    let search = LocalPathSearch::new(["/root/", "/home/somebody/project/"]);
    let policy = PolicyDocument::parse("[every]\nlocal_paths = ['/root/']").unwrap().at(STRIPPED);
    let facts = inspect_for(&f("rules/careless"), &search).unwrap();
    let outcomes = judge(&facts, STRIPPED, &policy, &evidence);
    let outcome = outcomes.iter().find(|outcome| outcome.rule == rule).unwrap();
    assert_eq!(outcome.verdict, VIOLATION);
    assert!(!outcome.expected.contains("somebody") && outcome.found.contains("somebody"), "{outcome:?}");

    let rule = "producers";
    table.check(rule, LINKED, r#"producers = ["GCC: *"]"#, &f("linked"), PASS, "GCC");
    table.check(rule, LINKED, r#"producers = ["clang *"]"#, &f("linked"), VIOLATION, "GCC");
    table.check(
        rule,
        LINKED,
        r#"producers = ["clang *"]"#,
        &f("rules/no-stack-note.o"),
        CANNOT_TELL,
        "no .comment",
    );

    let rule = "auditable-dependencies";
    let policy = "needs_auditable_dependencies = true";
    table.check(rule, LINKED, policy, &f("rules/auditable.o"), PASS, "1 packages");
    table.check(rule, LINKED, policy, &f("rules/auditable-cut.o"), VIOLATION, "does not decompress");
    table.check(rule, LINKED, policy, &f("linked"), VIOLATION, "no .dep-v0");

    let size = f("stripped").len();
    table.check("size-budget", STRIPPED, &format!("size_max = \"{size} B\""), &f("stripped"), PASS, "");
    table.check(
        "size-budget",
        STRIPPED,
        &format!("size_max = \"{} B\"", size - 1),
        &f("stripped"),
        VIOLATION,
        "",
    );
    let mut growth = |baseline: Option<usize>, verdict, found| {
        let evidence =
            Evidence { baseline_size_bytes: baseline.map(|bytes| bytes as u64), ..Evidence::default() };
        let policy = "growth_percent_max = 10";
        table.check_with("size-growth", STRIPPED, policy, &fixture("stripped"), &evidence, verdict, found);
    };
    growth(Some(size), PASS, "(+0)");
    growth(Some(size + 100), PASS, "(-100)");
    growth(Some(size - 2000), VIOLATION, "(+2000)");
    growth(None, CANNOT_TELL, "no baseline");
}

fn strip_rules(table: &mut Table) {
    let f = fixture;
    table.check("build-id", STRIPPED, "needs_build_id = true", &f("stripped"), PASS, "");
    let lost = edited("stripped", |bytes| {
        let note = bytes.windows(4).position(|window| window == b"GNU\0").unwrap();
        bytes[note] = b'X';
    });
    table.check("build-id", STRIPPED, "needs_build_id = true", &lost, VIOLATION, "none");
    table.check("not-packed", STRIPPED, "", &f("stripped"), PASS, "none");
    table.check("not-packed", STRIPPED, "", &f("packed-nrv2b"), VIOLATION, "packed by UPX");
    table.check("stripped", STRIPPED, "stripped = true", &f("stripped"), PASS, "none");
    table.check("stripped", STRIPPED, "stripped = true", &f("linked"), VIOLATION, ".debug_info");

    let (debug, other) = (f("stripped.debug"), f("linked-32"));
    let (debug_facts, other_facts) = (facts(&debug), facts(&other));
    let mut debug_file = |bytes: &[u8], facts, verdict, found| {
        let evidence = Evidence {
            debug_file: Some(facts),
            debug_file_bytes: Some(bytes),
            debug_file_name: Some("stripped.debug"),
            ..Evidence::default()
        };
        let policy = "needs_debug_file = true";
        table.check_with("debug-file-matches", STRIPPED, policy, &f("stripped"), &evidence, verdict, found);
    };
    debug_file(&debug, &debug_facts, PASS, "stripped.debug");
    debug_file(&other, &other_facts, VIOLATION, "build-id");
}

fn packed_rules(table: &mut Table) {
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
    let rows: &[(&'static str, &str, &[u8], Verdict, &str)] = &[
        ("packed-by-upx", "", &good, PASS, "NRV2B"),
        ("packed-by-upx", "", &f("stripped"), VIOLATION, "no UPX magic number"),
        ("upx-structure", "", &good, PASS, "blocks"),
        ("upx-structure", "", &cut, VIOLATION, "cut"),
        ("upx-stub-checksum", "", &good, PASS, ""),
        ("upx-stub-checksum", "", &stub, VIOLATION, "stored"),
        ("upx-data-checksum", "", &good, PASS, ""),
        ("upx-data-checksum", "", &data, VIOLATION, "stored"),
        ("inner-machine", r#"machines = ["x86_64"]"#, &good, PASS, "x86_64"),
        ("inner-machine", r#"machines = ["x86_64"]"#, &f("packed-arm64"), VIOLATION, "aarch64"),
        ("inner-stack-size", stack, &good, PASS, "8388608"),
        ("inner-stack-size", stack, &edited_stack, VIOLATION, "one of 0 bytes"),
        ("inner-stack-not-executable", "", &good, PASS, "rw-"),
        ("inner-stack-not-executable", "", &f("packed-exec-stack"), VIOLATION, "rwx"),
        ("inner-no-writable-executable-segment", "", &good, PASS, "none"),
        ("inner-no-writable-executable-segment", "", &f("rules/packed-rwx"), VIOLATION, "segment 0 (rwx)"),
        ("inner-no-interpreter", "is_static = true", &good, PASS, "none"),
        ("inner-no-interpreter", "is_static = true", &f("packed-dynamic"), VIOLATION, "a PT_INTERP"),
        ("outer-inner-agree", "", &good, PASS, "equal"),
        ("outer-inner-agree", "", &edited_stack, VIOLATION, "PT_GNU_STACK"),
    ];
    for (rule, policy, bytes, verdict, found) in rows {
        table.check(rule, PACKED, policy, bytes, *verdict, found);
    }
    let (digest, other) = (sha256(b"a"), sha256(b"b"));
    for (unpacked, verdict, found) in [(&digest, PASS, "equal sha256"), (&other, VIOLATION, "of the parent")]
    {
        let evidence = Evidence {
            parent_sha256: Some(&digest),
            unpacked_sha256: Some(Ok(unpacked)),
            ..Evidence::default()
        };
        table.check_with("round-trip", PACKED, "", &good, &evidence, verdict, found);
    }
}

fn object_and_debug_rules(table: &mut Table) {
    let f = fixture;
    table.check("object-file", OBJECT, "", &f("rules/canary.o"), PASS, "ET_REL");
    table.check("object-file", OBJECT, "", &f("rules/liblibrary.so"), VIOLATION, "shared-object");
    let canary = "needs_stack_protector = true";
    table.check("stack-protector", OBJECT, canary, &f("rules/canary.o"), PASS, "__stack_chk_fail");

    let rule = "debug-information";
    table.check(rule, DEBUG, "", &f("stripped.debug"), PASS, ".debug_info");
    table.check(rule, DEBUG, "", &f("stripped"), VIOLATION, "static-executable");
    // A loader uses segments, which still contain the code.
    let runnable = edited("stripped.debug", |bytes| ProgramHeader::nth(bytes, 1).set_file_size(bytes, 0x5a));
    table.check(rule, DEBUG, "", &runnable, VIOLATION, "segment 1 with 90 bytes of code");
    let named = b".debug_";
    let without = edited("stripped.debug", |bytes| {
        while let Some(at) = bytes.windows(named.len()).rposition(|window| window == named) {
            bytes[at + 1] = b'x';
        }
    });
    table.check(rule, DEBUG, "", &without, VIOLATION, "none");

    let rule = "debug-file-program";
    let (stripped, debug) = (f("stripped"), f("stripped.debug"));
    let program = Program::new("stripped", &facts(&stripped));
    let id = program.build_id.clone().unwrap();
    let other = Program { build_id: Some(id.replace(&id[..2], "00")), ..program.clone() };
    let unlinked = Program { debug_link: None, ..program.clone() };
    let rows = [
        (&program, "stripped.debug", &debug[..], PASS, "`stripped`, build-id"),
        (&other, "stripped.debug", &debug, VIOLATION, "in the program"),
        (&unlinked, "stripped.debug", &debug, VIOLATION, "no .gnu_debuglink"),
        (&program, "dist/other.debug", &debug, VIOLATION, "its .gnu_debuglink names `stripped.debug`"),
        (&program, "dist/stripped.debug", b"other bytes", VIOLATION, "CRC-32"),
    ];
    for (program, name, bytes, verdict, found) in rows {
        let evidence = Evidence {
            program: Some(program),
            own_bytes: Some(bytes),
            file_name: Some(name),
            ..Evidence::default()
        };
        table.check_with(rule, DEBUG, "needs_program = true", &debug, &evidence, verdict, found);
    }
    table.check(rule, DEBUG, "needs_program = true", &debug, CANNOT_TELL, "no program names");
}

fn waiver_rules(table: &mut Table) {
    let today = Evidence { today: Some("2026-06-01".parse().unwrap()), ..Evidence::default() };
    let policy = |until: &str| {
        format!(
            "local_paths = [\"/home/\"]\nwaivers = [{{ rule = \"no-local-paths\", reason = \"a test\", until = \"{until}\" }}]"
        )
    };
    let (careless, hardened) = (fixture("rules/careless"), fixture("rules/hardened"));
    table.check_with("waivers", STRIPPED, &policy("2026-06-01"), &careless, &today, PASS, "1 in force");
    table.check_with(
        "waivers",
        STRIPPED,
        &policy("2026-05-31"),
        &careless,
        &today,
        VIOLATION,
        "expired on 2026-05-31",
    );
    table.check_with("waivers", STRIPPED, &policy("2026-06-01"), &hardened, &today, VIOLATION, "is not used");
    table.check("waivers", STRIPPED, &policy("2026-06-01"), &careless, CANNOT_TELL, "without a date");
}
