//! `release.toml`: parsed strictly, checked once, then never changed.
//!
//! [`Raw`] mirrors the file; [`Config`] is what the rest of the pipeline may rely on. Every error names the line.
//! Deliberately absent: anything about this machine. That is the Plan's.

mod check;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use elf_gate::policy::PolicyDocument;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use diag::{Diagnostic, Diagnostics};
use units::{ByteSize, TimeSpan};

/// musl takes no more than this from PT_GNU_STACK (`DEFAULT_STACK_MAX`).
pub const MUSL_STACK_CEILING: ByteSize = ByteSize(8 << 20);
/// musl's built-in default for threads (`DEFAULT_STACK_SIZE`); the header can only raise it.
pub const MUSL_STACK_DEFAULT: ByteSize = ByteSize(128 << 10);

#[derive(Debug, Serialize)]
pub struct Config {
    pub product: Product,
    pub stack_size: ByteSize,
    /// By name; the order of the names is the order in which they are built.
    pub native: BTreeMap<String, Native>,
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

/// A vendored library: what this release chooses of it. What is known of the library itself is in its `build.toml`.
#[derive(Debug, Serialize)]
pub struct Native {
    pub vendor: PathBuf,
    pub threads_max: Option<Located<u32>>,
    pub kernels: Vec<Located<String>>,
    /// Options of its make, or flags of its compiler.
    pub options: Vec<Located<String>>,
}

/// A value that can only be judged beside other files, with its place for that message.
#[derive(Debug, Clone)]
pub struct Located<T> {
    pub value: T,
    pub place: String,
}

impl<T: Serialize> Serialize for Located<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
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
    pub timeout: TimeSpan,
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
    pub ships: ImageVariant,
    pub user: String,
}

/// Which of the two proved binaries goes into the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageVariant {
    Packed,
    Unpacked,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    product: Spanned<Product>,
    link: RawLink,
    native: BTreeMap<String, Spanned<RawNative>>,
    toolchain: RawToolchain,
    pack: RawPack,
    gate: Spanned<PolicyDocument>,
    prove: Spanned<Prove>,
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
    pub fn load(path: &Path) -> anyhow::Result<Config> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Diagnostic::new(&crate::GENERAL, format!("cannot read {}: {error}", path.display()))
                .hint("run this inside a checkout of the project, or name the file with `--config FILE`")
        })?;
        Config::parse(&text, path)
    }

    /// `path` is only for the messages.
    /// Whether a TOML file is meant to be one of these, as opposed to a policy of its own.
    pub fn is_in(text: &str) -> bool {
        let table = text.parse::<toml::Table>();
        table.is_ok_and(|table| table.contains_key("gate") && table.contains_key("product"))
    }

    pub fn parse(text: &str, path: &Path) -> anyhow::Result<Config> {
        let place = |span: std::ops::Range<usize>| {
            let before = &text[..span.start.min(text.len())];
            let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
            format!("{}:{}:{column}", path.display(), before.matches('\n').count() + 1)
        };
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or_else(|| path.display().to_string(), &place);
            Diagnostic::new(&crate::GENERAL, format!("{at}: {}", error.message().trim()))
                .hint("docs/release.md lists every key of release.toml with its unit")
        })?;
        raw.check(
            &|span, failure_text| {
                Diagnostic::new(&crate::GENERAL, format!("{}: {failure_text}", place(span)))
            },
            &place,
        )
    }
}

impl Raw {
    /// All that is wrong with the values, at once.
    fn check(
        self,
        at: check::At,
        place: &dyn Fn(std::ops::Range<usize>) -> String,
    ) -> anyhow::Result<Config> {
        Diagnostics(check::problems(&self, at)).into_result()?;
        let native = self.native.into_iter().map(|(name, raw)| {
            let RawNative { vendor, threads_max, kernels, options } = raw.into_inner();
            let native = Native {
                vendor: vendor.into_inner().into(),
                threads_max: threads_max.map(|value| located(value, place)),
                kernels: kernels.into_iter().map(|value| located(value, place)).collect(),
                options: options.into_iter().map(|value| located(value, place)).collect(),
            };
            (name, native)
        });
        Ok(Config {
            product: self.product.into_inner(),
            stack_size: self.link.stack_size.into_inner(),
            native: native.collect(),
            zig: self.toolchain.zig.into_inner(),
            upx_version: self.toolchain.upx.version.into_inner(),
            pack_args: inner(self.pack.args),
            gate: self.gate.into_inner(),
            prove: self.prove.into_inner(),
            model: self.model.into_inner(),
            image: self.image.into_inner(),
        })
    }
}

