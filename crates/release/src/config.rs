//! `release.toml`: parsed strictly, checked once, then never changed.
//!
//! [`Raw`] mirrors the file; [`Config`] is what the rest of the pipeline may rely on. Every error names the line.
//! Deliberately absent: anything about this machine. That is the Plan's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use elf_gate::policy::PolicyDocument;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::digest::is_sha256_hex;
use crate::failure::Failure;
use crate::units::{ByteSize, Span};

/// musl takes no more than this from PT_GNU_STACK (`DEFAULT_STACK_MAX`).
pub const MUSL_STACK_CEILING: ByteSize = ByteSize(8 << 20);
/// musl's built-in default for threads (`DEFAULT_STACK_SIZE`); the header can only raise it.
pub const MUSL_STACK_DEFAULT: ByteSize = ByteSize(128 << 10);
/// OpenBLAS kernel sets that the pipeline knows how to look for in the archive.
const KNOWN_KERNELS: [&str; 4] = ["HASWELL", "ZEN", "SKYLAKEX", "SAPPHIRERAPIDS"];
/// Options of OpenBLAS's make that this pipeline sets itself, from checked values.
const RESERVED_MAKE_OPTIONS: [&str; 8] =
    ["CC", "HOSTCC", "AR", "RANLIB", "NUM_THREADS", "DYNAMIC_LIST", "MAKE_NB_JOBS", "PREFIX"];

