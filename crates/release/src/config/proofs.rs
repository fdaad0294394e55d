//! `[prove]`: how the packed file is run, and how its output is judged.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Spanned;
use units::{ByteSize, TimeSpan};

use super::Cpu;

/// Generic proofs, which run for every product, and the commands that this product declares.
#[derive(Debug, Clone, Serialize)]
pub struct Prove {
    /// The file is started with this many environment variables, once for each count.
    pub environment_counts: Vec<u32>,
    /// Limit of each run.
    pub timeout: TimeSpan,
    /// Arguments of a start that ends by itself with exit status 0.
    pub start_args: Vec<String>,
    /// Must be in the output of such a start; empty for a program that prints no version.
    pub start_contains: String,
    /// `ulimit -s` of a start with a small stack.
    pub start_stack_limit: ByteSize,
    /// Which run starts a thread with default attributes.
    pub thread_stack: Option<ThreadStack>,
    /// Generic proofs that may end without a measurement, each with its reason.
    pub allow_not_measured: BTreeMap<String, String>,
    /// Declared proofs, in the order in which they run.
    pub command: Vec<ProofCommand>,
}

impl Prove {
    /// Every run of a declared proof.
    pub fn declared_runs(&self) -> impl Iterator<Item = (&ProofCommand, &Cpu)> {
        self.command.iter().flat_map(|command| command.cpus.iter().map(move |cpu| (command, cpu)))
    }

    /// Whether a declared proof runs on an emulated processor.
    pub fn needs_emulator(&self) -> bool {
        self.declared_runs().any(|(_, cpu)| cpu.model().is_some())
    }

    /// Whether a release may do without the emulated proofs on a machine without an emulator.
    pub fn allows_no_emulator(&self) -> bool {
        self.allow_not_measured.contains_key(EMULATED_PROOFS)
    }
}

/// A run that starts at least one thread with default attributes. Standard input stays open until the thread was seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreadStack {
    /// Arguments.
    pub args: Vec<String>,
    /// Environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Name of that thread; without it, threads that have taken no name of their own.
    pub thread: Option<String>,
}

/// A command line for the packed file, and what its output must be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofCommand {
    /// Unique; in the manifest and in messages.
    pub name: String,
    /// The command runs once on each of these.
    #[serde(default = "native")]
    pub cpus: Vec<Cpu>,
    /// Arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Further arguments, from a file.
    pub args_from: Option<ArgsFrom>,
    /// The whole environment: nothing is inherited.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Standard input.
    #[serde(default)]
    pub stdin: String,
    /// In place of `prove.timeout`.
    pub timeout: Option<TimeSpan>,
    /// `ulimit -s`.
    pub stack_limit: Option<ByteSize>,
    /// The folder that the command runs in.
    #[serde(default)]
    pub working_directory: WorkingDirectory,
    /// 0 when it is not set.
    pub exit_code: Option<i32>,
    /// Standard output is this file, byte for byte.
    pub equals: Option<PathBuf>,
    /// Standard output contains each of these.
    #[serde(default)]
    pub contains: Vec<String>,
    /// Standard output is a JSON document, with numbers close to those of a committed one.
    pub json: Option<JsonNumbers>,
    /// Standard output is one JSON object a line, each with a vector close to a committed one.
    pub json_lines: Option<JsonLines>,
    /// Standard output is a JSON report of checks, and all of them pass.
    #[serde(default)]
    pub report: bool,
}

impl ProofCommand {
    /// The name of the proof on a processor.
    pub fn name_on(&self, cpu: &Cpu) -> String {
        match cpu {
            Cpu::Native => self.name.clone(),
            Cpu::Emulated(model) => format!("{} on {model}", self.name),
        }
    }
}

/// Strings of a list in a JSON file, each as one argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArgsFrom {
    /// A JSON file of the workspace.
    pub file: PathBuf,
    /// JSON pointer to the list: `/texts`.
    pub list: String,
    /// Key of the string in each element of the list.
    pub field: String,
}

/// Numbers of a JSON document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonNumbers {
    /// A JSON file of the workspace.
    pub golden: PathBuf,
    /// JSON pointer to a number, or to a list of numbers, in both documents: `/sum`.
    pub path: String,
    /// Largest absolute difference that is accepted.
    pub max_abs: f64,
}

/// Vectors of JSON lines.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonLines {
    /// `NAME.json` of the workspace, with the vectors in `NAME.f32` beside it.
    pub golden: PathBuf,
    /// Key of the vector in each line.
    pub field: String,
    /// Key of the line's number, from 0; without it lines carry no number.
    pub index: Option<String>,
    /// The largest absolute difference must be below this.
    pub max_abs: f64,
}

/// The folder that a declared command runs in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkingDirectory {
    /// An empty folder.
    #[default]
    Empty,
    /// An empty folder on a read-only mount.
    ReadOnly,
}

fn native() -> Vec<Cpu> {
    vec![Cpu::Native]
}

/// Stands for all runs of declared proofs on emulated processors in `prove.allow_not_measured`.
pub const EMULATED_PROOFS: &str = "emulated";

/// Names of the proofs that a machine may be unable to make.
pub const OPTIONAL_PROOFS: [&str; 4] = ["isolated", "no-proc", "thread-stack", EMULATED_PROOFS];

/// `[prove]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProve {
    pub environment_counts: Spanned<Vec<u32>>,
    pub timeout: Spanned<TimeSpan>,
    pub start_args: Option<Vec<String>>,
    pub start_contains: Option<String>,
    pub start_stack_limit: Option<Spanned<ByteSize>>,
    pub thread_stack: Option<Spanned<ThreadStack>>,
    #[serde(default)]
    pub allow_not_measured: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub command: Vec<Spanned<ProofCommand>>,
}

/// What a main thread needs to start, and far less than the 8 MiB that shells give.
const START_STACK_LIMIT: ByteSize = ByteSize(256 << 10);

impl From<RawProve> for Prove {
    fn from(raw: RawProve) -> Self {
        Self {
            environment_counts: raw.environment_counts.into_inner(),
            timeout: raw.timeout.into_inner(),
            start_args: raw.start_args.unwrap_or_else(|| vec!["--version".into()]),
            start_contains: raw.start_contains.unwrap_or_else(|| "{version}".into()),
            start_stack_limit: raw.start_stack_limit.map_or(START_STACK_LIMIT, Spanned::into_inner),
            thread_stack: raw.thread_stack.map(Spanned::into_inner),
            allow_not_measured: raw
                .allow_not_measured
                .into_iter()
                .map(|(name, reason)| (name, reason.into_inner()))
                .collect(),
            command: raw.command.into_iter().map(Spanned::into_inner).collect(),
        }
    }
}
