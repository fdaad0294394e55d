//! `release.toml`: parsed strictly, checked once, constant afterwards.
//!
//! `RawConfig` mirrors the file; [`Config`] is what the rest of the pipeline relies on. Each error names file, line and
//! column. The module reads no other file and nothing of this machine: the Plan does.

mod check;
mod cpu;
mod located;
mod proofs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use elf_gate::policy::PolicyDocument;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::codes::{CONFIG_SYNTAX, CONFIG_UNREADABLE, CONFIG_VALUE};
use diag::{Diagnostic, Diagnostics};
use units::ByteSize;

pub use cpu::Cpu;
pub use located::Located;
use located::SourceText;
use proofs::RawProve;
pub use proofs::{
    ArgsFrom, EMULATED_PROOFS, JsonLines, JsonNumbers, OPTIONAL_PROOFS, ProofCommand, Prove, ThreadStack,
    WorkingDirectory,
};

/// musl takes no more than this from PT_GNU_STACK (`DEFAULT_STACK_MAX`).
pub const MUSL_STACK_CEILING: ByteSize = ByteSize(8 << 20);
/// musl's built-in default for threads (`DEFAULT_STACK_SIZE`); the header can only raise it.
pub const MUSL_STACK_DEFAULT: ByteSize = ByteSize(128 << 10);

/// What is released, and what must hold for it.
#[derive(Debug, Serialize)]
pub struct Config {
    /// Names and targets.
    pub product: Product,
    /// Size of PT_GNU_STACK.
    pub stack_size: ByteSize,
    /// Vendored C libraries by name; the order of the names is the order in which they are built. May be empty.
    pub native: BTreeMap<String, Native>,
    /// The C compiler and linker.
    pub zig: Zig,
    /// Version of UPX, or the start of it.
    pub upx_version: String,
    /// Options of UPX.
    pub pack_args: Vec<String>,
    /// What the ELF gate checks at each stage.
    pub gate: PolicyDocument,
    /// How the packed file is run and judged.
    pub prove: Prove,
    /// Inputs of tests, by name.
    pub fixtures: BTreeMap<String, Fixture>,
    /// What the bill of materials cannot show.
    pub sbom: Sbom,
    /// The container image.
    pub image: ImageSettings,
}

/// `[sbom]`.
#[derive(Debug, Default, Serialize)]
pub struct Sbom {
    /// Crates of the product of which nothing is in the linked file: `NAME` or `NAME@VERSION`, and the reason.
    pub no_trace: BTreeMap<String, Located<String>>,
}

/// `[product]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Names the files in `dist/` and the binary.
    pub name: String,
    /// The cargo package that holds the binary.
    pub package: String,
    /// Accepted values of `--target`; the first one is the default.
    pub targets: Vec<String>,
}

/// A vendored library: the choices of this release. The properties of the library itself are in its `build.toml`.
#[derive(Debug, Serialize)]
pub struct Native {
    /// Folder with `source.toml`, `build.toml`, patches and tests.
    pub vendor: PathBuf,
    /// Most worker threads that the library starts.
    pub threads_max: Option<Located<u32>>,
    /// Kernel sets that are dispatched at run time.
    pub kernels: Vec<Located<String>>,
    /// Options of its make, or flags of its compiler.
    pub options: Vec<Located<String>>,
}

/// `[toolchain.zig]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zig {
    /// Exact version.
    pub version: String,
    /// Digests of the Python wheels of that version, by the architecture of the build machine.
    pub wheel_sha256: BTreeMap<String, String>,
}

/// `[fixtures.NAME]`: files out of a pinned Python wheel, for tests and benchmarks. Tests find the folder in the variable
/// `MUSLIN_NAME_DIR`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// Name of the package.
    pub package: String,
    /// Exact version.
    pub version: String,
    /// Digest of the wheel.
    pub wheel_sha256: String,
    /// Folder in the wheel.
    pub folder: String,
    /// Files in that folder whose digests are recorded in the cache and verified on each use.
    pub files: Vec<String>,
}

