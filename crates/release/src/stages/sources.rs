//! Stage `sources`: the source archive of each native library that is not compiled yet, from a named file, the cache,
//! Debian's source package, a crate or upstream.
//!
//! The archive itself is not trusted: `patchset` compares each file of it with the list of digests.

use std::path::{Path, PathBuf};

use anyhow::Context;
use diag::{Diagnostic, Diagnostics};
use patchset::manifest::{Source, SourceManifest};
use process::Task;
use store::{CacheEntry, Digest, Record};

use crate::codes::{SOURCE_ARCHIVE_DIGEST, SOURCE_FETCH_FAILED, SOURCE_MISSING};
use crate::context::BuildContext;
use crate::fetch::{apt, crates};
use crate::native_inputs::NativeInputs;
use crate::plan::Plan;
use crate::resolution::{self, Fetch, Fetcher, Origin, Pin, Resolution, SourceArchive};
use crate::stages::toolchain::Toolchain;

/// Tools, fingerprinted inputs, and for each library its source or its compiled archive.
///
/// ```compile_fail,E0451
/// use release::stages::{sources::Sources, toolchain::Toolchain};
/// fn forge(toolchain: Toolchain) -> Sources {
///     Sources { toolchain, inputs: Vec::new(), states: Vec::new() }
/// }
/// ```
#[derive(Debug)]
pub struct Sources {
    toolchain: Toolchain,
    inputs: Vec<NativeInputs>,
    states: Vec<SourceState>,
}

/// What a native build starts from.
#[derive(Debug)]
pub(crate) enum SourceState {
    /// The cache has the archive of exactly these inputs; no source is needed.
    Compiled(CacheEntry),
    /// The source archive.
    Archive(PathBuf),
}

impl Sources {
    /// The tools.
    pub fn toolchain(&self) -> &Toolchain {
        &self.toolchain
    }

    /// The inputs of each library, in the order of the Plan.
    pub fn inputs(&self) -> &[NativeInputs] {
        &self.inputs
    }

    /// Whether every library is compiled already.
    pub(crate) fn is_all_compiled(&self) -> bool {
        self.states.iter().all(|state| matches!(state, SourceState::Compiled(_)))
    }

    pub(crate) fn into_parts(self) -> (Toolchain, Vec<NativeInputs>, Vec<SourceState>) {
        (self.toolchain, self.inputs, self.states)
    }
}

/// Fetches the source archives that are needed. All problems are reported together.
pub fn fetch(plan: &Plan, context: &BuildContext, toolchain: Toolchain) -> anyhow::Result<Sources> {
    let inputs = NativeInputs::of_plan(plan, context, &toolchain)?;
    let mut states = Vec::new();
    let mut problems = Diagnostics::default();
    for (inputs, library) in inputs.iter().zip(&plan.native) {
        let compiled = context.store.find(inputs.entry());
        let state = match compiled {
            Some(entry) => context.store.hold(&entry).map(|()| SourceState::Compiled(entry)),
            None => {
                let resolution = plan.tools.sources.get(&library.name);
                let resolution =
                    resolution.with_context(|| format!("no source is resolved for {}", library.name))?;
                install(context, &library.vendored.manifest, resolution).map(SourceState::Archive)
            }
        };
        match state {
            Ok(state) => states.push(state),
            Err(error) => problems.push_error(&error),
        }
        context.runner.check()?;
    }
    problems.into_result()?;
    Ok(Sources { toolchain, inputs, states })
}

fn entry_name(manifest: &SourceManifest) -> String {
    format!("sources/{}-{}", manifest.name, manifest.version)
}

/// Resolves a source archive; `named` is a file that the user gave. Changes nothing.
pub fn probe(
    context: &BuildContext,
    manifest: &SourceManifest,
    named: Option<&Path>,
) -> Resolution<SourceArchive> {
    let library = resolution::library_of(manifest);
    if let Some(path) = named {
        let origin = Origin::Machine;
        return Resolution::Use(SourceArchive { library, path: path.into(), origin, entry: None });
    }
    let cached =
        context.store.find(&entry_name(manifest)).and_then(|entry| from_entry(library.clone(), entry).ok());
    match cached {
        Some(archive) => Resolution::Use(archive),
        None if context.offline => Resolution::Missing {
            problem: Diagnostic::new(
                &SOURCE_MISSING,
                format!("the source of {library} is not in the cache, and `--offline` is set"),
            )
            .rule(&*manifest.name)
            .hint(format!(
                "run `cargo xtask doctor --fetch` once with a network, or name a file: --source {}=FILE",
                manifest.name
            )),
        },
        None => {
            let from: Vec<String> = manifest.sources.iter().map(Source::describe).collect();
            // The first source decides; cargo downloads crates and is needed anyway.
            let with = match manifest.sources.first() {
                Some(Source::Crate { .. }) => Fetcher::Cargo,
                _ => Fetcher::Apt,
            };
            let pin = Pin::Source { library: library.clone() };
            Resolution::Fetch(Fetch { version: library, from: from.join(", else "), with, pin })
        }
    }
}