#[derive(Debug, Serialize)]
pub struct Config {
    pub product: Product,
    pub stack_size: ByteSize,
    pub openblas: Openblas,
    pub zig: Zig,
    pub upx_version: String,
    pub pack_args: Vec<String>,
    pub gate: PolicyDocument,
    pub prove: Prove,
    pub model: Model,
    pub image: Image,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    pub name: String,
    pub package: String,
    pub targets: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Openblas {
    pub vendor: PathBuf,
    pub threads_max: u32,
    pub kernels: Vec<String>,
    pub make: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zig {
    pub version: String,
    pub wheel_sha256: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prove {
    pub environment_counts: Vec<u32>,
    pub timeout: Span,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub package: String,
    pub version: String,
    pub wheel_sha256: String,
    pub folder: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub reference: String,
    pub ships: Ships,
    pub user: String,
}

/// Which of the two proved binaries goes into the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ships {
    Packed,
    Unpacked,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    product: Spanned<Product>,
    link: RawLink,
    native: RawNative,
    toolchain: RawToolchain,
    pack: RawPack,
    gate: Spanned<PolicyDocument>,
    prove: Prove,
    model: Spanned<Model>,
    image: Spanned<Image>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLink {
    stack_size: Spanned<ByteSize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNative {
    openblas: RawOpenblas,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOpenblas {
    vendor: PathBuf,
    threads_max: Spanned<u32>,
    kernels: Vec<Spanned<String>>,
    make: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToolchain {
    zig: Spanned<Zig>,
    upx: RawUpx,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUpx {
    version: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPack {
    args: Vec<Spanned<String>>,
}

impl Config {
    pub fn load(path: &Path) -> anyhow::Result<Config> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::new(format!("cannot read {}: {error}", path.display()))
                .hint("run this inside a checkout of the project, or name the file with `--config FILE`")
        })?;
        Config::parse(&text, path)
    }

    /// `path` is only for the messages.
    pub fn parse(text: &str, path: &Path) -> anyhow::Result<Config> {
        let place = |span: std::ops::Range<usize>| {
            let before = &text[..span.start.min(text.len())];
            let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
            format!("{}:{}:{column}", path.display(), before.matches('\n').count() + 1)
        };
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or_else(|| path.display().to_string(), &place);
            Failure::new(format!("{at}: {}", error.message().trim()))
                .hint("docs/release.md lists every key of release.toml with its unit")
        })?;
        raw.check(&|span, failure_text| Failure::new(format!("{}: {failure_text}", place(span))))
    }
}

type At<'a> = &'a dyn Fn(std::ops::Range<usize>, &str) -> Failure;

impl Raw {
    fn check(self, at: At) -> anyhow::Result<Config> {
        check_stack_size(&self.link.stack_size, at)?;
        check_product(&self.product, at)?;
        check_gate(&self.gate, at)?;
        check_openblas(&self.native.openblas, at)?;

        let upx = &self.toolchain.upx.version;
        if !upx.get_ref().starts_with("4.2") {
            return Err(at(upx.span(), "this UPX is not known to make stubs that run everywhere")
                .expected("\"4.2\" or \"4.2.x\"")
                .found(format!("\"{}\"", upx.get_ref()))
                .hint("stubs of UPX 5 need memfd_create and fail on some hosts; stay on 4.2")
                .into());
        }
        for arg in &self.pack.args {
            if !arg.get_ref().starts_with('-') || arg.get_ref().starts_with("-o") {
                return Err(at(
                    arg.span(),
                    "`pack.args` takes options of UPX only; the files are the pipeline's",
                )
                .found(format!("\"{}\"", arg.get_ref()))
                .into());
            }
        }
        for (what, digest, span) in self
            .toolchain
            .zig
            .get_ref()
            .wheel_sha256
            .values()
            .map(|digest| ("toolchain.zig.wheel_sha256", digest, self.toolchain.zig.span()))
            .chain([("model.wheel_sha256", &self.model.get_ref().wheel_sha256, self.model.span())])
        {
            if !is_sha256_hex(digest) {
                return Err(at(span, &format!("`{what}` is no SHA-256"))
                    .expected("64 lower-case hexadecimal digits")
                    .found(format!("\"{digest}\""))
                    .into());
            }
        }
        let user = &self.image.get_ref().user;
        if !user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id != 0))
            || user.split(':').count() != 2
        {
            return Err(at(
                self.image.span(),
                "`image.user` must be a numeric user and group, neither of them root",
            )
            .expected("\"65532:65532\"")
            .found(format!("\"{user}\""))
            .into());
        }

        Ok(Config {
            product: self.product.into_inner(),
            stack_size: self.link.stack_size.into_inner(),
            openblas: Openblas {
                vendor: self.native.openblas.vendor,
                threads_max: self.native.openblas.threads_max.into_inner(),
                kernels: inner(self.native.openblas.kernels),
                make: inner(self.native.openblas.make),
            },
            zig: self.toolchain.zig.into_inner(),
            upx_version: self.toolchain.upx.version.into_inner(),
            pack_args: inner(self.pack.args),
            gate: self.gate.into_inner(),
            prove: self.prove,
            model: self.model.into_inner(),
            image: self.image.into_inner(),
        })
    }
}

fn inner<T>(spanned: Vec<Spanned<T>>) -> Vec<T> {
    spanned.into_iter().map(Spanned::into_inner).collect()
}

fn check_stack_size(size: &Spanned<ByteSize>, at: At) -> anyhow::Result<()> {
    let found = *size.get_ref();
    if found > MUSL_STACK_CEILING {
        return Err(at(size.span(), "`link.stack_size` is above musl's ceiling: threads would get 8 MiB all the same")
            .expected(format!("more than {MUSL_STACK_DEFAULT} and at most {MUSL_STACK_CEILING}"))
            .found(found.to_string())
            .hint("write \"8 MiB\"; a thread that needs more must ask for its own size with pthread_attr_setstacksize")
            .into());
    }
    if found <= MUSL_STACK_DEFAULT {
        return Err(at(
            size.span(),
            "`link.stack_size` changes nothing: musl only ever raises its default of 128 KiB",
        )
        .expected(format!("more than {MUSL_STACK_DEFAULT} and at most {MUSL_STACK_CEILING}"))
        .found(found.to_string())
        .hint("write \"8 MiB\"")
        .into());
    }
    if !found.0.is_multiple_of(4096) {
        return Err(at(size.span(), "`link.stack_size` is not a whole number of 4 KiB pages")
            .found(found.to_string())
            .hint("write \"8 MiB\"")
            .into());
    }
    Ok(())
}

fn check_product(product: &Spanned<Product>, at: At) -> anyhow::Result<()> {
    let Product { name, targets, .. } = product.get_ref();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(at(product.span(), "`product.name` names files and an image")
            .expected("lower-case letters, digits, `-` and `_`")
            .found(format!("\"{name}\""))
            .into());
    }
    if targets.is_empty() {
        return Err(at(product.span(), "`product.targets` is empty")
            .hint("name x86_64-unknown-linux-musl")
            .into());
    }
    for target in targets {
        if target != "x86_64-unknown-linux-musl" {
            return Err(at(product.span(), "a target that this pipeline cannot build yet")
                .expected("x86_64-unknown-linux-musl")
                .found(target.as_str())
                .into());
        }
    }
    Ok(())
}

fn check_gate(gate: &Spanned<PolicyDocument>, at: At) -> anyhow::Result<()> {
    let policy = gate.get_ref();
    policy.check().map_err(|error| at(gate.span(), &format!("[gate]: {error}")).hint(error.hint()))?;
    for layer in [&policy.every, &policy.linked, &policy.stripped, &policy.packed] {
        // One number in two places would be two promises.
        if layer.stack_size.is_some() || layer.machines.is_some() {
            return Err(at(
                gate.span(),
                "[gate] sets `stack_size` or `machines`, which follow from the rest",
            )
            .hint("remove them; `link.stack_size` and `product.targets` say what the gate demands")
            .into());
        }
    }
    Ok(())
}

