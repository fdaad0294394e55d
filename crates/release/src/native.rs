//! OpenBLAS as a static library: fetched, verified file by file, patched between guards, compiled once per fingerprint.
//!
//! A build starts from an empty folder and appears under its fingerprint only when every check of the archive has passed,
//! so there is no old tree to continue and no half-built one to find.

use std::path::{Path, PathBuf};

use anyhow::Context;
use object::{Object, ObjectSymbol};
use serde::Serialize;

use crate::artifact::Artifact;
use crate::digest::{Digest, Fingerprint};
use crate::failure::Failure;
use crate::jobs::Jobs;
use crate::plan::Plan;
use crate::run::Job;
use crate::store::Record;
use crate::toolchain::{Site, Toolchain};
use crate::vendor::kernels::{ExpectedKernels, Vectors, kernel_violations};
use crate::vendor::liveness::{self, Chain};
use crate::vendor::{Input, Prepared, Vendored};

/// A checked archive of native code.
#[derive(Debug, Clone, Serialize)]
pub struct StaticLib {
    pub name: String,
    pub version: String,
    pub fingerprint: Digest,
    /// Holds `libopenblas.a`; openblas-sys is told this folder.
    #[serde(skip)]
    pub folder: PathBuf,
    pub archive: Artifact,
    pub patches: Vec<String>,
    /// Each link that was checked in the object code.
    pub proofs: Vec<String>,
    /// What was shown of each patch when the archive was built.
    pub liveness: Vec<Chain>,
    pub reused: bool,
}

const ARCHIVE: &str = "libopenblas.a";
pub const COMPILE_LOG: &str = "compile.log";
pub const GENERATED_HEADERS: [&str; 2] = ["config.h", "config_kernel.h"];

/// What goes in, in words and digests.
pub fn fingerprint(plan: &Plan, toolchain: &Toolchain) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint
        .part("recipe", 2)
        .part("target", &plan.target)
        .part("vendor", &plan.openblas.vendor_digest)
        .part("make options", plan.openblas.make.join("\n"))
        .part("zig", &toolchain.zig.version)
        .part("zig sha256", &toolchain.zig.sha256)
        .part("wrappers", &toolchain.wrappers.sha256)
        .part("make", &toolchain.make.version);
    fingerprint
}

/// Where the library is or will be: cargo is told before it exists, since the folder's name depends on inputs only.
pub fn folder(plan: &Plan, site: &Site, toolchain: &Toolchain) -> PathBuf {
    site.store.path_of(&entry_name(&fingerprint(plan, toolchain).digest()))
}

fn entry_name(fingerprint: &Digest) -> String {
    format!("native/openblas-{}", fingerprint.short())
}

pub fn build(plan: &Plan, site: &Site, toolchain: &Toolchain, jobs: &Jobs) -> anyhow::Result<StaticLib> {
    let what = fingerprint(plan, toolchain);
    let digest = what.digest();
    let vendored = Vendored::read(&plan.paths.vendor)?;
    let entry = site.store.get_or_make(&entry_name(&digest), |staging| {
        let tree = staging.join("tree");
        let prepared = prepare(plan, site, &vendored, &tree)?;
        compile(plan, site, toolchain, jobs, staging, &tree)?;
        let archive = take_archive(&tree, staging)?;
        let bytes = crate::artifact::read(&archive)?;
        let proofs = judge(plan, &vendored, &tree, &bytes)?;
        keep_for_tests(plan, &tree, staging)?;
        let chains = walk_liveness(plan, site, &prepared, staging, &tree)?;
        std::fs::remove_dir_all(&tree).context("removing the build tree")?;
        std::fs::remove_dir_all(staging.join("zig-cache")).ok();
        std::fs::write(staging.join("fingerprint.txt"), what.listing())?;
        let mut record = Record::default();
        record.seal(staging, ARCHIVE)?.note("proofs", proofs.join("\n"));
        record.note("patches", plan.openblas.patches.join("\n"));
        record.note("liveness", serde_json::to_string(&chains)?);
        Ok(record)
    })?;
    let lines = |name: &str| {
        entry.record.notes.get(name).map_or("", String::as_str).lines().map(String::from).collect()
    };
    Ok(StaticLib {
        name: vendored.manifest.name.clone(),
        version: vendored.manifest.version.clone(),
        fingerprint: digest,
        archive: Artifact {
            size_bytes: entry.path.join(ARCHIVE).metadata()?.len(),
            sha256: entry.record.files[ARCHIVE].clone(),
            path: entry.path.join(ARCHIVE),
        },
        patches: lines("patches"),
        proofs: lines("proofs"),
        liveness: serde_json::from_str(entry.record.notes.get("liveness").map_or("[]", String::as_str))?,
        folder: entry.path,
        reused: entry.reused,
    })
}

