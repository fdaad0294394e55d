//! Static programs that this pipeline did not make: packages of Debian, and outputs of other compilers and linkers.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use diag::Diagnostic;
use elf_gate::policy::StackSize;
use elf_gate::{Policy, Stage};
use process::Task;
use release::context::BuildContext;
use release::fetch::apt;
use release::plan::Plan;
use release::resolution::StdOrigin;
use release::stages::toolchain::{self, Toolchain};
use store::{Digest, Fingerprint, Record, Store};

use super::codes::{TOO_FEW_PROGRAMS, UNSUPPORTED_PROGRAM};
use super::test_program::{Gate, TestProgram};

/// With fewer programs the comparison says little about other toolchains.
const PROGRAMS_MIN: usize = 20;

/// A program of a Debian package.
struct Packaged {
    name: &'static str,
    package: &'static str,
    file: &'static str,
    args: &'static [&'static str],
    contains: &'static str,
}

const fn packaged(
    name: &'static str,
    package: &'static str,
    file: &'static str,
    args: &'static [&'static str],
    contains: &'static str,
) -> Packaged {
    Packaged { name, package, file, args, contains }
}

const SHELL: &[&str] = &["-c", "echo $((6 * 7))"];
const VERSION: &[&str] = &["--version"];

/// All of x86-64 Debian; the libc and the linker are in the name where they are not glibc and GNU ld.
const PACKAGED: &[Packaged] = &[
    packaged("busybox", "busybox-static", "bin/busybox", &["expr", "6", "*", "7"], "42"),
    packaged("bash-static", "bash-static", "bin/bash-static", SHELL, "42"),
    packaged("zsh-static", "zsh-static", "bin/zsh-static", &["-fc", "echo $((6 * 7))"], "42"),
    packaged("sash", "sash", "bin/sash", &["-c", "-echo 42"], "42"),
    packaged("e2fsck.static", "e2fsck-static", "sbin/e2fsck.static", &["-V"], ""),
    packaged("gpgv-static", "gpgv-static", "usr/bin/gpgv-static", VERSION, "gpgv"),
    packaged("cdebootstrap-static", "cdebootstrap-static", "usr/bin/cdebootstrap-static", VERSION, ""),
    packaged("catatonit", "catatonit", "usr/bin/catatonit", VERSION, "_catatonit"),
    packaged("tini-static", "tini", "usr/bin/tini-static", VERSION, "tini"),
    packaged("ldconfig, static PIE", "libc-bin", "sbin/ldconfig", VERSION, "ldconfig"),
    packaged("lksh, musl", "mksh", "bin/lksh", SHELL, "42"),
    packaged("mksh, musl", "mksh", "usr/lib/x86_64-linux-musl/bin/mksh", SHELL, "42"),
    packaged("mksh, dietlibc", "mksh", "usr/lib/diet/bin/mksh", SHELL, "42"),
    packaged("mksh, klibc", "mksh", "usr/lib/klibc/bin/mksh", SHELL, "42"),
    packaged("gosu, Go", "gosu", "usr/sbin/gosu", VERSION, "1."),
];

/// Programs that are part of `--quick`: one of each libc, linker and kind that differ in their headers.
const QUICK: [&str; 6] =
    ["busybox", "tini-static", "ldconfig, static PIE", "mksh, dietlibc", "gosu, Go", "C, zig, static PIE"];

const C: &str = include_str!("programs/program.c");
const RUST: &str = include_str!("programs/program.rs");
const ZIG: &str = include_str!("programs/program.zig");

