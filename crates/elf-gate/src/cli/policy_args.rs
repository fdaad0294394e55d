//! The flags that select a policy.

use std::path::PathBuf;

use diag::{Diagnostic, Diagnostics};
use elf_facts::facts::LocalPathSearch;
use units::ByteSize;

use crate::codes;
use crate::policy::{Policy, PolicyDocument, StackSize, Stage};

/// Flags that select a policy.
#[derive(Debug, clap::Args)]
pub struct PolicyArgs {
    /// Built-in policy: static-musl, static-pie-musl, hardened-glibc or shared-library [default: static-musl with a stack of
    /// 8 MiB]
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

/// The selected policy.
pub(super) struct SelectedPolicy {
    pub(super) document: PolicyDocument,
    stack_size: Option<ByteSize>,
    /// Compiled once for all files.
    pub(super) local_paths: LocalPathSearch,
}

impl SelectedPolicy {
    pub(super) fn load(args: &PolicyArgs) -> Result<SelectedPolicy, Diagnostics> {
        let is_default = args.preset.is_none() && args.policy.is_none();
        let stack_size = args.stack_size.or(is_default.then_some(DEFAULT_STACK));
        let document = match &args.policy {
            None => PolicyDocument::preset(args.preset.as_deref().unwrap_or("static-musl"))
                .map_err(|error| Diagnostics(vec![error]))?,
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    let message = format!("cannot read the policy `{}`", path.display());
                    let diagnostic = Diagnostic::new(&codes::UNREADABLE, message).cause(error);
                    Diagnostics(vec![
                        diagnostic
                            .hint("`--preset static-musl` needs no file; docs/gates.md describes the format"),
                    ])
                })?;
                let in_file = |Diagnostics(problems)| {
                    problems
                        .into_iter()
                        .map(|problem: Diagnostic| problem.file(path))
                        .collect::<Diagnostics>()
                };
                PolicyDocument::parse_file(&text).map_err(in_file)?
            }
        };
        Ok(SelectedPolicy { local_paths: document.local_paths(), document, stack_size })
    }

    pub(super) fn at(&self, stage: Stage) -> Policy {
        let mut policy = self.document.at(stage);
        if let Some(size) = self.stack_size {
            policy.stack_size = StackSize::exactly(size.bytes());
        }
        policy
    }
}