/// The tarball: the one that was named, or one from the cache, fetched if it is not there.
pub fn fetch_source(plan: &Plan, site: &Site) -> anyhow::Result<PathBuf> {
    match &plan.openblas_source {
        Some(path) => Ok(path.clone()),
        None => crate::sources::tarball(site, &Vendored::read(&plan.paths.vendor)?.manifest),
    }
}

fn prepare(plan: &Plan, site: &Site, vendored: &Vendored, tree: &Path) -> anyhow::Result<Prepared> {
    let tarball = fetch_source(plan, site)?;
    site.runner.check()?;
    vendored.prepare(Input::Tarball(&tarball), tree)
}

/// Shows that every patch is compiled; see [`liveness`].
fn walk_liveness(
    plan: &Plan,
    site: &Site,
    prepared: &Prepared,
    staging: &Path,
    tree: &Path,
) -> anyhow::Result<Vec<Chain>> {
    let log = std::fs::read_to_string(plan.log("openblas")).context("reading the log of the build")?;
    let run = |folder: &Path, line: &str| {
        let mut shell = site.command("sh");
        shell
            .arg("-c")
            .arg(line)
            .current_dir(folder)
            .env("ZIG_GLOBAL_CACHE_DIR", site.store.path_of("zig"))
            .env("ZIG_LOCAL_CACHE_DIR", staging.join("zig-cache"));
        site.runner.run(Job::new("compile a patched file again", shell)).map(|_| ())
    };
    let (chains, violations) = liveness::walk(&prepared.steps, &log, tree, &run)?;
    if violations.is_empty() {
        return Ok(chains);
    }
    Err(Failure::new("a patch is not live in this build")
        .expected("each added line of code in what the compiler sees, each function of a guard changed by its patch")
        .found(violations.join("\n"))
        .hint("lines for another system are listed as `dead` in the guard of the patch")
        .into())
}

/// The last link before the behavioural tests: the functions of the guards are in the linked file.
pub fn require_linked(library: &StaticLib, linked: &Path) -> anyhow::Result<()> {
    let bytes = crate::artifact::read(linked)?;
    let file = object::File::parse(&*bytes).with_context(|| format!("reading {}", linked.display()))?;
    let names: std::collections::BTreeSet<&str> =
        file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    let missing: Vec<String> = library
        .liveness
        .iter()
        .flat_map(|chain| chain.functions.iter().map(move |function| (chain, function)))
        .filter(|(_, function)| !names.contains(function.as_str()))
        .map(|(chain, function)| format!("patch {}: linked: no `{function}` [linked]", chain.patch))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("{} does not hold what the patches change", linked.display()))
        .expected("each function of a guard in its symbol table")
        .found(missing.join("\n"))
        .hint("`cargo xtask native` names the archive; look whether its member is linked at all")
        .into())
}

/// What a test needs to compile one object again with one flag changed, without a second build: the log with each
/// compiler call, and the headers that `make` wrote.
fn keep_for_tests(plan: &Plan, tree: &Path, staging: &Path) -> anyhow::Result<()> {
    for name in GENERATED_HEADERS {
        std::fs::copy(tree.join(name), staging.join(name)).with_context(|| format!("keeping {name}"))?;
    }
    std::fs::copy(plan.log("openblas"), staging.join(COMPILE_LOG)).context("keeping the log of the build")?;
    Ok(())
}

fn compile(
    plan: &Plan,
    site: &Site,
    toolchain: &Toolchain,
    jobs: &Jobs,
    staging: &Path,
    tree: &Path,
) -> anyhow::Result<()> {
    let assign = |name: &str, path: &Path| format!("{name}={}", path.display());
    let mut make = site.command(&toolchain.make.path);
    // `libs` and not the default, which runs tests with the build machine's CPU.
    make.current_dir(tree)
        .arg("libs")
        .args(&plan.openblas.make)
        .arg(assign("CC", &toolchain.wrappers.cc))
        .arg(assign("HOSTCC", &toolchain.host_cc.path))
        .arg(assign("AR", &toolchain.wrappers.ar))
        .arg(assign("RANLIB", &toolchain.wrappers.ranlib))
        .env("ZIG_GLOBAL_CACHE_DIR", site.store.path_of("zig"))
        .env("ZIG_LOCAL_CACHE_DIR", staging.join("zig-cache"));
    jobs.share_with_make(&mut make);
    let _token = jobs.token()?;
    site.runner.run(Job::new("compile OpenBLAS", make).log(plan.log("openblas"))).map(|_| ())
}

