//! The shipped bytes and the copies of them that must be refused. `cargo xtask test` builds what is looked at here.

mod inputs;

use std::path::Path;
use std::process::Command;

use elf_gate::{Evidence, Facts, Policy, Stage, Verdict};
use inputs::input;
use release::config::Config;

const PT_GNU_STACK: u32 = 0x6474_e551;

/// `link.stack_size` of release.toml.
fn stack_size() -> u64 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../release.toml");
    Config::load(&path).unwrap().stack_size.0
}

/// Where `p_memsz` of PT_GNU_STACK stands in a 64-bit little-endian ELF file.
fn stack_size_offset(bytes: &[u8]) -> usize {
    let word = |at: usize, size: usize| {
        bytes[at..at + size].iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let (table, entry_size, count) = (word(0x20, 8) as usize, word(0x36, 2) as usize, word(0x38, 2) as usize);
    let header = (0..count)
        .map(|number| table + number * entry_size)
        .find(|at| word(*at, 4) == u64::from(PT_GNU_STACK));
    header.expect("a PT_GNU_STACK header") + 0x28
}

fn with_stack_size(mut bytes: Vec<u8>, size: u64) -> Vec<u8> {
    let at = stack_size_offset(&bytes);
    bytes[at..at + 8].copy_from_slice(&size.to_le_bytes());
    bytes
}

fn write_program(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn pack(from: &Path, to: &Path) {
    let output = Command::new(input("MUSLIN_UPX")).args(["-q", "-o"]).arg(to).arg(from).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Rules that do not pass. Without a parent the round trip cannot be judged; the controls here are about the rest.
fn broken_rules(bytes: &[u8], stage: Stage) -> Vec<&'static str> {
    let facts: Facts = elf_gate::inspect(bytes).unwrap();
    let policy = Policy::static_musl(stage, stack_size());
    let outcomes = elf_gate::judge(&facts, stage, &policy, &Evidence::default());
    outcomes
        .into_iter()
        .filter(|outcome| outcome.verdict != Verdict::Pass && outcome.rule != "round-trip")
        .map(|outcome| outcome.rule)
        .collect()
}

/// The verdict of one check of the program's own self-test, and its exit code.
fn self_test(program: &Path, check: &str) -> (String, Option<i32>) {
    let output = Command::new(program).env_clear().args(["selftest", "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let found = report["checks"].as_array().unwrap().iter().find(|one| one["name"] == check);
    (
        found.unwrap_or_else(|| panic!("no check {check} in {report}"))["verdict"].as_str().unwrap().into(),
        output.status.code(),
    )
}

const THREAD_STACK: &str = "default-attr-thread-stack";

#[test]
fn the_shipped_file_passes_gate_and_probe() {
    let packed = input("MUSLIN_PACKED");
    assert_eq!(broken_rules(&std::fs::read(&packed).unwrap(), Stage::Packed), Vec::<&str>::new());
    assert_eq!(self_test(&packed, THREAD_STACK), ("pass".into(), Some(0)));
}

/// The mistake that a header check alone cannot see: the outer header promises 8 MiB, and the stub hands the inner one,
/// which lost the size, to musl. Gate and probe must each notice without the other.
#[test]
fn a_lost_inner_stack_size_is_caught_by_the_gate_and_by_the_probe() {
    let folder = tempfile::tempdir().unwrap();
    let (lost, packed) = (folder.path().join("lost"), folder.path().join("packed"));
    write_program(&lost, &with_stack_size(std::fs::read(input("MUSLIN_STRIPPED")).unwrap(), 0));
    pack(&lost, &packed);
    // UPX copies the inner header outside; restore outside what a reader of headers expects.
    let disguised = with_stack_size(std::fs::read(&packed).unwrap(), stack_size());
    write_program(&packed, &disguised);

    let tested = Command::new(input("MUSLIN_UPX")).args(["-t", "-q"]).arg(&packed).output().unwrap();
    assert!(tested.status.success(), "`upx -t` is expected to accept it");
    let broken = broken_rules(&disguised, Stage::Packed);
    assert!(broken.contains(&"inner-stack-size"), "the gate lets it pass: {broken:?}");
    assert!(!broken.contains(&"stack-size"), "the outer header was to look right: {broken:?}");
    let (verdict, code) = self_test(&packed, THREAD_STACK);
    assert_eq!((verdict.as_str(), code), ("fail", Some(1)), "the probe lets it pass");
}

/// The reverse: only the outer header is wrong. Threads get their 8 MiB all the same, and the gate still refuses: a
/// header that says otherwise than the program is a defect of its own.
#[test]
fn a_lost_outer_stack_size_is_caught_by_the_gate() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("packed");
    let bytes = with_stack_size(std::fs::read(input("MUSLIN_PACKED")).unwrap(), 128 << 10);
    write_program(&packed, &bytes);
    let broken = broken_rules(&bytes, Stage::Packed);
    assert!(broken.contains(&"stack-size"), "{broken:?}");
    assert_eq!(self_test(&packed, THREAD_STACK).0, "pass");
}

/// UPX never checks its stub: one flipped bit passes `upx -t` and crashes at start.
#[test]
fn a_flipped_stub_byte_is_caught_by_the_gate_and_not_by_upx() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("packed");
    let mut bytes = std::fs::read(input("MUSLIN_PACKED")).unwrap();
    let entry = elf_entry_offset(&bytes);
    bytes[entry + 8] ^= 0x40;
    write_program(&packed, &bytes);
    let tested = Command::new(input("MUSLIN_UPX")).args(["-t", "-q"]).arg(&packed).output().unwrap();
    assert!(tested.status.success(), "this UPX checks its stub: the facts have changed");
    let broken = broken_rules(&bytes, Stage::Packed);
    assert!(broken.contains(&"upx-stub-checksum"), "{broken:?}");
}

/// File offset of the entry point, through the segment that holds it.
fn elf_entry_offset(bytes: &[u8]) -> usize {
    use object::read::elf::{FileHeader, ProgramHeader};
    let header = object::elf::FileHeader64::<object::Endianness>::parse(bytes).unwrap();
    let endian = header.endian().unwrap();
    let entry = header.e_entry(endian);
    let holds = |segment: &&object::elf::ProgramHeader64<object::Endianness>| {
        let start = segment.p_vaddr(endian);
        (start..start + segment.p_filesz(endian)).contains(&entry)
    };
    let segment =
        header.program_headers(endian, bytes).unwrap().iter().find(holds).expect("a segment with the entry");
    (entry - segment.p_vaddr(endian) + segment.p_offset(endian)) as usize
}

#[test]
fn a_cut_trailer_is_caught() {
    let bytes = std::fs::read(input("MUSLIN_PACKED")).unwrap();
    let broken = broken_rules(&bytes[..bytes.len() - 36], Stage::Packed);
    assert!(broken.contains(&"upx-structure"), "{broken:?}");
}

#[test]
fn the_linked_file_still_has_symbols_that_the_stripped_one_lacks() {
    let linked = std::fs::read(input("MUSLIN_LINKED")).unwrap();
    assert!(broken_rules(&linked, Stage::Linked).is_empty());
    assert!(!broken_rules(&linked, Stage::Stripped).is_empty(), "an unstripped file passes as stripped");
}
