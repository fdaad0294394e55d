//! Packed files: the output of UPX passes, and each edit violates the intended rule.

use elf_gate::upx::{UpxPart, unpack};
use elf_gate::{Evidence, Policy, RuleOutcome, Stage, Verdict, judge};

use crate::fixtures::{MIB, ProgramHeader, edited, facts, fixture, sha256};

/// Packed fixtures and their originals.
const PACKED: [(&str, &str); 9] = [
    ("packed-nrv2b", "stripped"),
    ("packed-nrv2d", "stripped"),
    ("packed-nrv2e", "stripped"),
    ("packed-lzma", "stripped"),
    ("packed-static-pie", "static-pie"),
    ("packed-no-stack-size", "no-stack-size"),
    ("packed-exec-stack", "exec-stack"),
    ("packed-dynamic", "dynamic"),
    ("packed-arm64", "arm64"),
];

fn outcomes(packed: &[u8], parent: &str) -> Vec<RuleOutcome> {
    let facts = facts(packed);
    let parent = fixture(parent);
    let parent_sha256 = sha256(&parent);
    let unpacked = facts.upx.as_ref().map(|upx| unpack(packed, upx, 16 * MIB));
    let unpacked =
        unpacked.map(|result| result.map(|bytes| sha256(&bytes)).map_err(|error| error.to_string()));
    let evidence = Evidence {
        parent_sha256: Some(&parent_sha256),
        unpacked_sha256: unpacked.as_ref().map(|result| result.as_deref().map_err(String::as_str)),
        ..Evidence::default()
    };
    let policy = Policy { machines: vec!["x86_64".into()], ..Policy::static_musl(Stage::Packed, 8 * MIB) };
    judge(&facts, Stage::Packed, &policy, &evidence)
}

/// Exactly these rules do not pass.
#[track_caller]
fn check(packed: &[u8], parent: &str, expected: &[&str]) -> Vec<RuleOutcome> {
    let outcomes = outcomes(packed, parent);
    let bad: Vec<&RuleOutcome> = outcomes.iter().filter(|outcome| outcome.verdict != Verdict::Pass).collect();
    let rules: Vec<&str> = bad.iter().map(|outcome| outcome.rule).collect();
    assert_eq!(rules, expected, "{bad:#?}");
    outcomes
}

/// What each of these rules expected and found.
fn shown(outcomes: &[RuleOutcome], rules: &[&str]) -> String {
    let named = outcomes.iter().filter(|outcome| rules.contains(&outcome.rule));
    named
        .map(|outcome| {
            format!("{}: expected {}\n  found {}\n", outcome.rule, outcome.expected, outcome.found)
        })
        .collect()
}

#[test]
fn accepts_the_output_of_upx() {
    for name in ["packed-nrv2b", "packed-nrv2d", "packed-nrv2e", "packed-lzma"] {
        check(&fixture(name), "stripped", &[]);
    }
    check(&fixture("packed-static-pie"), "static-pie", &[]);
    check(&fixture("packed-arm64"), "arm64", &["machine", "inner-machine"]);
}

#[test]
fn unpacking_restores_the_original() {
    let mut errors = String::new();
    for (packed, parent) in PACKED {
        let bytes = fixture(packed);
        let upx = facts(&bytes).upx.unwrap();
        assert_eq!(upx.problems, [], "{packed}");
        let unpacked = unpack(&bytes, &upx, 16 * MIB).unwrap_or_else(|error| panic!("{packed}: {error}"));
        assert!(unpacked == fixture(parent), "{packed} does not unpack to {parent}");
        let error = unpack(&bytes, &upx, 100).unwrap_err().to_string();
        errors += &format!("{packed}: {error}\n");
    }
    insta::assert_snapshot!(errors);
}

#[test]
fn detects_violations_in_the_inner_headers() {
    check(&fixture("packed-no-stack-size"), "no-stack-size", &["stack-size", "inner-stack-size"]);
    check(
        &fixture("packed-exec-stack"),
        "exec-stack",
        &["stack-not-executable", "inner-stack-not-executable"],
    );
    // The stub loads the interpreter itself, so the outer headers show a static program.
    check(&fixture("packed-dynamic"), "dynamic", &["inner-no-interpreter"]);
}

