//! Where each tool of a run comes from, decided once before anything runs. Probing reads the machine and the cache and
//! changes nothing; installing consumes the decision and decides nothing again.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use diag::Diagnostic;
use patchset::manifest::SourceManifest;
use serde::Serialize;
use store::{CacheEntry, Digest};

/// The decision for one tool.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Resolution<T> {
    /// Use this one: path, digest and version are known.
    Use(T),
    /// Download this pin into the cache.
    Fetch(Fetch),
    /// Neither is possible.
    Missing {
        /// Why, and how to change that.
        problem: Diagnostic,
    },
}

/// A program that exists.
#[derive(Debug, Clone, Serialize)]
pub struct Tool {
    /// Name in every output.
    pub name: &'static str,
    /// As the program prints it.
    pub version: String,
    /// Not in the manifest: the folder of a tool says nothing about its output.
    #[serde(skip)]
    pub path: PathBuf,
    /// Digest of the program, computed once.
    pub sha256: Digest,
    /// From the machine or from the cache.
    pub origin: Origin,
    /// The cache entry that holds it, so that the installation can lock it.
    #[serde(skip)]
    pub entry: Option<CacheEntry>,
}

/// Where a tool was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Installed on the machine.
    Machine,
    /// In the cache of the pipeline, fetched by this run or an earlier one.
    Cache,
}

/// A download that is decided and not done.
#[derive(Debug, Clone, Serialize)]
pub struct Fetch {
    /// The version that the download will have.
    pub version: String,
    /// The source, in words.
    pub from: String,
    /// The program that downloads.
    pub with: Fetcher,
    /// What exactly is downloaded.
    pub pin: Pin,
}

/// What a download is pinned to.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Pin {
    /// A Python wheel by its digest.
    Wheel {
        /// Name on the index.
        package: String,
        /// Exact version.
        version: String,
        /// Digest of the wheel.
        sha256: String,
    },
    /// A Debian package of a version series. The archive's signatures verify it; the exact version is recorded.
    DebianPackage {
        /// Name of the binary package.
        package: String,
        /// `4.2` or `4.2.2`.
        series: String,
    },
    /// A Rust standard library.
    RustStd {
        /// The target triple.
        target: String,
        /// Try `rustup target add`.
        rustup: bool,
        /// Then Debian's compiler with its source.
        debian: bool,
    },
    /// The source archive of a native library: the sources of its source.toml, in their order.
    Source {
        /// Name and version of the library.
        library: String,
    },
}

/// The program that downloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fetcher {
    /// Python's pip.
    Pip,
    /// Debian's apt.
    Apt,
    /// cargo.
    Cargo,
    /// rustup.
    Rustup,
}

/// cargo, rustc and a standard library for the target.
#[derive(Debug, Clone, Serialize)]
pub struct Rust {
    /// The program.
    #[serde(skip)]
    pub cargo: PathBuf,
    /// The program.
    #[serde(skip)]
    pub rustc: PathBuf,
    /// `rustc --version`.
    pub version: String,
    /// Installed or compiled.
    pub std: StdOrigin,
    /// Added to cargo's arguments.
    pub cargo_args: Vec<String>,
    /// Added to cargo's environment.
    #[serde(skip)]
    pub cargo_env: BTreeMap<String, String>,
    /// Added to the plan's: a std that is compiled here must not contain paths of this machine.
    pub rustflags: Vec<String>,
    /// The cache entry that holds it, so that the installation can lock it.
    #[serde(skip)]
    pub entry: Option<CacheEntry>,
}

/// Where the standard library comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StdOrigin {
    /// The target is installed beside the compiler in PATH.
    Installed,
    /// Compiled from the source that belongs to Debian's compiler.
    BuildStd,
}

/// Which standard library to use; `Auto` takes the first that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StdPreference {
    /// Installed target, else rustup, else Debian.
    #[default]
    Auto,
    /// Installed target or rustup.
    Installed,
    /// Debian's compiler with its source.
    BuildStd,
}

/// The source archive of a native library.
#[derive(Debug, Clone, Serialize)]
pub struct SourceArchive {
    /// Name and version of the library.
    pub library: String,
    /// The file.
    pub path: PathBuf,
    /// Named by the user, or in the cache.
    pub origin: Origin,
    /// The cache entry that holds it.
    #[serde(skip)]
    pub entry: Option<CacheEntry>,
}

/// qemu-user, for proofs on emulated processors.
#[derive(Debug, Clone, Serialize)]
pub struct Emulator {
    /// Where it comes from.
    pub tool: Resolution<Tool>,
    /// Whether a run without it is an error; otherwise its proofs are not measured.
    pub is_required: bool,
}

/// One resolution for each tool of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Resolutions {
    /// C compiler, linker and musl.
    pub zig: Resolution<Tool>,
    /// The packer.
    pub upx: Resolution<Tool>,
    /// GNU make.
    pub make: Resolution<Tool>,
    /// Binutils' objcopy.
    pub objcopy: Resolution<Tool>,
    /// The machine's own C compiler, for programs that a build runs.
    pub host_cc: Resolution<Tool>,
    /// Runs the packed file on other processors; `None` when no proof needs it.
    pub emulator: Option<Emulator>,
    /// Compiler and standard library.
    pub rust: Resolution<Rust>,
    /// By the name of the library.
    pub sources: BTreeMap<String, Resolution<SourceArchive>>,
    /// The programs that do the downloads above; empty when nothing is downloaded.
    pub fetchers: Vec<Summary>,
}