fn located<T>(spanned: Spanned<T>, place: &dyn Fn(std::ops::Range<usize>) -> String) -> Located<T> {
    let place = place(spanned.span());
    Located { value: spanned.into_inner(), place }
}

fn inner<T>(spanned: Vec<Spanned<T>>) -> Vec<T> {
    spanned.into_iter().map(Spanned::into_inner).collect()
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
        assert_eq!(config.native["openblas"].kernels.len(), 4);
    }

    /// Each bad file differs from the good one in one place; the error must name the line and say why.
    #[test]
    fn bad_files_are_refused_with_line_and_reason() {
        let check = |from: &str, to: &str, wanted: &[&str]| {
            assert!(GOOD.contains(from), "the anchor `{from}` is gone from release.toml");
            let text = GOOD.replacen(from, to, 1);
            let error = parse(&text).expect_err(&format!("`{to}` was accepted"));
            let told = format!("{error:#} {}", diag::hint_of(&error).unwrap_or_default());
            assert!(told.starts_with("release.toml:"), "no place in: {told}");
            assert!(!told.contains("problems"), "one mistake is told as many: {told}");
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
        check(
            "extends = \"static-musl\"",
            "extends = \"static-mussel\"",
            &["static-mussel", "hardened-glibc"],
        );
        check("[gate.linked]\n", "[gate.linked]\nrequired_symbls = []\n", &["required_symbls"]);
        check("[gate.linked]\n", "[gate.linked]\nstack_size = { exact = \"4 MiB\" }\n", &["link.stack_size"]);
        check("\"gnu_get_libc_version\"", "\"cblas_sgemm\"", &["both required and forbidden"]);
        check("version = \"4.2\" ", "version = \"5.0\" ", &["memfd_create"]);
        check("user = \"65532:65532\"", "user = \"0:0\"", &["root"]);
        check("args = [\"--no-filter\"]", "args = [\"-oelsewhere\"]", &["options of UPX"]);
        check("timeout = \"60 s\"", "timeout = \"60\"", &["unit"]);
        check("ships = \"packed\"", "ships = \"zipped\"", &["zipped"]);
        check("x86_64-unknown-linux-musl\"]", "x86_64-pc-windows-msvc\"]", &["cannot build"]);
        check("version = \"4.2\" ", "version = \"4.23\" ", &["4.2.x"]);
        check("timeout = \"60 s\"", "timeout = \"0 s\"", &["above 0"]);
        check("[0, 100, 500, 1000]", "[]", &["environment_counts", "never be started"]);
        check("[0, 100, 500, 1000]", "[4000000000]", &["4000000000", "at most"]);
        check("\"ZEN\", ", "\"HASWELL\", ", &["twice", "HASWELL"]);
        check(
            "\"GOMP_*\"",
            "\"pthread_c*\"",
            &["pthread_create", "pthread_c*", "both required and forbidden"],
        );
        check(
            "required_symbols = [\"cblas_sgemm\", \"mi_malloc\", \"pthread_create\", \"pthread_attr_setstacksize\"]",
            "required_symbols = []",
            &["cannot fail"],
        );
        check("reference = \"inferd\"", "reference = \"Bad Name\"", &["image.reference", "Bad Name"]);
        check("reference = \"inferd\"", "reference = \"inferd:1\"", &["image.reference", "tag"]);
        check("folder = \"gt_all", "folder = \"../gt_all", &["model.folder", ".."]);
        check("vendor = \"vendor/openblas\"", "vendor = \"/etc\"", &["native.openblas.vendor", "checkout"]);
        check("package = \"inferd\"", "package = \"--lib\"", &["product.package"]);
        check("[native.openblas]", "[native.Open-BLAS]", &["Open-BLAS", "lower-case"]);
    }

    #[test]
    fn all_bad_values_are_told_at_once() {
        let text = GOOD
            .replace("\"8 MiB\"", "\"16 MiB\"")
            .replace("\"4.2\" ", "\"5.0\" ")
            .replace("\"ZEN\"", "\"HASWELL\"");
        let told = parse(&text).unwrap_err().to_string();
        for part in ["3 problems", "ceiling", "UPX", "HASWELL"] {
            assert!(told.contains(part), "`{part}` is missing from: {told}");
        }
    }
}
