//! The flags that select a policy, and the policy beside the files.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use diag::{Diagnostic, Diagnostics};
use elf_facts::facts::LocalPathSearch;
use units::ByteSize;

use crate::cli::inputs::Input;
use crate::codes;
use crate::policy::{POLICY_FILE_NAME, Policy, PolicyDocument, StackSize, Stage};
use crate::report::{PolicySource, PolicyUse};

/// Flags that select a policy.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    /// Built-in policy: static-musl, static-pie-musl, hardened-glibc or shared-library [default: gate-policy.toml beside the
    /// file, else static-musl with a stack of 8 MiB]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Policy file: TOML with the keys of docs/gates.md, or a release.toml with a table [gate]
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    policy: Option<PathBuf>,
    /// Exact size of PT_GNU_STACK; overrides the policy
    #[arg(long, value_name = "SIZE")]
    stack_size: Option<ByteSize>,
}

/// The largest stack of a thread on musl that requests no size.
const DEFAULT_STACK: ByteSize = ByteSize(8 << 20);

/// A policy, and how it was selected.
pub(super) struct SelectedPolicy {
    pub(super) document: PolicyDocument,
    source: PolicySource,
    name: String,
    stack_size: Option<ByteSize>,
    /// Compiled once for all files.
    pub(super) local_paths: LocalPathSearch,
}

impl SelectedPolicy {
    /// The policy of the flags, or the default preset.
    pub(super) fn load(args: &PolicyArgs) -> Result<SelectedPolicy, Diagnostics> {
        let (source, name, document) = match (&args.policy, &args.preset) {
            (Some(path), _) => (PolicySource::File, path.display().to_string(), read(path, &UNBOUNDED)?),
            (None, Some(name)) => (PolicySource::Preset, name.clone(), preset(name)?),
            (None, None) => (PolicySource::Default, "static-musl".into(), preset("static-musl")?),
        };
        let is_default = source == PolicySource::Default;
        let stack_size = args.stack_size.or(is_default.then_some(DEFAULT_STACK));
        Ok(SelectedPolicy { local_paths: document.local_paths(), document, source, name, stack_size })
    }

    fn beside(args: &PolicyArgs, path: &Path) -> Result<SelectedPolicy, Diagnostics> {
        let document = read(path, &OF_FILES)?;
        let (local_paths, name) = (document.local_paths(), path.display().to_string());
        let (source, stack_size) = (PolicySource::BesideFiles, args.stack_size);
        Ok(SelectedPolicy { document, source, name, stack_size, local_paths })
    }

    pub(super) fn at(&self, stage: Stage) -> Policy {
        let mut policy = self.document.at(stage);
        if let Some(size) = self.stack_size {
            policy.stack_size = StackSize::exactly(size.bytes());
        }
        policy
    }

    /// Path of the file, or name of the preset.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The entry of the report.
    pub(super) fn in_report(&self, files: usize) -> PolicyUse {
        let stack_size_bytes = self.stack_size.map(ByteSize::bytes);
        PolicyUse { source: self.source, name: self.name.clone(), files, stack_size_bytes }
    }
}

/// The policies of a run: that of the flags for all files, or for each file the one beside it.
pub(super) struct Policies {
    selected: Vec<SelectedPolicy>,
    /// For each input the index of its policy.
    of_inputs: Vec<usize>,
}

