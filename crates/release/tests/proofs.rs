//! The proofs on a file that ships, and on copies of it that break a promise. `cargo xtask test` builds the file.

mod inputs;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use inputs::input;
use process::Runner;
use release::artifact::Artifact;
use release::codes::PROOF_VIOLATED;
use release::config::Config;
use release::jobs::Jobs;
use release::stages::prove::{Subject, run_all};

const PT_GNU_STACK: u32 = 0x6474_e551;

/// Position of `p_memsz` of PT_GNU_STACK in a 64-bit little-endian ELF file.
fn stack_size_offset(bytes: &[u8]) -> usize {
    let number = |at: usize, size: usize| {
        bytes[at..at + size].iter().rev().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (table, entry_size, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
    let headers = (0..count).map(|index| table + index * entry_size);
    headers.into_iter().find(|at| number(*at, 4) == PT_GNU_STACK as usize).expect("PT_GNU_STACK") + 0x28
}

fn copy(folder: &Path, bytes: &[u8]) -> Artifact {
    let path = folder.join("program");
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Artifact::of(path).unwrap()
}

/// Names of the proofs that do not hold.
fn violated(bytes: &[u8], keep: impl Fn(&str) -> bool) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = copy(folder.path(), bytes);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let config = Config::load(&root.join("release.toml")).unwrap();
    let mut prove = config.prove;
    prove.environment_counts.truncate(1);
    prove.command.retain(|command| keep(&command.name));
    let subject = Subject {
        runner: &Runner::without_signals(),
        jobs: &Jobs::new(2).unwrap(),
        config: &prove,
        file: &file,
        root: &root,
        product: &config.product.name,
        version: env!("CARGO_PKG_VERSION"),
        stack_size: config.stack_size,
    };
    let Err(error) = run_all(&subject) else { return Vec::new() };
    let violation = |diagnostic: &diag::Diagnostic| {
        assert_eq!(diagnostic.code(), &PROOF_VIOLATED, "{diagnostic}");
        diagnostic.fields().subject.rule.clone().unwrap()
    };
    diag::collect(&error).iter().map(violation).collect()
}

#[test]
fn a_lost_stack_size_is_measured_from_outside() {
    let mut bytes = std::fs::read(input("MUSLIN_STRIPPED")).unwrap();
    assert_eq!(violated(&bytes, |_| false), Vec::<String>::new());
    let at = stack_size_offset(&bytes);
    bytes[at..at + 8].fill(0);
    assert_eq!(violated(&bytes, |_| false), ["thread-stack"]);
}