fn check_openblas(openblas: &RawOpenblas, at: At) -> anyhow::Result<()> {
    let threads = openblas.threads_max.get_ref();
    if !(2..=1024).contains(threads) {
        return Err(at(openblas.threads_max.span(), "`native.openblas.threads_max` is out of range")
            .expected("2 to 1024")
            .found(threads.to_string())
            .into());
    }
    for kernel in &openblas.kernels {
        if !KNOWN_KERNELS.contains(&kernel.get_ref().as_str()) {
            return Err(at(kernel.span(), "an OpenBLAS kernel set whose symbols this pipeline cannot check")
                .expected(KNOWN_KERNELS.join(", "))
                .found(kernel.get_ref().as_str())
                .into());
        }
    }
    if openblas.kernels.is_empty() {
        return Err(at(
            openblas.threads_max.span(),
            "`native.openblas.kernels` is empty: nothing would be dispatched",
        )
        .expected(KNOWN_KERNELS.join(", "))
        .into());
    }
    for option in &openblas.make {
        let name = option.get_ref().split_once('=').map(|(name, _)| name);
        match name {
            None => {
                return Err(at(option.span(), "an option of make without a value")
                    .expected("NAME=value")
                    .found(option.get_ref().as_str())
                    .into());
            }
            Some(name) if RESERVED_MAKE_OPTIONS.contains(&name) => {
                return Err(at(
                    option.span(),
                    &format!("`{name}` is set by the pipeline from a checked value"),
                )
                .hint("use `threads_max`, `kernels`, [toolchain] or `--jobs` instead")
                .into());
            }
            Some("USE_TLS" | "USE_SIMPLE_THREADED_LEVEL3") => {
                return Err(at(
                    option.span(),
                    "this option changes which thread owns the buffers; the proofs of the \
                                              worker stacks do not hold with it",
                )
                .hint("remove it")
                .into());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../release.toml");

    fn parse(text: &str) -> anyhow::Result<Config> {
        Config::parse(text, Path::new("release.toml"))
    }

    #[test]
    fn the_file_of_this_repository_is_accepted() {
        let config = parse(GOOD).unwrap();
        assert_eq!(config.stack_size, MUSL_STACK_CEILING);
        assert_eq!(config.openblas.kernels.len(), 4);
    }

    /// Each bad file differs from the good one in one place; the error must name the line and say why.
    #[test]
    fn bad_files_are_refused_with_line_and_reason() {
        let check = |from: &str, to: &str, wanted: &[&str]| {
            assert!(GOOD.contains(from), "the anchor `{from}` is gone from release.toml");
            let text = GOOD.replacen(from, to, 1);
            let error = parse(&text).expect_err(&format!("`{to}` was accepted"));
            let told = format!("{error:#} {}", Failure::hint_of(&error).unwrap_or_default());
            assert!(told.starts_with("release.toml:"), "no place in: {told}");
            let line: usize = told.split(':').nth(1).and_then(|n| n.parse().ok()).expect("a line number");
            assert!(line > 1, "the place is only the file: {told}");
            for part in wanted {
                assert!(told.contains(part), "`{part}` is missing from: {told}");
            }
        };
        check("stack_size = \"8 MiB\"", "stack_size = \"16 MiB\"", &["ceiling", "16 MiB", "8 MiB"]);
        check("stack_size = \"8 MiB\"", "stack_size = \"128 KiB\"", &["changes nothing", "128 KiB"]);
        check("stack_size = \"8 MiB\"", "stack_size = \"8 MB\"", &["MB", "MiB"]);
        check("stack_size = \"8 MiB\"", "stack_size = 8388608", &["string"]);
        check("stack_size = \"8 MiB\"", "stack_size = \"1048577 B\"", &["pages"]);
        check("stack_size = \"8 MiB\"", "stak_size = \"8 MiB\"", &["stak_size"]);
        check("threads_max = 64", "threads_max = 1", &["2 to 1024"]);
        check("\"SAPPHIRERAPIDS\"]", "\"ZEN9\"]", &["ZEN9"]);
        check("\"USE_THREAD=1\"", "\"NUM_THREADS=4\"", &["threads_max"]);
        check("\"USE_THREAD=1\"", "\"USE_THREAD\"", &["NAME=value"]);
        check("\"USE_THREAD=1\"", "\"USE_TLS=1\"", &["remove it"]);
        check("\"gnu_get_libc_version\"", "\"cblas_sgemm\"", &["both required and forbidden"]);
        check(
            "extends = \"static-musl\"",
            "extends = \"static-mussel\"",
            &["static-mussel", "hardened-glibc"],
        );
        check("[gate.linked]\n", "[gate.linked]\nrequired_symbls = []\n", &["required_symbls"]);
        check("[gate.linked]\n", "[gate.linked]\nstack_size = { exact = \"4 MiB\" }\n", &["link.stack_size"]);
        check("version = \"4.2\" ", "version = \"5.0\" ", &["memfd_create"]);
        check("user = \"65532:65532\"", "user = \"0:0\"", &["root"]);
        check("args = []", "args = [\"-oelsewhere\"]", &["options of UPX"]);
        check("timeout = \"60 s\"", "timeout = \"60\"", &["unit"]);
        check("ships = \"packed\"", "ships = \"zipped\"", &["zipped"]);
        check("x86_64-unknown-linux-musl\"]", "x86_64-pc-windows-msvc\"]", &["cannot build"]);
    }
}