impl Policies {
    /// Without flags, the policy of a file is the `gate-policy.toml` in its folder, or in a folder above it up to the operand
    /// that contains it.
    pub(super) fn select(
        args: &PolicyArgs,
        operands: &[PathBuf],
        inputs: &[Input],
    ) -> Result<Policies, Diagnostics> {
        let mut selected = vec![SelectedPolicy::load(args)?];
        if args.policy.is_some() || args.preset.is_some() {
            return Ok(Policies { selected, of_inputs: vec![0; inputs.len()] });
        }
        let mut problems = Diagnostics::default();
        let mut known: HashMap<PathBuf, usize> = HashMap::new();
        let mut of_inputs = Vec::with_capacity(inputs.len());
        for input in inputs {
            let folder = input.path().and_then(Path::parent).unwrap_or(Path::new(""));
            if input.path().is_none() {
                of_inputs.push(0);
                continue;
            }
            if let Some(index) = known.get(folder) {
                of_inputs.push(*index);
                continue;
            }
            let is_searched =
                |above: &&Path| *above == folder || operands.iter().any(|operand| above.starts_with(operand));
            let searched =
                folder.ancestors().take_while(is_searched).map(|folder| folder.join(POLICY_FILE_NAME));
            // A broken link and a folder of that name count too: they fail closed.
            let found = searched.into_iter().find(|path| path.symlink_metadata().is_ok());
            let index = match found.map(|path| SelectedPolicy::beside(args, &path)) {
                None => 0,
                Some(Ok(policy)) => {
                    let same = selected
                        .iter()
                        .position(|known| known.name == policy.name && known.source == policy.source);
                    same.unwrap_or_else(|| {
                        selected.push(policy);
                        selected.len() - 1
                    })
                }
                Some(Err(Diagnostics(errors))) => {
                    problems.extend(errors);
                    0
                }
            };
            known.insert(folder.to_path_buf(), index);
            of_inputs.push(index);
        }
        if problems.0.is_empty() { Ok(Policies { selected, of_inputs }) } else { Err(problems) }
    }

    pub(super) fn of_input(&self, index: usize) -> &SelectedPolicy {
        &self.selected[self.of_inputs[index]]
    }

    /// The policies in use, each with the indices of its inputs.
    pub(super) fn in_use(&self) -> Vec<(&SelectedPolicy, Vec<usize>)> {
        let mut inputs: Vec<Vec<usize>> = vec![Vec::new(); self.selected.len()];
        for (input, policy) in self.of_inputs.iter().enumerate() {
            inputs[*policy].push(input);
        }
        self.selected.iter().zip(inputs).filter(|(_, inputs)| !inputs.is_empty()).collect()
    }
}

fn preset(name: &str) -> Result<PolicyDocument, Diagnostics> {
    PolicyDocument::preset(name).map_err(|error| Diagnostics(vec![error]))
}

/// How a policy file is read.
struct Reading {
    bytes_max: u64,
    hint: &'static str,
}

/// The user named the file, which may be a pipe.
const UNBOUNDED: Reading = Reading {
    bytes_max: u64::MAX,
    hint: "`--preset static-musl` needs no file; docs/gates.md describes the format",
};

/// The file comes from the source of the judged files.
const OF_FILES: Reading = Reading {
    bytes_max: 1 << 20,
    hint: "judge by a policy of your own: `--policy FILE` or `--preset static-musl`",
};

fn read(path: &Path, reading: &Reading) -> Result<PolicyDocument, Diagnostics> {
    let unreadable = |cause: String| {
        let message = format!("cannot read the policy `{}`", path.display());
        Diagnostics(vec![Diagnostic::new(&codes::UNREADABLE, message).cause(cause).hint(reading.hint)])
    };
    let text = || -> std::io::Result<String> {
        let is_bounded = reading.bytes_max != u64::MAX;
        // Opening a pipe blocks.
        if is_bounded && !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        let mut text = String::new();
        File::open(path)?.take(reading.bytes_max.saturating_add(1)).read_to_string(&mut text)?;
        match text.len() as u64 > reading.bytes_max {
            true => Err(std::io::Error::other(format!("it has more than {} bytes", reading.bytes_max))),
            false => Ok(text),
        }
    };
    let text = text().map_err(|error| unreadable(error.to_string()))?;
    let in_file = |Diagnostics(problems)| {
        problems.into_iter().map(|problem: Diagnostic| problem.file(path)).collect::<Diagnostics>()
    };
    PolicyDocument::parse_file(&text).map_err(in_file)
}