/// `[image]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSettings {
    /// Name without tag; the version becomes the tag.
    pub reference: String,
    /// Which binary is in the image.
    pub variant: ImageVariant,
    /// `UID:GID`, numbers, not root.
    pub user: String,
    /// Arguments after the program in the entrypoint.
    #[serde(default)]
    pub entrypoint_args: Vec<String>,
    /// Arguments that `docker run IMAGE ARGS` replaces.
    #[serde(default)]
    pub cmd: Vec<String>,
    /// Environment of the container.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Ports such as `8080/tcp`.
    #[serde(default)]
    pub exposed_ports: Vec<String>,
    /// Labels. A key without a dot belongs to `org.opencontainers.image`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Which of the two proved binaries goes into the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageVariant {
    /// The file that UPX packed.
    Packed,
    /// The stripped file.
    Unpacked,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    product: Spanned<Product>,
    link: RawLink,
    #[serde(default)]
    native: BTreeMap<String, Spanned<RawNative>>,
    toolchain: RawToolchain,
    pack: RawPack,
    gate: Spanned<PolicyDocument>,
    prove: RawProve,
    #[serde(default)]
    fixtures: BTreeMap<String, Spanned<Fixture>>,
    #[serde(default)]
    sbom: RawSbom,
    image: Spanned<ImageSettings>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSbom {
    #[serde(default)]
    no_trace: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLink {
    stack_size: Spanned<ByteSize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNative {
    vendor: Spanned<String>,
    threads_max: Option<Spanned<u32>>,
    #[serde(default)]
    kernels: Vec<Spanned<String>>,
    #[serde(default)]
    options: Vec<Spanned<String>>,
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
    /// Reads and checks a file.
    pub fn load(path: &Path) -> anyhow::Result<Config> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Diagnostic::new(&CONFIG_UNREADABLE, "cannot read the release description")
                .file(path)
                .cause(error)
                .hint("name the folder of release.toml with `--workspace DIR`, or the file with `--config FILE`")
        })?;
        Config::parse(&text, path)
    }

    /// Whether a TOML text is a release description, as opposed to a policy of the gate.
    pub fn is_in(text: &str) -> bool {
        let table = text.parse::<toml::Table>();
        table.is_ok_and(|table| table.contains_key("gate") && table.contains_key("product"))
    }

    /// Checks a text; all invalid values are reported together. `path` is only named in messages.
    pub fn parse(text: &str, path: &Path) -> anyhow::Result<Config> {
        let source = SourceText::new(path, text);
        let raw: RawConfig = toml::from_str(text).map_err(|error| {
            let message = error.message().trim();
            let diagnostic = match error.span() {
                Some(span) => source.diagnostic(&CONFIG_SYNTAX, &span, message),
                None => Diagnostic::new(&CONFIG_SYNTAX, message).file(path),
            };
            diagnostic.hint("docs/configuration.md lists every key with its unit and default")
        })?;
        Diagnostics(check::problems(&raw, &source)).into_result()?;
        Ok(raw.into_config(&source))
    }
}

impl RawConfig {
    fn into_config(self, source: &SourceText) -> Config {
        let native = self.native.into_iter().map(|(name, raw)| {
            let RawNative { vendor, threads_max, kernels, options } = raw.into_inner();
            let located_list =
                |list: Vec<Spanned<String>>| list.into_iter().map(|value| source.located(value)).collect();
            let native = Native {
                vendor: vendor.into_inner().into(),
                threads_max: threads_max.map(|value| source.located(value)),
                kernels: located_list(kernels),
                options: located_list(options),
            };
            (name, native)
        });
        Config {
            product: self.product.into_inner(),
            stack_size: self.link.stack_size.into_inner(),
            native: native.collect(),
            zig: self.toolchain.zig.into_inner(),
            upx_version: self.toolchain.upx.version.into_inner(),
            pack_args: self.pack.args.into_iter().map(Spanned::into_inner).collect(),
            gate: self.gate.into_inner(),
            prove: self.prove.into(),
            fixtures: self.fixtures.into_iter().map(|(name, fixture)| (name, fixture.into_inner())).collect(),
            sbom: Sbom {
                no_trace: self
                    .sbom
                    .no_trace
                    .into_iter()
                    .map(|(name, reason)| (name, source.located(reason)))
                    .collect(),
            },
            image: self.image.into_inner(),
        }
    }
}