/// `make` names the archive after its configuration and leaves links to it.
fn take_archive(tree: &Path, staging: &Path) -> anyhow::Result<PathBuf> {
    let link = tree.join(ARCHIVE);
    let real = link.canonicalize().map_err(|error| {
        Failure::new(format!("make reported success and left no {}: {error}", link.display()))
            .hint("read the log of the native build, target/muslin/<target>/logs/openblas.log")
    })?;
    let archive = staging.join(ARCHIVE);
    std::fs::rename(&real, &archive).with_context(|| format!("taking {}", real.display()))?;
    Ok(archive)
}

/// What the archive itself must show: the patches in the code of their functions, and every kernel that was asked for.
fn judge(plan: &Plan, vendored: &Vendored, tree: &Path, archive: &[u8]) -> anyhow::Result<Vec<String>> {
    // c_check drops AVX-512 without a word when the compiler refuses its flag.
    let made = std::fs::read_to_string(tree.join("Makefile.conf")).unwrap_or_default();
    if let Some(line) = made.lines().find(|line| line.starts_with("NO_AVX")) {
        return Err(Failure::new("OpenBLAS's configuration dropped instructions that the kernels need")
            .expected("no line NO_AVX… in Makefile.conf")
            .found(line)
            .hint("the C compiler refused a -march flag; see the wrapper `cc` in the cache folder")
            .into());
    }
    let expected: Vec<ExpectedKernels> = plan
        .config
        .openblas
        .kernels
        .iter()
        .flat_map(|name| KERNELS.iter().filter(move |kernels| kernels.core == name.as_str()))
        .cloned()
        .collect();
    let mut violations = vendored.archive_violations(archive)?;
    violations.extend(kernel_violations(archive, &expected)?);
    if !violations.is_empty() {
        return Err(Failure::new("the archive of OpenBLAS does not show what was asked for")
            .expected("every patch in the code of its functions, every kernel with its instructions")
            .found(violations.join("\n"))
            .hint("read the log of the native build, target/muslin/<target>/logs/openblas.log")
            .into());
    }
    let patches = vendored.patches().map(|patch| format!("patch {} is in the object code", patch.name));
    let kernels = expected.iter().map(|kernels| {
        format!(
            "{}: {} with {:?} registers",
            kernels.core,
            kernels.functions.join(", "),
            kernels.vectors_at_least
        )
    });
    Ok(patches.chain(kernels).collect())
}

/// Functions that the engine calls, with the registers that make each set worth dispatching to. A build that lost AVX-512
/// still has zmm in its GEMM; it is the smaller functions that show the loss.
const KERNELS: [ExpectedKernels; 4] = [
    ExpectedKernels {
        core: "HASWELL",
        functions: &[
            "sgemm_kernel_HASWELL",
            "sgemv_n_HASWELL",
            "sgemv_t_HASWELL",
            "saxpy_k_HASWELL",
            "sdot_k_HASWELL",
        ],
        vectors_at_least: Vectors::Ymm,
    },
    ExpectedKernels {
        core: "ZEN",
        functions: &["sgemm_kernel_ZEN", "sgemv_n_ZEN", "sgemv_t_ZEN", "saxpy_k_ZEN", "sdot_k_ZEN"],
        vectors_at_least: Vectors::Ymm,
    },
    ExpectedKernels {
        core: "SKYLAKEX",
        functions: &[
            "sgemm_kernel_SKYLAKEX",
            "sgemv_n_SKYLAKEX",
            "sgemv_t_SKYLAKEX",
            "saxpy_k_SKYLAKEX",
            "sdot_k_SKYLAKEX",
            "sscal_k_SKYLAKEX",
        ],
        vectors_at_least: Vectors::Zmm,
    },
    ExpectedKernels {
        core: "SAPPHIRERAPIDS",
        functions: &[
            "sgemm_kernel_SAPPHIRERAPIDS",
            "sgemv_n_SAPPHIRERAPIDS",
            "sgemv_t_SAPPHIRERAPIDS",
            "saxpy_k_SAPPHIRERAPIDS",
            "sdot_k_SAPPHIRERAPIDS",
            "sscal_k_SAPPHIRERAPIDS",
        ],
        vectors_at_least: Vectors::Zmm,
    },
];