/// A program that is compiled here.
struct Compiled {
    name: &'static str,
    compiler: Compiler,
    args: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compiler {
    ZigCc,
    HostCc,
    RustMusl,
    RustHost,
    Zig,
}

const COMPILED: &[Compiled] = &[
    Compiled { name: "C, zig", compiler: Compiler::ZigCc, args: &["-static", "-O1"] },
    Compiled {
        name: "C, zig, static PIE",
        compiler: Compiler::ZigCc,
        args: &["-static-pie", "-fPIE", "-O1", "-s"],
    },
    Compiled { name: "C, gcc", compiler: Compiler::HostCc, args: &["-static", "-O1"] },
    Compiled { name: "C, gcc, static PIE", compiler: Compiler::HostCc, args: &["-static-pie", "-O1"] },
    Compiled { name: "Rust, musl", compiler: Compiler::RustMusl, args: &["-Crelocation-model=static"] },
    Compiled { name: "Rust, musl, static PIE", compiler: Compiler::RustMusl, args: &["-Cstrip=symbols"] },
    Compiled {
        name: "Rust, glibc",
        compiler: Compiler::RustHost,
        args: &["-Crelocation-model=static", "-Cstrip=symbols"],
    },
    Compiled { name: "Rust, glibc, static PIE", compiler: Compiler::RustHost, args: &[] },
    Compiled { name: "zig", compiler: Compiler::Zig, args: &["-OReleaseSafe", "-fstrip"] },
];

/// The programs whose name passes `is_wanted`.
pub fn programs(
    plan: &Plan,
    context: &BuildContext,
    is_quick: bool,
    is_wanted: &dyn Fn(&str) -> bool,
) -> anyhow::Result<Vec<TestProgram>> {
    let is_wanted = |name: &str| is_wanted(name) && (!is_quick || QUICK.contains(&name));
    let mut programs = Vec::new();
    if PACKAGED.iter().any(|program| is_wanted(program.name)) {
        let folder = fetch(context)?;
        for program in PACKAGED.iter().filter(|program| is_wanted(program.name)) {
            let path = folder.join(program.file);
            let args: Vec<OsString> = program.args.iter().map(Into::into).collect();
            programs.push(test_program(program.name, path, &args, program.contains)?);
        }
    }
    if COMPILED.iter().any(|program| is_wanted(program.name)) {
        let toolchain = toolchain::install(plan, context)?;
        for program in COMPILED.iter().filter(|program| is_wanted(program.name)) {
            if program.compiler == Compiler::RustMusl && toolchain.rust().std != StdOrigin::Installed {
                println!("{}: not made, the musl target of Rust is not installed", program.name);
                continue;
            }
            let path = compile(plan, context, &toolchain, program)?;
            programs.push(test_program(program.name, path, &[], "own 41")?);
        }
    }
    Ok(programs)
}

/// Whether enough programs were examined for a statement about all.
pub fn require_enough(count: usize) -> anyhow::Result<()> {
    if count >= PROGRAMS_MIN {
        return Ok(());
    }
    Err(Diagnostic::new(&TOO_FEW_PROGRAMS, "too few foreign programs were examined")
        .expected(format!("at least {PROGRAMS_MIN}"))
        .found(count.to_string())
        .hint("rustup target add x86_64-unknown-linux-musl; `--quick` and `--only` accept fewer")
        .into())
}

/// Judged by the preset for static musl programs and the program's own machine, without the stack size and without the rules
/// on names and resolvers: these are for musl alone, and no matter of the start.
pub fn test_program(
    name: &str,
    path: PathBuf,
    args: &[OsString],
    contains: &str,
) -> anyhow::Result<TestProgram> {
    let path = std::path::absolute(path).context("the path of the program")?;
    let unreadable = |cause: String| {
        Diagnostic::new(&UNSUPPORTED_PROGRAM, "the program cannot be read")
            .file(&path)
            .expected("a static 64-bit little-endian ELF program")
            .cause(cause)
            .hint("`cargo xtask verify-elf FILE` says what it is")
    };
    let bytes = std::fs::read(&path).map_err(|error| unreadable(error.to_string()))?;
    let facts = elf_gate::inspect(&bytes).map_err(|error| unreadable(error.to_string()))?;
    let (stage, _) = Stage::detect(&facts);
    let policy = Policy {
        machines: vec![facts.header.machine.clone()],
        stack_size: StackSize::default(),
        no_ifunc: false,
        no_glibc_symbols: false,
        no_dlopen: false,
        unique_symbols: Vec::new(),
        weak_undefined_forbidden: Vec::new(),
        allocators: Vec::new(),
        severity: BTreeMap::new(),
        ..Policy::preset("static-musl", stage)?
    };
    Ok(TestProgram {
        name: name.into(),
        path,
        bytes,
        args: args.to_vec(),
        contains: contains.into(),
        gate: Gate { stage, policy, debug: None, parent: None },
    })
}

/// The packages, unpacked into the cache. Their versions are those of this machine's suites.
fn fetch(context: &BuildContext) -> anyhow::Result<PathBuf> {
    let mut packages: Vec<&str> = PACKAGED.iter().map(|program| program.package).collect();
    packages.dedup();
    let list = Digest::of(packages.join("\n").as_bytes());
    let name = format!("tools/static-programs-{}", list.short());
    if context.offline && context.store.find(&name).is_none() {
        return Err(Diagnostic::new(
            &release::codes::TOOL_MISSING,
            "the packages with static programs are not in the cache, and --offline forbids the download",
        )
        .hint("run `cargo xtask difftest kernel` once without --offline; `--only linked` needs no package")
        .into());
    }
    let entry = context.store.get_or_create(&name, |staging| {
        let fetched = apt::fetch_alone(context, staging, &packages)?;
        let mut record = Record::default();
        for program in PACKAGED {
            record.add_file(staging, program.file)?;
        }
        for package in fetched {
            record.set_note(&package.name, package.version);
        }
        Ok(record)
    })?;
    Ok(entry.path)
}

fn compile(
    plan: &Plan,
    context: &BuildContext,
    toolchain: &Toolchain,
    program: &Compiled,
) -> anyhow::Result<PathBuf> {
    const PROGRAM: &str = "program";
    let (extension, source) = match program.compiler {
        Compiler::ZigCc | Compiler::HostCc => ("c", C),
        Compiler::RustMusl | Compiler::RustHost => ("rs", RUST),
        Compiler::Zig => ("zig", ZIG),
    };
    let compiler = match program.compiler {
        Compiler::ZigCc | Compiler::Zig => toolchain.zig().sha256.as_str(),
        Compiler::HostCc => toolchain.host_cc().sha256.as_str(),
        Compiler::RustMusl | Compiler::RustHost => &toolchain.rust().version,
    };
    let mut inputs = Fingerprint::default();
    inputs.part("name", program.name).part("source", source).part("compiler", compiler);
    let name = inputs.part("args", program.args.join("\n")).digest();
    let store = Store::new(plan.paths.work.join("foreign"), context.runner.clone());
    let entry = store.get_or_create(name.short(), |staging| {
        let source_file = staging.join(format!("{PROGRAM}.{extension}"));
        std::fs::write(&source_file, source)?;
        let mut command = compiler_command(context, toolchain, program.compiler);
        command.args(program.args).arg(&source_file).current_dir(staging);
        match program.compiler {
            Compiler::Zig => command.args(["--name", PROGRAM]),
            _ => command.arg("-o").arg(staging.join(PROGRAM)),
        };
        for name in ["ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"] {
            command.env(name, toolchain.wrappers().zig_cache(&context.store));
        }
        context.runner.run(Task::new(format!("compile `{}`", program.name), command))?;
        let mut record = Record::default();
        record.add_file(staging, PROGRAM)?;
        Ok(record)
    })?;
    Ok(entry.path.join(PROGRAM))
}

fn compiler_command(context: &BuildContext, toolchain: &Toolchain, compiler: Compiler) -> Command {
    let rustc = |args: &[&str]| {
        let mut command = context.command(&toolchain.rust().rustc);
        command.args(["--edition", "2024", "-O"]).args(args);
        command
    };
    let with = |program: &Path, args: &[&str]| {
        let mut command = context.command(program);
        command.args(args);
        command
    };
    match compiler {
        Compiler::ZigCc => with(toolchain.wrappers().cc(), &[]),
        Compiler::HostCc => with(&toolchain.host_cc().path, &["-pthread"]),
        Compiler::RustMusl => rustc(&["--target", "x86_64-unknown-linux-musl"]),
        Compiler::RustHost => rustc(&["-Ctarget-feature=+crt-static"]),
        Compiler::Zig => with(&toolchain.zig().path, &["build-exe"]),
    }
}
