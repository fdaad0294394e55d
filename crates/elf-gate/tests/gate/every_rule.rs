//! For every rule a file that passes and a file that violates it: built from committed sources, or edited.

use elf_gate::facts::LocalPathSearch;
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
    link_rules(&mut table);
    symbol_rules(&mut table);
    isa_rules(&mut table);
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

/// The rule decodes the bytes, which are evidence.
fn isa_rules(table: &mut Table) {
    let rule = "isa-baseline";
    let v1 = r#"isa_baseline = ["x86-64-v1"]"#;
    let mut check = |stage, policy: &str, bytes: &[u8], verdict, found: &str| {
        let evidence = Evidence { own_bytes: Some(bytes), ..Evidence::default() };
        table.check_with(rule, stage, policy, bytes, &evidence, verdict, found);
    };
    let entry = |bytes: &[u8]| {
        let Facts { header, segments, .. } = facts(bytes);
        let code = segments.iter().find(|segment| segment.is_executable()).unwrap();
        (header.entry - code.address + code.offset) as usize
    };
    let with_code = |code: &[u8]| {
        edited("linked", |bytes| {
            let at = entry(bytes);
            bytes[at..at + code.len()].copy_from_slice(code);
        })
    };
    let vaddps_ymm = with_code(&[0xc5, 0xfc, 0x58, 0xc0]);
    check(LINKED, v1, &fixture("linked"), PASS, "none");
    check(OBJECT, v1, &fixture("object.o"), PASS, "none");
    check(LINKED, v1, &vaddps_ymm, VIOLATION, "`_start`: `vaddps` at 0x");
    check(LINKED, v1, &vaddps_ymm, VIOLATION, "needs avx");
    check(LINKED, r#"isa_baseline = ["x86-64-v3"]"#, &vaddps_ymm, PASS, "none");
    check(LINKED, r#"isa_baseline = ["avx"]"#, &vaddps_ymm, PASS, "none");
    check(LINKED, &format!("{v1}\nisa_dispatched = [\"_st*\"]"), &vaddps_ymm, PASS, "none");
    // An instruction that this decoder does not know: an extension of tomorrow, or data.
    check(LINKED, v1, &with_code(&[0x06; 4]), CANNOT_TELL, "no known instruction: `_start`");
    check(LINKED, v1, &fixture("stripped"), CANNOT_TELL, "no .symtab");
    check(LINKED, v1, &fixture("arm64"), CANNOT_TELL, "no level or feature of aarch64");
    table.check(rule, LINKED, v1, &fixture("linked"), CANNOT_TELL, "bytes of the file are not given");
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