/// A resolution in words: `doctor` and `--plan` print it.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Name of the tool.
    pub name: &'static str,
    /// The decision.
    #[serde(flatten)]
    pub state: SummaryState,
}

/// See [`Resolution`].
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SummaryState {
    /// Present.
    Use {
        /// Its version.
        version: String,
        /// Its path.
        path: PathBuf,
        /// Machine or cache.
        origin: Origin,
    },
    /// To be downloaded.
    Fetch {
        /// The version that it will have.
        version: String,
        /// The source.
        from: String,
        /// The program that downloads.
        with: Fetcher,
    },
    /// Missing.
    Missing {
        /// Why, and how to change that.
        problem: Diagnostic,
    },
}

impl Summary {
    /// A program that is present.
    pub fn present(name: &'static str, version: String, path: PathBuf, origin: Origin) -> Self {
        Self { name, state: SummaryState::Use { version, path, origin } }
    }

    /// A program that is missing.
    pub fn missing(name: &'static str, problem: Diagnostic) -> Self {
        Self { name, state: SummaryState::Missing { problem: problem.rule(name) } }
    }

    fn of<T>(
        name: &'static str,
        resolution: &Resolution<T>,
        present: impl FnOnce(&T) -> (String, PathBuf, Origin),
    ) -> Self {
        match resolution {
            Resolution::Use(tool) => {
                let (version, path, origin) = present(tool);
                Self::present(name, version, path, origin)
            }
            Resolution::Fetch(Fetch { version, from, with, .. }) => {
                let (version, from) = (version.clone(), from.clone());
                Self { name, state: SummaryState::Fetch { version, from, with: *with } }
            }
            Resolution::Missing { problem } => Self::missing(name, problem.clone()),
        }
    }

    /// The problem of a missing tool.
    pub fn problem(&self) -> Option<&Diagnostic> {
        match &self.state {
            SummaryState::Missing { problem } => Some(problem),
            _ => None,
        }
    }

    /// The path of a tool that is present.
    pub fn path(&self) -> Option<&PathBuf> {
        match &self.state {
            SummaryState::Use { path, .. } => Some(path),
            _ => None,
        }
    }

    /// The program that downloads it.
    pub fn fetcher(&self) -> Option<Fetcher> {
        match &self.state {
            SummaryState::Fetch { with, .. } => Some(*with),
            _ => None,
        }
    }
}

/// One line, or two for a missing tool.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        match &self.state {
            SummaryState::Use { version, path, .. } => write!(f, "{name:<9} {version} at {}", path.display()),
            SummaryState::Fetch { version, from, .. } => {
                write!(f, "{name:<9} {version} would be fetched: {from}")
            }
            SummaryState::Missing { problem } => {
                let fields = problem.fields();
                write!(f, "{name:<9} MISSING: {}", fields.message)?;
                fields.hint.iter().try_for_each(|hint| write!(f, "\n{:<9} hint: {hint}", ""))
            }
        }
    }
}

/// Name of the rows of source archives.
pub const SOURCE: &str = "source";
/// Name of the row of the emulator.
pub const EMULATOR: &str = "qemu";

impl Resolutions {
    /// One row for each tool, in the order of use.
    pub fn summaries(&self) -> Vec<Summary> {
        let tool = |name, resolution: &Resolution<Tool>| {
            Summary::of(name, resolution, |tool| (tool.version.clone(), tool.path.clone(), tool.origin))
        };
        let mut rows = vec![
            tool("zig", &self.zig),
            Summary::of("rust-std", &self.rust, |rust| {
                let origin = if rust.entry.is_some() { Origin::Cache } else { Origin::Machine };
                (rust.version.clone(), rust.rustc.clone(), origin)
            }),
            tool("upx", &self.upx),
            tool("make", &self.make),
            tool("objcopy", &self.objcopy),
            tool("cc", &self.host_cc),
        ];
        rows.extend(self.emulator.iter().map(|emulator| tool(EMULATOR, &emulator.tool)));
        rows.extend(self.sources.values().map(|source| {
            Summary::of(SOURCE, source, |found| (found.library.clone(), found.path.clone(), found.origin))
        }));
        rows.extend(self.fetchers.iter().cloned());
        rows
    }

    /// All missing tools that the run requires.
    ///
    /// A missing source archive alone is no problem yet: the compiled library may be in the cache, and only the fingerprint
    /// of the installed tools names its entry.
    pub fn problems(&self) -> Vec<Diagnostic> {
        let rows = self.summaries();
        let is_required = |row: &&Summary| {
            row.name != EMULATOR || self.emulator.as_ref().is_some_and(|emulator| emulator.is_required)
        };
        let missing: Vec<&Summary> =
            rows.iter().filter(|row| row.problem().is_some()).filter(is_required).collect();
        if missing.iter().all(|row| row.name == SOURCE) {
            return Vec::new();
        }
        missing.into_iter().filter_map(|row| row.problem().cloned()).collect()
    }
}

/// The identity of a source archive in messages.
pub fn library_of(manifest: &SourceManifest) -> String {
    format!("{} {}", manifest.name, manifest.version)
}
