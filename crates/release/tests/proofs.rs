//! The proofs on a file that ships, and on copies of it that break a promise. `cargo xtask test` builds the file.

mod inputs;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use inputs::input;
use process::Runner;
use release::artifact::Artifact;
use release::codes::PROOF_VIOLATED;
use release::config::{Config, Cpu, ProofCommand, Prove};
use release::jobs::Jobs;
use release::stages::prove::{ProofContext, run_all};

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
fn violated(bytes: &[u8], change: impl Fn(&mut Prove)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = copy(folder.path(), bytes);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let config = Config::load(&root.join("release.toml")).unwrap();
    let mut prove = config.prove;
    prove.environment_counts.truncate(1);
    prove.command.clear();
    change(&mut prove);
    let context = ProofContext {
        runner: &Runner::without_signals(),
        emulator: Some(&input("MUSLIN_QEMU")),
        jobs: &Jobs::new(2).unwrap(),
        config: &prove,
        file: &file,
        root: &root,
        product: &config.product.name,
        version: env!("CARGO_PKG_VERSION"),
        stack_size: config.stack_size,
    };
    let Err(error) = run_all(&context) else { return Vec::new() };
    let violation = |diagnostic: &diag::Diagnostic| {
        assert_eq!(diagnostic.code(), &PROOF_VIOLATED, "{diagnostic}");
        diagnostic.fields().subject.rule.clone().unwrap()
    };
    diag::collect(&error).iter().map(violation).collect()
}

#[test]
fn a_lost_stack_size_is_measured_from_outside() {
    let mut bytes = std::fs::read(input("MUSLIN_STRIPPED")).unwrap();
    assert_eq!(violated(&bytes, |_| {}), Vec::<String>::new());
    let at = stack_size_offset(&bytes);
    bytes[at..at + 8].fill(0);
    assert_eq!(violated(&bytes, |_| {}), ["thread-stack"]);
}

/// A static program that runs `code` and ends with exit status 0.
fn program(code: &[u8]) -> Vec<u8> {
    const ORIGIN: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    const EXIT: [u8; 9] = [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]; // mov eax, 60; xor edi, edi; syscall
    let code = [code, &EXIT].concat();
    let size = HEADERS + code.len() as u64;
    let header = [
        &[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], // 64-bit, little-endian
        &[2, 0, 62, 0, 1, 0, 0, 0],                                        // an executable for x86-64
        &(ORIGIN + HEADERS).to_le_bytes(),                                 // entry
        &64_u64.to_le_bytes(),                                             // program headers
        &0_u64.to_le_bytes(),                                              // no section headers
        &[0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0], // sizes of the headers; one program header
    ]
    .concat();
    let load = [
        &[1, 0, 0, 0, 5, 0, 0, 0][..], // PT_LOAD, readable and executable
        &0_u64.to_le_bytes(),
        &ORIGIN.to_le_bytes(),
        &ORIGIN.to_le_bytes(),
        &size.to_le_bytes(),
        &size.to_le_bytes(),
        &0x1000_u64.to_le_bytes(),
    ]
    .concat();
    [header, load, code].concat()
}

/// qemu-user must end the program on the models without the instruction, and only there.
#[test]
fn an_unconditional_avx2_instruction_fails_on_older_cpus() {
    let on = |models: &[&str], code: &[u8]| {
        violated(&program(code), |prove| {
            let cpus = models.iter().map(|model| Cpu::from((*model).to_owned())).collect();
            let name = "start".into();
            prove.command.push(ProofCommand { name, cpus, exit_code: Some(0), ..ProofCommand::default() });
            prove.start_contains.clear();
            prove.thread_stack = None;
            prove.allow_not_measured.insert("thread-stack".into(), "no thread".into());
        })
    };
    let vpaddd_ymm = [0xc5, 0xfd, 0xfe, 0xc0];
    let models = ["qemu64", "Nehalem", "Haswell"];
    assert_eq!(on(&models, &[0x90]), Vec::<String>::new());
    assert_eq!(on(&models, &vpaddd_ymm), ["start on qemu64", "start on Nehalem"]);
}