/// readelf and `upx -t` accept this file, and its threads get 128 KiB.
#[test]
fn detects_an_outer_stack_size_that_differs_from_the_inner_one() {
    let edited_stack = edited("packed-no-stack-size", |bytes| {
        ProgramHeader::stack(bytes).set_memory_size(bytes, 8 * MIB);
    });
    let outcomes = check(&edited_stack, "no-stack-size", &["inner-stack-size", "outer-inner-agree"]);
    let inner = outcomes.iter().find(|outcome| outcome.rule == "inner-stack-size").unwrap();
    assert_eq!(inner.verdict, Verdict::Violation);
    insta::assert_snapshot!(shown(&outcomes, &["inner-stack-size"]), @"
    inner-stack-size: expected one PT_GNU_STACK of 8388608 bytes (8 MiB)
      found one of 0 bytes
    ");
}

#[test]
fn detects_edits_of_the_outer_headers() {
    let smaller = edited("packed-nrv2b", |bytes| ProgramHeader::stack(bytes).set_memory_size(bytes, 0x20000));
    check(&smaller, "stripped", &["stack-size", "outer-inner-agree"]);
    let executable = edited("packed-nrv2b", |bytes| ProgramHeader::stack(bytes).set_flags(bytes, 7));
    check(&executable, "stripped", &["stack-not-executable", "outer-inner-agree"]);
    let all = edited("packed-nrv2b", |bytes| ProgramHeader::load(bytes).set_flags(bytes, 7));
    check(&all, "stripped", &["no-writable-executable-segment", "upx-structure", "round-trip"]);
    // The stub writes to the reserved memory.
    let read_only = edited("packed-nrv2b", |bytes| ProgramHeader::load(bytes).set_flags(bytes, 4));
    check(&read_only, "stripped", &["program-headers", "upx-structure", "round-trip"]);
    // More bytes of the file would overlay the reserved memory.
    let overlaid = edited("packed-nrv2b", |bytes| ProgramHeader::load(bytes).set_file_size(bytes, 0x2000));
    check(&overlaid, "stripped", &["upx-structure", "round-trip"]);
    let machine = edited("packed-nrv2b", |bytes| bytes[18] = 183);
    check(&machine, "stripped", &["machine", "outer-inner-agree"]);
}

/// `upx -t` accepts this file, and it ends with a signal at its start.
#[test]
fn detects_a_flipped_byte_in_the_stub() {
    let flipped = edited("packed-nrv2b", |bytes| {
        let entry = facts(bytes).header.entry;
        let stub = facts(bytes).segments[1].clone();
        bytes[(stub.offset + entry - stub.address) as usize + 40] ^= 1;
    });
    check(&flipped, "stripped", &["upx-stub-checksum"]);
}

#[test]
fn detects_a_flipped_byte_in_the_data() {
    let flipped = edited("packed-nrv2b", |bytes| {
        // In a stored block, only the checksum detects the edit.
        let upx = facts(bytes).upx.unwrap();
        let stored = upx.blocks.iter().find(|block| block.is_stored()).unwrap();
        bytes[stored.offset as usize + 12] ^= 1;
    });
    check(&flipped, "stripped", &["upx-data-checksum", "round-trip"]);
}

#[test]
fn detects_a_missing_or_displaced_trailer() {
    let cut = edited("packed-nrv2b", |bytes| bytes.truncate(bytes.len() - 36));
    let outcomes = check(&cut, "stripped", &["upx-structure", "upx-data-checksum", "round-trip"]);
    insta::assert_snapshot!(shown(&outcomes, &["upx-structure", "upx-data-checksum", "round-trip"]), @"
    upx-structure: expected consistent headers, blocks and trailer
      found trailer: expected a PackHeader 36 bytes before the end, found none: the end of the file is cut off or overwritten; trailer: expected directly after the end marker, at 3756, found at 3720
    upx-data-checksum: expected c_adler = Adler-32 of the compressed blocks
      found no trailer
    round-trip: expected an unpacked file that equals the parent
      found cannot be unpacked: the packed layout is damaged: trailer: expected a PackHeader 36 bytes before the end, found none: the end of the file is cut off or overwritten
    ");
    let appended = edited("packed-nrv2b", |bytes| bytes.extend_from_slice(b"something appended"));
    check(&appended, "stripped", &["upx-structure", "upx-data-checksum", "round-trip"]);
}

#[test]
fn detects_inconsistent_sizes() {
    let rules = ["upx-structure", "round-trip"];
    let mut texts = Vec::new();
    // The file size in p_info, after l_info.
    let program = edited("packed-nrv2b", |bytes| bytes[232 + 12 + 4] ^= 1);
    texts.push(shown(&check(&program, "stripped", &rules), &rules));
    let pack_at = fixture("packed-nrv2b").len() - 36;
    // Size and checksum of the PackHeader, and the overlay offset.
    for offset in [24, 31, 32] {
        let mutant = edited("packed-nrv2b", |bytes| bytes[pack_at + offset] ^= 1);
        texts.push(shown(&check(&mutant, "stripped", &rules), &rules));
    }
    // The size of the stub in l_info determines the end of the blocks.
    let stub = edited("packed-nrv2b", |bytes| bytes[232 + 8] ^= 8);
    check(&stub, "stripped", &rules);
    // It counts whole words, so its low bits are significant.
    let stub = edited("packed-nrv2b", |bytes| bytes[232 + 8] ^= 5);
    check(&stub, "stripped", &rules);
    // A filter of another machine, on a block in which it changes nothing.
    let last_block = facts(&fixture("packed-nrv2e")).upx.unwrap().blocks.pop().unwrap().offset as usize;
    let filter = edited("packed-nrv2e", |bytes| bytes[last_block + 9] ^= 0x52);
    texts.push(shown(&check(&filter, "stripped", &rules), &rules));
    // The filter of this machine, on the same block: the layout and the unpacked bytes are correct.
    let idle = edited("packed-nrv2e", |bytes| bytes[last_block + 9] ^= 0x49);
    texts.push(shown(&check(&idle, "stripped", &["round-trip"]), &["round-trip"]));
    // The word by which the stub finds the blocks.
    let word = edited("packed-nrv2b", |bytes| {
        let facts = facts(bytes);
        let stub = &facts.segments[1];
        bytes[(stub.offset + facts.header.entry - stub.address) as usize - 8] ^= 4;
    });
    texts.push(shown(&check(&word, "stripped", &rules), &rules));
    // The memory that the first PT_LOAD reserves.
    let memory = edited("packed-nrv2b", |bytes| ProgramHeader::load(bytes).set_memory_size(bytes, 0x1000));
    texts.push(shown(&check(&memory, "stripped", &rules), &rules));
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn unreadable_inner_headers_violate_all_inner_rules() {
    let garbage = edited("packed-nrv2b", |bytes| bytes[256 + 12..256 + 40].fill(0xff));
    let outcomes = outcomes(&garbage, "stripped");
    let inner = outcomes.iter().filter(|outcome| outcome.rule.starts_with("inner-"));
    assert!(inner.clone().count() == 7 && inner.clone().all(|outcome| outcome.verdict == Verdict::Violation));
}

#[test]
fn an_unpacked_file_violates_packed_by_upx() {
    let outcomes = outcomes(&fixture("stripped"), "stripped");
    let of = |rule: &str| outcomes.iter().find(|outcome| outcome.rule == rule).unwrap().verdict;
    assert_eq!(of("packed-by-upx"), Verdict::Violation);
    assert_eq!(of("inner-stack-size"), Verdict::CannotTell);
    assert_eq!(of("round-trip"), Verdict::CannotTell);
}

#[test]
fn an_unknown_format_is_not_a_pass() {
    let unknown = edited("packed-nrv2b", |bytes| bytes[232 + 11] = 99);
    let outcomes = outcomes(&unknown, "stripped");
    let of = |rule: &str| outcomes.iter().find(|outcome| outcome.rule == rule).unwrap().verdict;
    assert_eq!(of("packed-by-upx"), Verdict::CannotTell);
    assert_eq!(of("upx-structure"), Verdict::Violation);
}

#[test]
fn round_trip_requires_both_digests() {
    let mut text = String::new();
    let mut check = |parent: Option<&str>, unpacked: Option<Result<&str, &str>>, expected| {
        let evidence = Evidence { parent_sha256: parent, unpacked_sha256: unpacked, ..Evidence::default() };
        let policy = Policy::static_musl(Stage::Packed, 8 * MIB);
        let outcomes = judge(&facts(&fixture("packed-nrv2b")), Stage::Packed, &policy, &evidence);
        let outcome = outcomes.iter().find(|outcome| outcome.rule == "round-trip").unwrap();
        assert_eq!(outcome.verdict, expected, "{outcome:?}");
        text += &shown(&outcomes, &["round-trip"]);
    };
    let (digest, other) = (sha256(b"a"), sha256(b"b"));
    check(None, None, Verdict::CannotTell);
    check(Some(&digest), None, Verdict::CannotTell);
    check(Some(&digest), Some(Err("out of disk")), Verdict::Violation);
    check(Some(&digest), Some(Ok(&other)), Verdict::Violation);
    check(Some(&digest), Some(Ok(&digest)), Verdict::Pass);
    insta::assert_snapshot!(text, @"
    round-trip: expected an unpacked file that equals the parent
      found no parent: symbols, sections, notes and paths of the original are not in the packed bytes
    round-trip: expected an unpacked file that equals the parent
      found not unpacked
    round-trip: expected an unpacked file that equals the parent
      found cannot be unpacked: out of disk
    round-trip: expected an unpacked file that equals the parent
      found sha256 3e23e8160039 unpacked, ca978112ca1b of the parent
    round-trip: expected an unpacked file that equals the parent
      found equal sha256 ca978112ca1b
    ");
}

#[test]
fn json_has_problems_and_inner_headers_as_data() {
    let json = |bytes: &[u8]| serde_json::to_value(facts(bytes).upx).unwrap();
    let whole = json(&fixture("packed-nrv2b"));
    assert_eq!(whole["inner"]["state"], "read");
    assert_eq!(whole["inner"]["header"]["machine"], "x86_64");
    assert_eq!(whole["problems"], serde_json::json!([]));
    let cut = json(&edited("packed-nrv2b", |bytes| bytes.truncate(bytes.len() - 36)));
    assert_eq!(cut["problems"][0]["part"], "trailer");
    let garbage = json(&edited("packed-nrv2b", |bytes| bytes[256 + 12..256 + 40].fill(0xff)));
    assert_eq!(garbage["inner"]["state"], "unreadable");
    assert_eq!(garbage["inner"]["part"], "first_block");
    assert!(garbage["inner"]["found"].is_string());
}

/// An end of the stub segment near 2^64 must not overflow.
#[test]
fn reports_a_stub_that_ends_beyond_the_address_space() {
    let mutant = edited("packed-nrv2b", |bytes| {
        // p_filesz and p_memsz of the second PT_LOAD.
        bytes[64 + 56 + 32..64 + 56 + 48].fill(0xff);
    });
    let problems = facts(&mutant).upx.unwrap().problems;
    assert!(problems.iter().any(|problem| problem.part == UpxPart::Stub), "{problems:?}");
}

/// The segments of a packed file may end beyond the file. Found by the fuzz target `facts`.
#[test]
fn an_entry_point_beyond_the_end_of_a_cut_file_has_no_offset() {
    let bytes = fixture("packed-static-pie");
    let entry = usize::try_from(facts(&bytes).entry_point.offset.unwrap()).unwrap();
    let facts = facts(&bytes[..entry]);
    assert_eq!((facts.entry_point.offset, &facts.entry_point.code[..]), (None, &[][..]));
    let outcomes = outcomes(&bytes[..entry], "static-pie");
    let outcome = outcomes.iter().find(|outcome| outcome.rule == "entry-point").unwrap();
    assert_eq!(outcome.verdict, Verdict::Violation, "{outcome:?}");
}

/// One byte of code is no instruction.
#[test]
fn rejects_a_packed_file_that_ends_within_the_first_instruction() {
    let bytes = fixture("packed-static-pie");
    let entry = usize::try_from(facts(&bytes).entry_point.offset.unwrap()).unwrap();
    let outcomes = outcomes(&bytes[..=entry], "static-pie");
    let outcome = outcomes.iter().find(|outcome| outcome.rule == "entry-point").unwrap();
    assert_eq!(outcome.verdict, Verdict::Violation, "{outcome:?}");
}

/// Bits above `rwx` have no letter in `flags`.
#[test]
fn reports_unnamed_flag_bits_of_the_outer_stack() {
    let mutant = edited("packed-nrv2b", |bytes| bytes[64 + 2 * 56 + 4] ^= 0xe0);
    let problems = facts(&mutant).upx.unwrap().problems;
    assert!(problems.iter().any(|problem| problem.part == UpxPart::OuterStack), "{problems:?}");
}