fn from_entry(library: String, entry: CacheEntry) -> anyhow::Result<SourceArchive> {
    let file = entry.record.files.keys().next().context("the cache entry of a source has no file")?;
    Ok(SourceArchive { library, path: entry.path.join(file), origin: Origin::Cache, entry: Some(entry) })
}

/// Resolves and installs a source archive: for verbs that work on the source itself.
pub fn archive(context: &BuildContext, manifest: &SourceManifest) -> anyhow::Result<PathBuf> {
    install(context, manifest, &probe(context, manifest, None))
}

/// The source archive that was resolved. The sources of source.toml are tried in their order.
pub fn install(
    context: &BuildContext,
    manifest: &SourceManifest,
    resolution: &Resolution<SourceArchive>,
) -> anyhow::Result<PathBuf> {
    match resolution {
        Resolution::Missing { problem } => return Err(problem.clone().into()),
        Resolution::Use(archive) => {
            if let Some(entry) = &archive.entry {
                context.store.hold(entry)?;
            }
            return Ok(archive.path.clone());
        }
        Resolution::Fetch(_) => {}
    }
    let library = resolution::library_of(manifest);
    let entry = context.store.get_or_create(&entry_name(manifest), |staging| {
        let mut failed = Vec::new();
        for source in &manifest.sources {
            context.runner.check()?;
            match download(context, staging, source, manifest) {
                Ok(path) => {
                    let file = path.strip_prefix(staging)?.to_string_lossy().into_owned();
                    let mut record = Record::default();
                    record.add_file(staging, &file)?.set_note("from", source.describe());
                    return Ok(record);
                }
                Err(error) => failed.push(format!("{}: {error:#}", source.describe())),
            }
        }
        // Ctrl-C during the last one is no failed download.
        context.runner.check()?;
        let problem =
            Diagnostic::new(&SOURCE_FETCH_FAILED, format!("no source of {library} could be fetched"))
                .rule(&*manifest.name)
                .expected("one of the sources of source.toml")
                .hint(format!("check the network, or name a file with `--source {}=FILE`", manifest.name));
        Err(failed.into_iter().fold(problem, Diagnostic::cause).into())
    })?;
    Ok(from_entry(library, entry)?.path)
}

fn download(
    context: &BuildContext,
    staging: &Path,
    source: &Source,
    manifest: &SourceManifest,
) -> anyhow::Result<PathBuf> {
    let SourceManifest { name, version, .. } = manifest;
    match source {
        Source::DebianSource { package, orig_sha256, .. } => {
            context.events().step(format!("fetching the source of {name} {version}"));
            let path = apt::fetch_orig_tarball(context, staging, package, version)?;
            require_digest(&path, orig_sha256)?;
            Ok(path)
        }
        Source::Crate { package, version, sha256 } => {
            let path = crates::fetch(context, staging, package, version)?;
            require_digest(&path, sha256)?;
            Ok(path)
        }
        Source::Archive { url, .. } => {
            context.events().step(format!("fetching {url}"));
            let path = staging.join(url.rsplit('/').next().unwrap_or("source.tar.gz"));
            let mut curl = context.command("curl");
            curl.args(["--fail", "--location", "--silent", "--show-error", "--proto", "=https", "--output"])
                .arg(&path)
                .arg(url);
            context.runner.run(Task::new(format!("fetch {url}"), curl))?;
            Ok(path)
        }
    }
}

fn require_digest(path: &Path, expected: &str) -> anyhow::Result<()> {
    let found = Digest::of_file(path)?;
    if found.as_str() == expected {
        return Ok(());
    }
    Err(Diagnostic::new(&SOURCE_ARCHIVE_DIGEST, "the downloaded file is not the pinned one")
        .file(path)
        .expected(expected)
        .found(found.as_str())
        .into())
}
